"""Rooms of furniture and questions whose answers are computed: `python tools/make_room_qa.py OUT --furniture FILE.npz`.

    python tools/make_room_qa.py data/rooms --furniture sweethome3d_furniture_2048_f16.npz

Rooms hold 3 to 5 pieces of their true sizes; which pieces are seen in training and which are held out is decided by the
model, so held-out rooms hold unseen pieces alone. --furniture is an .npz with points, name and size_cm, or a clouds.jsonl;
without it the models that ship. OUT gets
  rooms.jsonl        records with turns for recipes/configs/pointcloud/rooms.toml: chats about training rooms, and single
                     held-out questions, whose keys are their ids; flat.jsonl the same without clouds
  objects.jsonl      each model by itself: what it is, and a caption; shapes.jsonl the other way, a cloud to a name
  scanqa_SPLIT.json  questions in ScanQA's form, and sqa3d_questions_SPLIT.json with sqa3d_annotations_SPLIT.json those
                     of somebody who stands in the room, in SQA3D's; SPLIT is train or heldout
  clouds/, plans/    the models' points in metres, and floor plans of the first rooms
Within a template and the kinds that a question names all answers are equally frequent. What baselines without sight
reach on the held-out part is printed beside chance.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import Any

from rich.progress import track
from room_qa import files, furniture, plan, questions, rooms, situated
from room_qa.balance import balanced, chance

from unitok.command import command
from unitok.eval.qa3d import blind, formats
from unitok.eval.qa3d.measures import row

SHIPPED = Path(__file__).parents[1] / "recipes" / "demo" / "clouds.jsonl"
SPLITS = ("train", "heldout")
NOTED = 20
"""Mistakes that are spelled out."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("out", type=Path)
    add("--furniture", type=Path, default=SHIPPED, help=".npz with points, name, size_cm; or a clouds.jsonl")
    add(
        "--rooms",
        type=int,
        nargs=2,
        default=(6000, 800),
        metavar=("TRAIN", "HELDOUT"),
        help="rooms to compose",
    )
    add(
        "--each",
        type=int,
        nargs=2,
        default=(12000, 80),
        metavar=("TRAIN", "HELDOUT"),
        help="questions of a template",
    )
    add("--objects", type=int, nargs=2, default=(3, 5), metavar=("LEAST", "MOST"), help="pieces of a room")
    add("--turns", type=int, default=8, help="most questions of a chat about a training room")
    add("--heldout", type=float, default=0.25, help="share of each kind's models that is held out")
    add("--plans", type=int, default=4, help="floor plans of each split")
    add("--seed", type=int, default=0)
    return out


def composed(
    split: str, models: list[furniture.Model], count: int, objects: tuple[int, int], seed: int
) -> tuple[list[rooms.Room], list[questions.Question]]:
    """Rooms of a split, each a function of seed and name alone, and all questions about them."""
    kinds = sorted({model.kind for model in models})
    made, asked = [], []
    for number in track(range(count), f"{split} rooms"):
        name = f"{split}{number:05d}"
        dice = random.Random(f"{seed}/{name}")
        room = rooms.compose(name, split, models, objects, dice)
        if room.pieces:
            made.append(room)
            asked += [*questions.ask(room, kinds, dice), *situated.ask(room, dice)]
    return made, asked


def unseen(out: Path) -> dict[str, dict[str, float]]:
    """What each baseline that sees no room gets right of the held-out questions, by format."""
    found = {}
    for name in ("scanqa", "sqa3d"):
        train, asked = ([], [])
        for split, into in zip(SPLITS, (train, asked), strict=True):
            if name == "scanqa":
                into += formats.read(name, out / f"scanqa_{split}.json")[0]
            else:
                pair = (out / f"sqa3d_{what}_{split}.json" for what in ("questions", "annotations"))
                into += formats.read(name, *pair)[0]
        ways = {"majority": blind.majority, "question type": blind.by_type, "nearest question": blind.nearest}
        found[name] = {
            way: sum(row(one, answers[one.id], None)["em1"] for one in asked) / len(asked)
            for way, answers in ((way, answer(asked, train)) for way, answer in ways.items())
        }
    return found


def check(options: argparse.Namespace) -> None:
    """Refuse numbers out of range.

    Raises:
        ValueError: says which.
    """
    least, most = options.objects
    if not 2 <= least <= most <= 12:
        raise ValueError(f"--objects {least} {most}: give 2 to 12, the smaller number first")
    if not 0 < options.heldout < 1:
        raise ValueError(f"--heldout {options.heldout}: give a share between 0 and 1")
    if options.plans < 0:
        raise ValueError(f"--plans {options.plans}: give 0 or more")
    if options.turns < 1:
        raise ValueError(f"--turns {options.turns}: give 1 or more")
    for name in ("rooms", "each"):
        if min(getattr(options, name)) < 1:
            raise ValueError(f"--{name} {' '.join(map(str, getattr(options, name)))}: give 1 or more")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compose, ask, balance, write, and say what there is and how blind it leaves the blind."""
    options = parser().parse_args(arguments)
    check(options)
    models, problems = furniture.read(options.furniture)
    print(f"{len(models)} models that can stand in a room, {len(problems)} records left out for mistakes")
    print("".join(f"  {said}\n" for said in problems[:NOTED]), end="")
    sides = furniture.split(models, options.heldout)
    (options.out / "plans").mkdir(parents=True, exist_ok=True)
    files.clouds(models, options.out)
    seen: list[dict[str, Any]] = []
    flat: list[dict[str, Any]] = []
    luck: dict[str, float] = {}
    for split, count, each in zip(SPLITS, options.rooms, options.each, strict=True):
        made, asked = composed(split, sides[split], count, tuple(options.objects), options.seed)
        kept = balanced(asked, each, random.Random(f"{options.seed}/{split}"))
        if not kept:
            raise ValueError(f"{count} {split} rooms give no question whose answer varies: raise --rooms")
        named = files.questions(kept, split, options.out)
        there = {one.room.name: one.room for _, one in named}
        turns = options.turns if split == "train" else 1
        for into, with_clouds in ((seen, True), (flat, False)):
            parts = {name: files.room_parts(room, with_clouds) for name, room in there.items()}
            into += files.records(named, parts, turns)
        for room in made[: options.plans]:
            plan.draw(room).save(options.out / "plans" / f"{room.name}.png")
        for name, some in (
            ("scanqa", [o for o in kept if not o.stand]),
            ("sqa3d", [o for o in kept if o.stand]),
        ):
            luck[f"{name} {split}"] = chance(some) if some else 0.0
        print(
            f"{split}: {len(sides[split])} models, {len(made)} rooms, {len(kept)} of {len(asked)} questions kept"
        )
        print(
            "  " + ", ".join(f"{what} {n}" for what, n in sorted(Counter(o.template for o in kept).items()))
        )
    files.lines(options.out / "rooms.jsonl", seen)
    files.lines(options.out / "flat.jsonl", flat)
    single = [row for split in SPLITS for row in files.objects(sides[split], split)]
    print(f"{files.lines(options.out / 'objects.jsonl', single)} questions about single models")
    wishes = [row for split in SPLITS for row in files.shapes(sides[split], split)]
    print(f"{files.lines(options.out / 'shapes.jsonl', wishes)} wishes for single models")
    told = unseen(options.out)
    for name, ways in told.items():
        said = ", ".join(f"{way} {100 * value:.1f}" for way, value in ways.items())
        print(f"{name} held out, EM of the blind: {said}; chance {100 * luck[f'{name} heldout']:.1f}")
    return {"blind": told, "chance": luck, "problems": problems}


if __name__ == "__main__":
    command(main)
