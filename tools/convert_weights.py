"""Turn released weights of a tokenizer into this project's format: safetensors that say what they fit.

    python tools/convert_weights.py --list released/model.safetensors
    python tools/convert_weights.py --tokenizer image.titok --dry-run released/
    python tools/convert_weights.py --tokenizer image.titok released/ titok_l32.safetensors --half

A released file is a .safetensors, .bin, .pt, .pth or .ckpt, or a folder with one. Nothing in it is run; see
`modalities.common.checkpoint`. The sizes of the network follow from the shapes and config.json, and every tensor
must fit: what is missing or left over is listed. What the tokenizer leaves out on purpose (what only training
needed) is listed, too, in the .json beside the result, with the name and the sha256 of the source.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.common.checkpoint import Checkpoint, shapes
from modalities.common.pretrained import read_released
from modalities.common.weights import WeightsMismatch, is_ours, load_weights, read_weights, save_weights
from unitok import registry
from unitok.command import command


@dataclass(frozen=True, eq=False)
class Fitted:
    """A released file that fits: its network, the configuration, and the names that were left out."""

    tokenizer: str
    config: Mapping[str, Any]
    net: nn.Module
    checkpoint: Checkpoint
    dropped: list[str]

    def __str__(self) -> str:
        count = sum(parameter.numel() for parameter in self.net.state_dict().values())
        shown = f": {', '.join(self.dropped[:8])}{', …' if len(self.dropped) > 8 else ''}" * bool(
            self.dropped
        )
        return (
            f"{self.checkpoint.source} fits {self.tokenizer}: {len(self.net.state_dict())} tensors, {count:,} "
            f"numbers; {len(self.dropped)} of its {len(self.checkpoint.state)} tensors are left out{shown}"
        )


def fitted(tokenizer: str, path: Path) -> Fitted:
    """Open a released file and load it, strictly, into the network that its shapes tell.

    Raises:
        UnknownModality: no such tokenizer.
        ValueError: a tokenizer without released weights, or a file that is converted already.
        FileNotFoundError, BadCheckpoint, WeightsMismatch: no file, none that can be opened, one of another network.
    """
    system: Any = registry.get(tokenizer)
    if not hasattr(system, "released") or not hasattr(system, "Net"):
        raise ValueError(
            f"{tokenizer} has no released weights to convert: it opens only files of this project"
        )
    if is_ours(path):
        read_weights(path)  # a damaged file says so
        raise ValueError(f"{path} is in this project's format already: use it as it is")
    config, state, checkpoint = read_released(path, system.released)
    net: nn.Module = system.Net(config)
    load_weights(net, state, checkpoint.source)
    return Fitted(
        tokenizer, config.model_dump(mode="json"), net, checkpoint, left_out(checkpoint, system.released)
    )


def left_out(checkpoint: Checkpoint, released: Any) -> list[str]:
    """Names of the file's tensors of which nothing is taken: numbered tensors in their place show which arrive."""
    names = list(checkpoint.state)
    numbered = {
        name: torch.full((1,) * tensor.dim(), float(number)).expand(tensor.shape)
        for number, (name, tensor) in enumerate(checkpoint.state.items())
    }
    _, state = released(replace(checkpoint, state=numbered))
    arrived = {number for tensor in state.values() for number in _numbers(tensor)}
    return [name for number, name in enumerate(names) if number not in arrived]


def _numbers(tensor: Tensor) -> set[int]:
    """The numbers in a tensor that was put together from constant ones along one axis."""
    if not tensor.numel():
        return set()
    corner = (0,) * (tensor.dim() - 1)
    axes = range(tensor.dim())
    lines = [tensor.movedim(axis, -1)[corner] for axis in axes] or [tensor.reshape(1)]
    return {int(number) for line in lines for number in line.tolist()}


def write(found: Fitted, out: Path, half: bool) -> None:
    """Write the network in this project's format, with where it came from.

    Raises:
        ValueError: a number too large for 16 bits.
    """
    largest = torch.finfo(torch.float16).max
    for name, tensor in found.net.state_dict().items() if half else ():
        if tensor.is_floating_point() and tensor.numel() and float(tensor.abs().max()) > largest:
            raise ValueError(
                f"{name} holds numbers over {largest:g}, too large for 16 bits: leave out --half"
            )
    made = {
        "converted": found.checkpoint.source,
        "sha256": {file.name: sha256(file) for file in found.checkpoint.files},
        "tokenizer": found.tokenizer,
        "left out": found.dropped,
        "floats": "fp16" if half else "fp32",
    }
    save_weights(out, found.net, found.config, made, half=half)


def sha256(file: Path) -> str:
    """Of the whole file, hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def listing(path: Path) -> str:
    """Name, shape and type of every tensor of a file, one a line, and their sum."""
    found = shapes(path)
    wide = max(map(len, found), default=0)
    lines = [f"{name:<{wide}}  {list(shape)!s:<20} {dtype}" for name, (shape, dtype) in found.items()]
    count = sum(torch.Size(shape).numel() for shape, _ in found.values())
    return "\n".join([*lines, f"{len(found)} tensors, {count:,} numbers"])


def checked(out: Path | None, path: Path, force: bool) -> Path:
    """The file to write.

    Raises:
        ValueError: none is named, it is not a .safetensors, or it exists.
    """
    if out is None:
        raise ValueError("name the file to write, such as titok_l32.safetensors, or give --dry-run")
    if out.suffix != ".safetensors":
        raise ValueError(f"{out} is no .safetensors, which is what is written: change the name")
    if out.exists() and (out.samefile(path) or not force):
        raise ValueError(
            f"{out} exists: choose another name{'' if out.samefile(path) else ' or give --force'}"
        )
    return out


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; list, try or convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="the released file or folder")
    parser.add_argument(
        "out", type=Path, nargs="?", help="the .safetensors to write; a .json comes beside it"
    )
    parser.add_argument("--tokenizer", help="registry name, such as image.titok")
    parser.add_argument("--half", action="store_true", help="store floats in 16 bits: half the size")
    parser.add_argument("--force", action="store_true", help="write over an existing file")
    parser.add_argument("--list", action="store_true", help="print names, shapes and types, and do no more")
    parser.add_argument("--dry-run", action="store_true", help="say whether the file fits, and write nothing")
    options = parser.parse_args(arguments)
    if options.list:
        print(listing(options.path))
        return
    if options.tokenizer is None:
        raise ValueError("name the tokenizer that the weights are of: --tokenizer image.titok")
    out = None if options.dry_run else checked(options.out, options.path, options.force)
    try:
        found = fitted(options.tokenizer, options.path)
    except WeightsMismatch as error:
        first, *differences = str(error).splitlines()
        if differences:
            print("\n".join(differences), file=sys.stderr)
            first = f"{first.removesuffix(':')} than the one its shapes tell: see the differences above"
        raise WeightsMismatch(first) from error
    print(found)
    if out is not None:
        write(found, out, options.half)
        print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB) and {out.with_suffix('.json').name}")


if __name__ == "__main__":
    command(main)
