"""The report of a run: held-out losses beside their lines, loss curves, and what the model writes.

`write` puts `report.html` and, with all figures, `report.json` into the run's folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from unitok.data.store import Store
from unitok.distributed import barrier, is_main, local_rank
from unitok.eval import figures, page, panels
from unitok.eval.config import ReportConfig
from unitok.eval.figures import Curve
from unitok.eval.heldout import Measure, evaluate, marks, measure, split
from unitok.eval.openings import openings, questions
from unitok.eval.provenance import provenance
from unitok.eval.runner import answer, summary
from unitok.generate import Sampler
from unitok.modality import Modality
from unitok.model.decoder import Decoder
from unitok.train import metrics
from unitok.vocabulary import Vocabulary

SMALL = 50_000_000
"""Below so many parameters the report says plainly what to expect of a model."""
SMALL_REMARK = (
    "A model of this size, trained for minutes, learns form and little content: sentences, molecules, pictures and "
    "clouds of the right make, seldom the right ones. Judge it by the losses first."
)


@dataclass(frozen=True)
class Trained:
    """What a run was, for the headline and the curves.

    Args:
        parameters: how many numbers the model learns.
        steps, tokens: of the whole training.
        seconds: wall time of training.
        seq_len: tokens per row.
        train, held: loss of every step and held-out losses during training, by kind.
    """

    parameters: int
    steps: int
    tokens: int
    seconds: float
    seq_len: int
    train: Mapping[str, Curve] = field(default_factory=dict)
    held: Mapping[str, Curve] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: str | Path, seq_len: int) -> Trained:
        """What the metrics of a run's folder tell.

        Raises:
            FileNotFoundError: the folder has no metrics of a training run.
        """
        records = metrics.read(Path(folder))
        started = [r for r in records if r["event"] == "start"]
        steps = [r for r in records if r["event"] == "step"]
        if not started or not steps:
            raise FileNotFoundError(
                f"{Path(folder) / metrics.FILE} has no step of a run: train before reporting"
            )
        return cls(
            parameters=started[-1]["parameters"],
            steps=steps[-1]["step"],
            tokens=round(sum(r["per_s"] * r["seconds"] for r in steps)),
            seconds=sum(r["seconds"] for r in steps),
            seq_len=seq_len,
            train=_curves(steps),
            held=_curves([r for r in records if r["event"] == "heldout"]),
        )


def _curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    kinds = dict.fromkeys(kind for r in records for kind in r["nats"])
    found = {}
    for kind in kinds:
        mine = [(r["step"], r["nats"][kind]) for r in records if kind in r["nats"]]
        found[kind] = Curve([step for step, _ in mine], [nats for _, nats in mine])
    return found


def write(
    folder: str | Path,
    config: ReportConfig,
    run: Trained,
    decoder: Decoder,
    vocabulary: Vocabulary,
    modalities: Mapping[str, Modality],
    stores: Mapping[str, Store],
    heldout: Mapping[str, Store],
) -> Path:
    """Measure, generate and write. Every rank calls it, with the whole model; the main one writes.

    Args:
        folder: of the run.
        config: the run's `[report]` table.
        run: facts for the headline and the curves.
        decoder: the trained model; it moves to the accelerator where there is one.
        vocabulary: of the run.
        modalities: by block.
        stores: training sources, which the lines are counted on.
        heldout: held-out sources by name.

    Returns:
        Where the page is.

    Raises:
        ValueError: a panel asks for what is not held out.
    """
    path = Path(folder) / config.file
    if torch.cuda.is_available():
        decoder = decoder.to(torch.device("cuda", local_rank()))
    tasks = [panels.task(panel, heldout, vocabulary) for panel in config.panel]
    held, loss = evaluate(decoder, heldout, vocabulary, run.seq_len, config.tokens)
    if not is_main():
        barrier()
        return path
    measures = measure(loss, held, split(stores), vocabulary, config.position_cap)
    Console().print(_table(measures))
    shown = []
    with Progress(transient=True) as progress:
        sampler = Sampler(decoder, vocabulary, modalities)
        opened = openings(sampler, questions(heldout, vocabulary, config.openings))
        for panel, task in zip(config.panel, tasks, strict=True):
            answered = answer(task, sampler, modalities, progress)
            figures_of = summary(task, answered, modalities)
            every = panel.turns == "all"
            shown.append(page.Panel(panel.title, panel.note, answered[: panel.count], figures_of, every))
    origin = {**provenance(), "vocabulary": vocabulary.fingerprint}
    path.parent.mkdir(parents=True, exist_ok=True)
    html = page.render(_page(config, run, measures, len(held.ids), shown, origin, opened), modalities)
    path.write_text(html, encoding="utf-8")
    numbers = {
        **origin,
        "run": {name: getattr(run, name) for name in ("parameters", "steps", "tokens", "seconds", "seq_len")},
        "heldout": {"tokens": len(held.ids), "marks": marks(loss, held, vocabulary)},
        "measures": [m.to_json() for m in measures],
        "openings": opened,
        "panels": {panel.title: dict(panel.summary) for panel in shown},
    }
    path.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    barrier()  # ranks leave together: one that goes while another still works may abort
    return path


def _table(measures: Sequence[Measure]) -> Table:
    """Losses over all sources, for the terminal."""
    table = Table("nats per code", "held-out", "unigram line", "position line", "the loss is")
    for m in measures:
        if not m.source:
            both = [f"{m.lines.unigram:.3f}", f"{m.lines.position:.3f}"] if m.lines else ["-", "-"]
            table.add_row(m.kind, f"{m.nats:.3f}", *both, m.verdict)
    return table


def _page(
    config: ReportConfig,
    run: Trained,
    measures: Sequence[Measure],
    held_tokens: int,
    shown: Sequence[page.Panel],
    origin: Mapping[str, Any],
    opened: Mapping[str, Any],
) -> page.Page:
    whole = [m for m in measures if not m.source]
    speed = run.tokens / run.seconds if run.seconds else 0.0
    return page.Page(
        title=config.title,
        headline=(
            f"A decoder with {large(run.parameters)} parameters read {large(run.tokens)} tokens in {run.steps:,} "
            f"steps and {duration(run.seconds)}. All inputs and answers below were held out of training."
        ),
        facts=[
            ("parameters", short(run.parameters)),
            ("tokens read", short(run.tokens)),
            ("steps", f"{run.steps:,}"),
            ("training time", duration(run.seconds)),
            ("tokens per second", f"{speed:,.0f}"),
            ("held-out tokens", f"{held_tokens:,}"),
        ],
        remarks=[*([SMALL_REMARK] if run.parameters < SMALL else []), *config.remarks],
        verdicts=verdicts(whole),
        figures=[(m.kind, _figure(m, run)) for m in whole],
        measures=[m.to_json() for m in whole],
        details=[m.to_json() for m in measures if m.source],
        panels=shown,
        provenance=origin,
        openings=opened,
    )


def _figure(m: Measure, run: Trained) -> str:
    none = Curve([], [])
    earlier = [(s, v) for s, v in zip(*run.held.get(m.kind, none), strict=True) if s < run.steps]
    held = Curve([*(s for s, _ in earlier), run.steps], [*(v for _, v in earlier), m.nats])
    lines = {"unigram": m.lines.unigram, "position": m.lines.position} if m.lines else {}
    return figures.loss_figure(m.kind, run.train.get(m.kind, none), held, lines)


def verdicts(measures: Sequence[Measure]) -> list[str]:
    """One sentence per place that a loss can stand at, naming the kinds there."""
    found: dict[str, list[str]] = {}
    for m in measures:
        found.setdefault(m.verdict, []).append(m.kind)
    words = {
        "below both": "below both lines",
        "below unigram only": "below the unigram line, not below the position line",
        "below position only": "below the position line, not below the unigram line",
        "above both": "not below either line: of these the model has learnt less than counting gives",
        "no baseline": "without lines, for training has none of these",
    }
    return [f"{', '.join(found[place])}: {said}." for place, said in words.items() if place in found]


def large(number: float) -> str:
    """A count in words a reader takes in at once: 2.7 million."""
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,.0f}"


def short(number: float) -> str:
    """A count in little room: 2.7 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as far as they matter."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
