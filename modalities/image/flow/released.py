"""FlowTok's released generators: their names, and how their sizes follow from the shapes.

net = open_flow("FlowTok-XL.pth")                # or a file of recipes/train_flow.py
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from unitok.strict import validate

from ...common.checkpoint import Checkpoint
from ...common.keys import Fuse, KeyMap, Rearrange, Rename, Squeeze, numbered
from ...common.pretrained import read_released
from ...common.weights import is_ours, load_weights, read_weights
from .config import SIZES, FlowConfig, TextConfig
from .net import FlowNet

HEADS = {(width, layers): heads for width, layers, heads in SIZES.values()}

KEYS = KeyMap(
    Rename(r"^t2t_temperature$", "contrast.log_scale"),
    Rearrange(r"^contrast\.log_scale$", " -> 1"),
    Squeeze(r"^pos_embed$", (0,)),
    Rename(r"^pos_embed$", "velocity.place"),
    Rename(r"^x_embedder\.", "velocity.embed."),
    Rename(r"^t_embedder\.mlp\.0\.", "velocity.time.up."),
    Rename(r"^t_embedder\.mlp\.2\.", "velocity.time.down."),
    Rename(r"^y_embedder\.embedding_table\.", "velocity.null."),
    Rename(r"^final_layer\.linear\.", "velocity.head."),
    Rename(r"^final_layer\.adaLN_modulation\.1\.", "velocity.head_modulation."),
    Rename(r"^blocks\.(\d+)\.adaLN_modulation\.1\.", r"velocity.modulations.\1.linear."),
    Rename(r"^blocks\.", "velocity.blocks."),
    Rename(r"^(velocity\.blocks\.\d+\.attn)\.proj\.", r"\1.out."),
    Rename(r"\.mlp\.fc1\.", ".mlp.up."),
    Rename(r"\.mlp\.fc2\.", ".mlp.down."),
    Rename(r"^context_encoder\.layers\.", "projector.blocks."),
    Rename(r"^context_encoder\.linear\.", "projector.out."),
    Fuse(r"\.attn\.W_{}\.", ("Q", "K", "V"), ".attn.qkv."),
    Rename(r"\.attn\.W_O\.", ".attn.out."),
    Rename(r"\.feed_forward\.ffn_1\.", ".mlp.up."),
    Rename(r"\.feed_forward\.ffn_2\.", ".mlp.down."),
    Rename(r"\.norm([12])\.g$", r".norm_\1.weight"),
    Rename(r"\.norm([12])\.b$", r".norm_\1.bias"),
    Rename(r"^context_projector\.", "align."),
)


def released(checkpoint: Checkpoint) -> tuple[FlowConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of any released FlowTok.

    Heads show in no shape: those of the published sizes are known, another velocity network is taken to have heads of
    64 channels, and a text projector to have eight, as all published ones.
    """
    state = checkpoint.state
    width, channels = state["x_embedder.weight"].shape
    states = state["context_encoder.linear.weight"].shape[1]
    layers = numbered(state, r"blocks\.(\d+)\.")
    config = FlowConfig(
        tokens=state["pos_embed"].shape[1],
        channels=channels,
        width=width,
        layers=layers,
        heads=HEADS.get((width, layers), max(1, width // 64)),
        text=TextConfig(
            width=states,
            layers=numbered(state, r"context_encoder\.layers\.(\d+)\."),
            hidden=state["context_encoder.layers.0.feed_forward.ffn_1.weight"].shape[0],
            align=state["context_projector.0.weight"].shape[0],
        ),
    )
    return config, KEYS.ours(state)


def open_flow(path: str | Path, preset: str | None = None) -> FlowNet:
    """A generator with its weights, frozen, in evaluation mode.

    Args:
        path: a .safetensors of `recipes/train_flow.py`, or a released file.
        preset: which published size it must be.

    Raises:
        FileNotFoundError, BadCheckpoint: no such file, or none that can be read.
        WeightsMismatch: a file of something else, or in which tensors are missing or too many.
        ValueError: of another size than `preset`.
    """
    if is_ours(path):
        config_json, state = read_weights(path)
        config = validate(FlowConfig, config_json.get("flow", {}), str(path))
    else:
        config, state, _ = read_released(path, released)
    if preset is not None:
        wanted = FlowConfig.preset(preset)
        if (config.width, config.layers) != (wanted.width, wanted.layers):
            raise ValueError(
                f"{path} is {config.width} wide and has {config.layers} layers, FlowTok-{preset} {wanted.width} and "
                f"{wanted.layers}: leave the preset out, or give the file of that size"
            )
    net = FlowNet(config)
    load_weights(net, state, str(path))
    return net.eval().requires_grad_(False)
