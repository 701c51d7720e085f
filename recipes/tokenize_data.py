"""Turn the sources of a configuration into token stores, ahead of training or to look at the data.

    python recipes/tokenize_data.py                                      the demo: recipes/configs/demo.toml
    python recipes/tokenize_data.py my.toml data.seq_len=1024 --strict   stop at the first bad record

Training does the same by itself and finds these stores by their content. Bad records are named with file, line
and reason and listed in `bad.jsonl` of their store; look at a store with `python tools/inspect_store.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unitok.command import command
from unitok.config import from_words
from unitok.run import Run


def main(arguments: list[str] | None = None) -> None:
    """Build the stores of both splits and say where they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="config.toml key=value", help="configuration, then overrides"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first bad record")
    parser.add_argument("--verify", action="store_true", help="compare every column with its checksum")
    options = parser.parse_args(arguments)
    strict = ["data.strict=true"] if options.strict else []
    run = Run.of(from_words([*options.words, *strict], Path(__file__).parent / "configs" / "demo.toml"))
    for split in ("train", "heldout"):
        for name, store in run.stores(split).items():
            if options.verify:
                store.verify()
            print(f"{split:8} {name:20} {len(store):9,} documents {store.tokens:12,} tokens  {store.path}")


if __name__ == "__main__":
    command(main)
