"""Public multimodal layouts as records: `python tools/make_records.py captions captions_train2017.json --files train2017 --out data/coco.jsonl`.

    captions       COCO's captions file            {file, caption: [...]}, for templates either way round
    retrieved      records of `captions`           documents: nearest captioned pictures in context, then the pair
    conversations  LLaVA's or ShareGPT's .json(l)  chats; <image> in a turn is the next file, whoever says it
    edits          InstructPix2Pix, MagicBrush     {source, instruction, target}; --session img_id: chats of edits in turn
    albums         VIST's stories                  pages of picture and sentence; --chat: every sentence is drawn in turn
    interleaved    MMC4 or OBELICS .jsonl          documents; a picture stands before its sentence
    frames         a folder of frames per clip     {frames: [...], caption}, for a template with {frames:all}

Records refer to files below their own folder; a --files folder elsewhere is reached through a link beside --out. A
record that cannot be used is named and counted, and the rest goes on. docs/seed_llama.md has the tables that read them.
Files may be of any block: `--block cloud` for clouds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from layouts import captions, chats, pages
from layouts.files import Files, Made

from unitok.command import command
from unitok.data.sources import BadRecord

NOTED = 10
"""Bad records that are spelled out; all are in OUT's .bad.jsonl."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    layouts = out.add_subparsers(dest="layout", required=True)
    for name in ("captions", "retrieved", "conversations", "edits", "albums", "interleaved", "frames"):
        one = layouts.add_parser(name, help=f"see above: {name}")
        one.add_argument(
            "path", type=Path, help="the layout's file" if name != "frames" else "folder of clips"
        )
        one.add_argument("--out", type=Path, required=True, help="records to write, .jsonl")
        one.add_argument("--block", default="image", help="block of the items")
        one.add_argument("--text", default="text", help="block of text")
        if name not in ("retrieved", "frames"):
            one.add_argument("--files", type=Path, help="folder that the layout's files lie in")
        if name in ("captions", "retrieved"):
            one.add_argument("--field", default="image", help="name of the record's field with the item")
        if name == "retrieved":
            one.add_argument("--pairs", type=int, default=3, help="captioned items in context")
            one.add_argument("--among", type=int, default=20_000, help="captions to look among at most")
        if name == "edits":
            one.add_argument("--columns", nargs=3, default=(), help="source, instruction and target")
            one.add_argument(
                "--session", default="", help="column of the session: edits of one become a chat"
            )
            one.add_argument("--place", default="turn_index", help="column of the order within a session")
        if name == "albums":
            one.add_argument("--chat", action="store_true", help="chats in which every sentence is drawn")
            one.add_argument(
                "--ask", default="Draw this story, sentence by sentence. ", help="begins the chat"
            )
        if name == "interleaved":
            one.add_argument("--likeness", type=float, default=0.0, help="least similarity of MMC4's matches")
        if name == "frames":
            one.add_argument("--captions", type=Path, help="table; without it CLIP.txt lies beside CLIP/")
            one.add_argument("--columns", nargs=2, default=("videoid", "name"), help="clip and caption in it")
            one.add_argument("--count", type=int, default=4, help="frames of a clip at most")
    return out


def made(options: argparse.Namespace) -> Iterator[Made]:
    """The records of the layout that was chosen."""
    files = Files(
        options.path if options.layout == "frames" else getattr(options, "files", None), options.out
    )
    blocks = (options.block, options.text) if options.layout != "captions" else ()
    if options.layout == "captions":
        return captions.coco(options.path, files, options.field)
    if options.layout == "retrieved":
        if options.path.resolve().parent != options.out.resolve().parent:
            raise ValueError(f"{options.out} must lie beside {options.path}, whose files it refers to")
        return captions.retrieved(options.path, options.field, *blocks, options.pairs, options.among)
    if options.layout == "conversations":
        return chats.conversations(options.path, files, *blocks)
    if options.layout == "edits":
        return chats.edits(options.path, files, options.columns, options.session, options.place, *blocks)
    if options.layout == "albums":
        return chats.albums(options.path, files, options.chat, options.ask, *blocks)
    if options.layout == "interleaved":
        return pages.interleaved(options.path, files, options.likeness, *blocks)
    return pages.frames(options.path, options.captions, tuple(options.columns), options.count, files)


def written(one: Made) -> str | BadRecord:
    """A record as a line of JSON, or what is wrong with it."""
    if isinstance(one, BadRecord):
        return one
    try:
        line = json.dumps(one, ensure_ascii=False)
        line.encode()
    except (TypeError, ValueError) as error:  # a lone surrogate, or a picture that a table holds
        return BadRecord(str(one["key"]).encode(errors="replace").decode(), f"it cannot be written: {error}")
    return line


def main(arguments: list[str] | None = None) -> tuple[int, int]:
    """Write the records; returns how many there are, and how many could not be used."""
    options = parser().parse_args(arguments)
    for name in ("pairs", "among", "count"):
        if getattr(options, name, 1) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}: at least 1")
    if options.out.exists() and options.out.resolve() == options.path.resolve():
        raise ValueError(f"--out {options.out} is the file that is read: write to another")
    records = made(options)
    noted = options.out.with_suffix(".bad.jsonl")
    good = bad = 0
    aside = options.out.with_name(options.out.name + ".part")
    with (
        aside.open("w", encoding="utf-8") as file,
        noted.open("w", encoding="utf-8", errors="backslashreplace") as log,
    ):
        for one in map(written, records):
            if isinstance(one, BadRecord):
                bad += 1
                log.write(json.dumps(one._asdict(), ensure_ascii=False) + "\n")
                if bad <= NOTED:
                    print(f"{one.where}: {one.reason}", file=sys.stderr)
                continue
            good += 1
            file.write(one + "\n")
    if not bad:
        noted.unlink()
    if not good:
        aside.unlink()
        raise ValueError(f"{options.path} gives no record, {bad} could not be used: see the messages above")
    aside.replace(options.out)
    print(f"{options.out}: {good:,} records" + (f", {bad:,} left out, see {noted}" if bad else ""))
    return good, bad


if __name__ == "__main__":
    command(main)
