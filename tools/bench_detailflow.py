"""DetailFlow here and in its own repository, side by side: `python tools/bench_detailflow.py PATH/DetailFlow`.

PATH is a checkout of github.com/ByteFlow-AI/DetailFlow; of its requirements transformers 4.50 must be installed. Both get
the same weights (drawn at random), the same pictures and the same codes, and run in turns on the same threads: encoding
to codes, decoding them whole and in part, and writing a picture's codes with guidance. Printed are median CPU seconds for
each picture, their ratios, how many codes agree, and how far what comes out differs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from measuring.timing import Clock, in_turns
from torch import Tensor, nn

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.detailflow_config import PRESETS, DetailFlowConfig
from modalities.image.detailflow_net import DetailFlowNet
from modalities.image.detailflow_released import released
from modalities.image.generate.groups import Groups, GroupsConfig, GroupsSampling
from unitok.command import command
from unitok.eval.provenance import provenance

SIGLIP = {
    "model_type": "siglip2_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16,
    "num_hidden_layers": 27, "num_patches": 256, "patch_size": 16, "layer_norm_eps": 1e-6,
    "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip
"""config.json of siglip2-so400m-patch16-naflex, which the official constructor reads."""


def prepare(root: Path) -> None:
    """Make the official modules importable: stand-ins for what files, training and other discriminators need alone."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.import_module(
        "transformers.models.siglip2.modeling_siglip2"
    )  # looks for timm before it is stood in for
    for name, given in {
        "timm": {},
        "timm.layers": {"trunc_normal_": nn.init.trunc_normal_},
        "tools": {"json_dump": None, "json_load": None, "yaml_load": None},
        "utils.misc": {"check_flash_attn_2_available": lambda: False},
    }.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(given)
    folder = Path(tempfile.mkdtemp())
    (folder / "siglip2-so400m-patch16-naflex").mkdir()
    (folder / "siglip2-so400m-patch16-naflex" / "config.json").write_text(json.dumps(SIGLIP))
    os.environ["CACHE_DATA_PATH"] = str(folder)


def official(root: Path, config: DetailFlowConfig) -> nn.Module:
    """The official tokenizer of a shape, at its own start."""
    prepare(root)
    model, vit = (importlib.import_module(f"modelling.{n}") for n in ("tokenizer", "modules.siglip2_vit"))
    shared = {
        "pretrained": False, "num_latent_tokens": config.tokens, "patch_size": config.patch, "group_size": config.group,
        "causal_num": None,
    }  # fmt: skip

    def half(kind: Any, size: Any, causal: bool, hidden: int) -> nn.Module:
        shape = {"layer_num": size.layers, "embed_dim": size.width, "num_heads": size.heads}
        build = vit.Siglip2VisionConfig.from_pretrained

        def sized(*given: Any, **said: Any) -> Any:  # a pretrained encoder keeps SigLIP's own inner width
            return build(*given, **{**said, "intermediate_size": hidden or 4 * size.width})

        vit.Siglip2VisionConfig = SimpleNamespace(from_pretrained=sized)
        try:
            made: nn.Module = kind(**shared, causal_mode=causal, **shape)
        finally:
            vit.Siglip2VisionConfig = SimpleNamespace(from_pretrained=build)
        return made

    model.build_encoder = lambda **_: half(vit.SiglipEncoder, config.encoder, True, config.hidden)
    model.build_decoder = lambda **_: half(vit.SiglipDecoder, config.decoder, False, 0)
    quantizer: Any = config.quantizer
    built: nn.Module = model.VQModel(
        model.ModelArgs(
            codebook_size=quantizer.codes,
            codebook_embed_dim=quantizer.dim,
            num_latent_tokens=config.tokens,
            group_size=config.group,
        )
    )
    return built.eval().requires_grad_(False)


def ours(theirs: nn.Module) -> DetailFlowNet:
    """Our network with the weights of theirs."""
    config, state = released(Checkpoint(dict(theirs.state_dict()), {}, "official"))
    net = DetailFlowNet(config)
    load_weights(net, state)
    return net.eval().requires_grad_(False)


@torch.no_grad()
def tokenizing(root: Path, config: DetailFlowConfig, batch: int, few: int, repeats: int) -> dict[str, Any]:
    """Speed and agreement of encoding and decoding."""
    torch.manual_seed(0)
    theirs: Any = official(root, config)
    net = ours(theirs)
    pictures, detail = 2 * torch.rand(batch, 3, config.size, config.size) - 1, config.detail

    def their_encode() -> Tensor:
        found: Tensor = theirs.encode(pictures)[2][2].view(batch, -1)
        return found

    codes = their_encode()
    z_q = net.quantizer.lookup(codes)

    def their_decode(count: int) -> Tensor:
        found: Tensor = theirs.decode(z_q, count, detail.side(count)).pixel_value
        return found

    works: dict[str, dict[str, Callable[[], Tensor]]] = {
        "encode": {
            "official": their_encode,
            "ours": lambda: net.quantizer.encode(net.encode(pictures)),
            f"ours, {few} codes": lambda: net.quantizer.encode(net.encode(pictures, few)),
            "ours bf16": lambda: net.quantizer.encode(_half(lambda: net.encode(pictures))),
        },
        "decode": {
            "official": lambda: their_decode(config.tokens),
            "ours": lambda: net.decode(z_q),
            "ours bf16": lambda: _half(lambda: net.decode(z_q)),
        },
        f"decode {few} codes": {
            "official": lambda: their_decode(few),
            "ours": lambda: net.decode(z_q[:, :few]),
        },
    }
    clocks = {what: in_turns(ways, repeats) for what, ways in works.items()}
    wanted = their_decode(config.tokens)
    return {
        "batch": batch,
        **_told(clocks, batch),
        "codes equal": float((works["encode"]["ours"]() == codes).float().mean()),
        "codes equal bf16": float((works["encode"]["ours bf16"]() == codes).float().mean()),
        "picture difference, of its spread": float((net.decode(z_q) - wanted).abs().max() / wanted.std()),
    }


def official_generator(root: Path, config: GroupsConfig) -> tuple[dict[str, Tensor], Callable[..., Tensor]]:
    """The weights of the official generator of a shape, and its sampler of (classes, scale, greedy)."""
    prepare(root)
    gpt, write = (importlib.import_module(f"autoregressive.models.{name}") for name in ("gpt", "generate"))
    shape = {
        "dim": config.width, "n_layer": config.layers, "n_head": config.heads, "vocab_size": config.codes,
        "num_classes": config.classes, "block_size": config.tokens, "group_size": config.group, "cls_token_num": 1,
    }  # fmt: skip
    net = gpt.Transformer(gpt.ModelArgs(**shape)).eval()
    nn.init.normal_(net.output.weight, std=0.02)  # which starts at zero, and then all codes are alike

    def sample(classes: Tensor, scale: float, greedy: bool = False) -> Tensor:
        how = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "sample_logits": not greedy}
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of each group
            found: Tensor = write.generate_group_par(net, classes, config.tokens, cfg_scale=scale, **how)
        return found

    return dict(net.state_dict()), sample


@torch.no_grad()
def generating(root: Path, config: GroupsConfig, batch: int, repeats: int) -> dict[str, Any]:
    """Speed and agreement of writing all codes of a picture, with guidance, in fp32."""
    torch.manual_seed(0)
    weights, sample = official_generator(root, config)
    net = Groups(config)
    load_weights(net, Groups.KEYS.ours(weights))
    net.eval().requires_grad_(False)
    classes, scale = torch.arange(batch) % config.classes, 1.5
    ways: dict[str, Callable[[], Tensor]] = {
        "official": lambda: sample(classes, scale),
        "ours": lambda: net.sample(classes, GroupsSampling(guidance=scale)),
    }
    clocks = {f"write {config.tokens} codes": in_turns(ways, repeats)}
    greedy = net.sample(classes, GroupsSampling(guidance=scale, temperature=1e-5))
    equal = greedy == sample(classes, scale, greedy=True)
    return {"batch": batch, **_told(clocks, batch), "greedy codes equal": float(equal.float().mean())}


def _half(work: Callable[[], Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return work().float()


def _told(clocks: dict[str, dict[str, Clock]], batch: int) -> dict[str, Any]:
    return {
        "CPU seconds a picture": {w: {n: c.cpu / batch for n, c in t.items()} for w, t in clocks.items()},
        "times as fast": {
            what: {n: taken["official"].cpu / c.cpu for n, c in taken.items() if n != "official"}
            for what, taken in clocks.items()
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="checkout of the official repository")
    parser.add_argument("--preset", default="128", choices=[name for name in PRESETS if name != "small64"])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--few", type=int, default=32, help="codes of the short rows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpt", default="l", help="size of the generator: b, l, …; none leaves it out")
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    config, rows = PRESETS[options.preset], []
    for batch in options.batch:
        rows.append(tokenizing(options.root, config, batch, options.few, options.repeats))
        print(json.dumps(rows[-1], indent=2), flush=True)
        if options.gpt != "none":
            size = GroupsConfig.preset(options.gpt, config.tokens)
            rows.append(generating(options.root, size, batch, options.repeats))
            print(json.dumps(rows[-1], indent=2), flush=True)
    if options.out:
        found = {**provenance(), "threads": torch.get_num_threads(), "preset": options.preset, "rows": rows}
        options.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    command(main)
