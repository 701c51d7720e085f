"""SEED at a tiny size: what its codes depend on, what they tell, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from seed_tiny import TINY
from torch import Tensor

import unitok
from modalities.image.seed import Seed
from modalities.image.seed_captions import GRAMS, hashed
from modalities.image.seed_config import PRESETS, SeedConfig
from modalities.image.seed_net import SeedNet
from unitok.modality import BadItem, Codes
from unitok.strict import ConfigError
from unitok.testing import conforms


@pytest.fixture(scope="module")
def tiny() -> Seed:
    return Seed(None, **TINY)


def test_it_conforms_and_is_found_by_its_name(emoji: list[Image.Image]) -> None:
    made = unitok.create("image.seed", weights=None, **TINY)
    assert isinstance(made, Seed)
    assert (made.spec.size, made.spec.length) == (24, (5, 5))
    conforms(made, emoji)


@pytest.mark.parametrize("tokens", [1, 5, 32, 33])
@torch.no_grad()
def test_no_token_depends_on_a_later_query_however_many_there_are(tokens: int) -> None:
    """The official program masks only where there are exactly 32."""
    config = SeedConfig.model_validate({**TINY, "tokens": tokens})
    net = SeedNet(config).eval()
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = net.tokens(pictures)
    net.qformer.queries.weight[-1] = net.qformer.queries.weight[-1].flip(0)
    after = net.tokens(pictures)
    torch.testing.assert_close(before[:, :-1], after[:, :-1], rtol=0, atol=0)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


@torch.no_grad()
def test_the_first_token_sees_all_of_the_picture_and_the_last_all_tokens(tiny: Seed) -> None:
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    other = pictures.clone()
    other[:, :, 12:, 12:] = 0.0
    assert not torch.allclose(tiny.net.tokens(pictures)[:, 0], tiny.net.tokens(other)[:, 0], atol=1e-5)
    memory = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(1))
    before = tiny.net.qformer(memory)
    first = tiny.net.qformer.queries.weight[0].clone()
    tiny.net.qformer.queries.weight[0] = first.flip(0)
    after = tiny.net.qformer(memory)
    tiny.net.qformer.queries.weight[0] = first
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-5)


def test_vectors_of_pictures_codes_and_captions_share_a_space(tiny: Seed, emoji: list[Image.Image]) -> None:
    codes = tiny.encode(emoji)
    for vectors in (
        tiny.image_vectors(emoji),
        tiny.code_vectors(codes),
        tiny.caption_vectors(["a", "b c", ""]),
    ):
        assert vectors.shape == (3, 8)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    assert tiny.embedding(codes).shape == (3, 8)
    assert tiny.embedding([]).shape == (0, 8)
    torch.testing.assert_close(tiny.embedding(codes)[1:2], tiny.embedding(codes[1:2]))
    with pytest.raises(BadItem, match="a int: a caption is text"):
        tiny.caption_vectors(["a", 3])  # type: ignore[list-item]


def test_a_caption_is_read_the_same_in_any_company(tiny: Seed) -> None:
    alone = tiny.caption_vectors(["a red fox"])
    torch.testing.assert_close(
        tiny.caption_vectors(["", "a red fox", "one two three four five six seven"])[1:2], alone
    )
    assert not torch.allclose(alone, tiny.caption_vectors(["fox red a"]))


def test_hashed_words_are_stable_and_alike_where_they_share_trigrams() -> None:
    ids = hashed(["Foxes, fox!", "", "a b c d"], buckets=1000, words=3)
    assert ids.shape == (3, 3, GRAMS)
    assert (ids[0, 0] > 0).sum() == 6  # <foxes>, <fo, fox, oxe, xes, es>
    assert set(ids[0, 0].tolist()) & set(ids[0, 1].tolist()) - {0}
    assert not ids[1].any()
    assert ids.max() <= 1000
    assert torch.equal(ids[:1], hashed(["foxes fox"], buckets=1000, words=3))


def test_the_small_preset_has_at_most_four_million_parameters() -> None:
    net = SeedNet(Seed.preset("small64"))
    assert sum(p.numel() for p in net.parameters()) <= 4_000_000
    assert Seed.preset("published").quantizer.codes == 8192
    assert set(PRESETS) == {"published", "published_reverse", "small64"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"legacy": True}, r"legacy weighs a codebook that is learnt by gradient"),
        ({"size": 18}, r"vision\.patch 4 does not divide size 18"),
        ({"painter": {"patch": 5}}, r"painter\.patch 5 does not divide size 16"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Seed(None, **{**TINY, **options})


def test_what_weights_without_a_part_cannot_do_is_told(tiny: Seed, emoji: list[Image.Image]) -> None:
    bare = Seed(None, **{**TINY, "captions": None, "painter": None, "semantic": False})
    codes = bare.encode(emoji[:1])
    with pytest.raises(ValueError, match="no decoder to pixels: give the folder of an unCLIP pipeline"):
        bare.decode(codes)
    with pytest.raises(ValueError, match="no reader of captions"):
        bare.caption_vectors(["a"])
    with pytest.raises(ValueError, match="no reader of captions"):
        bare.image_vectors(emoji[:1])
    with pytest.raises(ValueError, match="no blocks that rebuild"):
        bare.code_vectors(codes)
    with pytest.raises(TypeError, match="takes nothing beside the codes without pipeline=, and no seed"):
        tiny.decode(tiny.encode(emoji[:1]), seed=1)
    with pytest.raises(ValueError, match="no SEED is called 'large'"):
        Seed(preset="large")
    with pytest.raises(FileNotFoundError, match=r"holds no model_index\.json"):
        Seed(None, pipeline="nowhere", **TINY)
    with pytest.raises(ValueError, match=r"\[3, 8, 8\]: this network was built for \[3, 16, 16\]"):
        tiny.net.tokens(torch.zeros(1, 3, 8, 8))


def test_a_pipeline_paints_from_the_embedding(tmp_path, tiny: Seed, emoji: list[Image.Image]) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    made = Seed(None, pipeline=tmp_path, **TINY)
    asked: list[tuple[Tensor, dict[str, Any]]] = []

    def paint(embeddings: Tensor, **given: Any) -> Tensor:
        asked.append((embeddings, given))
        return embeddings[:, :3, None, None].sigmoid().expand(-1, -1, 24, 24)

    made.pipeline = paint  # type: ignore[assignment]
    codes = made.encode(emoji)
    pictures = made.decode(codes, seed=3)
    assert [picture.size for picture in pictures] == [(24, 24)] * 3
    torch.testing.assert_close(asked[0][0], made.embedding(codes))
    assert asked[0][1] == {"seed": 3}
    with pytest.raises(TypeError, match="takes seed, and no noise"):
        made.decode(codes, noise=1)


def test_a_shorter_item_is_refused(tiny: Seed) -> None:
    with pytest.raises(ValueError, match=r"codes of shape \[4\], but a picture has \[5\]"):
        tiny.embedding([Codes(torch.zeros(4, dtype=torch.int64))])
