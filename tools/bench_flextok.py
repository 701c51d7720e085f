"""FlexTok here and in its own repository, side by side: `python tools/bench_flextok.py PATH/ml-flextok`.

PATH is a checkout of github.com/apple/ml-flextok; of its requirements hydra-core, mup and diffusers must be installed.
Both get the same weights (drawn at random), the same pictures and the same noise, and run in turns on the same
threads: encoding to codes, one forward of the decoder, and a whole picture with guidance (projected). Printed are
median CPU seconds for each picture, their ratios, how many codes agree, and how far what comes out differs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring.timing import Clock, in_turns
from torch import Tensor, nn

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.flextok import FlexTokNet
from modalities.image.flextok_config import PRESETS, FlexTokConfig
from modalities.image.flextok_released import released
from modalities.image.vae import ConvVAEConfig
from unitok.command import command
from unitok.eval.provenance import provenance


def official(root: Path, config: FlexTokConfig) -> nn.Module:
    """The official tokenizer of a shape, at its own start, without what needs a compiler or a GPU."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if importlib.util.find_spec("torchvision") is None:  # wanted by helpers that show pictures alone
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__spec__ = importlib.util.spec_from_loader(name, loader=None)
    sys.modules.setdefault("flextok.utils.demo", types.ModuleType("flextok.utils.demo"))
    part = importlib.import_module
    model = part("flextok.flextok_wrapper").FlexTok(
        vae=_vae(part, config),
        encoder=_encoder(part, config),
        decoder=_decoder(part, config),
        regularizer=part("flextok.regularizers.quantize_fsq").FSQ(
            latents_read_key="enc_latents",
            quants_write_key="quants",
            tokens_write_key="tokens",
            levels=list(config.quantizer.levels),  # type: ignore[union-attr]
        ),
        flow_matching_noise_module=nn.Identity(),
        pipeline=partial(
            part("flextok.flow_matching.pipelines").MinRFPipeline,
            noise_read_key="noise",
            latents_read_key="quants",
            timesteps_read_key="times",
            noised_images_read_key="noised",
            reconst_write_key="painted",
            out_channels=config.vae.latents,
        ),
    )
    for module in model.modules():
        if hasattr(module, "use_flex_attention"):
            module.use_flex_attention = False
        if hasattr(module, "return_materialized_mask"):
            module.return_materialized_mask, module.compile_block_mask = True, False
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _vae(part: Callable[[str], Any], config: FlexTokConfig) -> nn.Module:
    assert isinstance(config.vae, ConvVAEConfig)
    wrapper = part("flextok.vae_wrapper")
    shape = {"block_out_channels": list(config.vae.channels), "layers_per_block": config.vae.blocks}
    kinds = {
        "down_block_types": ["DownEncoderBlock2D"] * len(config.vae.channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(config.vae.channels),
    }
    wrapper.VAE_BASE_CFG.update(shape | kinds)
    built: nn.Module = wrapper.StableDiffusionVAE(
        images_read_key="rgb",
        vae_latents_read_key="painted",
        vae_latents_write_key="latents",
        images_reconst_write_key="rgb_painted",
        latent_channels=config.vae.latents,
        scaling_factor=config.scaling_factor,
        sample_posterior=False,
    )
    return built


def _half(
    part: Callable[[str], Any], prefix: str, first: str, mask: str, width: int, layers: int, **more: Any
) -> Any:
    """Packing, transformer and unpacking of one half."""
    packer = part("flextok.model.preprocessors.flex_seq_packing").BlockWiseSequencePacker(
        input_list_read_keys=[first, f"{prefix}_registers"],
        packed_seq_write_key=f"{prefix}_packed",
        block_mask_write_key=f"{prefix}_mask",
        inner_packed_shapes_write_key=f"{prefix}_inner",
        outer_packed_shapes_write_key=f"{prefix}_outer",
        mask_mode=mask,
        pad_to_multiple=128,
        emb_packing_fn_write_key=f"{prefix}_spread" if more else None,
        per_subseq_embs=bool(more),
    )
    trunk = part("flextok.model.trunks.transformers").FlexTransformer(
        input_seq_read_key=f"{prefix}_packed",
        output_seq_write_key=f"{prefix}_out",
        dim=width,
        depth=layers,
        block_mask_read_key=f"{prefix}_mask",
        **more,
    )
    unpacker = part("flextok.model.postprocessors.seq_unpacking").SequenceUnpacker(
        packed_seq_read_key=f"{prefix}_out",
        inner_seq_write_keys=[f"{prefix}_patches_out", f"{prefix}_registers_out"],
        inner_packed_shapes_read_key=f"{prefix}_inner",
        outer_packed_shapes_read_key=f"{prefix}_outer",
    )
    return {f"{prefix}_seq_packer": packer, f"{prefix}_transformer": trunk, f"{prefix}_unpacker": unpacker}


def _last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _encoder(part: Callable[[str], Any], config: FlexTokConfig) -> nn.Module:
    width, pre = config.encoder.width, "flextok.model.preprocessors."
    modules = {
        "enc_channels_to_last": part("flextok.model.utils.dict_ops").PerSampleOp("latents", "enc_last", _last),
        "enc_patch_emb": part(pre + "patching").PatchEmbedder(
            "enc_last", "enc_patches", "enc_counts", [config.patch] * 2, config.vae.latents, width, False
        ),
        "enc_posemb_module": part("flextok.model.utils.posembs").PositionalEmbeddingAdder(
            "enc_patches", "enc_patches", width, [config.side] * 2
        ),
        "enc_register_module": part(pre + "registers").Registers1D(
            "enc_patches", "enc_sizes", "enc_registers", width, config.tokens, config.tokens
        ),
        **_half(part, "enc", "enc_patches", "causal_last", width, config.encoder.layers),
        "enc_to_latents": part("flextok.model.postprocessors.heads").LinearHead(
            "enc_registers_out", "enc_latents", width, len(config.quantizer.levels), False, "xavier"  # type: ignore[union-attr]
        ),
    }  # fmt: skip
    built: nn.Module = part("flextok.model.utils.wrappers").SequentialModuleDictWrapper(modules)
    return built


def _decoder(part: Callable[[str], Any], config: FlexTokConfig) -> nn.Module:
    width, pre = config.decoder.width, "flextok.model.preprocessors."
    places, ops = (
        part("flextok.model.utils.posembs").PositionalEmbeddingAdder,
        part("flextok.model.utils.dict_ops"),
    )
    heads = part("flextok.model.postprocessors.heads")
    modules = {
        "dec_from_latents": part(pre + "linear").LinearLayer(
            "quants", "dec_registers", len(config.quantizer.levels), width  # type: ignore[union-attr]
        ),
        "dec_registers_posemb_module": places(
            "dec_registers", "dec_registers", width, [config.tokens], "learnable_sum"
        ),
        "dec_nested_dropout": part(pre + "token_dropout").MaskedNestedDropout("dec_registers", width),
        "dec_latent_dropout": part(pre + "nullcond").LearnedNullCond("dec_registers", width),
        "dec_noise_channels_to_last": ops.PerSampleOp("noised", "dec_last", _last),
        "dec_noise_patch_emb": part(pre + "patching").PatchEmbedder(
            "dec_last", "dec_patches", "dec_counts", [config.patch] * 2, config.vae.latents, width, False
        ),
        "dec_patches_posemb_module": places("dec_patches", "dec_patches", width, [config.side] * 2),
        "dec_time_embedder": part(pre + "time_embedding").TimestepEmbedder(
            "times", "dec_time", width, max_timestep=config.max_timestep
        ),
        **_half(
            part, "dec", "dec_patches", "full", width, config.decoder.layers,
            adaLN_emb_read_key="dec_time", adaLN_packing_fn_read_key="dec_spread", adaLN_expansion=2,
        ),
        "dec_to_patches": heads.ToPatchesLinearHead(
            "dec_patches_out", "dec_painted", width, config.vae.latents, [config.patch] * 2, False, "xavier",
            adaLN_emb_read_key="dec_time",
        ),
        "dec_channels_to_first": ops.PerSampleOp("dec_painted", "painted", _first),
    }  # fmt: skip
    built: nn.Module = part("flextok.model.utils.wrappers").SequentialModuleDictWrapper(modules)
    return built


def ours(theirs: nn.Module) -> FlexTokNet:
    """Our network with the weights of theirs."""
    config, state = released(Checkpoint(dict(theirs.state_dict()), {}, "official"))
    net = FlexTokNet(config)
    load_weights(net, state)
    return net.eval().requires_grad_(False)


@torch.no_grad()
def compare(
    root: Path, config: FlexTokConfig, batch: int, keep: int, steps: int, repeats: int
) -> dict[str, Any]:
    """Speed and agreement of one shape, for `batch` pictures of the first `keep` codes."""
    torch.manual_seed(0)
    theirs = official(root, config)
    for parameter in theirs.parameters():  # what starts at zero would hide a difference
        if not parameter.any():
            parameter.normal_(std=0.02)
    net = ours(theirs)
    pictures = 2 * torch.rand(batch, 3, config.size, config.size) - 1
    noise, calls = net.noise(range(batch)), theirs.tokenize(pictures)  # type: ignore[operator]
    codes = torch.cat(calls)
    few = [each[:, :keep] for each in calls]
    z_q, times = net.quantizer.lookup(codes), torch.full((batch,), 0.5)

    def their_forward() -> Tensor:
        told = theirs._prepare_data_dict_for_detokenization(few)  # type: ignore[operator]
        told |= {"noised": list(noise.split(1)), "times": times}
        return torch.cat(theirs.decoder(told)["painted"])  # type: ignore[operator]

    def their_paint() -> Tensor:
        told = theirs._prepare_data_dict_for_detokenization(few)  # type: ignore[operator]
        told |= {"noise": list(noise.split(1))}
        options = {"timesteps": steps, "vae_image_sizes": noise.shape[-1], "verbose": False}
        found = theirs.decode(told, **options, guidance_scale=7.5, perform_norm_guidance=True)  # type: ignore[operator]
        return torch.cat(found["rgb_painted"])

    def our_forward() -> Tensor:
        decoder = net.decoder
        found: Tensor = decoder(noise, decoder.conditions(times[:1]), decoder.told(z_q[:, :keep]))
        return found

    def our_paint() -> Tensor:
        return net.decode(z_q[:, :keep], noise, steps, 7.5, True)

    works: dict[str, dict[str, Callable[[], Tensor]]] = {
        "encode": {
            "official": lambda: torch.cat(theirs.tokenize(pictures)),  # type: ignore[operator]
            "ours": lambda: net.quantizer.encode(net.encode(pictures)),
            f"ours, {keep} codes": lambda: net.quantizer.encode(net.encode(pictures, keep)),
        },
        "decoder forward": {"official": their_forward, "ours": our_forward},
        f"picture, {steps} steps": {"official": their_paint, "ours": our_paint},
    }
    clocks = {what: in_turns(ways, repeats) for what, ways in works.items()}
    wanted, made = their_paint(), our_paint()
    return {
        "batch": batch,
        "codes kept": keep,
        "CPU seconds a picture": {w: {n: c.cpu / batch for n, c in t.items()} for w, t in clocks.items()},
        "times as fast": {what: _ratios(taken) for what, taken in clocks.items()},
        "codes equal": float((works["encode"]["ours"]() == codes).float().mean()),
        "velocity difference": float((their_forward() - our_forward()).abs().max()),
        "picture difference, of its spread": float((wanted - made).abs().max() / wanted.std()),
    }


def _ratios(taken: dict[str, Clock]) -> dict[str, float]:
    return {name: taken["official"].cpu / clock.cpu for name, clock in taken.items() if name != "official"}


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="checkout of the official repository")
    parser.add_argument(
        "--preset", default="d12_d12", choices=[name for name in PRESETS if name != "small64"]
    )
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--keep", type=int, nargs="*", default=[256], help="codes that are decoded")
    parser.add_argument("--steps", type=int, default=5, help="of a picture; the official default is 25")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--thin", action="store_true", help="a VAE of 32 channels: the transformers are compared"
    )
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    rows = []
    for batch in options.batch:
        for keep in options.keep:
            preset = PRESETS[options.preset]
            if options.thin:
                preset = preset.model_copy(update={"vae": ConvVAEConfig(channels=(32,) * 4)})
            rows.append(compare(options.root, preset, batch, keep, options.steps, options.repeats))
            print(json.dumps(rows[-1], indent=2), flush=True)
    if options.out:
        found = {
            **provenance(),
            "threads": torch.get_num_threads(),
            "preset": options.preset,
            "thin": options.thin,
            "rows": rows,
        }
        options.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    command(main)
