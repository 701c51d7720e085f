"""The depth head: what it sees, what it scores, what it learns, and how it is kept."""

from __future__ import annotations

import json

import pytest
import torch
from toys import STACKED, parted

from unitok import Document, Vocabulary
from unitok.data.plan import once
from unitok.data.row import Row, fill
from unitok.data.writer import write_store
from unitok.document import segment
from unitok.model import weights
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.train.loss import LanguageModel

MODALITIES = parted()
VOCABULARY = Vocabulary.build(MODALITIES, stacked=STACKED)
CLOUD, SOUND = VOCABULARY.block("cloud"), VOCABULARY.block("sound")


def build(vocabulary: Vocabulary = VOCABULARY, layers: int = 2) -> Decoder:
    torch.manual_seed(0)
    preset = ModelConfig.preset(
        layers, vocab_size=len(vocabulary), channels=vocabulary.channels, stacks=vocabulary.stacks, width=32
    )
    return Decoder(preset).eval()


DECODER = build()


def documents() -> dict[str, Document]:
    """Two of each stacked block, and text."""
    clouds = [segment(MODALITIES["cloud"], item) for item in ([[7, 3], [0, 1]], [[1, 1], [2, 3], [4, 0]])]
    sounds = [segment(MODALITIES["sound"], item) for item in ([[5, 4, 3]], [[0, 1, 2], [3, 3, 3]])]
    text = segment(MODALITIES["text"], [1, 2, 3])
    made = [
        Document.of(clouds[0], text),
        Document.of(sounds[0]),
        Document.of(clouds[1], sounds[1]),
        Document.of(text),
    ]
    return {str(i): document for i, document in enumerate(made)}


@pytest.fixture(scope="module")
def row(tmp_path_factory) -> Row:
    """All documents packed into one row."""
    rendered = {key: document.render(VOCABULARY) for key, document in documents().items()}
    store = write_store(tmp_path_factory.mktemp("store") / "s", VOCABULARY, rendered)
    layout, rows = once({"s": store}, 64)
    assert rows == 1
    return fill([store], layout, 1, 64, VOCABULARY)


def test_parameters_are_counted():
    for vocabulary in (VOCABULARY, Vocabulary.build(MODALITIES, ["sound"]), Vocabulary.build(MODALITIES)):
        for layers in (1, 9):
            decoder = build(vocabulary, layers)
            assert decoder.config.parameters == sum(p.numel() for p in decoder.parameters())
            assert decoder.config.more == vocabulary.more
    assert build(layers=9).config.depth_layers == 2
    assert build(Vocabulary.build(MODALITIES)).depth is None


def test_vectors_of_parts_are_summed():
    ids = torch.tensor([[1, SOUND.start]])
    more = torch.tensor([[[-1, -1], [SOUND.start + 7, SOUND.start + 12]]])
    table = DECODER.model.embed_tokens.weight
    seen = {}
    hook = DECODER.model.layers[0].register_forward_pre_hook(lambda m, given: seen.update(x=given[0]))
    DECODER(ids, torch.zeros_like(ids), torch.arange(2)[None], more=more)
    hook.remove()
    wanted = torch.stack([table[1], table[SOUND.start] + table[SOUND.start + 7] + table[SOUND.start + 12]])
    torch.testing.assert_close(seen["x"][0], wanted)


@torch.no_grad()
def test_every_part_is_a_distribution_over_its_own_range():
    hidden = torch.randn(3, 32)
    for block in (CLOUD, SOUND):
        for part, (start, stop) in enumerate(block.ranges[1:], start=1):
            vectors = torch.randn(3, part, 32)
            assert DECODER.depth.logits(block.name, hidden, vectors).shape == (3, stop - start)


@torch.no_grad()
def test_nats_are_those_of_the_logits_that_sampling_asks_for():
    """Positions of two blocks, of different numbers of parts, and of none, in one call."""
    hidden = torch.randn(4, 32)
    target = torch.tensor([CLOUD.start + 3, SOUND.start + 2, 5, CLOUD.start])
    more = torch.tensor(
        [[CLOUD.start + 9, -1], [SOUND.start + 6, SOUND.start + 14], [-1, -1], [CLOUD.start + 8, -1]]
    )
    nats, partition = DECODER.nats(hidden, target, more)
    assert (nats == 0).tolist() == [
        [False, False, True],
        [False] * 3,
        [False, True, True],
        [False, False, True],
    ]
    assert ((partition == 0) == (nats == 0)).all()
    main = DECODER.logits(hidden).log_softmax(-1)
    torch.testing.assert_close(nats[:, 0], -main.gather(1, target[:, None])[:, 0])
    for row, block in ((0, CLOUD), (1, SOUND), (3, CLOUD)):
        known = [int(target[row])]
        for part, (start, _) in enumerate(block.ranges[1:], start=1):
            vectors = DECODER.model.embed_tokens(torch.tensor([known]))
            logits = DECODER.depth.logits(block.name, hidden[row : row + 1], vectors)[0]
            code = int(more[row, part - 1])
            torch.testing.assert_close(nats[row, part], -logits.log_softmax(-1)[code - start])
            torch.testing.assert_close(partition[row, part], logits.logsumexp(-1))
            known.append(code)


def test_a_part_is_scored_from_the_hidden_state_and_the_parts_before_it():
    hidden = torch.randn(1, 32, requires_grad=True)
    vectors = torch.randn(1, 3, 32, requires_grad=True)
    more = torch.tensor([[SOUND.start + 7, SOUND.start + 13]])
    nats, _ = DECODER.depth.nats(hidden, vectors, more)
    first = torch.autograd.grad(nats[0, 0], (hidden, vectors), retain_graph=True)
    second = torch.autograd.grad(nats[0, 1], (hidden, vectors))
    assert first[0].abs().sum() > 0
    assert second[0].abs().sum() > 0
    assert [float(v.abs().sum()) > 0 for v in first[1][0]] == [True, False, False]
    assert [float(v.abs().sum()) > 0 for v in second[1][0]] == [True, True, False]


def test_it_runs_where_there_is_nothing_to_score():
    """Every module is called as often as with stacked positions, and all of its weights get a gradient (of 0)."""

    def calls(more: torch.Tensor) -> tuple[list[str], torch.Tensor]:
        seen: list[str] = []
        hooks = [
            module.register_forward_hook(lambda m, g, o, name=name: seen.append(name))
            for name, module in DECODER.depth.named_modules()
        ]
        nats, _ = DECODER.nats(torch.randn(2, 32), torch.tensor([1, 2]), more)
        for hook in hooks:
            hook.remove()
        return seen, nats

    some, _ = calls(torch.tensor([[SOUND.start + 6, SOUND.start + 11], [-1, -1]]))
    none, nats = calls(torch.full((2, 2), -1))
    assert none == some
    assert nats[:, 1:].eq(0).all()
    for weight in torch.autograd.grad(nats.sum(), list(DECODER.depth.parameters())):
        assert weight.eq(0).all()


def test_gradient_reaches_the_depth_head_and_the_vectors_of_every_part(row):
    decoder = build()
    loss, _ = LanguageModel(decoder, len(VOCABULARY.kinds))(*row)
    loss.backward()
    silent = [name for name, p in decoder.named_parameters() if not p.grad.any()]
    # No document holds a pair, and the loss is nowhere near companions.
    assert {name for name in silent if "pair" not in name} == {
        "model.embed_molecule_shell.weight",
        "model.embed_sound_near.weight",
    }
    assert {name for name in silent if "pair" in name} == {"depth.lm_heads.pair_1.weight"}
    table = decoder.model.embed_tokens.weight.grad
    further = row.more[row.more >= 0].unique()
    assert len(further) == 8
    assert table[further].abs().sum(1).gt(0).all()


@torch.no_grad()
def test_documents_of_one_row_do_not_see_one_another(row):
    """Every document has the nats that it has alone, and what another one says changes nothing."""
    model = LanguageModel(DECODER, len(VOCABULARY.kinds))
    _, together = model(*row)
    apart = torch.zeros_like(together)
    for number in range(int(row.doc.max()) + 1):
        here = row.doc[0] == number
        alone = row.each(lambda column, here=here: column[:, here])
        apart += model(*alone)[1]
    torch.testing.assert_close(together, apart)
    second = (row.doc == 1) & (row.targets >= 0)
    hidden = DECODER(row.tokens, row.doc, row.pos, row.side, more=row.more)[second]
    elsewhere = (row.doc != 1)[..., None] & (row.more >= 0)
    changed = torch.where(elsewhere, row.more.roll(3, 1).clamp(min=SOUND.start), row.more)
    assert not changed.equal(row.more)
    assert DECODER(row.tokens, row.doc, row.pos, row.side, more=changed)[second].equal(hidden)


def test_a_folder_keeps_the_depth_head_and_names_no_stock_model(tmp_path):
    weights.save(DECODER, tmp_path)
    again = weights.load(tmp_path)
    assert again.config.stacks == DECODER.config.stacks
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in DECODER.state_dict().items())
    said = json.loads((tmp_path / "config.json").read_text())
    assert said["model_type"] == "unitok_stacked_qwen3"
    with pytest.raises(ValueError, match="trained with block 'cloud' stacked"):
        weights.load(tmp_path, stacks={})


def test_transformers_refuses_a_stacked_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    weights.save(DECODER, tmp_path)
    with pytest.raises(ValueError, match="unitok_stacked_qwen3"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_a_flat_folder_can_gain_a_stacked_block_and_a_stacked_one_another(tmp_path):
    names = list(MODALITIES)[:4]
    some = {name: MODALITIES[name] for name in names}
    rest = {name: one for name, one in MODALITIES.items() if name not in some}
    for stacked in ([], ["cloud"]):
        small = Vocabulary.build(some, stacked)
        large = small.extend(rest, ["sound"])
        weights.save(build(small), tmp_path / str(len(stacked)))
        grown = weights.load(tmp_path / str(len(stacked)), len(large), large.channels, large.stacks)
        assert grown.config.stacks == large.stacks
        before, after = build(small).state_dict(), grown.state_dict()
        kept = [name for name in before if after[name].shape == before[name].shape]
        assert all(torch.equal(after[name], before[name]) for name in kept)
        assert ("depth.entry.weight" in kept) == bool(stacked)
        assert after["depth.lm_heads.sound_2.weight"].std() > 0.05


def test_a_folder_that_lost_a_part_of_its_depth_head_is_refused(tmp_path):
    lost = {
        name: value for name, value in DECODER.state_dict().items() if name != "depth.lm_heads.sound_2.weight"
    }
    weights.save(DECODER, tmp_path, lost)
    with pytest.raises(ValueError, match=r"1 weights are missing.*depth.lm_heads.sound_2"):
        weights.load(tmp_path)
