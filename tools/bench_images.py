"""TiTok here and in its own repository, side by side: `python tools/bench_images.py PATH/1d-tokenizer`.

PATH is a checkout of github.com/bytedance/1d-tokenizer; of its requirements omegaconf and huggingface_hub
must be installed. Both get the same weights (drawn at random) and the same pictures, and run in turns on the
same threads. Printed are medians of images per second, their ratio, how many codes agree, and how far the
pictures differ; `--train` also trains both on the same pictures, in the same order, with the same optimizer
and loss, and compares what comes back on held-out pictures.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring.timing import in_turns
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.sources import split
from modalities.image.titok import VARIANTS, TiTokConfig, TiTokNet, released
from modalities.image.training import psnr
from unitok.command import command
from unitok.eval.provenance import provenance


def official(root: Path, variant: str, **changes: Any) -> nn.Module:
    """The official module of a variant, at its own start; `changes` are keys of its settings."""
    sys.path.insert(0, str(root))
    for name in ("modeling", "modeling.modules", "modeling.quantizer"):
        if name not in sys.modules:  # their __init__ files import what only their training needs
            package = types.ModuleType(name)
            package.__path__ = [str(root / name.replace(".", "/"))]
            sys.modules[name] = package
    if importlib.util.find_spec("accelerate") is None:  # asked for gathering over ranks alone
        sys.modules["accelerate"] = types.ModuleType("accelerate")
        sys.modules["accelerate.utils"] = types.ModuleType("accelerate.utils")
        sys.modules["accelerate.utils.operations"] = types.ModuleType("accelerate.utils.operations")
        sys.modules["accelerate.utils.operations"].gather = lambda x: x  # type: ignore[attr-defined]
    from omegaconf import OmegaConf  # type: ignore[import-not-found]

    encoder, decoder, tokens, kind = VARIANTS[variant]
    legacy = kind == "legacy"
    model = {
        "codebook_size": 4096 if legacy else 8192, "token_size": 12 if legacy else 64,
        "use_l2_norm": legacy, "commitment_cost": 0.25, "vit_enc_model_size": encoder, "vit_dec_model_size": decoder,
        "vit_enc_patch_size": 16, "vit_dec_patch_size": 16, "num_latent_tokens": tokens,
        "finetune_decoder": legacy, "is_legacy": legacy, "quantize_mode": "vq",
    }  # fmt: skip
    size = changes.pop("crop_size", 256)
    settings = OmegaConf.create(
        {"model": {"vq_model": model | changes}, "dataset": {"preprocessing": {"crop_size": size}}}
    )
    built: nn.Module = importlib.import_module("modeling.titok").TiTok(settings)
    return built


def ours(theirs: nn.Module, l2: bool) -> TiTokNet:
    """Our network with the weights of theirs."""
    told = {"model": {"vq_model": {"use_l2_norm": l2}}}
    config, state = released(Checkpoint(dict(theirs.state_dict()), told, "official"))
    net = TiTokNet(config)
    load_weights(net, state)
    return net.eval().requires_grad_(False)


@torch.no_grad()
def compare(root: Path, variant: str, batch: int, repeats: int) -> dict[str, Any]:
    """Speed and agreement of one variant."""
    torch.manual_seed(0)
    theirs = official(root, variant).eval().requires_grad_(False)
    net = ours(theirs, VARIANTS[variant][3] == "legacy")
    pictures = torch.rand(batch, 3, 256, 256)

    def half(work: Callable[[], Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return work()

    def encode() -> Tensor:
        return net.quantizer.encode(net.encode(pictures).float())

    def their_encode() -> Tensor:
        return theirs.encode(pictures)[1]["min_encoding_indices"]  # type: ignore[operator, no-any-return]

    codes = their_encode()
    flat = codes.reshape(batch, -1)
    z_q = net.quantizer.lookup(flat)
    encoding = in_turns(
        {"official": their_encode, "ours": encode, "ours bf16": lambda: half(encode)}, repeats
    )
    decoding = in_turns(
        {
            "official": lambda: theirs.decode_tokens(codes),  # type: ignore[operator]
            "ours": lambda: net.decode(z_q),
            "ours bf16": lambda: half(lambda: net.decode(z_q)),
        },
        repeats,
    )
    wanted, made = theirs.decode_tokens(codes), net.decode(z_q)  # type: ignore[operator]
    quick = half(lambda: net.decode(z_q)).float()
    return {
        "variant": variant,
        "batch": batch,
        "encode images/s": {name: batch / s.wall for name, s in encoding.items()},
        "decode images/s": {name: batch / s.wall for name, s in decoding.items()},
        "encode ratio": {
            n: encoding["official"].wall / s.wall for n, s in encoding.items() if n != "official"
        },
        "decode ratio": {
            n: decoding["official"].wall / s.wall for n, s in decoding.items() if n != "official"
        },
        "codes equal": float((encode() == flat).float().mean()),
        "codes equal bf16": float((half(encode) == flat).float().mean()),
        "picture difference": float((wanted - made).abs().max()),
        "picture psnr bf16": float(-10 * torch.log10((wanted - quick).square().mean())),
    }


def train(
    root: Path, images: list[Path], size: int, patch: int, steps: int, batch: int, lr: float
) -> dict[str, Any]:
    """Train both on the same pictures with mean squared error and the codebook's losses, nothing else.

    The same architecture (small and small, 32 tokens of 1,024), pictures, order, steps, optimizer and loss; what
    differs is the code, and how learned tokens and projections begin.
    """
    pictures, heldout, *_ = split(images, size)
    codes, tokens = 1024, 32
    torch.manual_seed(0)
    theirs = official(
        root,
        "sl256_vq8k",
        crop_size=size,
        codebook_size=codes,
        num_latent_tokens=tokens,
        vit_enc_patch_size=patch,
        vit_dec_patch_size=patch,
        vit_dec_model_size="small",
    )
    torch.manual_seed(0)
    published = TiTokConfig.variant("sl256_vq8k")
    shape = {"size": size, "patch": patch, "tokens": tokens, "decoder": published.encoder, "start": "wide"}
    quantizer = published.quantizer.model_copy(update={"codes": codes})
    net = TiTokNet(published.model_copy(update={**shape, "quantizer": quantizer}))

    def their_step(x: Tensor) -> tuple[Tensor, Tensor]:
        made, extra = theirs(x)
        return made, F.mse_loss(made, x) + extra["quantizer_loss"]

    def our_step(x: Tensor) -> tuple[Tensor, Tensor]:
        made = net(x)
        return made.pictures, F.mse_loss(made.pictures, x) + made.quantized.loss

    sides = {"official": (theirs, their_step), "ours": (net, our_step)}
    optimizers = {
        n: torch.optim.AdamW(m.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-4)
        for n, (m, _) in sides.items()
    }
    seconds = dict.fromkeys(sides, 0.0)
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        x = pictures[torch.randint(len(pictures), (batch,), generator=order)].float() / 255
        for name, (module, forward) in sides.items():
            start = time.perf_counter()
            loss = forward(x)[1]
            optimizers[name].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizers[name].step()
            seconds[name] += time.perf_counter() - start
            if step % 25 == 0 or step == steps - 1:
                print(f"step {step} {name} loss {float(loss):.4f}", flush=True)
    found: dict[str, Any] = {}
    wanted = heldout[:64].float() / 255
    for name, (module, forward) in sides.items():
        module.eval()
        with torch.no_grad():
            made = torch.cat([forward(part)[0] for part in wanted.split(16)])
        found[name] = {"psnr": psnr(made, wanted), "images/s": steps * batch / seconds[name]}
    return {"train": found, "steps": steps, "batch": batch, "size": size, "pictures": len(pictures)}


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="checkout of the official repository")
    parser.add_argument("--variants", nargs="*", default=["s128", "b64", "bl64_vq8k"], choices=list(VARIANTS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--train", nargs="*", type=Path, default=[], help="pictures to train both on")
    parser.add_argument("--size", type=int, default=32, help="side of the training pictures")
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    found = [compare(options.root, name, options.batch, options.repeats) for name in options.variants]
    for row in found:
        print(json.dumps(row, indent=2))
    if options.train:
        found.append(
            train(
                options.root,
                options.train,
                options.size,
                options.patch,
                options.steps,
                options.batch,
                options.lr,
            )
        )
        print(json.dumps(found[-1], indent=2))
    if options.out:
        options.out.write_text(
            json.dumps({**provenance(), "threads": torch.get_num_threads(), "rows": found}, indent=2)
        )


if __name__ == "__main__":
    command(main)
