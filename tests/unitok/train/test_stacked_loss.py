"""The loss of stacked blocks: the same nats and counts as in the flat layout, and it falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import Plain
from train_toys import markov

from unitok import Codes, Document, Segment, Spec, Vocabulary
from unitok.data.loader import Loader
from unitok.data.plan import Plan
from unitok.data.row import Row, collate, every_row
from unitok.data.store import Store
from unitok.data.writer import write_store
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.train.loss import LanguageModel

SPECS = {
    "text": Spec("text", 20, (1, None), "letters", framed=False),
    "code": Plain("code", 11, (3, 6), (7, 4)).spec,
}
VOCABULARIES = {"flat": Vocabulary.build(SPECS), "stacked": Vocabulary.build(SPECS, stacked=["code"])}
T = 40


def documents(count: int = 24) -> dict[str, Document]:
    rng = np.random.default_rng(3)
    found = {}
    for i in range(count):
        text = Segment("text", Codes(torch.from_numpy(rng.integers(0, 20, rng.integers(1, 6)))), weight=1.5)
        pairs = np.stack([rng.integers(0, p, 5) for p in (7, 4)], axis=1)[: rng.integers(3, 6)]
        code = Segment("code", Codes(torch.from_numpy(pairs)), weight=(1.0, 0.25, 0.0)[i % 3])
        found[str(i)] = (
            Document.chat([("user", [text]), ("assistant", [code])])
            if i % 4 == 3
            else Document.of(text, code)
        )
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        name: write_store(
            folder / name, vocabulary, {k: d.render(vocabulary) for k, d in documents().items()}
        )
        for name, vocabulary in VOCABULARIES.items()
    }


def whole(stores: dict[str, Store], name: str) -> Row:
    """All documents in one batch."""
    (batch,) = every_row({"s": stores[name]}, T, VOCABULARIES[name], 1000)
    return batch


def test_both_layouts_give_the_same_nats_and_the_same_counts(stores):
    """A model that knows the same in either layout, on all documents."""
    found = {}
    for name, vocabulary in VOCABULARIES.items():
        model = LanguageModel(markov(vocabulary, "code"), len(vocabulary.kinds))
        loss, sums = model(*whole(stores, name))
        torch.testing.assert_close(loss.detach(), sums[0].sum())
        found[name] = sums
    (nats, counts), (flat_nats, flat_counts) = found["stacked"], found["flat"]
    assert counts.tolist() == flat_counts.tolist()
    assert float(counts.sum()) == stores["stacked"].index.supervised.sum()
    assert nats.min() > 1
    torch.testing.assert_close(nats, flat_nats, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_loss_and_gradient_equal_the_plain_ones(stores, chunk, z_loss):
    """Each supervised part by itself, from logits as sampling asks for them."""
    vocabulary, batch = VOCABULARIES["stacked"], whole(stores, "stacked").part(0, 1)
    torch.manual_seed(0)
    sizes = ModelConfig.preset(1, vocab_size=len(vocabulary), stacks=vocabulary.stacks, width=32)
    model = LanguageModel(Decoder(sizes), len(vocabulary.kinds), z_loss, chunk)
    loss, _ = model(*batch)
    hidden = model.decoder(batch.tokens, batch.doc, batch.pos, batch.side, more=batch.more)
    second = vocabulary.block("code").ranges[1][0]
    plain = torch.zeros(())
    for b, t in (batch.weight > 0).nonzero().tolist():
        first = int(batch.targets[b, t])
        scored = [(model.decoder.logits(hidden[b, t]), first)]
        if batch.more[b, t + 1, 0] >= 0:
            vectors = model.decoder.model.embed_tokens(torch.tensor([[first]]))
            logits = model.decoder.depth.logits("code", hidden[b, t][None], vectors)[0]
            scored.append((logits, int(batch.more[b, t + 1, 0]) - second))
        for logits, target in scored:
            partition = logits.logsumexp(0)
            plain = plain + batch.weight[b, t] * (partition - logits[target] + z_loss * partition.square())
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-4)
    mine = torch.autograd.grad(loss, list(model.parameters()))
    for a, b in zip(mine, torch.autograd.grad(plain, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_batch_of_stacked_rows_is_its_rows(stores):
    batch = whole(stores, "stacked")
    rows = [batch.each(lambda column, i=i: column[i]) for i in range(3)]
    again = collate(rows)
    assert again.more.equal(batch.more[:3])
    assert again.targets.equal(batch.targets[:3])


def test_a_part_that_follows_from_the_one_before_it_is_learnt_to_the_end(tmp_path):
    """Second parts are a function of the first; first parts go round, so that all of a body can be known."""
    spec = Plain("code", 20, (8, 8), (10, 10)).spec
    vocabulary = Vocabulary.build({"code": spec}, stacked=["code"])
    made = {}
    for start in range(10):
        first = (start + torch.arange(8)) % 10
        made[str(start)] = Document.of(Segment("code", Codes(torch.stack([first, first * 3 % 10], dim=1))))
    stores = {
        "s": write_store(tmp_path / "s", vocabulary, {k: d.render(vocabulary) for k, d in made.items()})
    }
    feed = iter(Loader(stores, Plan(stores, {"s": 1.0}, 24, window=60), vocabulary, batch=5))
    torch.manual_seed(0)
    sizes = ModelConfig.preset(1, vocab_size=len(vocabulary), stacks=vocabulary.stacks, width=32)
    model = LanguageModel(Decoder(sizes), len(vocabulary.kinds))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = next(feed)
    hidden = model.decoder(batch.tokens, batch.doc, batch.pos, batch.side, more=batch.more)
    before = second_parts(model, hidden, batch)
    for _ in range(60):
        loss, sums = model(*batch)
        (loss / sums[1].sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        batch = next(feed)
    hidden = model.decoder(batch.tokens, batch.doc, batch.pos, batch.side, more=batch.more)
    assert before > 1.5
    assert second_parts(model, hidden, batch) < 0.02
    nats, counts = model(*batch)[1]
    # Of the 16 codes of a body only the first is not known beforehand: ln 10 / 16 = 0.144 nats per code.
    assert float(nats[1] / counts[1]) < 0.25


@torch.no_grad()
def second_parts(model: LanguageModel, hidden: torch.Tensor, batch: Row) -> float:
    """Mean nats of the second parts."""
    following = torch.cat([batch.more[:, 1:], torch.full_like(batch.more[:, :1], -1)], 1)
    chosen = (batch.targets >= 0) & (following[..., 0] >= 0)
    nats, _ = model.decoder.nats(hidden[chosen], batch.targets[chosen], following[chosen])
    return float(nats[:, 1].mean())
