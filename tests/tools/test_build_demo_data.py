"""The data that ships (counts, split, licences, every file readable) and the tool that builds it."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import re
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo"
FILES = {
    "images.jsonl": 1009,
    "molecules.jsonl.gz": 4000,
    "clouds.jsonl": 310,
    "books.jsonl.gz": 68,
    "pages.jsonl.gz": 1292,
}


@pytest.fixture(scope="module", autouse=True)
def _tools_on_the_path():
    sys.path.insert(0, str(ROOT / "tools"))
    yield
    sys.path.remove(str(ROOT / "tools"))


def script():
    spec = importlib.util.spec_from_file_location("build_demo_data", ROOT / "tools" / "build_demo_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records(name: str) -> list[dict]:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(DEMO / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def pieces(page: dict) -> list[dict]:
    return [
        *page.get("document", ()),
        *(piece for turn in page.get("turns", ()) for piece in turn["content"]),
    ]


# ------------------------------------------------------------- the data that ships


@pytest.mark.parametrize("name", FILES)
def test_counts_keys_and_split(name) -> None:
    rows = records(name)
    assert len(rows) == FILES[name]
    assert len({row["key"] for row in rows}) == len(rows)
    sides = Counter(row["split"] for row in rows)
    assert set(sides) == {"train", "heldout"}
    assert 0.07 < sides["heldout"] / len(rows) < 0.13


def test_all_of_it_is_under_five_megabytes() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 5_000_000


def test_the_split_is_by_what_would_leak() -> None:
    from demo_data.common import split
    from demo_data.images import stem
    from rdkit import Chem

    for row in records("images.jsonl"):
        kind, name = row["key"].split("/")
        assert row["split"] == split(f"emoji/{stem(name)}" if kind == "emoji" else row["key"])
    for number, row in enumerate(records("clouds.jsonl")):
        assert row["key"] == f"furniture/{number}"
        assert row["split"] == split(f"furniture/{number}")
    for row in records("molecules.jsonl.gz")[::3]:
        skeleton = Chem.MolToInchiKey(Chem.MolFromSmiles(row["molecule"])).split("-")[0]
        assert row["split"] == split(f"molecule/{skeleton}"), row["key"]


def test_pages_use_records_of_their_own_side_only() -> None:
    side = {row["image"]["file"]: row["split"] for row in records("images.jsonl")}
    side |= {row["cloud"]["file"]: row["split"] for row in records("clouds.jsonl")}
    side |= {row["molecule"]: row["split"] for row in records("molecules.jsonl.gz")}
    used: Counter[str] = Counter()
    for page in records("pages.jsonl.gz"):
        for piece in pieces(page):
            [(kind, value)] = piece.items()
            used[kind] += 1
            if kind != "text":
                assert side[value if isinstance(value, str) else value["file"]] == page["split"], page["key"]
    assert min(used[kind] for kind in ("text", "image", "molecule", "cloud")) > 400


def test_chats_mix_modalities_and_take_turns() -> None:
    chats = [page for page in records("pages.jsonl.gz") if "turns" in page]
    assert len(chats) == 330
    for chat in chats:
        roles = [turn["role"] for turn in chat["turns"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len({kind for piece in pieces(chat) for kind in piece} - {"text"}) >= 2


def test_every_picture_opens_and_none_is_left_over() -> None:
    rows = records("images.jsonl")
    assert {row["image"]["file"] for row in rows} == {
        f"images/{path.name}" for path in (DEMO / "images").iterdir()
    }
    for row in rows:
        with Image.open(DEMO / row["image"]["file"]) as picture:
            assert picture.mode == "RGB"
            assert min(picture.size) == (160 if row["key"].startswith("photo/") else 96)
        assert len(row["caption"]) == len(set(row["caption"])) >= 3


def test_every_cloud_is_a_unit_cloud_with_a_true_size() -> None:
    rows = records("clouds.jsonl")
    assert {row["cloud"]["file"] for row in rows} == {
        f"clouds/{path.name}" for path in (DEMO / "clouds").iterdir()
    }
    for row in rows:
        with np.load(DEMO / row["cloud"]["file"], allow_pickle=False) as file:
            points = file["points"].astype(np.float32)
        assert points.shape == (1024, 3)
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=0.01)
        assert np.abs(points.mean(axis=0)).max() < 0.01
        assert (points * 128 == np.round(points * 128)).all()
        assert len(row["size_cm"]) == 3
        assert min(row["size_cm"]) > 0
        assert len(set(row["sentence"])) >= 5


def test_molecules_encode_and_their_sentences_vary() -> None:
    from modalities.molecule.selfies import Selfies

    rows = records("molecules.jsonl.gz")
    some = [row["molecule"] for row in rows[::10]]
    molecules = Selfies()
    codes = molecules.encode(some)
    assert molecules.decode(codes) == some
    assert max(map(len, codes)) <= 64
    forms = (
        "is also written", "systematic name of", "chemists call it", "with the formula", "molar mass of",
        "belongs to", "hydrogen-bond", "carries", "chemists see", "besides carbon", "is drawn with", "melts at",
        "that melts at", "solid at room", "liquid at room", "boils at", "flash point", "refractive index", "ring",
    )  # fmt: skip
    text = [words.lower() for row in rows for words in row["sentence"]]
    assert all(sum(form in words for words in text) >= 5 for form in forms)
    assert all(len(set(row["sentence"])) >= 4 and len(set(row["description"])) == 3 for row in rows)


def test_sentences_state_what_rdkit_computes() -> None:
    from rdkit import Chem
    from rdkit.Chem import Descriptors, rdMolDescriptors

    checked = 0
    for row in records("molecules.jsonl.gz")[:400]:
        mol = Chem.MolFromSmiles(row["molecule"])
        for words in row["sentence"]:
            found = re.search(r"has the formula (\w+) and a molar mass of ([\d.]+) g/mol", words)
            if found:
                checked += 1
                assert found[1] == rdMolDescriptors.CalcMolFormula(mol)
                assert float(found[2]) == pytest.approx(Descriptors.MolWt(mol), abs=0.06)
    assert checked > 50


def test_provenance_names_every_licence_and_credit() -> None:
    page = (DEMO / "PROVENANCE.md").read_text(encoding="utf-8")
    for words in (
        "MIT",
        "CC0-1.0",
        "CC BY 3.0",
        "PDDL-1.0",
        "WordNet 3.0",
        "public domain",
        "Princeton University",
    ):
        assert words in page
    for row in records("clouds.jsonl"):
        assert row["license"] in {"CC0-1.0", "CC-BY-3.0"}
        if row["license"] == "CC-BY-3.0":
            assert re.search(rf"- {re.escape(row['creator'])}: .*{re.escape(row['name'])}", page)
    for name in FILES:
        rows = records(name)
        train = sum(row["split"] == "train" for row in rows)
        assert f"| {train} | {len(rows) - train} |" in page
    assert all(
        row["license"] and row["source"] for row in [*records("images.jsonl"), *records("books.jsonl.gz")]
    )


# ------------------------------------------------------------- the tool


def deb(path: Path, files: dict[str, bytes]) -> None:
    """A Debian package: an ar archive with a tar.xz."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    out = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        ("data.tar.xz", data.getvalue()),
    ):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    path.write_bytes(out)


CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 3))
CUBE += "f 1 2 4 3\nf 5 6 8 7\nf 1/1 2/2 6/3 5/4\nf 3 4 8 7\nf 1 3 7 5\nf -7 -5 -1 -3\n"
CATALOG = """id=x
id#1=a
name#1=Crate
category#1=Kitchen
model#1=/a/crate.obj
width#1=10
depth#1=30
height#1=10
creator#1=Mar\\u00eda
"""


def test_clouds_are_built_from_a_package_alone(tmp_path) -> None:
    from demo_data import clouds
    from demo_data.packages import Packages

    sh3f = io.BytesIO()
    with zipfile.ZipFile(sh3f, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", CATALOG)
        archive.writestr("a/crate.obj", CUBE)
    files = {f"usr/share/sweethome3d/furniture/{name}.sh3f": sh3f.getvalue() for name in clouds.CATALOGS}
    deb(tmp_path / "sweethome3d-furniture_1_all.deb", files)
    built = []
    for run in ("one", "two"):
        rows = clouds.build(Packages(tmp_path), tmp_path / run)
        built.append((rows, [(tmp_path / run / row["cloud"]["file"]).read_bytes() for row in rows]))
    assert built[0] == built[1]
    rows = built[0][0]
    assert [row["license"] for row in rows] == ["CC0-1.0", "CC-BY-3.0"]
    assert rows[0]["creator"] == "María"
    assert rows[0]["size_cm"] == [10, 30, 10]
    assert rows[0]["sentence"][0] == "A crate."
    points = np.load(tmp_path / "one" / rows[0]["cloud"]["file"])["points"].astype(np.float32)
    spread = points.max(axis=0) - points.min(axis=0)
    assert spread[1] == pytest.approx(3 * spread[0], rel=0.1)  # OBJ's z (3 long) became y
    end = 0.01 * spread[1]
    ends = ((points < points.min(axis=0) + end) | (points > points.max(axis=0) - end))[:, 1].mean()
    assert ends == pytest.approx(2 / 14, abs=0.04)  # two of 14 square units of surface


def test_molecules_are_built_from_a_package_alone(tmp_path) -> None:
    chemicals = pytest.importorskip("chemicals", reason="the package `chemicals` is not installed")
    from demo_data import molecules
    from demo_data.packages import Packages

    base = Path(chemicals.__file__).parent
    with zipfile.ZipFile(tmp_path / "chemicals-1.5.2-py3-none-any.whl", "w") as wheel:
        with (base / molecules.IDENTIFIERS).open(encoding="utf-8") as lines:
            head = [next(lines) for _ in range(2500)]
        wheel.writestr(f"chemicals/{molecules.IDENTIFIERS}", "".join(head))
        for name in (molecules.WIKIDATA, molecules.NOTEBOOK):
            wheel.write(base / name, f"chemicals/{name}")
    rows = molecules.build(Packages(tmp_path), count=150)
    shipped = {row["key"]: row for row in records("molecules.jsonl.gz")}
    same = [row for row in rows if row["key"] in shipped]
    assert len(rows) == 150
    assert len(same) > 50
    assert all(row == shipped[row["key"]] for row in same)


def test_package_files_are_found_read_and_missed(tmp_path, monkeypatch) -> None:
    from demo_data import packages

    with tarfile.open(tmp_path / "scope-name-1.0.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("package/data/a.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    found = packages.Packages(tmp_path).file("npm", "@scope/name@1.0")
    assert packages.member(found, "data/a.txt") == b"hi"
    with pytest.raises(FileNotFoundError, match="has no data/b.txt"):
        packages.member(found, "data/b.txt")
    monkeypatch.setitem(packages.CLIENTS, "npm", lambda spec: ["false", spec])
    with pytest.raises(FileNotFoundError, match=r"other-2\.tgz there and give --from"):
        packages.Packages(tmp_path).file("npm", "other@2")
    deb(tmp_path / "thing_1.deb", {"usr/x": b"y"})
    assert packages.member(packages.Packages(tmp_path).file("debian", "thing"), "usr/x") == b"y"


def test_pages_are_the_same_every_time() -> None:
    from demo_data import pages

    built = pages.build(records("images.jsonl"), records("molecules.jsonl.gz"), records("clouds.jsonl"))
    assert built == records("pages.jsonl.gz")


def test_provenance_is_made_from_the_records() -> None:
    rows = {name: records(name) for name in FILES}
    assert script().provenance(rows) == (DEMO / "PROVENANCE.md").read_text(encoding="utf-8")


def test_records_are_written_the_same_every_time(tmp_path) -> None:
    from demo_data.common import write

    for name in ("a.jsonl", "b.jsonl.gz"):
        assert write(tmp_path / name, [{"key": "é", "n": 1}, {"key": "b"}]) == 2
        before = (tmp_path / name).read_bytes()
        write(tmp_path / name, [{"key": "é", "n": 1}, {"key": "b"}])
        assert (tmp_path / name).read_bytes() == before
    assert gzip.decompress(before).decode() == (tmp_path / "a.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "written"),
    [("armchair", "Armchair."), ("2-propanol", "2-propanol."), ("n-butane", "n-butane."), ("A b.", "A b."),
     ("x-ray", "x-ray."), ("high-heeled shoe", "High-heeled shoe."), ("a chair", "A chair."), ("woman's hat", "Woman's hat.")],
)  # fmt: skip
def test_sentences_begin_with_a_capital_where_it_means_nothing(text, written) -> None:
    from demo_data.common import sentence

    assert sentence(text) == written


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        ("CC(=O)Oc1ccccc1C(=O)O", ["a carboxylic acid", "an ester", "a benzene ring"]),
        ("CC(C)=O", ["a ketone"]),
        ("CC(=O)N", ["an amide"]),
        ("OCC(O)CO", ["three alcohols"]),
        ("NCCO", ["an alcohol", "a primary amine"]),
        ("C=CC#N", ["a nitrile", "a carbon-carbon double bond"]),
        ("CCC", []),
    ],
)
def test_functional_groups(smiles, groups) -> None:
    from demo_data.molecule_text import carried
    from rdkit import Chem

    assert carried(Chem.MolFromSmiles(smiles)) == groups


@pytest.mark.parametrize(
    ("size", "words"),
    [([100, 100, 10], "flat and wide"), ([200, 60, 20], "flat and long"), ([30, 30, 90], "tall and thin"),
     ([90, 10, 60], "wide but not deep"), ([50, 50, 50], "compact"), ([60, 60, 80], "taller than wide")],
)  # fmt: skip
def test_proportions_in_words(size, words) -> None:
    from demo_data.clouds import proportions

    assert proportions(size) == words
