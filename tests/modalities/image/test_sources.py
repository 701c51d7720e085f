"""Pictures for training: every kind of source, and a split that leaks nothing."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from modalities.common.training import held_out
from modalities.image import sources
from modalities.image.io import write_image
from modalities.image.library import Library, entries

KEYS = [f"{0x1F600 + n:x}" for n in range(40)]


def picture(key: str, side: int = 8) -> bytes:
    return write_image(Image.new("RGB", (side, side), f"#{int(key[:5], 16):06x}"), ".png")


def test_folder_tar_and_jsonl_give_the_same_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = []
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for key in KEYS[:5]:
            (folder / f"{key}.png").write_bytes(picture(key))
            for suffix, data in ((".png", picture(key)), (".json", b"{}")):
                member = tarfile.TarInfo(key + suffix)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            lines.append(json.dumps({"image": {"file": f"folder/{key}.png"}}))
    (folder / "notes.txt").write_text("no picture")
    (tmp_path / "all.jsonl").write_text("\n".join([*lines, json.dumps({"caption": "no picture"})]))
    found = [list(sources.pictures(tmp_path / name)) for name in ("folder", "all.tar", "all.jsonl")]
    assert found[0] == found[1] == found[2]
    assert [each.key for each in found[0]] == KEYS[:5]
    with pytest.raises(ValueError, match="no folder"):
        list(sources.pictures(tmp_path / "nothing.zip"))


def test_split_holds_out_a_tenth_and_its_skin_tones(tmp_path: Path) -> None:
    held = next(key for key in KEYS if held_out(key))
    kept = next(key for key in KEYS if not held_out(key) and not held_out(f"{key}-1f3fd"))
    for key in (held, f"{held}-1f3fd", kept, f"{kept}-1f3fd"):
        (tmp_path / f"{key}.png").write_bytes(picture(key))
    train, heldout, *_ = sources.split([tmp_path], size=4)
    assert train.shape == (2, 3, 4, 4)
    assert train.dtype == torch.uint8
    assert heldout.shape == (1, 3, 4, 4)
    colour = int(held, 16)
    assert heldout[0, :, 0, 0].tolist() == [colour >> 16, colour >> 8 & 255, colour & 255]
    assert not any(torch.equal(each, heldout[0]) for each in train)


def test_a_record_that_names_its_split_is_believed(tmp_path: Path) -> None:
    lines = []
    for key, side in zip(KEYS[:4], ("train", "heldout", "train", "heldout"), strict=True):
        (tmp_path / f"{key}.png").write_bytes(picture(key))
        lines.append(json.dumps({"split": side, "image": f"{key}.png"}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    train, heldout, *_ = sources.split([tmp_path / "a.jsonl"], size=4)
    assert (len(train), len(heldout)) == (2, 2)


def test_large_pictures_give_crops_to_train_on(tmp_path: Path) -> None:
    kept = next(key for key in KEYS if not held_out(key))
    held = next(key for key in KEYS if held_out(key))
    for key, side in ((kept, 20), (held, 20), (f"{kept}-200d", 7)):
        (tmp_path / f"{key}.png").write_bytes(picture(key, side))
    train, heldout, *_ = sources.split([tmp_path], size=8, crops=3)
    assert len(heldout) == 1
    assert len(train) in (4, 5)  # one picture with three crops, and the small one unless it is held out


def test_damage_names_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "1f600.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1f600"):
        sources.split([tmp_path], size=4)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="0 pictures to train on"):
        sources.split([empty], size=4)


def test_pictures_left_on_disk_are_the_same_ones(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for key in KEYS:
        (folder / f"{key}.png").write_bytes(picture(key))
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        tar.add(folder, "files")
    (tmp_path / "damaged").mkdir()
    for path in (folder, tmp_path / "packed.tar"):
        held, shelf = sources.split([path], size=4), sources.shelve([path], size=4)
        assert shelf.heldout_keys == held.heldout_keys
        assert shelf.heldout.equal(held.heldout)
        assert sorted(shelf.keys) == sorted(held.keys)
        assert shelf.counts == held.counts
        found = shelf.train[torch.arange(len(shelf.keys))]
        for number, key in enumerate(shelf.keys):
            assert found[number].equal(held.train[held.keys.index(key)])  # type: ignore[index]
    with pytest.raises(ValueError, match="uncompressed"):
        sources.shelve([tmp_path / "a.tar.gz"], size=4)


def test_a_damaged_picture_on_disk_gives_way_to_the_next(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(picture(str(n)) if n != 1 else b"no picture")
    library = Library(list(entries(tmp_path)), 4)
    found = library[torch.tensor([1, 2])]
    assert found[0].equal(found[1])
    assert library.damaged == 1
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 1 pictures"):
        Library(list(entries(tmp_path / "only")), 4)[torch.tensor([0])]


def test_pictures_of_one_name_in_several_folders_are_all_there(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for n in range(30):
            (tmp_path / kind / f"{n:04}.png").write_bytes(
                picture(f"{n + 0x10000 * (kind == 'dog') + 0x20000:x}")
            )
    for way in (sources.split, sources.shelve):
        found = way([tmp_path], size=4)
        assert len(found.keys) + len(found.heldout_keys) == 60


def test_the_crop_of_a_system_is_the_crop_it_trains_on(tmp_path: Path) -> None:
    for n in range(30):
        image = Image.new("RGB", (80, 20), "black")
        image.paste("white", (0, 0, 10, 20))  # outside the middle square
        image.save(tmp_path / f"{n}.png")
    for way in (sources.split, sources.shelve):
        cover, square = (way([tmp_path], 4, how=how).train[torch.tensor([0])] for how in ("cover", "square"))
        assert int(cover.max()) == 0
        assert int(square[..., 0].min()) > 60


@pytest.mark.parametrize(
    ("line", "words"), [("{", r":2 is no JSON"), ("[1]", ":2 is a list"), ('{"image": 3}', ":2: image is 3")]
)
def test_records_that_cannot_be_read_name_their_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "x.jsonl").write_text("\n" + line + "\n")
    with pytest.raises(ValueError, match=words):
        list(sources.pictures(tmp_path / "x.jsonl"))


def test_a_tar_packed_with_zstd_and_its_folders_that_name_the_split(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for key, folder in zip(KEYS[:6], ("train", "test", "train", "test", "train", "train"), strict=True):
            member = tarfile.TarInfo(f"{folder}/disc/{key}.png")
            member.size = len(picture(key))
            tar.addfile(member, io.BytesIO(picture(key)))
    whole = zstandard.ZstdCompressor().compress(packed.getvalue())
    (tmp_path / "a.tar.zst").write_bytes(whole)
    found = sources.split([tmp_path / "a.tar.zst"], size=4)
    assert (len(found.train), len(found.heldout)) == (4, 2)
    assert sorted(found.heldout_keys) == [f"test-disc-{KEYS[1]}", f"test-disc-{KEYS[3]}"]
    (tmp_path / "cut.tar.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.tar.zst is a damaged archive"):
        sources.split([tmp_path / "cut.tar.zst"], size=4)


def test_without_the_package_a_packed_tar_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "a.tar.zst").write_bytes(b"")
    with pytest.raises(ImportError, match="pip install zstandard"):
        list(sources.pictures(tmp_path / "a.tar.zst"))


@pytest.mark.parametrize("read", [sources.split, sources.shelve])
def test_a_source_may_be_held_out_whole(tmp_path: Path, read: Callable[..., sources.Split]) -> None:
    for name, keys in (("train", KEYS[:20]), ("judged", [*KEYS[20:30], KEYS[0]])):
        (tmp_path / name).mkdir()
        for key in keys:
            (tmp_path / name / f"{key}.png").write_bytes(picture(key))
    found = read([tmp_path / "train"], 4, heldout=[tmp_path / "judged"])
    assert {*KEYS[20:30], KEYS[0]} <= set(found.heldout_keys)
    assert set(found.keys) == {key for key in KEYS[1:20] if not held_out(key)}
    assert found.counts == [len(found.keys)]
