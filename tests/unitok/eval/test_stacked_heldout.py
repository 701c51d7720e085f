"""Held-out losses and their lines mean the same in both layouts."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from toys import STACKED, parted
from train_toys import markov

from unitok import Document, Vocabulary
from unitok.data.writer import write_store
from unitok.document import segment
from unitok.eval.bodies import bodies
from unitok.eval.heldout import evaluate, marks, measure, references, split
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

MODALITIES = parted()
LAYOUTS = {"flat": Vocabulary.build(MODALITIES), "stacked": Vocabulary.build(MODALITIES, stacked=["cloud"])}


def documents(seed: int, count: int = 30) -> dict[str, Document]:
    rng = np.random.default_rng(seed)
    found = {}
    for i in range(count):
        text = segment(MODALITIES["text"], rng.integers(0, 90, rng.integers(1, 8)).tolist())
        cloud = segment(
            MODALITIES["cloud"], [[int(x), int(x) % 4] for x in rng.integers(0, 8, rng.integers(2, 6))]
        )
        chat = Document.chat([("user", [cloud]), ("assistant", [text, cloud])])
        found[f"{seed}-{i}"] = chat if i % 2 else Document.of(cloud, text)
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """{layout: {split: {source: store}}}."""
    folder = tmp_path_factory.mktemp("stores")

    def store(layout, number):
        rendered = {key: document.render(LAYOUTS[layout]) for key, document in documents(number).items()}
        return write_store(folder / f"{layout}{number}", LAYOUTS[layout], rendered)

    splits = {"train": {"a": 0, "b": 1}, "held": {"a": 2, "b": 3}}
    return {
        layout: {name: {s: store(layout, n) for s, n in sources.items()} for name, sources in splits.items()}
        for layout in LAYOUTS
    }


def test_a_split_is_the_same_stream(stores):
    flat, stacked = (split(stores[layout]["train"]) for layout in LAYOUTS)
    assert flat.names == stacked.names
    for name in ("ids", "weight", "starts", "source", "group"):
        np.testing.assert_array_equal(getattr(stacked, name), getattr(flat, name))
    assert stores["stacked"]["train"]["a"].tokens < stores["flat"]["train"]["a"].tokens


def test_lines_and_codes_per_item_are_the_same(stores):
    found = [references(split(s["held"]), split(s["train"]), LAYOUTS[name]) for name, s in stores.items()]
    assert found[0] == found[1]
    lines, per_item = found[0]
    assert per_item["cloud"] > 6
    assert 0 < lines["cloud"]["unigram"] < np.log(8)


def test_a_model_that_knows_the_same_has_the_same_figures(stores):
    """Every code of every document, then means per code and bits per item."""
    found = {}
    for layout, vocabulary in LAYOUTS.items():
        laid, loss = evaluate(markov(vocabulary, "cloud"), stores[layout]["held"], vocabulary, seq_len=64)
        order = np.lexsort((laid.group, laid.source))  # the layouts pack differently
        nats = [loss[laid.starts[i] : laid.starts[i + 1]] for i in order]
        ids = [laid.ids[laid.starts[i] : laid.starts[i + 1]] for i in order]
        rows = measure(loss, laid, split(stores[layout]["train"]), vocabulary)
        found[layout] = np.concatenate(ids), np.concatenate(nats), rows, marks(loss, laid, vocabulary)
    flat, stacked = found["flat"], found["stacked"]
    np.testing.assert_array_equal(stacked[0], flat[0])
    np.testing.assert_allclose(stacked[1], flat[1], rtol=1e-3, atol=1e-3)
    assert len(flat[2]) == len(stacked[2]) == 6
    for a, b in zip(stacked[2], flat[2], strict=True):
        assert (a.kind, a.source, a.codes, a.items) == (b.kind, b.source, b.codes, b.items)
        assert asdict(a.lines) == pytest.approx(asdict(b.lines))
        assert a.nats == pytest.approx(b.nats, rel=1e-4)
        assert a.bits_per_item == pytest.approx(b.bits_per_item, rel=1e-4)
    assert stacked[3]["count"] == flat[3]["count"]
    assert stacked[3]["nats"] == pytest.approx(flat[3]["nats"], rel=1e-4)


def test_bodies_know_the_parts_of_blocks_of_different_widths(tmp_path):
    vocabulary = Vocabulary.build(MODALITIES, stacked=STACKED)
    sound = [[5, 4, 3], [0, 1, 2]]
    document = Document.of(
        segment(MODALITIES["sound"], sound), segment(MODALITIES["cloud"], [[7, 3], [1, 1]])
    )
    store = write_store(tmp_path / "s", vocabulary, {"0": document.render(vocabulary)})
    found = bodies(vocabulary, split({"s": store}))
    assert found["sound"].code.tolist() == [5, 4, 3, 0, 1, 2]
    assert found["sound"].part.tolist() == [0, 1, 2, 0, 1, 2]
    assert found["cloud"].code.tolist() == [7, 3, 1, 1]
    torch.manual_seed(0)
    sizes = ModelConfig.preset(
        1, vocab_size=len(vocabulary), channels=vocabulary.channels, stacks=vocabulary.stacks
    )
    laid, loss = evaluate(Decoder(sizes), {"s": store}, vocabulary, seq_len=16)
    assert len(laid.ids) == len(loss) == 16
    assert np.isfinite(loss).sum() == 15
