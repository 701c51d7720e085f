"""Released FlexTok files: they load strictly, their metadata are read as data, and outputs equal the official modules'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from released import agrees, filled, golden, listing, numbers
from safetensors.torch import save_file
from torch import Tensor

from modalities.common.checkpoint import Checkpoint
from modalities.common.guidance import Projected, guided
from modalities.common.weights import WeightsMismatch, load_weights
from modalities.image.flextok import FlexTok, FlexTokNet
from modalities.image.flextok_config import PRESETS
from modalities.image.flextok_released import ours, released
from modalities.image.vae import ConvVAEConfig

SAID: dict[str, Any] = {
    "vae": {"_target_": "os.system", "latent_channels": 16, "scaling_factor": 0.42, "sample_posterior": True},
    "encoder": {"module_dict": {"enc_transformer": {"head_dim": 64}, "enc_to_latents": {"use_mup_readout": False}}},
    "decoder": {
        "module_dict": {
            "dec_nested_dropout": {"size_sampling_mode": "uniform_pow2", "eval_keep_k_read_key": None},
            "dec_latent_dropout": {"dropout_prob": 0.15},
            "dec_time_embedder": {"max_timestep": 1000.0},
        }
    },
    "regularizer": {"levels": [8, 8, 8, 5, 5, 5], "corrupt_tokens_p": 0.5},
    "pipeline": {"_partial_": True},
}  # fmt: skip
"""A configuration in the form that the official program writes."""


def small(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A released shape, much smaller: one head of 64, 4 x 4 patches, 8 registers, a VAE of 32 channels."""
    if key.startswith("vae."):
        widths = {128: 32, 256: 32, 512: 32}
        return tuple(widths.get(n, n) for n in shape)
    sizes = {768: 64, 9216: 12 * 64, 2048: 170, 1536: 128, 16: 4}
    if "registers" in key:
        sizes = {768: 64, 256: 8}
    return tuple(sizes.get(n, n) for n in shape)


def shrunk() -> dict[str, tuple[int, ...]]:
    """Shapes of a whole file: two layers in each half; where channels do not change, there is no shortcut."""
    kept = {}
    for key, shape in (listing("flextok_d12_d12") | listing("flextok_vae_c16")).items():
        late = any(f"transformer.blocks.{i}." in key for i in range(2, 12))
        if not late and "conv_shortcut" not in key:
            kept[key] = small(key, shape)
    return kept


@pytest.mark.parametrize("variant", ["d12_d12", "d18_d18", "d18_d28"])
def test_every_variant_loads_strictly_and_is_known_by_its_shapes(variant: str) -> None:
    with torch.device("meta"):
        shapes = listing(f"flextok_{variant}") | listing("flextok_vae_c16")
        config, state = released(
            Checkpoint({key: torch.empty(shape) for key, shape in shapes.items()}, {}, "x")
        )
        own = FlexTokNet(config).state_dict()
    assert config == FlexTok.preset(variant)
    assert {key: tuple(t.shape) for key, t in state.items()} == {
        key: tuple(t.shape) for key, t in own.items()
    }


@pytest.mark.parametrize("prefix", ["", "vae.", "vae.vae."])
def test_a_vae_alone_gets_its_place_in_the_network(prefix: str) -> None:
    with torch.device("meta"):
        shapes = {key.removeprefix("vae.vae."): shape for key, shape in listing("flextok_vae_c16").items()}
        state = ours({prefix + key: torch.empty(shape) for key, shape in shapes.items()})
        own = {key for key in FlexTokNet(PRESETS["d12_d12"]).state_dict() if key.startswith("vae.")}
    assert set(state) == own


def test_our_own_names_stay_as_they_are() -> None:
    net = FlexTokNet(PRESETS["small64"])
    state = net.state_dict()
    again = ours(state)
    assert again.keys() == state.keys()
    assert all(again[key] is state[key] for key in state)


def test_a_released_file_opens_with_what_its_metadata_say(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(filled(shrunk()), file, metadata={key: str(value) for key, value in SAID.items()})
    flextok = FlexTok(file)
    c = flextok.config
    assert (c.size, c.tokens, c.encoder.width, c.decoder.layers) == (64, 8, 64, 2)
    assert (c.scaling_factor, c.max_timestep, c.nested, c.null) == (0.42, 1000.0, "uniform_pow2", 0.15)
    assert c.quantizer.levels == (8, 8, 8, 5, 5, 5)
    codes = flextok.encode([torch.rand(3, 80, 64)])
    assert len(codes[0]) == 8
    assert flextok.decode(flextok.encode([torch.rand(3, 64, 64)]), steps=1)[0].size == (64, 64)
    other = FlexTok(file, scaling_factor=1.0, max_timestep=1.0)
    assert other.spec.fingerprint != flextok.spec.fingerprint
    assert other.net.decoder.time.scale == 1000.0  # type: ignore[attr-defined]
    with pytest.raises(WeightsMismatch, match="of another preset"):
        FlexTok(file, preset="d12_d12")


def test_a_config_json_beside_the_file_is_read_too(tmp_path: Path) -> None:
    import json

    save_file(filled(shrunk()), tmp_path / "model.safetensors")
    assert FlexTok(tmp_path).config.scaling_factor == 1.0  # nothing tells
    (tmp_path / "config.json").write_text(json.dumps({"config": SAID}))
    assert FlexTok(tmp_path).config.scaling_factor == 0.42


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"decoder": {"x": [{"use_mup_readout": True}]}}, "width multiplier"),
        ({"encoder": {"x": {"head_dim": 32}}}, "heads of 32 channels"),
    ],
)
def test_files_whose_numbers_would_be_wrong_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsMismatch, match=message):
        released(Checkpoint({}, said, "x"))


def test_fields_that_are_not_what_they_should_be_are_passed_over() -> None:
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in shrunk().items()}
    said = {
        "vae": {"scaling_factor": None},
        "decoder": [{"max_timestep": "1000", "size_sampling_mode": "k=3"}],
        "regularizer": {"levels": "8"},
    }
    config, _ = released(Checkpoint(state, said, "x"))
    assert (config.scaling_factor, config.max_timestep, config.nested) == (1.0, 1.0, "uniform")


def test_a_file_with_another_kind_of_modulation_is_refused(tmp_path: Path) -> None:
    shapes = shrunk()
    for key in list(shapes):
        if "adaLN" in key and "transformer" in key:
            shapes[key] = (shapes[key][0] // 2, *shapes[key][1:])
    save_file(filled(shapes), tmp_path / "model.safetensors")
    with pytest.raises(WeightsMismatch, match="patch_modulation"):
        FlexTok(tmp_path)


def test_a_file_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    torch.save({"codebook": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(WeightsMismatch, match="no tensor"):
        FlexTok(tmp_path / "x.pt")


@pytest.mark.slow
def test_codes_and_velocities_are_those_of_the_official_modules() -> None:
    noted = golden("flextok_d12_d12")
    net: Any = FlexTokNet(PRESETS["d12_d12"].model_copy(update={"vae": ConvVAEConfig(channels=(32,) * 4)}))
    own = net.state_dict()
    made = {key: own[key] for key in own if key.startswith("vae.") or key.endswith("coder.place")}
    load_weights(net, ours(filled(listing("flextok_d12_d12"))) | made)  # the tables of places are as built
    del own, made
    net.eval()
    latents, noisy = ((2 * numbers(name, (1, 16, 32, 32)) - 1).float() for name in ("latents", "noised"))
    with torch.no_grad():
        z = net.encoder(latents)
        agrees(z, noted["enc_z"])
        ids = net.quantizer.encode(z)
        assert ids[0].tolist() == torch.tensor(noted["tokens"]).flatten().tolist()
        assert float(net.quantizer.margin(z).min()) == pytest.approx(
            noted["min_dist_to_rounding_boundary"], rel=1e-2
        )
        z_q, decoder = net.quantizer.lookup(ids), net.decoder

        def velocity(time: float, told: Any) -> Tensor:
            found: Tensor = decoder(noisy, decoder.conditions(torch.tensor([time])), told)
            return found

        few, none = velocity(0.5, decoder.told(z_q[:, :64])), velocity(0.5, decoder.untold(1))
        agrees(few, noted["dec_k64_t0.5"])
        agrees(none, noted["dec_null_t0.5"])
        agrees(velocity(1.0, decoder.told(z_q)), noted["dec_k256_t1"])
    agrees(guided(few, none, 7.5), noted["cfg"])
    projected = Projected(7.5)
    agrees(projected(few, none), noted["apg_step1"])
    agrees(projected(0.9 * few, none), noted["apg_step2"])
