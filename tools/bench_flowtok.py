"""FlowTok here and in its own repository, side by side: `python tools/bench_flowtok.py PATH/FlowTok`.

PATH is a checkout of github.com/TACJu/FlowTok (d4d43c5). Both get the same weights, drawn at random, and the same inputs,
and run in turns on the same threads. Printed are medians of items per CPU second, their ratio and how far the results
differ: pictures to latents, latents to pictures, and captions to latents in 20 steps with guidance 2. Of what the
repository imports, packages that are not installed and that these paths do not need are left empty; timm's attention
and MLP, which the flow does need, are then replaced by equal ones on PyTorch's fused attention.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from measuring.timing import Clock, in_turns
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.flow.config import SIZES
from modalities.image.flow.net import FlowNet
from modalities.image.flow.released import released as flow_released
from modalities.image.flowtok import FlowTokConfig
from modalities.image.flowtok import released as tokenizer_released
from modalities.image.titok import TiTokNet
from unitok.command import command
from unitok.eval.provenance import provenance

UNUSED = (
    "ml_collections", "open_clip", "torchdiffeq", "fairscale", "fairscale.nn", "fairscale.nn.model_parallel",
    "fairscale.nn.model_parallel.initialize", "fairscale.nn.model_parallel.layers", "torchvision", "torchvision.transforms",
)  # fmt: skip


class Attention(nn.Module):
    """In place of timm's."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = False) -> None:
        super().__init__()
        self.heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=qkv_bias), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, W] -> the same."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """In place of timm's."""

    def __init__(
        self, in_features: int, hidden_features: int, act_layer: Callable[[], nn.Module], drop: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, W] -> the same."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class _Anything:
    """Stands for a class or function of a package that is not there."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


def _absent(name: str) -> type[_Anything]:
    """What a module gives for a name that it has not; Python's own ones stay unknown."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything


def official(root: Path, name: str) -> types.ModuleType:
    """A module of the repository."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
        given: dict[str, dict[str, Any]] = {
            "timm": {}, "timm.models": {}, "timm.models.vision_transformer": {"Attention": Attention, "Mlp": Mlp},
        }  # fmt: skip
        stubs = {**{unused: {} for unused in UNUSED}, **given}
        tops = {name.partition(".")[0] for name in stubs}
        absent = {top for top in tops if importlib.util.find_spec(top) is None}
        for missing, parts in stubs.items():
            if missing.partition(".")[0] in absent:
                module = types.ModuleType(missing)
                module.__dict__.update(parts)
                module.__getattr__ = _absent  # type: ignore[method-assign]
                module.__path__ = []
                sys.modules[missing] = module
                parent, _, child = missing.rpartition(".")
                if parent:
                    setattr(sys.modules[parent], child, module)
    return importlib.import_module(name)


def drawn_at_random(net: nn.Module) -> nn.Module:
    """Weights that leave no part idle: the published start has zeros in the last layers."""
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return net.eval().requires_grad_(False)


def compared(ways: Mapping[str, Callable[[], Tensor]], count: int, repeats: int) -> dict[str, Any]:
    """Items per CPU second of both, their ratio, and the largest difference beside the results' spread."""
    taken: dict[str, Clock] = in_turns(ways, repeats)
    one, two = (ways[name]() for name in ("official", "ours"))
    return {
        **{f"{name} per CPU s": count / max(clock.cpu, 1e-9) for name, clock in taken.items()},
        "ratio": taken["official"].cpu / max(taken["ours"].cpu, 1e-9),
        "difference": float((one - two).abs().max() / one.std()),
    }


def tokenizer(root: Path, batch: int, repeats: int) -> dict[str, Any]:
    """The tokenizer of 256 pixels."""
    torch.manual_seed(0)
    vq: Any = type("Settings", (dict,), {"__getattr__": dict.__getitem__})(
        token_size=16, vit_enc_model_size="base", vit_dec_model_size="large", vit_enc_patch_size=16,
        vit_dec_patch_size=16, num_latent_tokens=77, is_legacy=False, use_rmsnorm=False, use_swiglu=True,
        deterministic=True, quantize_mode="vae",
    )  # fmt: skip
    settings = types.SimpleNamespace(vq_model=vq, dataset=types.SimpleNamespace(crop_size=256))
    theirs = drawn_at_random(official(root, "libs.flowtitok").FlowTiTok(settings))
    config, state = tokenizer_released(Checkpoint(dict(theirs.state_dict()), {}, "official"))
    assert config == FlowTokConfig.variant("bl77_256")
    net = TiTokNet(config)
    load_weights(net, state)
    net.eval().requires_grad_(False)
    pictures, text = torch.rand(batch, 3, 256, 256), torch.randn(batch, 77, 768)
    latents = torch.randn(batch, 77, 16)
    flat = latents.transpose(1, 2).unsqueeze(2).contiguous()

    def encode() -> Tensor:
        found: Tensor = theirs.encoder(pixel_values=pictures, latent_tokens=theirs.latent_tokens)  # type: ignore[operator]
        return found.squeeze(2).transpose(1, 2)

    return {
        "encode": compared({"official": encode, "ours": lambda: net.encode(pictures)}, batch, repeats),
        "decode": compared(
            {"official": lambda: theirs.decode(flat, text), "ours": lambda: net.decode(latents, text)},  # type: ignore[operator]
            batch,
            repeats,
        ),
    }


def flow(root: Path, size: str, batch: int, repeats: int) -> dict[str, Any]:
    """Text latents and 20 steps of a size."""
    torch.manual_seed(0)
    width, layers, heads = SIZES[size]
    text = {
        "num_blocks": 6,
        "num_attention_heads": 8,
        "hidden_dim": 1024,
        "dropout_prob": 0.1,
        "clip_loss_weight": 0.0,
    }
    settings = types.SimpleNamespace(
        channels=16, clip_dim=768, use_t2t_temperature=True, textVAE=types.SimpleNamespace(**text)
    )
    build = official(root, "libs.model.flowtok_t2i").FlowTok
    theirs = drawn_at_random(build(settings, hidden_size=width, depth=layers, num_heads=heads))
    config, state = flow_released(Checkpoint(dict(theirs.state_dict()), {}, "official"))
    net = FlowNet(config)
    load_weights(net, state)
    net.eval().requires_grad_(False)
    solver = official(root, "diffusion.flow_matching").ODEEulerFlowMatchingSolver
    states = torch.randn(batch, 77, 768)

    def sample() -> Tensor:
        _, mean, _ = theirs(states, text_encoder=True)
        steps = solver(theirs, step_size_type="step_in_dsigma", guidance_scale=2.0)
        found: Tensor = steps.sample(
            x_T=mean,
            batch_size=batch,
            sample_steps=20,
            unconditional_guidance_scale=2.0,
            has_null_indicator=True,
        )[0]
        return found

    return {
        f"sample {size}": compared({"official": sample, "ours": lambda: net.draw(states)}, batch, repeats)
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compare, print and give back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="PATH")
    parser.add_argument("--size", nargs="*", default=["S"], choices=SIZES, help="of the flow")
    parser.add_argument("--no-tokenizer", action="store_true", help="the flow alone")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    found = {} if options.no_tokenizer else tokenizer(options.root, options.batch, options.repeats)
    for size in options.size:
        found |= flow(options.root, size, options.batch, options.repeats)
    found |= {"batch": options.batch, "threads": options.threads, "machine": provenance()}
    print(json.dumps(found, indent=2, default=str))
    return found


if __name__ == "__main__":
    command(main)
