from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from toys import Plain

from unitok import register

ROOT = Path(__file__).parents[2]


@register("toy.bench")
class Squares(Plain):
    """Four codes out of sixteen, read from a string of digits."""

    suffixes = (".squares",)

    def __init__(self) -> None:
        super().__init__("squares", 16, (4, 4))

    def read(self, data, suffix):
        return [int(c) for c in data.decode()]


CONFIG = """
[vocabulary]
text = { use = "text.bytes" }
squares = { use = "toy.bench" }
[model]
depth = 1
[data]
seq_len = 64
window = 64
cache = "CACHE"
[data.sources.words]
path = "words.jsonl"
fields = { said = "text" }
plain = ["{said}"]
[data.sources.pictures]
path = "pictures.jsonl"
fields = { said = "text", picture = "squares" }
chat = [ { user = "Draw {said}.", assistant = "{picture}" } ]
[train]
rows = 2
warmup = 0
"""


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "tools"))  # as when it is run as a script
    spec = importlib.util.spec_from_file_location("bench", ROOT / "tools" / "bench.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    rows = [{"said": "word " * (1 + i % 9)} for i in range(40)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pictures = []
    for i in range(40):
        (folder / f"{i}.squares").write_text(f"{i % 9}{i // 9}12")
        pictures.append({"said": f"number {i}", "picture": {"file": f"{i}.squares"}})
    (folder / "pictures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pictures))
    path = folder / "bench.toml"
    path.write_text(CONFIG.replace("CACHE", str(folder / "cache")))
    return path


def small(config, out, only):
    sizes = ["--repeats", "1", "--rows", "40", "--steps", "4"]
    return ["--config", str(config), "--out", str(out), "--only", only, *sizes]


def test_every_section_but_training_gives_its_figures(bench, config, tmp_path):
    out = tmp_path / "bench.json"
    found = bench.main(small(config, out, "codec,plan,fill,loader,generate"))
    assert json.loads(out.read_text()) == found
    assert set(found["sections"]) == {"codec", "plan", "fill", "loader", "generate"}
    assert set(found["sections"]["codec"]) == {"text", "squares"}
    assert found["sections"]["codec"]["squares"]["codes_per_item"] == 4
    for name in ("encoded_items_per_s", "decoded_items_per_cpu_s"):
        assert found["sections"]["codec"]["text"][name] > 0
    for name in ("tokens_per_cpu_s", "rows_tokens_per_cpu_s"):
        assert found["sections"]["plan"][name] > 0
    assert found["sections"]["loader"]["tokens_per_cpu_s"] > 0
    assert found["sections"]["generate"]["batch_16"]["grammar_tokens_per_s"] > 0
    fill = found["sections"]["fill"]
    assert 0.5 < fill["filled"] <= 1.0
    assert sum(row["share"] for row in fill["sources"].values()) == pytest.approx(1.0)
    assert set(found["goals"]) == {
        "plan.tokens_per_cpu_s",
        "plan.rows_tokens_per_cpu_s",
        "fill.filled",
        "fill.widest_spread_ratio",
        "generate.grammar_cost",
    }
    assert {"versions", "commit", "machine", "date"} <= set(found)


def test_fingerprints_of_the_datas_molecules_are_measured(bench, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    smiles = [f"{'C' * n}{end}" for n in range(1, 6) for end in ("O", "N", "=O")]
    rows = "".join(json.dumps({"molecule": one, "split": "train"}) + "\n" for one in smiles)
    (tmp_path / "rows.jsonl").write_text(rows)
    config = CONFIG[: CONFIG.index("[data.sources.words]")].replace("CACHE", str(tmp_path / "cache"))
    config = config.replace('squares = { use = "toy.bench" }', 'molecule = { use = "molecule.selfies" }')
    source = '[data.sources.rows]\npath = "rows.jsonl"\nfields = { molecule = "molecule" }\nplain = ["{molecule}"]\n'
    (tmp_path / "bench.toml").write_text(config + source + "[train]\nrows = 2\nwarmup = 0\n")
    found = bench.main(small(tmp_path / "bench.toml", tmp_path / "bench.json", "fingerprints"))
    figures = found["sections"]["fingerprints"]
    assert set(figures) == {"default", "3dmolt5"}
    for one in figures.values():
        assert one["molecules"] == len(smiles)
        assert one["ours molecules/s"] > 0


def test_data_without_molecules_have_no_fingerprints(bench, config, tmp_path):
    found = bench.main(small(config, tmp_path / "bench.json", "fingerprints"))
    assert found["sections"]["fingerprints"] == found["goals"] == {}


@pytest.mark.slow
def test_training_reports_speed_and_waiting(bench, config, tmp_path):
    found = bench.main([*small(config, tmp_path / "bench.json", "train"), "train.lr=1e-3"])
    train = found["sections"]["train"]
    assert train["tokens_per_s"] > 0
    assert train["tokens_per_cpu_s"] > 0
    assert 0 <= train["wait_share"] <= 1
    assert found["goals"]["train.wait_share"]["goal"] == "at most 0.02"


def test_an_unknown_section_is_named(bench, config, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "plans", "--config", str(config)])
    assert "no section is called 'plans'" in capsys.readouterr().err


def test_pairs_run_in_turns_and_compare_like_with_like(bench):
    order = []

    def a():
        order.append("a")
        sum(range(30_000))

    def b():
        order.append("b")
        sum(range(300_000))

    first, second, ratio = bench.pairs(a, b, 5)
    assert order == ["a", "b"] * 6
    assert second.cpu > first.cpu
    assert ratio > 2


def test_goals_say_which_side_counts(bench):
    sections = {
        "fill": {"filled": 0.97, "widest_spread_ratio": 1.5},
        "generate": {"grammar_cost": 0.06},
        "fingerprints": {"default": {"ratio": 20.0}, "3dmolt5": {"ours molecules/s": 300.0}},
    }
    found = bench.goals(sections)
    assert {name: row["met"] for name, row in found.items()} == {
        "fill.filled": False,
        "fill.widest_spread_ratio": True,
        "generate.grammar_cost": False,
        "fingerprints.default.ratio": True,
    }


def test_ways_run_in_turns_after_one_that_warms_up(bench):
    from measuring.timing import in_turns

    calls = []
    found = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert found.keys() == {"a", "b"}
    assert min(found["a"].wall, found["b"].cpu) >= 0
