"""Damaged files of every built-in modality, through the recipe: each is named in a sentence, the rest goes on."""

from __future__ import annotations

import io
import json
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "tokenize_data.py"


def png() -> bytes:
    image = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 50, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def sdf() -> bytes:
    chem = pytest.importorskip("rdkit.Chem")
    return (chem.MolToMolBlock(chem.MolFromSmiles("CCO")) + "$$$$\n").encode()


def ply(points: np.ndarray, promised: int | None = None) -> bytes:
    head = f"ply\nformat ascii 1.0\nelement vertex {promised or len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return (head + "".join("{} {} {}\n".format(*point) for point in points)).encode()


def cloud(bad: float = 0.0) -> np.ndarray:
    points = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    points[7, 1] += bad
    return points


def tokenize(tmp_path: Path, block: str, use: str, path: str, suffix: str) -> list[dict[str, str]]:
    """Run the recipe on one source; the bad records that its store lists. One good record must be left."""
    (tmp_path / "run.toml").write_text(
        f"""
        run = "{tmp_path / "run"}"
        vocabulary.text.use = "text.bytes"
        vocabulary.{block}.use = "{use}"
        [data]
        cache = "{tmp_path / "cache"}"
        seq_len = 128
        [data.sources.s]
        path = "{path}"
        fields = {{ {suffix} = "{block}", txt = "text" }}
        chat = [{{ user = "{{{suffix}}}", assistant = "{{txt}}" }}]
        """
    )
    runpy.run_path(str(RECIPE))["main"]([str(tmp_path / "run.toml")])
    (store,) = (tmp_path / "cache").glob("s.train.*")
    assert json.loads((store / "manifest.json").read_text())["documents"] == 1
    return [json.loads(line) for line in (store / "bad.jsonl").read_text().splitlines()]


def folder(tmp_path: Path, suffix: str, files: dict[str, bytes]) -> None:
    (tmp_path / "files").mkdir()
    for name, data in files.items():
        (tmp_path / "files" / f"{name}.{suffix}").write_bytes(data)
        (tmp_path / "files" / f"{name}.txt").write_text("words")


def named(bad: list[dict[str, str]], wanted: dict[str, str]) -> None:
    assert [line["where"] for line in bad] == [f"files/{name}" for name in sorted(wanted)]
    for line, (_, words) in zip(bad, sorted(wanted.items()), strict=True):
        assert words in line["reason"]
        assert "\n" not in line["reason"]


def test_pictures(tmp_path: Path) -> None:
    folder(tmp_path, "png", {"good": png(), "cut": png()[:400], "empty": b"", "junk": b"GIF89a\0\0"})
    bad = tokenize(tmp_path, "image", "image.titok", "files", "png")
    named(bad, {"cut": "damaged PNG", "empty": "0 bytes that are no PNG", "junk": "no PNG, JPEG, WebP"})


def test_molecules(tmp_path: Path) -> None:
    files = {"good": sdf(), "cut": sdf()[:150], "empty": b"", "two": sdf() * 2, "binary": bytes(range(256))}
    folder(tmp_path, "sdf", files)
    bad = tokenize(tmp_path, "molecule", "molecule.selfies", "files", "sdf")
    wanted = {"cut": "damaged", "empty": "0 records", "two": "2 records", "binary": "not UTF-8"}
    named(bad, wanted)


def test_clouds(tmp_path: Path) -> None:
    files = {
        "good": ply(cloud()),
        "nan": ply(cloud(np.nan)),
        "infinite": ply(cloud(np.inf)),
        "cut": ply(cloud(), promised=10**15),
        "none": ply(cloud()[:0]),
        "one": ply(cloud()[:1]),
        "junk": b"\0" * 50,
    }
    folder(tmp_path, "ply", files)
    wanted = {
        "nan": "1 of 400 points are not finite",
        "infinite": "1 of 400 points are not finite",
        "cut": "damaged or cut short",
        "none": "without points",
        "one": "extent",
        "junk": "not a PLY file",
    }
    named(tokenize(tmp_path, "cloud", "pointcloud.any2point", "files", "ply"), wanted)


def test_a_tar_with_a_damaged_member(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name, data in {"a.png": png(), "a.txt": b"a", "b.png": png()[:400], "b.txt": b"b"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (bad,) = tokenize(tmp_path, "image", "image.titok", "shard.tar", "png")
    assert bad["where"] == "shard.tar::b"
    assert "damaged PNG" in bad["reason"]
