"""Generators of bits: the official modules' logits and draws, released files, what they must learn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from released import filled, listing, numbers
from torch import Tensor, nn

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import WeightsMismatch, load_weights, save_weights
from modalities.image.generate import bits_ar, bits_diffusion, open_generator
from modalities.image.generate.bits import BitsConfig, Text
from modalities.image.generate.bits_ar import BitsAR, BitsARConfig, BitsARSampling
from modalities.image.generate.bits_diffusion import BitsDiffusion, BitsDiffusionConfig, BitsDiffusionSampling
from modalities.image.generate.bits_text import TextStates

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "instella_generators.json").read_text())
TINY: dict[str, Any] = {
    "tokens": 4, "parts": (256, 16), "text_width": 8, "width": 32, "layers": 2, "heads": 4,
}  # fmt: skip
KINDS = {"ar": (BitsAR, BitsARConfig), "diffusion": (BitsDiffusion, BitsDiffusionConfig)}


def official(kind: str) -> Any:
    """A tiny released generator with hash-filled weights."""
    build: Any = KINDS[kind][0]
    shapes = {key: tuple(shape) for key, shape in NOTED[kind]["keys"].items()}
    config, ours = build.released(Checkpoint(filled(shapes)))
    net = build(config)
    load_weights(net, ours)
    return net.eval()


def noted_text() -> Text:
    states = [(2 * numbers(f"text.{i}", (2, 5, 32)) - 1).float() for i in range(3)]
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, :3] = False
    return Text(torch.stack(states), mask)


def noted_bits() -> Tensor:
    return (numbers("input.bits", (2, 8, 64)) < 0.5).float()


def written(net: Any, codes: Tensor) -> list[list[str]]:
    return [["".join(str(int(bit)) for bit in row) for row in rows] for rows in net.bits(codes)]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers that the official samplers were given instead of noise."""
    count = iter(range(1000))

    def flip(share: Tensor, generator: object) -> Tensor:
        return (numbers(f"draw.{next(count)}", tuple(share.shape)).to(share) < share).to(share)

    monkeypatch.setattr(bits_ar, "flip", flip)
    monkeypatch.setattr(bits_diffusion, "flip", flip)


@torch.no_grad()
def test_logits_of_the_next_bits_are_those_of_the_official_module() -> None:
    net, text = official("ar"), noted_text()
    logits = net(noted_bits()[:, :7], text)[:, ::3, ::8]
    assert logits.flatten().tolist() == pytest.approx(NOTED["ar"]["logits"], abs=2e-6, rel=1e-4)
    assert torch.allclose(net(noted_bits()[:, :3], text), net(noted_bits()[:, :7], text)[:, :4], atol=1e-5)


@torch.no_grad()
def test_logits_of_flipping_are_those_of_the_official_module() -> None:
    logits = official("diffusion")(noted_bits(), torch.tensor([0.3, 0.8]), noted_text())[:, ::3, ::8]
    assert logits.flatten().tolist() == pytest.approx(NOTED["diffusion"]["logits"], abs=2e-6, rel=1e-4)


def test_drawn_bits_are_those_of_the_official_autoregressive_sampler(draws: None) -> None:
    net = official("ar")
    codes = net.sample(noted_text(), BitsARSampling(guidance=3.0, temperature=0.5))
    assert written(net, codes) == NOTED["ar"]["drawn"]


@pytest.mark.parametrize("protocol", ["renoise", "posterior"])
def test_drawn_bits_are_those_of_the_official_diffusion_sampler(draws: None, protocol: Any) -> None:
    net = official("diffusion")
    how = BitsDiffusionSampling(guidance=2.0, steps=6, rho=1.7, protocol=protocol)
    assert written(net, net.sample(noted_text(), how)) == NOTED["diffusion"][protocol]


@pytest.mark.parametrize(("kind", "file"), [("ar", "instella_ar"), ("diffusion", "instella_diff")])
def test_released_generators_load_strictly(kind: str, file: str) -> None:
    build, describe = KINDS[kind]
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing(file).items()}
        config, ours = build.released(Checkpoint(state))  # type: ignore[attr-defined]
        own = build(config).state_dict()
    assert config == describe()
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in own.items()}


def test_a_released_file_is_opened_and_another_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "ar.pt"
    shapes = {key: tuple(shape) for key, shape in NOTED["ar"]["keys"].items()}
    torch.save({"module": filled(shapes), "global_steps": 3}, file)
    net: Any = open_generator(file, "bits_ar")
    with torch.no_grad():
        found, wanted = (each(noted_bits()[:, :2], noted_text()) for each in (net, official("ar")))
    assert torch.allclose(found, wanted, atol=1e-5)
    with pytest.raises(WeightsMismatch, match="no released bits_diffusion generator"):
        open_generator(file, "bits_diffusion")


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_files_are_opened(kind: str, tmp_path: Path) -> None:
    build, describe = KINDS[kind]
    config: Any = describe(**TINY, classes=3)
    net: Any = build(config)
    file = tmp_path / "bits.safetensors"
    save_weights(
        file, net, {"generator": f"bits_{kind}", "model": config.model_dump(mode="json")}, half=False
    )
    again: Any = open_generator(file)
    classes = torch.tensor([0, 2, -1])
    one, two = (each.sample(classes, generator=torch.Generator().manual_seed(1)) for each in (net, again))
    assert torch.equal(one, two)
    assert one.shape == (3, 4, 2)
    assert bool(((one >= 0) & (one < torch.tensor([256, 16]))).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_condition_that_is_none_hides_texts_and_classes_alike(kind: str) -> None:
    build, describe = KINDS[kind]
    net: Any = build(describe(**TINY, classes=3))
    bits = torch.zeros(2, 4, 12)
    extra = (torch.tensor([0.5]),) if kind == "diffusion" else ()
    for parameter in net.parameters():  # branches that begin shut would hide what is attended to
        parameter.data.normal_(std=0.3)
    with torch.no_grad():
        none = net(bits, *extra, torch.tensor([-1, -1]))
        states = torch.randn(2, 2, 5, 8)
        text = net.text(states)
        assert torch.allclose(net(bits, *extra, text.dropped(torch.tensor([True, True]))), none, atol=1e-5)
        half = net(bits, *extra, text.dropped(torch.tensor([True, False])))
        assert torch.allclose(half[0], none[0], atol=1e-5)
        assert not torch.allclose(half[1], none[1], atol=1e-2)
        padded = text.beside(net.text(torch.randn(2, 9, 8)))
        both = net(bits.repeat(2, 1, 1), *extra, padded)
        assert torch.allclose(both[:2], net(bits, *extra, text), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_without_an_empty_text_is_none_for_equal_texts(kind: str) -> None:
    build, describe = KINDS[kind]
    net: Any = build(describe(**TINY))
    states = torch.randn(2, 1, 3, 8)
    how = net.config.sampling
    drawn = [
        net.sample(
            states, how.model_copy(update={"guidance": scale}), torch.Generator().manual_seed(0), without
        )
        for scale, without in ((0.0, None), (5.0, states))
    ]
    assert torch.equal(drawn[0], drawn[1])


def test_temperature_zero_takes_the_likelier_bit_and_needs_no_chance() -> None:
    net = official("ar")
    how = BitsARSampling(guidance=0.0, temperature=0.0)
    codes = net.sample(noted_text(), how)
    bits = net.bits(codes)
    with torch.no_grad():
        assert torch.equal(bits, (net(bits[:, :-1], noted_text()) > 0).float())
    diffusion = official("diffusion")
    steps = BitsDiffusionSampling(temperature=0.0, guidance=0.0, steps=1)
    assert diffusion.sample(noted_text(), steps).shape == (2, 8, 8)


def pattern(classes: Tensor) -> Tensor:
    """Codes [B, 4, 2] that belong to a class, but for a coin in the first bit, which decides the second position."""
    table = torch.tensor([[[6, 1], [0, 0], [255, 2], [1, 3]], [[8, 9], [0, 0], [3, 15], [128, 4]]])
    codes = table[classes].clone()
    coin = (torch.rand(len(classes)) < 0.5).long()
    codes[:, 0, 0] += coin
    codes[:, 1] = torch.stack([255 * coin, 15 * (1 - coin)], dim=1)
    return codes


@pytest.mark.parametrize(("kind", "steps"), [("ar", 100), ("diffusion", 150)])
def test_it_learns_what_belongs_to_a_class_and_what_a_coin_decides(kind: str, steps: int) -> None:
    torch.manual_seed(0)
    build, describe = KINDS[kind]
    net: Any = build(describe(**TINY, classes=2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(steps):
        classes = torch.randint(2, (32,))
        optimizer.zero_grad()
        net.loss(pattern(classes), classes).backward()
        optimizer.step()
    classes = torch.arange(2).repeat(20)
    how = net.config.sampling.model_copy(update={"guidance": 0.5})
    drawn = net.bits(net.eval().sample(classes, how, torch.Generator().manual_seed(0)))
    right = (drawn == net.bits(pattern(classes))).float()
    assert torch.cat([right[:, 0, 1:], right[:, 2], right[:, 3]], dim=1).mean() > 0.95
    coin, decided = drawn[:, 0, :1], torch.cat([drawn[:, 1, :8], 1 - drawn[:, 1, 8:]], dim=1)
    assert 8 <= int(decided.mean(1).round().sum()) <= 32
    if kind == "ar":  # the coin is known when the second position is drawn
        assert (decided == coin).float().mean() > 0.97
    else:  # all bits are drawn at once, and yet they agree; fair coins would by 0.61
        assert ((decided.mean(1) - 0.5).abs() + 0.5).mean() > 0.85


def test_unfit_conditions_and_parts_are_refused() -> None:
    net = BitsAR(BitsARConfig(**TINY))
    with pytest.raises(ValueError, match="takes texts"):
        net.sample(torch.tensor([0]))
    with pytest.raises(ValueError, match=r"takes \[2, B, T, 8\]"):
        net.sample(torch.zeros(1, 3, 9))
    with pytest.raises(ValueError, match="hold no bits"):
        BitsAR(BitsARConfig(**{**TINY, "parts": (256, 200)}))
    one = BitsConfig.model_validate({"codes": 64})
    assert (one.parts, one.bits) == ((64,), 6)
    single = BitsAR(BitsARConfig(**{**TINY, "parts": (64,), "classes": 1}))
    assert single.sample(torch.tensor([0, 0])).shape == (2, 4)


class Tokens:
    """One id for each word."""

    def __call__(self, prompt: str, truncation: bool, max_length: int) -> dict[str, list[int]]:
        assert truncation
        return {"input_ids": [len(word) for word in prompt.split()][:max_length]}


class Language(nn.Module):
    """Two layers whose states tell ids and mask; nan where there is nothing to attend to."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool) -> Any:
        assert output_hidden_states
        ids = torch.where(attention_mask.bool(), input_ids.float(), torch.nan)[..., None].expand(-1, -1, 8)
        return SimpleNamespace(hidden_states=(ids * 0, ids, ids * 2))


def test_prompts_are_padded_on_the_left_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        AutoTokenizer=SimpleNamespace(from_pretrained=lambda folder, local_files_only: Tokens()),
        AutoModelForCausalLM=SimpleNamespace(from_pretrained=lambda folder, local_files_only: Language()),
    )
    monkeypatch.setitem(sys.modules, "transformers", fake)
    (tmp_path / "config.json").write_text("{}")
    text = TextStates(tmp_path, length=3)(["a red fox runs", "owl", ""])
    assert text.mask.int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert text.states[..., 0].tolist() == [
        [[1, 3, 3], [0, 0, 3], [0, 0, 0]],
        [[2, 6, 6], [0, 0, 6], [0, 0, 0]],
    ]
    assert BitsAR(BitsARConfig(**TINY)).sample(text).shape == (3, 4, 2)


def test_a_missing_folder_or_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="causal language model"):
        TextStates(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        TextStates(tmp_path)
