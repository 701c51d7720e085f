"""The Q-Former: how queries begin, who sees what, its three forms."""

from __future__ import annotations

import pytest
import torch

from modalities.image.qformer import Decoder, Encoder, coarse_to_fine
from modalities.image.vit1d import ViTSize

SIZE = ViTSize(width=16, layers=2, heads=2)


def test_queries_go_from_the_whole_to_ever_smaller_blocks():
    cells = torch.arange(16.0).view(1, 1, 4, 4)
    found = coarse_to_fine(cells, 16)[0, :, 0]
    assert found[:2].tolist() == [7.5, 7.5]  # the whole, twice
    assert found[2:4].tolist() == [6.5, 8.5]  # left, right
    assert found[4:8].tolist() == [2.5, 4.5, 10.5, 12.5]  # quarters
    assert found[8:].tolist() == [2, 3, 4, 5, 10, 11, 12, 13]  # 2 x 4 blocks
    assert coarse_to_fine(cells, 5).shape == (1, 5, 1)
    assert coarse_to_fine(cells, 32)[0, 16:, 0].tolist() == list(range(16))
    assert coarse_to_fine(cells, 1)[0, :, 0].tolist() == [7.5]


def test_more_tokens_than_the_map_can_tell_apart_are_refused():
    with pytest.raises(ValueError, match="33 tokens need a map of at least 4 x 8 cells.*has 4 x 4"):
        coarse_to_fine(torch.zeros(1, 2, 4, 4), 33)


@pytest.mark.parametrize("form", ["queries", "crossed", "plain"])
def test_there_and_back(form):
    torch.manual_seed(0)
    tokens = 8 if form == "queries" else 16
    encoder, decoder = (half(SIZE, 6, 4, tokens, form, std=0.5) for half in (Encoder, Decoder))
    latents = encoder(torch.randn(2, 6, 4, 4))
    assert latents.shape == (2, tokens, 6)
    cells, inner = decoder(latents, tap=1)
    assert cells.shape == (2, 6, 4, 4)
    assert inner is not None
    assert inner.shape == (2, 16, 16)
    assert decoder(latents)[1] is None
    crossing = [hasattr(block, "cross") for block in decoder.blocks]
    assert crossing == [form != "plain"] * 2
    (cells.square().mean() + inner.square().mean()).backward()
    for side in (encoder, decoder):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in side.parameters())
        assert all(p.grad is None or p.grad.isfinite().all() for p in side.parameters())


def test_a_decoder_reads_the_first_latents_alone_when_given_fewer():
    torch.manual_seed(0)
    decoder, latents = Decoder(SIZE, 6, 4, 8, std=0.5).eval(), torch.randn(1, 8, 6)
    with torch.no_grad():
        few, whole = decoder(latents[:, :3])[0], decoder(latents)[0]
        changed = latents.clone()
        changed[:, 3:] += 1
        assert decoder(changed[:, :3])[0].equal(few)
        assert not decoder(changed)[0].equal(whole)
    assert few.shape == whole.shape


def test_a_tap_is_the_stream_after_that_layer():
    torch.manual_seed(0)
    decoder, latents = Decoder(SIZE, 6, 4, 8, std=0.5).eval(), torch.randn(1, 8, 6)
    with torch.no_grad():
        last = decoder(latents, tap=2)[1]
        assert last is not None
        seen: list[torch.Tensor] = []
        decoder.norm_out.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        decoder(latents)
        assert seen[0].equal(last)
        first = decoder(latents, tap=1)[1]
        assert first is not None
        assert not first.equal(last)
