"""How different two pictures look: a weighted mean of measures by name, with backbones from a local folder.

    "lpips"       LPIPS with VGG-16        "convnext-s"  squared difference of ConvNeXt-S logits

Nothing is downloaded. Without a folder the measure says once what is missing and `steerable-ms` takes the
place of each missing part; `Perceptual.name` says what was measured in the end.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import open_checkpoint
from ..weights import load_weights
from .convnext import ConvNeXtLogits
from .lpips import LPIPS
from .steerable import Steerable

BACKBONES: dict[str, type[LPIPS] | type[ConvNeXtLogits]] = {"lpips": LPIPS, "convnext-s": ConvNeXtLogits}
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


class Perceptual(nn.Module):
    """The weighted mean of perceptual measures of pictures [B, 3, H, W] in [0, 1].

    Args:
        parts: weight of each measure: {"lpips": 1.0, "convnext-s": 0.1} is TA-TiTok's loss.
        folder: folder or file with the released weights of the backbones, or None for the substitute.

    Raises:
        ValueError: an unknown measure, no measure, or a folder without what a measure needs.
        WeightsMismatch: a file in the folder that holds another network.
    """

    def __init__(self, parts: Mapping[str, float] | None = None, folder: str | Path | None = None) -> None:
        super().__init__()
        parts = {"lpips": 1.0} if parts is None else parts
        unknown = [name for name in parts if name not in (*BACKBONES, Steerable.name)]
        if unknown or not parts or min(parts.values()) < 0 or sum(parts.values()) <= 0:
            known = ", ".join((*BACKBONES, Steerable.name))
            raise ValueError(
                f"perceptual measures {dict(parts)}: give a weight above 0 to one or more of {known}"
            )
        if folder is None:
            parts = _substituted(parts)
        self.measures = nn.ModuleList(
            Steerable() if folder is None or name == Steerable.name else load_backbone(name, Path(folder))
            for name in parts
        )
        total = sum(parts.values())
        self.weights = [weight / total for weight in parts.values()]
        self.name = "+".join(self._labels())

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The mean over pictures; gradient goes to both."""
        with torch.autocast(made.device.type, enabled=False):  # squares of small differences need fp32
            made, wanted = made.float(), wanted.float()
            values = [
                weight * measure(made, wanted)
                for weight, measure in zip(self.weights, self.measures, strict=True)
            ]
        return torch.stack(values).sum()

    def _labels(self) -> list[str]:
        names = [str(measure.name) for measure in self.measures]
        if len(names) == 1:
            return names
        return [f"{weight:.3g}*{name}" for weight, name in zip(self.weights, names, strict=True)]


def load_backbone(name: str, folder: Path) -> nn.Module:
    """A measure with its released weights from a folder (or one file), frozen.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no file in it holds this backbone, or two do.
        WeightsMismatch: lists every tensor that is missing, unexpected or of another shape.
    """
    kind = BACKBONES[name]
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such file or folder; {name} needs {kind.needs}")
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    found: dict[str, Tensor] = {}
    for file in files:
        if file.suffix in SUFFIXES:
            state = kind.released(open_checkpoint(file).state)
            twice = sorted(state.keys() & found.keys())
            if twice:
                raise ValueError(f"{folder} holds {twice[0]} of {name} twice: leave one network in it")
            found |= state
    if not found:
        raise ValueError(f"{folder} holds nothing of {name}: put {kind.needs} into it")
    network = kind()
    load_weights(network, {key: tensor.float() for key, tensor in found.items()}, f"{folder} ({name})")
    return network


def _substituted(parts: Mapping[str, float]) -> dict[str, float]:
    """The parts with every backbone's weight given to the substitute, which is said."""
    missing = [name for name in parts if name in BACKBONES]
    if not missing:
        return dict(parts)
    needs = "; ".join(f"{name} needs {BACKBONES[name].needs}" for name in missing)
    warnings.warn(
        f"no folder of perceptual backbones is given, so {Steerable.name} (fixed filters, not LPIPS) stands in "
        f"for {' and '.join(missing)}: {needs}, all in one folder",
        stacklevel=3,
    )
    return {Steerable.name: sum(parts.values())}
