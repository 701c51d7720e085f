"""Train the text pieces that ship: `python tools/train_text.py` (two seconds).

SentencePiece BPE with byte fallback over the training split of recipes/demo: every sentence and
caption, and the prose by lines. No normalisation of any kind, so text comes back as it went in. The same
corpus gives the same bytes: one thread, no paths or dates in the model.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from modalities.text.pieces import MODEL, Pieces
from unitok.command import command

DEMO = Path(__file__).parents[1] / "recipes" / "demo"
FIELDS = ("text", "sentence", "description", "caption")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a .jsonl or .jsonl.gz file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def strings(record: dict[str, Any]) -> Iterator[str]:
    """All text of a record: its text fields, and the text pieces of a document or chat."""
    for field in FIELDS:
        value = record.get(field, [])
        yield from [value] if isinstance(value, str) else value
    contents = [turn["content"] for turn in record.get("turns", ())] + [record.get("document", [])]
    for content in contents:
        yield from (piece["text"] for piece in content if "text" in piece)


def corpus(folder: Path, split: str) -> dict[str, list[str]]:
    """Text by file name, of one side of the split."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*.jsonl*")):
        for record in records(path):
            if record.get("split", "train") == split:
                found[path.name] += strings(record)
    return found


def train(lines: list[str], size: int) -> bytes:
    """A SentencePiece model of `size` pieces. Newlines become one piece; so do runs of spaces.

    Raises:
        ValueError: there is no text, or too little of it for so many pieces.
    """
    if not lines:
        raise ValueError(
            "there is no text to train on: give --data a folder of .jsonl files with text in them"
        )
    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=out,
            model_type="bpe",
            vocab_size=size,
            user_defined_symbols=["\n"],
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=True,
            split_digits=True,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            hard_vocab_limit=False,
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=1,
        )
    except RuntimeError as error:
        raise ValueError(
            f"{size} pieces cannot be trained on {len(lines)} lines ({error}): change --size"
        ) from error
    return out.getvalue()


def main() -> None:
    """Train, write, and print how long texts become."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEMO, help="folder of .jsonl or .jsonl.gz files")
    parser.add_argument("--size", type=int, default=2048, help="how many pieces")
    parser.add_argument("--out", type=Path, default=MODEL, help="the model; by default the one that ships")
    args = parser.parse_args()
    lines = [
        line for texts in corpus(args.data, "train").values() for text in texts for line in text.split("\n")
    ]
    model = train([line for line in lines if line], args.size)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(model)
    print(f"{args.out}: {len(model)} bytes, sha256 {hashlib.sha256(model).hexdigest()}")
    pieces = Pieces(model=args.out)
    for name, texts in corpus(args.data, "heldout").items():
        texts = [text for text in texts if text]
        tokens = sum(map(len, pieces.encode(texts)))
        chars = sum(map(len, texts))
        print(f"{name}: held out {chars} characters, {tokens} tokens, {chars / tokens:.2f} characters/token")


if __name__ == "__main__":
    command(main)
