from __future__ import annotations

import pytest
import torch

from unitok.document import Document, Rendered
from unitok.generate.batch import Batch, survivors
from unitok.generate.cache import Cache
from unitok.model.decoder import Decoder
from unitok.vocabulary import Vocabulary


def full_logits(decoder: Decoder, rendered: Rendered, behind: torch.Tensor) -> torch.Tensor:
    """[V] after a prompt and further ids, with no cache."""
    row = torch.cat([rendered.ids, behind])[None]
    more = rendered.more
    if more is not None:
        more = torch.cat([more, torch.full((len(behind), more.shape[1]), -1)])[None]
    side, pos = dense(decoder, rendered, row.shape[1]), torch.arange(row.shape[1])[None]
    return decoder.logits(decoder(row, torch.zeros_like(row), pos, side, more=more))[0, -1]


def dense(decoder: Decoder, rendered, length: int) -> dict[str, torch.Tensor]:
    out = {}
    for name, (at, values) in rendered.side.items():
        out[name] = torch.full((1, length, decoder.config.channels[name].width), -1)
        out[name][0, at] = values
    return out


@torch.no_grad()
def test_cached_steps_give_the_logits_of_a_full_forward(
    decoder: Decoder, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    rendered = [prompt.prompt(vocabulary) for prompt in prompts]
    batch = Batch(decoder, [[r] for r in rendered], budget=6, pad=vocabulary.mark("pad"))
    more = torch.randint(0, 256, (len(prompts), 6), generator=torch.Generator().manual_seed(1))
    for step in range(6):
        for row, r in enumerate(rendered):
            expected = full_logits(decoder, r, more[row, :step])
            torch.testing.assert_close(batch.logits()[row, 0], expected, atol=1e-5, rtol=0)
        batch.step(more[:, step])


@torch.no_grad()
def test_companions_of_a_prompt_are_seen(
    decoder: Decoder, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    rendered = prompts[2].prompt(vocabulary)
    assert rendered.side
    bare = rendered._replace(side={})
    seen, unseen = (Batch(decoder, [[r]], 1, vocabulary.mark("pad")).logits() for r in (rendered, bare))
    assert (seen - unseen).abs().max() > 1e-2


@torch.no_grad()
def test_further_parts_of_a_prompt_are_seen(
    decoder: Decoder, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    rendered = prompts[2].prompt(vocabulary)
    if rendered.more is None:
        assert vocabulary.more == 0
        return
    bare = rendered._replace(more=torch.full_like(rendered.more, -1))
    seen, unseen = (Batch(decoder, [[r]], 1, vocabulary.mark("pad")).logits() for r in (rendered, bare))
    assert (seen - unseen).abs().max() > 1e-2


@torch.no_grad()
def test_rows_that_stay_are_not_touched_by_rows_that_leave(
    decoder: Decoder, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    rendered = [prompt.prompt(vocabulary) for prompt in prompts]
    whole = Batch(decoder, [[r] for r in rendered], budget=3, pad=0)
    fewer = Batch(decoder, [[r] for r in rendered], budget=3, pad=0)
    first, second = torch.tensor([65, 66, 67, 68]), torch.tensor([69, 70, 71, 72])
    for batch in (whole, fewer):
        batch.step(first)
    order = survivors([True, False, True, False])
    assert order == [3, 1]
    fewer.keep(order)
    whole.step(second)
    fewer.step(second[order])
    torch.testing.assert_close(fewer.logits(), whole.logits()[order], atol=1e-5, rtol=0)


def test_survivors_stay_in_place_where_they_can() -> None:
    assert survivors([False, False, False]) == [0, 1, 2]
    assert survivors([False, True, False, False]) == [0, 3, 2]
    assert survivors([True, True, True]) == []
    assert survivors([False, False, True]) == [0, 1]


def test_mask_hides_pads_and_the_future_but_leaves_no_row_empty() -> None:
    cache = Cache(1, 1, 2, pad=[0, 2], capacity=4)
    mask = cache.mask(3)
    assert mask.shape == (2, 1, 3, 3)
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert mask[1, 0].tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    cache.append(0, torch.zeros(2, 1, 3, 2), torch.zeros(2, 1, 3, 2))
    assert cache.mask(1)[:, 0, 0].tolist() == [[True] * 4, [False, False, True, True]]


def test_append_gives_back_everything_and_moves_on_with_the_last_layer() -> None:
    cache = Cache(2, 1, 3, pad=[0, 0], capacity=3)
    k, v = torch.randn(2, 1, 2, 3), torch.randn(2, 1, 2, 3)
    cache.append(0, k, v)
    assert cache.length == 0
    keys, values = cache.append(1, k, v)
    assert torch.equal(keys, k)
    assert torch.equal(values, v)
    assert cache.length == 2
    keys, _ = cache.append(0, k[:, :, :1], v[:, :, :1])
    assert torch.equal(keys, torch.cat([k, k[:, :, :1]], dim=2))


def test_a_cache_that_is_too_small_says_so() -> None:
    cache = Cache(1, 1, 2, pad=[0], capacity=2)
    with pytest.raises(ValueError, match="1 rows up to slot 3 do not fit a cache of 1 rows and 2 slots"):
        cache.append(0, torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))
