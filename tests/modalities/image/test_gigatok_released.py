"""Released GigaTok files: every variant loads strictly, and outputs equal the official module's."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from released import agrees, filled, golden, listing, numbers

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.gigatok import VARIANTS, GigaTokConfig, GigaTokNet, released


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_loads_strictly_and_is_known_by_its_shapes(variant):
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing(f"gigatok_{variant}").items()}
        config, ours = released(Checkpoint(state))
        assert config == GigaTokConfig.variant(variant)
        assert config.resize == "halve"  # pictures are prepared as ADM prepares them
        own = GigaTokNet(config).state_dict()
    assert {key: tuple(t.shape) for key, t in ours.items()} == {key: tuple(t.shape) for key, t in own.items()}


@pytest.mark.slow
def test_codes_and_pictures_are_those_of_the_official_module():
    noted = golden("gigatok_VQ_SS256")
    config, ours = released(Checkpoint(filled(listing("gigatok_VQ_SS256"))))
    net = GigaTokNet(config)
    load_weights(net, ours)
    net.eval().requires_grad_(False)
    pictures = 2 * numbers("input.image", (2, 3, 256, 256)).float() - 1
    features = net.cnn_encoder(pictures)
    agrees(features, noted["cnn_enc"])
    tokens = net.encoder(features)
    agrees(rearrange(tokens, "b k c -> b c 1 k"), noted["vit_enc"])
    z = net.encode(pictures)
    agrees(rearrange(z, "b k d -> b d 1 k"), noted["z"])
    quantized = net.quantizer(z)
    assert quantized.ids.tolist() == noted["tokens"]
    agrees(rearrange(quantized.z_q, "b k d -> b d 1 k"), noted["zq"])
    painted, inner = net.decoder(net.from_code(quantized.z_q), config.layer)
    agrees(painted, noted["rec_spatial"])
    agrees(net.semantic(inner), noted["inner_feat"])
    agrees(net.decode(quantized.z_q), noted["y_from_quant"])
    agrees(net.decode(net.quantizer.lookup(quantized.ids)), noted["y_from_code"])
