"""Look into a token store: what it holds, and its documents coloured by kind.

    python tools/inspect_store.py runs/cache/image_caption.train.0123456789ab --documents 5
    python tools/inspect_store.py runs/cache/... --config recipes/configs/demo.toml --key 1f600 --null

Bold spans carry loss, dim ones do not; --null shows the form without the condition. With --config text is
decoded, else it is shown as ids.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unitok.command import command
from unitok.config import load
from unitok.data.store import Store
from unitok.modality import Modality
from unitok.run import Run
from unitok.vocabulary import Vocabulary

COLOURS = ("grey50", "white", "green", "cyan", "magenta", "yellow", "blue", "red")  # by kind, marks first


def summary(store: Store, vocabulary: Vocabulary) -> Table:
    """Tokens and supervised tokens by kind, and how long the documents are."""
    runs = np.diff(store.columns["run"].astype(np.int64))
    kinds, weights = store.columns["run_kind"], store.columns["run_weight"]
    lengths = store.index.length
    quantiles = ", ".join(f"{q:.0f}" for q in np.quantile(lengths, (0.05, 0.5, 0.95))) if len(store) else "-"
    title = (
        f"{store.path.name}: {len(store):,} documents, {store.tokens:,} tokens, 5/50/95 % length {quantiles}"
    )
    table = Table("kind", "tokens", "share", "with loss", title=title, title_justify="left")
    for number, kind in enumerate(vocabulary.kinds):
        mine = kinds == number
        count, loss = int(runs[mine].sum()), int(runs[mine & (weights > 0)].sum())
        share = f"{count / max(1, store.tokens):.1%}"
        table.add_row(Text(kind, COLOURS[number % len(COLOURS)]), f"{count:,}", share, f"{loss:,}")
    return table


def document(store: Store, number: int, null: bool, vocabulary: Vocabulary, text: Modality | None) -> Text:
    """One document as coloured text."""
    rendered = store.document(number, null)
    ids, weight, kind = rendered.ids.numpy(), rendered.weight.numpy(), rendered.kind.numpy()
    out = Text(f"#{number} {store.key(number)} [{store.form(number)}] {len(ids)} tokens\n", "bold underline")
    names = {vocabulary.mark(name): name for name in vocabulary.MARKS}
    for block in vocabulary.blocks.values():
        names |= {block.begin: block.name, block.end: f"/{block.name}"} if block.framed else {}
    change = np.flatnonzero((np.diff(kind) != 0) | (np.diff(weight) != 0) | (kind[1:] == 0)) + 1
    for part in np.split(np.arange(len(ids)), change):
        here, name = ids[part], vocabulary.kinds[kind[part[0]]]
        if kind[part[0]] == 0:
            shown = f"<{names.get(int(here[0]), here[0])}>"
        elif name == vocabulary.text and text is not None:
            shown = text.decode([vocabulary.parse(here)[0].codes])[0]  # type: ignore[union-attr]
        else:
            start = vocabulary.blocks[name].start
            beside = rendered.more[part].tolist() if rendered.more is not None else [[]] * len(here)
            positions = ([one, *(i for i in more if i >= 0)] for one, more in zip(here, beside, strict=True))
            shown = " ".join("+".join(str(i - start) for i in codes) for codes in positions)
        style = f"{COLOURS[kind[part[0]] % len(COLOURS)]} {'bold' if weight[part[0]] else 'dim'}"
        out.append(shown + ("" if name == vocabulary.text else " "), style)
    return out


def main(arguments: list[str] | None = None) -> None:
    """Print a summary and some documents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--documents", type=int, default=3, help="how many, evenly spaced")
    parser.add_argument("--key", help="only documents of this record")
    parser.add_argument("--null", action="store_true", help="in their null form")
    parser.add_argument("--verify", action="store_true", help="compare every column with its checksum")
    parser.add_argument("--config", type=Path, help="the run's configuration, to decode text with")
    options = parser.parse_args(arguments)
    store = Store.open(options.store, verify=options.verify)
    vocabulary = store.vocabulary()
    text = None
    if options.config is not None and vocabulary.text is not None:
        run = Run.of(load(options.config))
        vocabulary.check(run.modalities)
        text = run.modalities[vocabulary.text]
    console = Console()
    console.print(summary(store, vocabulary))
    chosen = np.linspace(0, len(store) - 1, min(options.documents, len(store))).astype(int).tolist()
    if options.key is not None:
        chosen = [n for n in range(len(store)) if store.key(n) == options.key][: options.documents]
    for number in chosen:
        console.print(document(store, number, options.null, vocabulary, text), soft_wrap=True)


if __name__ == "__main__":
    command(main)
