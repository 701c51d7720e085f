"""What a run's `[report]` table says: which held-out panels to show and how to generate for them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PanelConfig(_Strict):
    """One panel: held-out documents of one source, and what the model writes in the assistant's place.

    Args:
        title: heading, in the reader's words ("image -> caption").
        source: name of the data source that the documents come from.
        chat: which chat template of that source; absent: any chat, those that records bring along too.
        count: how many examples are shown.
        score: how many are generated and scored; the report's figures are over these.
        turns: "first" writes the first assistant turn; "all" writes every one in order, each seeing what the
            model itself wrote before.
        produce: blocks the answer may hold (None: any).
        first: the block the answer opens with (None: the model chooses).
        guidance: block -> scale of classifier-free guidance inside its spans (1 = off).
        temperature, top_k, top_p, budget, seed: as in `Sampler.generate`.
        note: one sentence under the heading.
    """

    title: str
    source: str
    chat: Annotated[int, Field(ge=0)] | None = None
    count: Annotated[int, Field(ge=1)] = 4
    score: Annotated[int, Field(ge=1)] = 16
    turns: Literal["first", "all"] = "first"
    produce: tuple[str, ...] | None = None
    first: str | None = None
    guidance: dict[str, float] = Field(default_factory=dict)
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    budget: Annotated[int, Field(ge=1)] = 256
    seed: int = 0
    note: str = ""


class ReportConfig(_Strict):
    """The report written at the end of a run.

    Args:
        title: heading of the page.
        file: where it is written, relative to the run's folder; a .json with all numbers lies beside it.
        remarks: sentences printed under the headline: what a reader must not overlook.
        tokens: how many held-out target tokens the losses are measured on at most.
        position_cap: positions of a body from this one on share one table of the per-position line.
        openings: held-out questions of each kind of answer that are answered freely, to see whether the model opens
            the block that is asked for by itself; 0 = none.
        panel: the panels, in order.
    """

    title: str = "What the model learnt"
    file: str = "report.html"
    remarks: tuple[str, ...] = ()
    tokens: Annotated[int, Field(ge=1)] = 200_000
    position_cap: Annotated[int, Field(ge=1)] = 128
    openings: Annotated[int, Field(ge=0)] = 16
    panel: tuple[PanelConfig, ...] = ()
