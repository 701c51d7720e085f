"""`pointcloud.features`: the contract, what the features are, and a decoder that reads them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unitok
from modalities.pointcloud.features import CHANNEL, CloudFeatures
from modalities.pointcloud.tokenizer import PointTokenizer
from modalities.text.raw import Bytes
from unitok.document import Document, segment
from unitok.modality import BadCodes, BadItem
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.testing import conforms
from unitok.vocabulary import Vocabulary

TINY = {
    "inputs": 48, "points": 64, "anchors": 16, "stages": ((1, (12,)), (2, (4, 3)), (1, (3, 2, 2))),
    "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "patches": 4, "neighbours": 4, "bands": 4,
}  # fmt: skip


def shuffled(cloud: Tensor) -> Tensor:
    return cloud[torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))]


def tiny() -> CloudFeatures:
    return CloudFeatures(weights=None, positions=2, **TINY)  # type: ignore[arg-type]


def test_features_keep_the_contract(furniture: list[Tensor]) -> None:
    odd = [furniture[0][:1024:300], furniture[1][:7] * 1e4, furniture[2] + 50]
    conforms(tiny(), [*furniture, *odd], invariances=[shuffled], rebuild=tiny, decodes=False)


def test_they_are_what_the_quantizer_rounds(furniture: list[Tensor]) -> None:
    whole, some = CloudFeatures(positions=64), CloudFeatures(tokens=16, positions=2)
    codes = PointTokenizer().encode(furniture)
    for cloud, one, few, code in zip(
        furniture, whole.encode(furniture), some.encode(furniture), codes, strict=True
    ):
        assert one.side[CHANNEL].shape == (64, 4)
        rounded = whole.encoder.net.quantizer.lookup(code.ids[None])[0]
        assert float((one.side[CHANNEL] - rounded).abs().mean()) < 0.15
        assert torch.equal(few.side[CHANNEL].reshape(16, 4), one.side[CHANNEL][:16])
        assert float(one.side[CHANNEL].abs().max()) < 1
        assert cloud.shape[1] == 3


def test_other_quantizers_have_features_too(furniture: list[Tensor]) -> None:
    options = {
        **TINY,
        "linear": False,
        "queries": 4,
        "latents": 4,
        "quantizer": {"kind": "vq", "codes": 8, "dim": 6},
    }
    made = CloudFeatures(weights=None, positions=4, **options).encode(furniture)  # type: ignore[arg-type]
    assert made[0].side[CHANNEL].shape == (4, 6)
    assert float(made[0].side[CHANNEL].std()) > 0.1


def test_they_stand_in_questions_as_a_float_channel(furniture: list[Tensor]) -> None:
    cloud, text = tiny(), Bytes()
    vocabulary = Vocabulary.build({"text": text, "cloud": cloud})
    said = Document.chat([("user", [segment(cloud, furniture[0])]), ("assistant", [segment(text, "chair")])])
    rendered = said.render(vocabulary)
    at, values = rendered.side["cloud_features"]
    assert len(at) == 2
    assert torch.equal(torch.as_tensor(values), cloud.encode(furniture[:1])[0].side[CHANNEL])
    decoder = Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary), channels=vocabulary.channels))
    tokens = torch.as_tensor(rendered.ids)[None]
    side = torch.zeros(1, tokens.shape[1], cloud.spec.side[CHANNEL].width)
    side[0, torch.as_tensor(at)] = torch.as_tensor(values)
    where = torch.arange(tokens.shape[1])[None]
    decoder(tokens, torch.zeros_like(where), where, {"cloud_features": side}).sum().backward()
    assert float(decoder.model.embed_cloud_features.weight.grad.abs().sum()) > 0  # the projector learns
    assert unitok.create("pointcloud.features").spec.side[CHANNEL].kind == "float"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"positions": 7}, "positions=7 must divide the 64 latents"),
        ({"positions": 0}, "positions=0 must divide"),
        ({"placed": True}, "say both in words"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CloudFeatures(**options)  # type: ignore[arg-type]


def test_nothing_is_written_and_bad_clouds_are_named(furniture: list[Tensor]) -> None:
    made = tiny()
    with pytest.raises(BadCodes, match="models read features of clouds and do not write them"):
        made.decode(made.encode(furniture[:1]))
    assert made.decode([]) == []
    with pytest.raises(BadItem, match="item 1"):
        made.encode([furniture[0], torch.zeros(5, 3)])
