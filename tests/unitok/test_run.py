"""A run with a stacked block, from its TOML to a sampled item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from toys import Plain

from unitok import Codes, Document, Segment, register
from unitok.config import ConfigError, load
from unitok.generate import Sampler
from unitok.run import Run, reopen
from unitok.train import metrics
from unitok.train.checkpoint import CheckpointError
from unitok.vocabulary import VocabularyMismatch


@register("toy.chords")
class Chords(Plain):
    """Strings such as "3.1.0 4.4.2": three codes to a position."""

    def __init__(self) -> None:
        super().__init__("chords", 15, (1, 6), parts=(5, 5, 5))

    def encode(self, items: Sequence[str]) -> list[Codes]:
        return super().encode([[[int(i) for i in one.split(".")] for one in item.split()] for item in items])

    def decode(self, codes: Sequence[Codes]) -> list[str]:
        return [" ".join(".".join(map(str, one)) for one in item) for item in super().decode(codes)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = [{"key": f"k{i}", "said": f"tune {i}", "tune": f"{i % 5}.1.{i % 3} 4.0.2"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        run = "{tmp_path / "run"}"
        [vocabulary]
        text = {{ use = "text.bytes" }}
        chords = {{ use = "toy.chords", stacked = true }}
        [model]
        depth = 1
        width = 32
        [train]
        steps = 2
        rows = 2
        warmup = 0
        progress = false
        [data]
        cache = "{tmp_path / "cache"}"
        seq_len = 64
        [data.sources.tunes]
        path = "rows.jsonl"
        heldout = 0.2
        fields = {{ said = "text", tune = "chords" }}
        chat = [{{ user = "{{said}}", assistant = "{{tune}}" }}]
        """
    )
    return path


def train(path: Path, *overrides: str) -> Path:
    run = Run.of(load(path, overrides))
    run.trainer(run.stores(), run.stores("heldout")).fit()
    return run.folder


def test_a_stacked_run_trains_is_opened_again_and_writes_items(config: Path) -> None:
    folder = train(config)
    run, decoder = reopen(folder)
    assert run.vocabulary.block("chords").stacked
    assert decoder.config.stacks == run.vocabulary.stacks
    assert "stacked = true" in (folder / "config.toml").read_text()
    asked = Document.chat([("user", [Segment("text", run.modalities["text"].encode(["tune 3"])[0])])])
    sampler = Sampler(decoder, run.vocabulary, run.modalities)
    for [tune, *_] in sampler.generate([asked] * 8, budget=10, first="chords", produce=["chords"]):
        assert len(run.modalities["chords"].decode([tune.codes])[0].split()) == len(tune.codes) <= 6


def test_figures_of_a_run_count_codes_in_either_layout(config: Path) -> None:
    folder = train(config, "train.steps=1")
    stacked = metrics.read(folder)
    flat = metrics.read(train(config, "train.steps=1", "vocabulary.chords.stacked=false", f"run={folder}2"))
    assert flat[0]["lines"] == stacked[0]["lines"]
    weights = [next(r for r in records if r["event"] == "heldout")["weight"] for records in (flat, stacked)]
    assert weights[0]["chords"] == pytest.approx(
        6 * weights[0]["mark"] / 3
    )  # 6 codes beside begin, end and turn
    assert weights[1]["chords"] == pytest.approx(6 * weights[1]["mark"] / 3)


def test_a_run_does_not_go_on_in_the_other_layout(config: Path) -> None:
    folder = train(config, "train.steps=1")
    with pytest.raises((VocabularyMismatch, CheckpointError), match="vocabulary"):
        train(config, "vocabulary.chords.stacked=false")
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("stacked = true", "stacked = false"))
    with pytest.raises(VocabularyMismatch, match=r"put \[vocabulary\] back"):
        reopen(folder)


def test_a_block_that_cannot_be_stacked_is_named(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[vocabulary\]: block 'text' cannot be stacked: it has 1 code"):
        Run.of(load(config, ["vocabulary.text.stacked=true"]))
    with pytest.raises(ConfigError, match="vocabulary.chords.stacked = 'image'"):
        load(config, ["vocabulary.chords.stacked=image"])


def test_a_pretrained_folder_takes_a_stacked_block(config: Path, tmp_path: Path) -> None:
    start = train(config, "train.steps=1", "vocabulary.chords.stacked=false")
    run = Run.of(load(config, [f"model.pretrained={start / 'model'}", f"run={tmp_path / 'second'}"]))
    decoder = run.decoder()
    assert decoder.depth is not None
    assert decoder.depth.entry.weight.std() > 0.1
    flat, _ = reopen(start)
    assert flat.vocabulary.block("chords").start == run.vocabulary.block("chords").start
    assert torch.equal(decoder.lm_head.weight, reopen(start)[1].lm_head.weight)


def test_a_temperature_weighs_sources_by_their_documents(config: Path, tmp_path: Path) -> None:
    rows = [{"key": f"s{i}", "said": f"tune {i}", "tune": "1.1.1"} for i in range(5)]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    few = (
        "data.sources.few.path=few.jsonl",
        "data.sources.few.weight=2.0",
        'data.sources.few.fields={said="text", tune="chords"}',
        'data.sources.few.chat=[{user="{said}", assistant="{tune}"}]',
    )

    def ratio(*temperature: str) -> tuple[float, float]:
        run = Run.of(load(config, [*few, *temperature]))
        stores = run.stores()
        weights = run.weights(stores)
        return weights["tunes"] / weights["few"], len(stores["tunes"]) / len(stores["few"])

    plain, sizes = ratio()
    assert plain == 0.5
    assert sizes > 4
    assert ratio("data.temperature=1")[0] == pytest.approx(0.5 * sizes)
    assert ratio("data.temperature=4")[0] == pytest.approx(0.5 * sizes**0.25)
    with pytest.raises(ConfigError, match="temperature"):
        load(config, ["data.temperature=0.5"])
