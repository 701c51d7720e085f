"""Reading files of predictions and of pairs: what is mended, what is refused, what is named and left out."""

from __future__ import annotations

import pytest

from modalities.molecule.metrics.predictions import DESCRIPTION, SMILES, read_pairs, read_predictions

HEAD = "SMILES\tground truth\toutput\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="predictions.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_columns_go_by_their_names(file):
    path = file("output\tn\tSMILES\tground truth\nan acid\t1\tCC(=O)O\tthe acid\n")
    found = read_predictions(path, SMILES)
    assert (found.given, found.references, found.outputs) == (["CC(=O)O"], ["the acid"], ["an acid"])


def test_quotes_mean_nothing_and_the_artefact_goes(file):
    found = read_predictions(file(HEAD + 'C\ta "5\'-end\t[CLS] it is "so\n'), SMILES)
    assert (found.references, found.outputs, found.bad) == (["a \"5'-end"], ['it is "so'], [])


def test_doubled_backslashes_of_smiles_are_mended_and_of_texts_kept(file):
    found = read_predictions(file(HEAD + "F/C=C\\\\F\ta\\\\b\tc\\\\d\n"), SMILES)
    assert (found.given[0], found.references[0], found.outputs[0]) == ("F/C=C\\F", "a\\\\b", "c\\\\d")
    path = file("description\tground truth\toutput\na\\\\b\tF/C=C\\\\F\tF/C=C\\F\n")
    found = read_predictions(path, DESCRIPTION)
    assert (found.given[0], found.references[0], found.outputs[0]) == ("a\\\\b", "F/C=C\\F", "F/C=C\\F")


def test_bad_rows_are_named_and_the_rest_goes_on(file):
    rows = [b"C\tone", b"C\ttwo\tzwei\tdos", b"C\t\xff\tx", b"C\t \tx", b"", b"C\tgood\t", b"O\tlast\tx\r"]
    found = read_predictions(file(HEAD.encode() + b"\n".join(rows)), SMILES)
    assert found.references == ["good", "last"]
    assert found.outputs == ["", "x"]
    assert [one.partition(":")[0] for one in found.bad] == ["line 2", "line 3", "line 4", "line 5"]
    assert "2 columns where the header names 3" in found.bad[0]
    assert "bytes that are not UTF-8" in found.bad[2]


def test_a_missing_column_is_named(file):
    with pytest.raises(ValueError, match="none called 'ground truth'.*first line names SMILES, ground truth"):
        read_predictions(file("SMILES\toutput\nC\tx\n"), SMILES)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_refused(file, content):
    with pytest.raises(ValueError, match="is empty"):
        read_predictions(file(content), SMILES)


def test_a_file_without_a_good_row_is_refused(file):
    with pytest.raises(ValueError, match=r"no row that can be read \(1 are bad, the first at line 2"):
        read_predictions(file(HEAD + "C\n"), SMILES)


def test_zst_is_unpacked_and_a_damaged_one_refused(file):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    packed = zstandard.ZstdCompressor().compress((HEAD + "C\ta\tb\n").encode())
    assert read_predictions(file(packed, "p.tsv.zst"), SMILES).outputs == ["b"]
    for damaged in (b"no zstd", packed[:-3]):
        with pytest.raises(OSError, match="no .zst file or a damaged one"):
            read_predictions(file(damaged, "q.tsv.zst"), SMILES)


def test_a_table_may_be_separated_by_commas_and_begin_with_a_mark(file):
    found = read_predictions(file('\ufeffSMILES,output,ground truth\r\nC,"gas, light",methane\r\n'), SMILES)
    assert (found.given, found.references, found.outputs) == (["C"], ["methane"], ["gas, light"])


def test_pairs_come_from_tables_and_from_json_lines(file):
    table = read_pairs(file("CID\tSMILES\tdescription\n1\tF/C=C\\\\F\tan alkene\n2\t\tnothing\n"))
    assert (table.smiles, table.texts, len(table.bad)) == (["F/C=C\\F"], ["an alkene"], 1)
    rows = '{"smiles": "C", "text": "methane"}\n\n[1]\n{"smiles": 1, "text": "x"}\nno json\n'
    lines = read_pairs(file(rows, "pairs.jsonl"))
    assert (lines.smiles, lines.texts) == (["C"], ["methane"])
    assert [one.partition(":")[0] for one in lines.bad] == ["line 3", "line 4", "line 5"]


def test_the_rows_that_are_held_are_all_read(held):
    found = read_predictions(held / "molt5-small-smiles2caption.predictions.txt.zst", SMILES)
    assert (len(found.outputs), found.bad) == (3300, [])
    pairs = read_pairs(held / "chebi20_validation.txt.zst")
    assert (len(pairs.smiles), pairs.bad) == (3301, [])
    assert not any("\\\\" in smiles for smiles in pairs.smiles)
