"""Tables, lists and JSON lines: each bad row says why and the rest goes on; nothing ends in silence."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from modalities.molecule.files import text_of
from modalities.molecule.tables import Row, cells, fields, header, lines

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("packed", PACKERS)
def test_tabs_and_commas(tmp_path, ends, mark, packed):
    tabs = file(
        tmp_path, "a.txt" + packed, PACKERS[packed]((f'{mark}n\tSMILES{ends}1\tC{ends}{ends}2\t"C').encode())
    )
    assert list(cells(tabs, "SMILES")) == [Row(2, ["C"]), Row(4, ['"C'])]
    commas = f'{mark}name, Smiles {ends}"a, b",C{ends}{ends}"c{ends}d",CC{ends}'
    found = cells(file(tmp_path, "a.csv" + packed, PACKERS[packed](commas.encode())), "smiles", "name")
    assert [row.cells for row in found] == [["C", "a, b"], ["CC", f"c{ends}d"]]
    assert header(tmp_path / ("a.csv" + packed)) == ["name", "Smiles"]


def test_its_own_case_goes_first(tmp_path):
    path = file(tmp_path, "a.csv", "SMILES,smiles\nC,CC\n")
    assert [row.cells for row in cells(path, "smiles", "SMILES")] == [["CC", "C"]]
    with pytest.raises(ValueError, match="has the column 'Smiles' 2 times: leave one"):
        list(cells(path, "Smiles"))


def test_each_bad_row_says_why_and_the_rest_goes_on(tmp_path):
    rows = ["smiles,y", "C,1", "CC", "CC,2,3", '"C"C,4', f"{'C' * 150_000},5", "C\udcff,6", "CCC,7"]
    path = file(tmp_path, "a.csv", "\n".join(rows).encode("utf-8", "surrogateescape"))
    found = list(cells(path, "smiles", "y"))
    assert [row.line for row in found] == [2, 3, 4, 5, 6, 7, 8]
    assert [row.cells for row in found if row.cells] == [["C", "1"], ["CCC", "7"]]
    assert [row.reason.partition(",")[0] for row in found if row.reason] == [
        "1 columns where the header names 2",
        "3 columns where the header names 2",
        "the row cannot be read ('",
        "the row cannot be read (field larger than field limit (131072))",
        "bytes that are not UTF-8",
    ]


def test_a_quote_that_is_never_closed_says_what_is_lost(tmp_path):
    path = file(tmp_path, "a.csv", 'smiles,y\nC,1\n"CC,2\nCCC,3\n')
    assert [row.reason for row in cells(path, "smiles")][1] == (
        "the row cannot be read (unexpected end of data) (lines 3 to 4 are lost)"
    )


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is empty: it needs a first line"):
        list(cells(file(tmp_path, "a.csv", "\n\n"), "smiles"))
    with pytest.raises(
        ValueError, match="has the columns smiles;y and none called 'smiles': give a table, separ"
    ):
        list(cells(file(tmp_path, "b.csv", "smiles;y\nC;1\n"), "smiles"))


def test_a_first_line_of_another_encoding_is_told(tmp_path):
    path = file(tmp_path, "c.csv", "SMILES\ty\nC\t1\n".encode("utf-16"))
    with pytest.raises(ValueError, match="the first line of .*c.csv is not UTF-8: save the table as UTF-8"):
        list(cells(path, "smiles"))


def test_json_lines(tmp_path):
    path = file(
        tmp_path, "a.jsonl", b'{"a": "C", "b": "x"}\n\n[1]\n{"a": 1, "b": "x"}\nno\n{"a": "\xff", "b": ""}\n'
    )
    found = list(fields(path, "a", "b"))
    assert found[0] == Row(1, ["C", "x"])
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    for row, said in zip(found[1:], ('strings "a" and "b"', "strings", "not JSON", "not UTF-8"), strict=True):
        assert said in row.reason
        assert not row.cells


def test_lists_of_smiles(tmp_path):
    path = file(tmp_path, "a.smi", b"\xef\xbb\xbfCCO ethanol\r\n\r\nC\xff\nC\tmethane")
    assert list(lines(path)) == [Row(1, ["CCO"]), Row(3, [], "bytes that are not UTF-8"), Row(4, ["C"])]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_packed_files_are_read_whole_or_refused(tmp_path, suffix):
    text = "".join(f"C{n}\n" for n in range(60_000)).encode()
    packed = PACKERS[suffix](text)
    whole = file(tmp_path, "a.smi" + suffix, packed + PACKERS[suffix](b"last\n"))
    assert text_of(whole).encode() == text + b"last\n"
    assert sum(1 for _ in lines(whole)) == 60_001
    for name, data in (
        ("cut", packed[: len(packed) // 2]),
        ("plain", b"CCO\n"),
        ("tail", packed + packed[:20]),
    ):
        with pytest.raises(OSError, match=rf"{name}.smi{suffix} is no {suffix} file or a damaged one"):
            list(lines(file(tmp_path, f"{name}.smi{suffix}", data)))
    assert list(lines(file(tmp_path, "empty.smi" + suffix, PACKERS[suffix](b"")))) == []
