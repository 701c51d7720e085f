"""How well a run captions held-out items: `python recipes/eval_captions.py runs/captions --source photos`.

Every held-out item of the source is described once, by the source's chat template whose answer is text, and
compared with all its captions: BLEU, ROUGE-L and CIDEr as in the COCO caption evaluation. Beside it stands
what the caption of the nearest training picture would score, and a caption drawn at random. The figures, the
captions and their references go to `--out`.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from unitok.command import command
from unitok.data.sources import Record, read
from unitok.eval.caption import measures
from unitok.eval.describe import Asker, captions, plain
from unitok.eval.nearest import nearest
from unitok.eval.provenance import provenance
from unitok.generate import Sampler
from unitok.run import Run, reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("--source", required=True, help="name of the data source")
    out.add_argument("--chat", type=int, default=0, help="which of its chat templates asks for the caption")
    out.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest id")
    out.add_argument("--budget", type=int, default=48, help="most ids of a caption")
    out.add_argument("--out", type=Path, default=Path("captions.json"))
    return out


def asked(run: Run, name: str, chat: int) -> tuple[str, str, str]:
    """The field of the item, the field of the caption and the question of a source's chat template."""
    sources = run.config.data.sources
    if name not in sources:
        raise ValueError(f"no source is called {name!r}: there are {', '.join(sources)}")
    source = sources[name]
    turns: Any = source.chat[chat] if chat < len(source.chat) else {}
    answer = turns.get("assistant", "").strip("{}") if isinstance(turns, dict) else ""
    if source.fields.get(answer) != run.vocabulary.text:
        raise ValueError(
            f"chat template {chat} of {name!r} asks for no text: its answer must be one field of text"
        )
    return next(f for f in source.fields if f"{{{f}}}" in turns["user"]), answer, turns["user"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Describe, measure, write."""
    options = parser().parse_args(arguments)
    run, decoder = reopen(options.run)
    field, answer, question = asked(run, options.source, options.chat)
    source = run.config.data.sources[options.source]
    records = [r for r in read(Path(run.config.root) / source.path) if isinstance(r, Record)]
    train, held = ([r for r in records if r.fields.get("split") == side] for side in ("train", "heldout"))
    if not train or not held:
        raise ValueError(
            f"{source.path} has {len(train)} records whose split is train and {len(held)} that are heldout: need both"
        )
    known, wanted = ([captions(r, answer) for r in side] for side in (train, held))
    asker = Asker(Sampler(decoder.eval(), run.vocabulary, run.modalities), source.fields)
    show = run.modalities[source.fields[field]].show
    looks = [[show(asker.item(r, field)) for r in side] for side in (train, held)]
    sampling = {"temperature": options.temperature, "budget": options.budget}
    ways = {
        "model": asker.answers(question, held, **sampling),
        "nearest picture": [known[at][0] for at in nearest(*looks)],
        "random caption": [random.Random(r.key).choice(known)[0] for r in held],
    }
    references = [[plain(text) for text in texts] for texts in wanted]
    figures = {way: measures([plain(text) for text in texts], references) for way, texts in ways.items()}
    for way, row in figures.items():
        print(f"{way:18}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    rows = [
        {"key": r.key, "references": wanted[i]} | {way: texts[i] for way, texts in ways.items()}
        for i, r in enumerate(held)
    ]
    report = {**provenance(), "sampling": sampling, "figures": figures, "captions": rows}
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    command(main)
