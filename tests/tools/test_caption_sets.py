"""`tools/caption_sets.py`: captioned tars and tars of classes as records that hold out the same everywhere."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tools import caption_sets


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    members = {}
    for n in range(10):
        members[f"{n:03}.png"] = png(n)
        members[f"{n:03}.json"] = json.dumps({"captions": [f"grey  {n}", f"shade {n}"]}).encode()
    pack(tmp_path / "grey.tar", members)
    return tmp_path / "grey.tar"


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_captions_and_classes(tmp_path: Path, captioned: Path):
    kinds = {
        f"{split}/{kind}/{n}.png": png(n)
        for split in ("train", "test")
        for kind in ("cat", "dog")
        for n in range(6)
    }
    pack(tmp_path / "kinds.tar", kinds)
    caption_sets.main(
        [str(tmp_path / "out"), "--captions", f"{captioned}:3", "--classes", f"{tmp_path}/kinds.tar:4"]
    )
    photos, classes = records(tmp_path / "out" / "photos.jsonl"), records(tmp_path / "out" / "classes.jsonl")
    held = [row["key"] for row in photos if row["split"] == "heldout"]
    assert len(held) == 3
    assert (tmp_path / "out" / "heldout.txt").read_text().split() == held
    assert photos[0]["caption"] == ["grey 0", "shade 0"]
    assert (tmp_path / "out" / photos[0]["image"]["file"]).read_bytes() == png(0)  # type: ignore[index]
    assert sum(row["split"] == "train" and row["name"] == "cat" for row in classes) == 4
    assert sum(row["split"] == "heldout" and row["name"] == "cat" for row in classes) == 1


def test_captions_are_a_string_or_strings_and_empty_ones_are_left_out(tmp_path: Path):
    for captions, wanted in (("one  two\nthree", ["one two three"]), (["", "x"], ["x"])):
        pack(tmp_path / "a.tar", {"a.png": png(1), "a.json": json.dumps({"captions": captions}).encode()})
        caption_sets.build(tmp_path / "out", [str(tmp_path / "a.tar")], [])
        assert json.loads((tmp_path / "out" / "photos.jsonl").read_text())["caption"] == wanted
    for wrong in (5, {"en": "x"}):
        pack(tmp_path / "b.tar", {"b.png": png(1), "b.json": json.dumps({"captions": wrong}).encode()})
        with pytest.raises(ValueError, match="give a string or a list of strings"):
            caption_sets.build(tmp_path / "out", [str(tmp_path / "b.tar")], [])


def test_mistakes(tmp_path: Path, captioned: Path):
    with pytest.raises(ValueError, match="has 10 records, so 10 cannot be held out"):
        caption_sets.build(tmp_path / "out", [f"{captioned}:10"], [])
    pack(tmp_path / "bare.tar", {"a.png": png(1)})
    with pytest.raises(ValueError, match="no picture or no captions"):
        caption_sets.build(tmp_path / "out", [str(tmp_path / "bare.tar")], [])
    pack(tmp_path / "none.tar", {"a/notes.txt": b"x"})
    with pytest.raises(ValueError, match="holds no pictures in folders"):
        caption_sets.build(tmp_path / "out", [], [str(tmp_path / "none.tar")])
    with pytest.raises(SystemExit):
        caption_sets.main([str(tmp_path / "out")])
