"""Hugging Face folders in and out: `config.json` and `model.safetensors`, no transformers needed.

    decoder = load("Qwen3-0.6B", vocab_size=len(vocabulary), channels=vocabulary.channels)
    save(decoder, "runs/demo/model")        # opens as Qwen3ForCausalLM (LlamaForCausalLM without QK-norm)

Parameters are called the same on both sides, so nothing is renamed. Side channels, which the stock classes
do not know, lie in `side.safetensors` beside the rest. Growing the vocabulary appends rows: no id moves.

A decoder with stacked blocks computes what no stock class does: its folder names a model type that transformers
refuses, and only `load` opens it. For a folder that opens there, train with the flat layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unitok.modality import Side
from unitok.model.config import Backend, ModelConfig, Stack
from unitok.model.decoder import Decoder
from unitok.model.depth import slots

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
STACKED = "unitok_stacked_"
"""Begins the model type of a folder with stacked blocks: "unitok_stacked_qwen3"."""
TABLES = ("model.embed_tokens.weight", "lm_head.weight")


class UnknownModel(ValueError):
    """A folder that holds a model of another shape than Qwen3's or Llama's."""


def load(
    folder: str | Path,
    vocab_size: int | None = None,
    channels: Mapping[str, Side] | None = None,
    stacks: Mapping[str, Stack] | None = None,
    *,
    backend: Backend = "sdpa",
    recompute: bool = False,
) -> Decoder:
    """The decoder of a folder, in float32.

    Args:
        folder: holds config.json and *.safetensors.
        vocab_size: rows the id tables shall have; more than the folder's are appended. None = the folder's.
        channels: side channels; those that the folder lacks start at zero. None = the folder's.
        stacks: stacked blocks; what of the depth head the folder lacks starts at random. None = the folder's.
        backend: see `ModelConfig`.
        recompute: see `ModelConfig`.

    Raises:
        UnknownModel: another architecture, or a feature that the decoder lacks.
        ValueError: weights are missing, too many, or of the wrong shape.
    """
    folder = Path(folder)
    config = read_config(folder, channels, stacks)
    found = read_weights(folder)
    if TABLES[0] not in found:
        raise ValueError(f"{folder} has no {TABLES[0]}: get a folder of a whole model")
    if TABLES[1] not in found:  # tied: both tables are the same
        found[TABLES[1]] = found[TABLES[0]].clone()
    grown = max(vocab_size or 0, config.vocab_size)
    if vocab_size is not None and vocab_size < config.vocab_size:
        raise ValueError(
            f"{folder} has {config.vocab_size} ids, {vocab_size} were asked for: ids are only added"
        )
    decoder = Decoder(replace(config, vocab_size=grown, backend=backend, recompute=recompute))
    for name in TABLES:
        found[name] = grow(found[name], grown)
    expected = decoder.state_dict()
    optional = {f"model.embed_{name}.weight" for name in config.channels}
    kept = {f"depth.lm_heads.{slot.name}.weight" for slot in slots(read_config(folder).stacks)}
    optional |= {
        name for name in expected if _is_depth(name) and (not kept or _is_head(name) and name not in kept)
    }
    missing = expected.keys() - found.keys() - optional
    surplus = found.keys() - expected.keys()
    if missing or surplus:
        raise ValueError(
            f"{folder}: {len(missing)} weights are missing and {len(surplus)} unknown, the first being "
            f"{min(missing | surplus)}: the folder is of another shape than its config.json says"
        )
    wrong = [name for name in sorted(found) if found[name].shape != expected[name].shape]
    if wrong:
        raise ValueError(
            f"{folder}: {wrong[0]} has shape {list(found[wrong[0]].shape)}, config.json asks for "
            f"{list(expected[wrong[0]].shape)}: get the folder again, whole"
        )
    decoder.load_state_dict({**expected, **found})
    return decoder


def save(decoder: Decoder, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the decoder as a Hugging Face folder.

    Args:
        decoder: gives the sizes, and the weights unless they are given.
        folder: is made if it is not there.
        weights: the decoder's parameters by name, where they were gathered from elsewhere.

    Raises:
        OSError: a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = decoder.state_dict() if weights is None else weights
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    sides = {name: tensors.pop(name) for name in list(tensors) if _is_side(name) or _is_depth(name)}
    _write(tensors, folder / "model.safetensors")
    if sides:
        _write(sides, folder / "side.safetensors")
    dtype = str(tensors[TABLES[0]].dtype).removeprefix("torch.")
    text = json.dumps(describe(decoder.config, dtype), indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def describe(config: ModelConfig, dtype: str = "float32") -> dict[str, Any]:
    """The content of config.json."""
    kind = "qwen3" if config.qk_norm else "llama"
    ours: dict[str, Any] = {"channels": {name: vars(side) for name, side in config.channels.items()}}
    if config.stacks:
        ours["stacks"] = {name: [list(one) for one in ranges] for name, ranges in config.stacks.items()}
    return {
        "architectures": ["unitok.model.decoder.Decoder" if config.stacks else ARCHITECTURES[kind]],
        "model_type": STACKED + kind if config.stacks else kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.hidden,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,  # transformers 4
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},  # transformers 5
        "max_position_embeddings": config.max_length,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "torch_dtype": dtype,
        "unitok": ours,
    }


def read_config(
    folder: Path, channels: Mapping[str, Side] | None = None, stacks: Mapping[str, Stack] | None = None
) -> ModelConfig:
    """The sizes that a folder's config.json tells.

    Raises:
        UnknownModel: see `load`.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give a folder with config.json and *.safetensors")
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnknownModel(f"{path} is not JSON ({error}): get the folder again") from error
    kind = str(raw.get("model_type")).removeprefix(STACKED)
    if kind not in ARCHITECTURES:
        raise UnknownModel(f"{folder} holds a {kind!r}: this decoder loads {' and '.join(ARCHITECTURES)}")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    refused = {
        "attention_bias": bool(raw.get("attention_bias")),
        "mlp_bias": bool(raw.get("mlp_bias")),
        "sliding window": bool(raw.get("use_sliding_window")),
        "scaled rotary positions": (rope.get("rope_type") or rope.get("type") or "default") != "default",
        f"activation {raw.get('hidden_act')!r}": raw.get("hidden_act", "silu") != "silu",
    }
    for feature, there in refused.items():
        if there:
            raise UnknownModel(
                f"{folder} uses {feature}, which this decoder lacks: choose a model without it"
            )
    ours = raw.get("unitok", {})
    if channels is None:
        channels = {name: Side(**side) for name, side in ours.get("channels", {}).items()}
    stored = {name: tuple((a, b) for a, b in ranges) for name, ranges in ours.get("stacks", {}).items()}
    moved = [name for name in stored if stacks is not None and stacks.get(name) != stored[name]]
    if moved:
        raise ValueError(
            f"{folder} was trained with block {moved[0]!r} stacked, its parts at {stored[moved[0]]}, and is asked for "
            f"{(stacks or {}).get(moved[0])}: use the unitok.json that lies beside it"
        )
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if lacking := [name for name in sizes if name not in raw]:
        raise UnknownModel(f"{path} does not say {lacking[0]}: get the folder again")
    heads = raw["num_attention_heads"]
    return ModelConfig(
        vocab_size=raw["vocab_size"],
        width=raw["hidden_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
        hidden=raw["intermediate_size"],
        qk_norm=kind == "qwen3",
        rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0),
        norm_eps=raw.get("rms_norm_eps", 1e-6),
        channels=dict(channels),
        stacks=dict(stored if stacks is None else stacks),
        max_length=raw.get("max_position_embeddings", 32_768),
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder as float32, from one file or from the shards that an index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    if (folder / "side.safetensors").is_file():
        names.append("side.safetensors")
    found: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: download the folder again, whole")
        try:
            found |= load_file(folder / name)
        except SafetensorError as error:
            raise ValueError(f"{folder / name} is damaged ({error}): get the file again") from error
    return {
        name: tensor.float() for name, tensor in found.items() if not name.endswith("rotary_emb.inv_freq")
    }


def grow(table: Tensor, rows: int) -> Tensor:
    """An id table [V, D] with rows appended up to [rows, D].

    A new row is the mean of the old ones plus noise of a tenth of their spread, from a fixed seed: new ids
    begin as unlikely and as neutral as the average id, and apart from one another.
    """
    missing = rows - table.shape[0]
    if missing <= 0:
        return table
    noise = torch.randn(missing, table.shape[1], generator=torch.Generator().manual_seed(rows))
    fresh = table.mean(dim=0) + 0.1 * table.std(dim=0) * noise
    return torch.cat((table, fresh.to(table.dtype)))


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, above all
        raise OSError(f"{path} could not be written ({error}): free some space and start again") from error


def _is_depth(name: str) -> bool:
    return name.startswith("depth.")


def _is_head(name: str) -> bool:
    return name.startswith("depth.lm_heads.")


def _is_side(name: str) -> bool:
    return ".embed_" in name and name not in TABLES
