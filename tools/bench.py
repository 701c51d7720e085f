"""Measure the speed of every stage on a run's own data, and write it down as JSON.

    python tools/bench.py                            # recipes/configs/demo.toml -> bench.json
    python tools/bench.py --only plan,loader --config my.toml train.steps=20

Sections: codec, fingerprints, farthest, plan, fill, loader, train, generate. Fingerprints are E3FP of the data's molecules, beside
the e3fp package where that is installed (`tools/bench_molecules.py` says how). Each figure is a median over repeats, in CPU time of this
process ("cpu") and in wall time; CPU time is what to compare on a machine that is shared. What is compared runs
in turns (a, b, a, b, ...), and the ratio is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.timing import Clock, median, pairs, rates
from rich.console import Console
from rich.table import Table

from unitok.command import command
from unitok.config import load
from unitok.data.loader import Loader
from unitok.data.plan import Plan
from unitok.data.row import fill as fill_rows
from unitok.data.store import Store
from unitok.document import Document, Segment
from unitok.eval.provenance import provenance
from unitok.generate import Sampler
from unitok.generate.batch import Batch
from unitok.generate.choose import Choice, choose, uniforms
from unitok.generate.masks import Masks
from unitok.grammar import Grammar
from unitok.model.decoder import Decoder
from unitok.run import Run
from unitok.vocabulary import Vocabulary

GOALS = {  # figure -> (at least | at most, goal)
    "plan.tokens_per_cpu_s": ("at least", 10e6),
    "plan.rows_tokens_per_cpu_s": ("at least", 4e6),
    "fill.filled": ("at least", 0.98),
    "fill.widest_spread_ratio": ("at most", 2.0),
    "train.wait_share": ("at most", 0.02),
    "generate.grammar_cost": ("at most", 0.05),
    "fingerprints.default.ratio": ("at least", 12),
    "fingerprints.3dmolt5.ratio": ("at least", 12),
    "farthest.one.ratio": ("at most", 1.5),
    "farthest.sixteen.ratio": ("at most", 1.0),
}


@dataclass(frozen=True)
class Setting:
    """What all sections work with: the run, how long to measure, and where scratch files go."""

    run: Run
    stores: Mapping[str, Store]
    repeats: int
    rows: int
    steps: int
    scratch: Path


# ---------------------------------------------------------------- sections


def codec(s: Setting) -> dict[str, Any]:
    """Decode and encode of every modality, on items that the stores hold."""
    found: dict[str, Any] = {}
    for name, chosen in _held(s).items():
        if not chosen:
            continue
        modality, codes = s.run.modalities[name], [segment.codes for segment in chosen]
        items = modality.decode(codes)
        decoding = median(partial(modality.decode, codes), s.repeats)
        encoding = median(partial(modality.encode, items), s.repeats)
        found[name] = {
            "items": len(items),
            "codes_per_item": statistics.mean(len(one) for one in codes),
            **rates(len(items), encoding, "encoded_items"),
            **rates(len(items), decoding, "decoded_items"),
        }
    return found


def _held(s: Setting) -> dict[str, list[Segment]]:
    """Up to 64 segments of each block, from all over the stores."""
    wanted = min(64, 4 * s.rows)
    segments: dict[str, list[Segment]] = {name: [] for name in s.run.modalities}
    for store in s.stores.values():
        for doc in np.linspace(0, len(store) - 1, num=min(len(store), 4 * wanted), dtype=int).tolist():
            for part in store.document(doc).parse(s.run.vocabulary):
                if isinstance(part, Segment) and len(segments[part.name]) < wanted:
                    segments[part.name].append(part)
    return segments


def fingerprints(s: Setting) -> dict[str, Any]:
    """E3FP of molecules that the stores hold; nothing where they hold none."""
    chosen = _held(s).get("molecule")
    if not chosen:
        return {}
    from bench_molecules import of_codes

    return of_codes(s.run.modalities["molecule"], [segment.codes for segment in chosen], s.repeats)


def farthest(s: Setting) -> dict[str, Any]:
    """Farthest points beside open3d, of a run with clouds; nothing where there are none or open3d cannot be imported."""
    if "cloud" not in s.run.vocabulary.blocks:
        return {}
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        return {}
    from bench_farthest import compare

    return {name: compare(8192, 512, count, s.repeats) for name, count in (("one", 1), ("sixteen", 16))}


def _fresh(s: Setting, seed: int) -> Plan:
    data = s.run.config.data
    weights = {name: data.sources[name].weight for name in s.stores}
    return Plan(s.stores, weights, data.seq_len, seed, data.window, data.p_null)


def plan(s: Setting) -> dict[str, Any]:
    """Draw, shuffle and pack rows; then the same with the rows filled from the stores."""
    stores, vocabulary, size = list(s.stores.values()), s.run.vocabulary, s.run.config.data.seq_len
    seeds = iter(range(1_000_000))
    counted: list[int] = []

    def planned() -> None:
        counted.append(int(_fresh(s, next(seeds)).layout(range(s.rows)).length.sum()))

    def filled() -> None:
        made = _fresh(s, next(seeds))
        for first in range(0, s.rows, 32):
            last = min(first + 32, s.rows)
            fill_rows(stores, made.layout(range(first, last)), last - first, size, vocabulary)

    alone, whole, _ = pairs(planned, filled, s.repeats)
    tokens = statistics.mean(counted)
    windows = _fresh(s, 0)
    rows_per_window = windows.locate(s.rows)[0] + 1
    return {
        "seq_len": size,
        "rows": s.rows,
        "windows_packed": rows_per_window,
        **rates(tokens, alone, "tokens"),
        **rates(tokens, whole, "rows_tokens"),
    }


def fill(s: Setting) -> dict[str, Any]:
    """How full rows are, and how evenly sources share them, beside rows of independent draws."""
    size = s.run.config.data.seq_len
    made = _fresh(s, 0)
    layout = made.layout(range(s.rows))
    count = len(s.stores)
    share = np.zeros((s.rows, count))
    np.add.at(share, (layout.row, layout.store), layout.length)
    filled = share.sum(1)
    found: dict[str, Any] = {"seq_len": size, "rows": s.rows, "filled": float(filled.mean() / size)}
    share /= filled[:, None]
    independent = _independent(s, size)
    sources = {}
    for number, name in enumerate(s.stores):
        spread, reference = float(share[:, number].std()), float(independent[:, number].std())
        ratio = spread / reference if reference else 1.0
        sources[name] = {"share": float(share[:, number].mean()), "spread": spread, "independent": reference}
        sources[name] |= {"ratio": ratio, "rows_without": float((share[:, number] == 0).mean())}
    found["widest_spread_ratio"] = max(row["ratio"] for row in sources.values())
    return {**found, "sources": sources}


def _independent(s: Setting, size: int) -> np.ndarray:
    """Shares of the sources [rows, sources] in rows that take independent draws until they are full."""
    rng = np.random.default_rng(0)
    weights = np.array([s.run.config.data.sources[name].weight for name in s.stores])
    lengths = [store.index.length for store in s.stores.values()]
    chance = weights / np.array([column.mean() for column in lengths])
    chance /= chance.sum()
    share = np.zeros((s.rows, len(lengths)))
    for row in share:
        while (room := size - row.sum()) > 0:
            source = rng.choice(len(lengths), p=chance)
            row[source] += min(room, rng.choice(lengths[source]))
    return share / size


def loader(s: Setting) -> dict[str, Any]:
    """Batches out of the loader, nobody waiting for them, without worker processes."""
    batch = s.run.config.train.rows
    feed = iter(Loader(s.stores, _fresh(s, 0), s.run.vocabulary, batch))
    next(feed)
    count = max(1, s.rows // batch)
    tokens = [0]

    def drain() -> None:
        tokens[0] = sum(int((next(feed).doc >= 0).sum()) for _ in range(count))

    taken = median(drain, s.repeats)
    return {"batch": batch, "batches": count, **rates(tokens[0], taken, "tokens")}


def train(s: Setting) -> dict[str, Any]:
    """Optimizer steps of the run's own model under DeepSpeed; the first tenth is not counted."""
    from unitok.train.loss import LanguageModel
    from unitok.train.trainer import Trainer

    config = s.run.config.train.model_copy(
        update={"steps": s.steps, "progress": False, "tensorboard": False, "save_every": 0, "eval_every": 0}
    )
    model = LanguageModel(s.run.decoder(), len(s.run.vocabulary.kinds), config.z_loss, config.chunk)
    taken: list[tuple[float, float, float]] = []

    def note(trainer: Trainer, event: str) -> None:
        if event == "step":
            taken.append((time.process_time(), trainer.last["seconds"], trainer.last["wait"]))

    feed = Loader(s.stores, _fresh(s, 0), s.run.vocabulary, config.micro_rows or config.rows)
    kinds = s.run.vocabulary.kinds
    extra = s.run.config.deepspeed
    Trainer(model, feed, config, s.scratch / "train", extra=extra, kinds=kinds, hooks=[note]).fit()
    skipped = max(1, len(taken) // 10)
    cpu = [b[0] - a[0] for a, b in zip(taken[:-1], taken[1:], strict=True)][skipped - 1 :]
    wall = [seconds for _, seconds, _ in taken[skipped:]]
    tokens = config.rows * s.run.config.data.seq_len
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_step": tokens,
        "steps": len(wall),
        **rates(tokens, Clock(statistics.median(cpu), statistics.median(wall)), "tokens"),
        "wait_share": sum(w * x for _, w, x in taken[skipped:]) / sum(wall),
    }


def generate(s: Setting) -> dict[str, Any]:
    """Steps of decoding with the grammar and without, in turns; then whole answers."""
    vocabulary, modalities = s.run.vocabulary, s.run.modalities
    decoder = s.run.decoder().eval()
    prompt = Document.chat([("user", []), ("assistant", [])]).prompt(vocabulary)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in decoder.parameters())}
    for rows in (1, 16):
        grammar = Grammar.answer(vocabulary, modalities)
        masks = Masks(grammar, decoder.lm_head.weight.device)
        decode = partial(_decode, decoder, vocabulary, [[prompt]] * rows, s.steps)
        free, bound = partial(decode, None, None), partial(decode, grammar, masks)
        without, with_grammar, ratio = pairs(free, bound, s.repeats)
        found[f"batch_{rows}"] = {
            "ms_per_step": 1e3 * without.cpu / s.steps,
            "ms_per_step_with_grammar": 1e3 * with_grammar.cpu / s.steps,
            **rates(rows * s.steps, without, "tokens"),
            **{f"grammar_{k}": v for k, v in rates(rows * s.steps, with_grammar, "tokens").items()},
            "grammar_cost": ratio - 1,
        }
    found["grammar_cost"] = max(found[f"batch_{rows}"]["grammar_cost"] for rows in (1, 16))
    sampler = Sampler(decoder, vocabulary, modalities)
    written: list[int] = []

    def answers() -> None:
        parts = sampler.generate([prompt] * 16, budget=s.steps)
        written.append(sum(len(p.codes) + 2 if isinstance(p, Segment) else 1 for row in parts for p in row))

    found["answers"] = rates(1, median(answers, s.repeats), "tokens")
    found["answers"] = {name: value * statistics.mean(written) for name, value in found["answers"].items()}
    return found


@torch.no_grad()
def _decode(
    decoder: Decoder,
    vocabulary: Vocabulary,
    prompts: Sequence[Any],
    steps: int,
    grammar: Grammar | None,
    masks: Masks | None,
) -> None:
    """`steps` steps for all rows, ended ones too, so that both ways do the same work but for the grammar."""
    draws = uniforms(0, len(prompts), steps)
    batch = Batch(decoder, prompts, steps, vocabulary.mark("pad"))
    states = grammar.start(len(prompts), budget=8 * steps) if grammar else []
    for step in range(steps):
        lines = masks.of(states)[0] if masks else []
        logits = batch.logits()[:, 0]
        ids = choose(masks.apply(logits, lines) if masks else logits, draws[:, step], Choice())
        new = ids.tolist()
        if grammar is not None:
            grammar.advance(states, new)
        batch.step(ids)


SECTIONS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "codec": codec,
    "fingerprints": fingerprints,
    "farthest": farthest,
    "plan": plan,
    "fill": fill,
    "loader": loader,
    "train": train,
    "generate": generate,
}


# ---------------------------------------------------------------- command line


def goals(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Every goal whose figure was measured, and whether it is met."""
    found = {}
    for name, (side, goal) in GOALS.items():
        section, *path = name.split(".")
        value = sections.get(section)
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            met = value >= goal if side == "at least" else value <= goal
            found[name] = {"value": value, "goal": f"{side} {goal:g}", "met": met}
    return found


def show(report: Mapping[str, Any]) -> None:
    """Print the figures and the goals."""
    table = Table("figure", "value")
    for section, figures in report["sections"].items():
        for name, value in _flat(figures, section):
            table.add_row(name, f"{value:,.4g}" if abs(value) < 100 else f"{value:,.0f}")
    console = Console()
    console.print(table)
    for name, row in report["goals"].items():
        verdict = "[green]met[/]" if row["met"] else "[red]not met[/]"
        console.print(f"{name} {row['value']:,.4g} ({row['goal']}): {verdict}", highlight=False)


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in tree.items():
        flat += (
            _flat(value, f"{prefix}.{name}") if isinstance(value, Mapping) else [(f"{prefix}.{name}", value)]
        )
    return flat


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what is written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--config", default="recipes/configs/demo.toml", help="the run whose data and model to use"
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--out", default="bench.json", type=Path)
    parser.add_argument("--repeats", default=5, type=int, help="runs that a median is taken over")
    parser.add_argument("--rows", default=2048, type=int, help="rows planned, filled and loaded")
    parser.add_argument("--steps", default=64, type=int, help="steps of training and of decoding")
    parser.add_argument("--threads", default=1, type=int, help="threads of torch")
    parser.add_argument("overrides", nargs="*", help="dotted.key=value of the configuration")
    options = parser.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    if wrong := sorted(set(chosen) - set(SECTIONS)):
        parser.error(f"no section is called {wrong[0]!r}: choose among {', '.join(SECTIONS)}")
    torch.set_num_threads(options.threads)
    run = Run.of(load(options.config, options.overrides))
    sections = {}
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(run, run.stores(), options.repeats, options.rows, options.steps, Path(scratch))
        for name in chosen:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            sections[name] = SECTIONS[name](setting)
    report = {
        **provenance(),
        "settings": {name: str(value) for name, value in vars(options).items()},
        "sections": sections,
        "goals": goals(sections),
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(report)
    return report


if __name__ == "__main__":
    command(main)
