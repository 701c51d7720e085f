"""Outputs are checked before the work, and nothing that is read is written over."""

from __future__ import annotations

from argparse import Namespace

import pytest

from unitok.eval.outputs import prepare


def test_folders_are_made(tmp_path):
    prepare(Namespace(data=tmp_path / "q.json", out=tmp_path / "a" / "b.json", html=None), "out", "html")
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / "a" / "b.json").exists()


@pytest.mark.parametrize(
    ("out", "html", "said"),
    [
        ("folder", "x.html", r"--out .*folder is a folder: name a file"),
        ("folder/../q.json", "x.html", r"--out .* is --train-data, too: name another file"),
        ("r.json", "r.json", r"--html .* is --out, too: name another file"),
    ],
)
def test_files_in_the_way_are_refused(tmp_path, out, html, said):
    (tmp_path / "folder").mkdir()
    options = Namespace(train_data=tmp_path / "q.json", out=tmp_path / out, html=tmp_path / html, rows=3)
    with pytest.raises(ValueError, match=said):
        prepare(options, "out", "html")
