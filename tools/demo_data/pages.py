"""Interleaved documents and chats made of the other records, never across the split.

Emoji pages, molecule cards, family pages, furniture catalogues (`document`), and chats of two to four
exchanges that mix modalities (`turns`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from demo_data.common import Record, article, chance, digest, join, sentence

Piece = dict[str, Any]
EMOJI_PER_PAGE, CLOUDS_PER_PAGE, CARDS, FAMILIES, CHATS = 4, 3, 400, 100, 300
HELDOUT_SHARE = 10  # cards, family pages and chats of held-out items: a tenth as many
FAMILY = {  # ending of "X is a ketone with the formula ..." -> what several are called
    "a carboxylic acid": "carboxylic acids", "an amide": "amides", "an ester": "esters",
    "an aldehyde": "aldehydes", "a ketone": "ketones", "a phenol": "phenols", "an alcohol": "alcohols",
    "a nitrile": "nitriles", "an ether": "ethers", "a thiol": "thiols", "an amine": "amines",
    "a hydrocarbon": "hydrocarbons",
}  # fmt: skip


def build(images: list[Record], molecules: list[Record], clouds: list[Record]) -> list[Record]:
    """All pages, the training ones first."""
    records: list[Record] = []
    for side, share in (("train", 1), ("heldout", HELDOUT_SHARE)):
        pictures, drugs, things = (
            [record for record in source if record["split"] == side] for source in (images, molecules, clouds)
        )
        pages = [
            *_emoji_pages(pictures),
            *_cards(drugs, CARDS // share),
            *_families(drugs, FAMILIES // share),
            *_catalogues(things),
            *_chats(pictures, drugs, things, CHATS // share, side),
        ]
        records += [{"key": page.pop("key"), "split": side, **page} for page in pages]
    return records


def text(words: str) -> Piece:
    """A piece of text."""
    return {"text": words}


def thing(record: Record, block: str) -> Piece:
    """The piece of a record that is no text: its picture, molecule or cloud."""
    return {block: record[block]}


def _chunks(records: Iterable[Record], by: str, size: int) -> Iterator[tuple[str, list[Record]]]:
    """Groups of at most `size` records with the same value of `by`, in hashed order."""
    ordered = sorted(records, key=lambda record: (record[by], digest(record["key"])))
    for name, group in groupby(ordered, key=lambda record: str(record[by])):
        members = list(group)
        for start in range(0, len(members), size):
            yield name, members[start : start + size]


def _emoji_pages(images: list[Record]) -> Iterator[Record]:
    """A heading and up to four pictures with a caption each, before or after."""
    for number, (group, members) in enumerate(_chunks(images, "group", EMOJI_PER_PAGE)):
        rng = chance(f"page/{members[0]['key']}")
        before = rng.random() < 0.5
        names = join([record["name"] for record in members])
        pieces = [text(f"{sentence(group).rstrip('.')}\n" + rng.choice(["", sentence(names) + "\n"]))]
        for record in members:
            caption = rng.choice(record["caption"])
            pieces += (
                [text(f"{caption}\n"), thing(record, "image"), text("\n")]
                if before
                else [thing(record, "image"), text(f" {caption}\n")]
            )
        yield {"key": f"page/emoji/{members[0]['split']}/{number}", "document": pieces}


def _cards(molecules: list[Record], count: int) -> Iterator[Record]:
    """Name, systematic name, structure and two facts."""
    for record in _draw(molecules, count, "card"):
        rng = chance(f"card/{record['key']}")
        facts = rng.sample(record["sentence"], 2)
        head = f"Molecule card: {record['name']}\nSystematic name: {record['iupac']}\nStructure: "
        pieces = [text(head), thing(record, "molecule"), text("\n" + " ".join(facts))]
        yield {"key": f"page/card/{record['key']}", "document": pieces}


def _families(molecules: list[Record], count: int) -> Iterator[Record]:
    """Two or three molecules of one family, named by what their sentences say."""
    kin: dict[str, list[Record]] = {}
    for record in molecules:
        for words in record["sentence"]:
            found = next(
                (plural for one, plural in FAMILY.items() if f" is {one} with the formula" in words), None
            )
            if found:
                kin.setdefault(found, []).append(record)
    groups = [
        (plural, chunk)
        for plural, members in sorted(kin.items())
        for _, chunk in _chunks([{**member, "kin": plural} for member in members], "kin", 3)
        if len(chunk) > 1
    ]
    groups.sort(key=lambda group: digest(f"family/{group[1][0]['key']}"))
    for plural, members in groups[:count]:
        pieces = [text(f"{'Two' if len(members) == 2 else 'Three'} {plural}.\n")]
        for record in members:
            pieces += [
                text(f"{sentence(record['name']).rstrip('.')}: "),
                thing(record, "molecule"),
                text("\n"),
            ]
        yield {"key": f"page/family/{members[0]['key']}", "document": pieces}


def _catalogues(clouds: list[Record]) -> Iterator[Record]:
    """A page of up to three things of one category, each a cloud with a sentence."""
    for number, (category, members) in enumerate(_chunks(clouds, "category", CLOUDS_PER_PAGE)):
        pieces = [text(f"Furniture catalogue: {category.lower()}\n")]
        for place, record in enumerate(members, 1):
            words = chance(f"catalogue/{record['key']}").choice(record["sentence"])
            pieces += [text(f"{place}. {record['name']} "), thing(record, "cloud"), text(f" {words}\n")]
        yield {"key": f"page/catalogue/{members[0]['split']}/{number}", "document": pieces}


def _chats(
    images: list[Record], molecules: list[Record], clouds: list[Record], count: int, side: str
) -> Iterator[Record]:
    """Two to four exchanges, at least two kinds of thing in each chat."""
    sources = {"image": images, "molecule": molecules, "cloud": clouds}
    for number in range(count):
        key = f"page/chat/{side}/{number}"
        rng = chance(key)
        kinds = rng.sample(list(EXCHANGES), rng.choice([2, 2, 3, 3, 4]))
        if len({kind.split()[-1] for kind in kinds}) == 1:
            kinds[-1] = next(kind for kind in EXCHANGES if kind.split()[-1] != kinds[0].split()[-1])
        turns = []
        for kind in kinds:
            block = kind.split()[-1]
            asked, answered = EXCHANGES[kind](rng.choice(sources[block]), rng)
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        yield {"key": key, "turns": turns}


def _draw(records: list[Record], count: int, why: str) -> list[Record]:
    return sorted(records, key=lambda record: digest(f"{why}/{record['key']}"))[:count]


Exchange = Callable[[Record, random.Random], tuple[list[Piece], list[Piece]]]


def _see_image(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["What is this?", "What do you see?", "Describe the picture."])
    return [thing(record, "image"), text(ask)], [text(rng.choice(record["caption"]))]


def _draw_image(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["Draw this: {}", "Make a picture. {}", "Show me: {}"])
    return [text(ask.format(rng.choice(record["caption"])))], [thing(record, "image")]


def _read_molecule(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["Describe this molecule.", "What do you know about it?", "Which molecule is this?"])
    return [thing(record, "molecule"), text(ask)], [text(rng.choice(record["sentence"]))]


def _write_molecule(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["Write the molecule: {}", "Which molecule is meant? {}", "Give me the structure. {}"])
    return [text(ask.format(rng.choice(record["description"])))], [thing(record, "molecule")]


def _see_cloud(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["What object is this?", "Name this shape.", "What stands here?"])
    return [thing(record, "cloud"), text(ask)], [text(rng.choice(record["sentence"]))]


def _make_cloud(record: Record, rng: random.Random) -> tuple[list[Piece], list[Piece]]:
    ask = rng.choice(["Make the shape: {}", "Model this. {}", "Build me this: {}"])
    words = rng.choice([*record["sentence"], sentence(article(record["name"].lower()))])
    return [text(ask.format(words))], [thing(record, "cloud")]


EXCHANGES: dict[str, Exchange] = {
    "see image": _see_image, "draw image": _draw_image, "read molecule": _read_molecule,
    "write molecule": _write_molecule, "see cloud": _see_cloud, "make cloud": _make_cloud,
}  # fmt: skip
