from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from unitok.config import load
from unitok.run import Run

ROOT = Path(__file__).parents[2]
CONFIG = """
run = "RUN"
[vocabulary]
text = { use = "text.bytes" }
[model]
depth = 1
[data]
seq_len = 64
cache = "CACHE"
[data.sources.sums]
path = "sums.jsonl"
heldout = 0.3
fields = { question = "text", answer = "text" }
chat = [ { user = "{question}", assistant = "{answer}" } ]
[train]
steps = 3
rows = 2
progress = false
[report]
title = "Sums"
"""
PANEL = """
[[report.panel]]
title = "a sum"
source = "sums"
count = 1
score = 2
budget = 16
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("write_report", ROOT / "tools" / "write_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(folder, text):
    rows = [{"question": f"{a} and {b}?", "answer": f"It is {a + b}."} for a in range(8) for b in range(8)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "sums.toml"
    path.write_text(text.replace("RUN", str(folder / "run")).replace("CACHE", str(folder / "cache")))
    run = Run.of(load(path))
    run.trainer(run.stores("train"), run.stores("heldout")).fit()
    return run.folder


@pytest.mark.slow
def test_a_finished_run_is_reported_from_its_folder_alone(tool, tmp_path, capsys):
    folder = trained(tmp_path, CONFIG + PANEL)
    page = tool.main([str(folder)])
    assert page == folder / "report.html"
    assert "the loss is" in capsys.readouterr().out
    html, numbers = page.read_text(), json.loads((folder / "report.json").read_text())
    assert "and" in html
    assert numbers["run"]["steps"] == 3
    assert numbers["panels"]["a sum"]["documents"] == 2
    assert numbers["measures"][0]["kind"] == "text"
    assert html.count("<svg") == 1
    again = tool.main([str(folder), "report.file=again.html"])
    assert json.loads((folder / "again.json").read_text())["measures"] == numbers["measures"]
    assert again.name == "again.html"


@pytest.mark.slow
def test_a_run_without_a_report_table_says_so(tool, tmp_path, capsys):
    folder = trained(tmp_path, CONFIG.partition("[report]")[0])
    with pytest.raises(SystemExit):
        tool.main([str(folder)])
    assert "no [report] table" in capsys.readouterr().err


def test_a_folder_that_holds_no_run_is_refused(tool, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no finished run"):
        tool.main([str(tmp_path)])
