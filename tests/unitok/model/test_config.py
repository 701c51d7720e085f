from __future__ import annotations

import pytest

from unitok.modality import Side
from unitok.model.config import ModelConfig, ModelSection
from unitok.model.decoder import Decoder

CHANNELS = {"molecule_shell": Side("ids", 3, 50), "cloud_xyz": Side("float", 4)}


def test_depth_four_has_two_to_three_million_parameters() -> None:
    for vocab_size in (4_000, 5_000, 5_600):
        assert 2e6 < ModelConfig.preset(4, vocab_size=vocab_size).parameters < 3e6


def test_deeper_is_wider_and_every_preset_is_valid() -> None:
    widths = [ModelConfig.preset(depth, vocab_size=100).width for depth in range(1, 40)]
    assert widths == sorted(widths)
    assert ModelConfig.preset(28, vocab_size=151_936).width == 1120


@pytest.mark.parametrize("qk_norm", [True, False])
def test_parameters_counts_what_the_decoder_holds(qk_norm: bool) -> None:
    preset = ModelConfig.preset(2, vocab_size=100, channels=CHANNELS)
    config = ModelConfig(**{**vars(preset), "qk_norm": qk_norm})
    assert config.parameters == sum(p.numel() for p in Decoder(config).parameters())


def test_section_builds_the_preset() -> None:
    built = ModelSection(depth=3, width=64).build(100, CHANNELS)
    assert built == ModelConfig.preset(3, vocab_size=100, channels=CHANNELS, width=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_heads": 3}, "cannot share 3 kv_heads"),
        ({"head_dim": 33}, "is odd"),
        ({"hidden": 0}, "at least 1"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, int], message: str) -> None:
    sizes = {
        "vocab_size": 10,
        "width": 32,
        "layers": 1,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "hidden": 16,
    }
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**sizes, **change})


def test_depth_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 0"):
        ModelConfig.preset(0, vocab_size=10)
