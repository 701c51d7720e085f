from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.data.sources import BadRecord, Blob, Record, format_of, read
from unitok.data.sources.longtext import CHARACTERS, pieces


def good(records):
    return [r for r in records if isinstance(r, Record)]


def bad(records):
    return [r for r in records if isinstance(r, BadRecord)]


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# -------------------------------------------------------------------- jsonl


@pytest.mark.parametrize("zipped", [False, True])
def test_jsonl(tmp_path, zipped):
    text = '{"key": "a", "t": "x"}\n\n{"t": "é"}\nnonsense\n7\n{"id": 12}\n'
    path = tmp_path / ("r.jsonl.gz" if zipped else "r.jsonl")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    records = list(read(path))
    assert [(r.key, r.where) for r in good(records)] == [
        ("a", f"{path.name}:1"), ("r:3", f"{path.name}:3"), ("12", f"{path.name}:6"),
    ]  # fmt: skip
    assert good(records)[1].fields == {"t": "é"}
    assert good(records)[0].root == tmp_path
    assert [b.where for b in bad(records)] == [f"{path.name}:4", f"{path.name}:5"]
    assert "not JSON" in bad(records)[0].reason
    assert "int" in bad(records)[1].reason


def test_a_cut_gzip_loses_its_end_only(tmp_path):
    lines = "".join(json.dumps({"key": str(i), "t": str(i * i) * 20}) + "\n" for i in range(2000))
    whole = gzip.compress(lines.encode())
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    records = list(read(path))
    assert len(good(records)) > 100
    assert [r.key for r in good(records)] == [str(i) for i in range(len(good(records)))]
    assert "rest is lost" in bad(records)[-1].reason


def test_bytes_that_are_not_utf8_are_a_bad_line(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"t": "\xff"}\n{"t": "x"}\n')
    records = list(read(path))
    assert len(good(records)) == len(bad(records)) == 1


# -------------------------------------------------------------------- folder


def test_a_folder_groups_files_by_stem(tmp_path):
    for name, data in {
        "b.txt": b"bee", "b.img": b"B", "a.left.img": b"L", "a.json": b'{"split": "heldout", "n": 3}', "sub/b.txt": b"sub",
        ".hidden.txt": b"no", "README": b"no",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    records = list(read(tmp_path))
    assert [r.key for r in records] == ["a", "b", "sub/b"]
    assert records[0].fields == {"left.img": Blob(b"L", ".img"), "split": "heldout", "n": 3}
    assert records[1].fields == {"txt": "bee", "img": Blob(b"B", ".img")}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("b.txt", b"\xff\xfe", "not UTF-8"),
        ("b.json", b"{", "not JSON"),
        ("b.json", b"[]", "must be an object"),
    ],
)
def test_a_bad_file_spoils_its_record_only(tmp_path, name, data, reason):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.img").write_bytes(b"B")
    (tmp_path / name).write_bytes(data)
    records = list(read(tmp_path))
    assert [r.key for r in good(records)] == ["a"]
    assert reason in bad(records)[0].reason
    assert bad(records)[0].where.endswith(name)


# -------------------------------------------------------------------- tar

MEMBERS = [(f"{k}.{suffix}", f"{suffix} of {k}".encode() * 100) for k in "abcd" for suffix in ("img", "txt")]


@pytest.mark.parametrize("name", ["r.tar", "r.tar.gz", "r.tgz"])
def test_tar(tmp_path, name):
    path = tar_of(tmp_path / name, MEMBERS, "w:gz" if name.endswith("gz") else "w")
    records = list(read(path))
    assert [(r.key, r.where) for r in records] == [(k, f"{name}::{k}") for k in "abcd"]
    assert records[2].fields == {"img": Blob(b"img of c" * 100, ".img"), "txt": "txt of c" * 100}


def test_names_longer_than_a_header_and_folders(tmp_path):
    long = "folder/" * 20 + "key"
    path = tmp_path / "r.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        info = tarfile.TarInfo(f"{long}.txt")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"hi"))
    (record,) = read(path)
    assert record.key == long


def test_a_bad_member_spoils_its_record_only(tmp_path):
    members = [("a.txt", b"fine"), ("b.txt", b"\xff"), ("b.img", b"B"), ("c.txt", b"fine")]
    records = list(read(tar_of(tmp_path / "r.tar", members)))
    assert [r.key for r in good(records)] == ["a", "c"]
    assert bad(records) == [BadRecord("r.tar::b.txt", bad(records)[0].reason)]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_header_is_skipped_and_reported(tmp_path, zipped):
    path = tar_of(tmp_path / "r.tar", MEMBERS)
    data = bytearray(path.read_bytes())
    header = data.index(b"b.img")
    data[header + 10 : header + 40] = b"\x01" * 30
    if zipped:
        path = tmp_path / "r.tar.gz"
        data = bytearray(gzip.compress(bytes(data)))
    path.write_bytes(data)
    records = list(read(path))
    assert [r.key for r in good(records)] == ["a", "b", "c", "d"]
    assert "img" not in good(records)[1].fields
    assert good(records)[3].fields["txt"] == "txt of d" * 100
    assert len(bad(records)) == 1
    assert "bytes before 'b.txt'" in bad(records)[0].reason
    assert bad(records)[0].where == f"{path.name}::byte {header}"


def test_a_truncated_tar_loses_its_end_only(tmp_path):
    path = tar_of(tmp_path / "r.tar", MEMBERS)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"c.txt") + 600])
    records = list(read(path))
    assert [r.key for r in good(records)][:2] == ["a", "b"]
    assert "rest is lost" in bad(records)[-1].reason
    assert all("txt" in r.fields for r in good(records)[:2])


def test_archives_end_to_end_are_one(tmp_path):
    one, two = tar_of(tmp_path / "1.tar", MEMBERS[:4]), tar_of(tmp_path / "2.tar", MEMBERS[4:])
    (tmp_path / "r.tar").write_bytes(one.read_bytes() + two.read_bytes())
    records = list(read(tmp_path / "r.tar"))
    assert [r.key for r in records] == list("abcd")


@pytest.mark.parametrize("data", [b"", b"this is no archive" * 100])
def test_what_is_no_tar_says_so(tmp_path, data):
    (tmp_path / "r.tar").write_bytes(data)
    (only,) = read(tmp_path / "r.tar")
    assert isinstance(only, BadRecord)


# -------------------------------------------------------------------- parquet


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import Table, parquet

    rows = [
        {
            "key": "a",
            "caption": ["x", "y"],
            "image": {"bytes": b"PNG", "path": "a.png"},
            "file": {"file": "b.img"},
            "n": 1.5,
        },
        {"key": None, "caption": None, "image": None, "file": None, "n": None},
    ]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "r.parquet")
    first, second = read(tmp_path / "r.parquet")
    assert first.fields["image"] == Blob(b"PNG", ".png")
    assert first.fields["file"] == {"file": "b.img"}
    assert first.fields["caption"] == ["x", "y"]
    assert (first.key, first.where) == ("a", "r.parquet:1")
    assert (second.key, second.fields) == ("r:2", {})


def test_a_damaged_parquet_is_a_bad_record(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "r.parquet").write_bytes(b"PAR1 and nothing more")
    (only,) = read(tmp_path / "r.parquet")
    assert only.where == "r.parquet:1"
    assert "damaged" in only.reason


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "r.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"unitok-lm\[parquet\]"):
        list(read(tmp_path / "r.parquet"))


# -------------------------------------------------------------------- long text


@pytest.mark.parametrize("zipped", [False, True])
def test_long_text(tmp_path, zipped):
    book = "".join(f"Line {i} of the book, é.\r\n" + "\n" * (i % 7 == 0) for i in range(9000))
    path = tmp_path / ("book.txt.gz" if zipped else "book.txt")
    path.write_bytes(gzip.compress(book.encode()) if zipped else book.encode())
    records = list(read(path))
    assert "".join(r.fields["text"] for r in records) == book
    assert len(records) > 1
    assert all(len(r.fields["text"]) < CHARACTERS + 1000 for r in records)
    assert records[0].where == f"{path.name}:1"
    assert len({r.key for r in records}) == len(records)


def test_a_line_that_is_not_utf8_is_left_out(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"one\n\xff\nthree\n")
    records = list(read(tmp_path / "b.txt"))
    assert bad(records)[0].where == "b.txt:2"
    assert good(records)[0].fields["text"] == "one\nthree\n"


@given(st.text(alphabet=st.sampled_from(list("ab .!?\n\té")), max_size=300), st.integers(1, 60))
def test_pieces_are_the_text(text, longest):
    cut = pieces(text, longest)
    assert "".join(cut) == text
    assert all(0 < len(piece) <= longest for piece in cut if piece)


def test_pieces_end_at_the_best_border():
    text = "One. Two is longer.\n\nThree. Four."
    assert pieces(text, 100) == [text]
    assert pieces(text, 25) == ["One. Two is longer.\n\n", "Three. Four."]
    assert pieces(text, 18) == ["One. ", "Two is longer.\n\n", "Three. Four."]
    assert pieces("abcdef ghi", 4) == ["abcd", "ef ", "ghi"]


# -------------------------------------------------------------------- by name


def test_the_name_chooses_the_reader(tmp_path):
    for name, wanted in {
        "a.jsonl.gz": "jsonl",
        "A.TAR": "tar",
        "b.TXT": "text",
        "c.parquet": "parquet",
    }.items():
        (tmp_path / name).touch()
        assert format_of(tmp_path / name) == wanted
    assert format_of(tmp_path) == "folder"
    (tmp_path / "d.csv").touch()
    with pytest.raises(ValueError, match="unknown suffix"):
        format_of(tmp_path / "d.csv")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        format_of(tmp_path / "none")
