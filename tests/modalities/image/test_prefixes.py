"""Fidelity by number of codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nested_pictures import Nested
from PIL import Image

import unitok
from modalities.common.losses.steerable import Steerable
from modalities.image.prefixes import Prefixes
from modalities.image.reconstruction import evaluate, figure


@pytest.fixture
def nested() -> Nested:
    return Nested(None)


def test_each_budget_is_judged_against_the_whole_picture(nested: Nested) -> None:
    torch.manual_seed(0)
    wanted = torch.stack(
        [torch.full((3, 16, 16), 0.25), torch.linspace(0, 1, 256).view(16, 16).expand(3, 16, 16)]
    )
    codes = nested.encode(list(wanted))
    prefixes = Prefixes(nested, [1, 3, 8, 2])
    assert prefixes.lengths == [1, 2, 8]
    shown = prefixes.add(codes, wanted, show=1)
    assert [len(row) for row in shown] == [3, 0]
    assert {picture.size for picture in shown[0]} == {(16, 16)}
    found = prefixes.report()
    assert list(found) == ["1", "2", "8"]
    flat = (
        nested.decode_tensor([nested.shorten(each, 1) for each in codes])
        .mean((2, 3), keepdim=True)
        .expand(-1, -1, 16, 16)
    )
    flat = (flat * 255).round() / 255
    each = -10 * (flat - wanted).square().mean((1, 2, 3)).log10()
    assert found["1"]["psnr"] == pytest.approx(float(each.mean()), abs=1e-3)
    assert found["1"]["psnr_error"] == pytest.approx(float(each.std()) / 2**0.5, abs=1e-3)
    assert found["1"]["ssim"] <= 1


def test_the_evaluation_has_a_line_for_each_and_shows_them(nested: Nested, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    found = evaluate(nested, tmp_path, Steerable(), batch=2, keep=2, budgets=[1, 4])
    assert list(found.report["by_codes"]) == ["1", "4"]
    assert [len(pair.coarser) for pair in found.pairs] == [2, 2]
    sheet = figure(found.pairs, lengths=found.lengths)
    assert sheet.size[0] > 4 * 128 > sheet.size[1] / 2
    assert "by_codes" not in evaluate(nested, tmp_path, Steerable()).report


def test_tokenizers_without_nested_codes_refuse_budgets(tmp_path: Path) -> None:
    plain = unitok.create("image.titok", weights=None, size=16, patch=8, tokens=4)
    with pytest.raises(ValueError, match="cannot be cut"):
        Prefixes(plain, [2])
    smooth = unitok.create("image.flowtok", weights=None)
    with pytest.raises(ValueError, match="of continuous latents, which have no codes"):
        evaluate(smooth, tmp_path, Steerable(), budgets=[2])


def test_more_codes_than_the_tokenizer_gives_cannot_be_judged() -> None:
    small = Nested(None, budget=4)
    assert Prefixes(small, [1, 4]).lengths == [1, 4]
    with pytest.raises(ValueError, match="8 codes are to be judged, but the tokenizer gives 4"):
        Prefixes(small, [1, 8])
