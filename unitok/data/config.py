"""What a run's `[data]` table says: sources, their templates and how rows are made of them. No torch here."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

from unitok.budget import Kind

Turns = dict[str, str] | list[dict[str, str]]
"""A chat template: role -> text, in order; a list of such tables where a role speaks more than once."""


class SourceConfig(BaseModel):
    """One source of records. Docs: the names in braces in `chat` and `plain` are fields of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="file or folder, relative to the config file; the suffix tells the format")
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="share of tokens, in any unit"
    )
    fields: dict[str, str] = Field(default_factory=dict, description="field of the record -> block")
    chat: list[Turns] = Field(
        default_factory=list, description='chat templates: { user = "{image}What?", ... }'
    )
    plain: list[str] = Field(default_factory=list, description="templates without roles, loss everywhere")
    shares: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (),
        description="shares of the templates, those of `chat` first: each document draws one by its record's key; "
        "absent: every template makes documents of every record",
    )
    swap: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="probability that the items of a plain document trade places with the text after them; not where "
        "parts are given",
    )
    items: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="most items, text apart, of a plain document; the others go on in further documents, but stay where "
        "parts are given",
    )
    variants: Annotated[int, Field(ge=1)] = Field(1, description="encodings of each item, if it has variants")
    budget: dict[str, Kind | Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="block with nested codes -> most codes of an item, or how their number is drawn anew each time: "
        + ", ".join(get_args(Kind)),
    )
    shorten: tuple[str, ...] = Field(
        (), description="blocks with nested codes whose items give way, evenly, where a document is too long"
    )
    heldout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of records held out by a hash of their key, where records have no `split`"
    )


class DataConfig(BaseModel):
    """All sources of a run and how they become rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: dict[str, SourceConfig] = Field(min_length=1, description="name -> source")
    seq_len: Annotated[int, Field(ge=8)] = Field(512, description="T, tokens per row")
    max_tokens: Annotated[int, Field(ge=8)] | None = Field(
        None, description="longest document; longer text goes on in further documents; absent: seq_len"
    )
    cache: str = Field("runs/cache", description="folder of the token stores, from the working directory")
    seed: int = Field(0, description="order of the documents")
    window: Annotated[int, Field(ge=1)] = Field(4096, description="documents that are packed together")
    p_null: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="probability that a document loses its condition, for guidance"
    )
    temperature: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = Field(
        None,
        description="a source's weight is multiplied by its documents to the power of 1 / temperature; 1: sources "
        "in proportion to their size; absent: weights as they stand",
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that fill rows; 0: none besides")
    prefetch: Annotated[int, Field(ge=1)] = Field(2, description="blocks of rows each worker keeps ready")
    strict: bool = Field(False, description="stop at the first bad record instead of going on without it")

    @property
    def longest(self) -> int:
        """Most tokens that a document may have."""
        return self.max_tokens or self.seq_len
