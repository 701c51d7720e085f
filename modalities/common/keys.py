"""Key maps: the names of a released state dict to ours, with nothing lost on the way.

    KEYS = KeyMap(
        Rename(r"transformer\\.(\\d+)\\.ln_([12])", r"blocks.\\1.norm_\\2"),
        Fuse(r"attn\\.{}_proj", ("q", "k", "v"), "attn.qkv"),
        Squeeze(r"conv_out\\.weight"),
        Drop(r"quantize\\.codebook_used"),
    )
    state = KEYS.ours(released)

Rules are tried in order, each on what the ones before it left; patterns match anywhere in a key (`re.search`).
A map only moves tensors about: what no rule names keeps its name, and the strict loading that follows
(`weights.load_weights`) refuses what does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Rename:
    """Replace what `pattern` finds in a key by `to` (groups as \\1)."""

    pattern: str
    to: str

    def apply(self, state: State) -> State:
        """The state under its new names."""
        out: State = {}
        for key, tensor in state.items():
            name = re.sub(self.pattern, self.to, key)
            if name in out:
                raise ValueError(f"two tensors would be called {name!r}, one of them was {key!r}")
            out[name] = tensor
        return out


@dataclass(frozen=True)
class Fuse:
    """Stack several tensors along their first axis into one: q, k and v into qkv.

    `pattern` is a regular expression in which {} stands for each of `names` in turn; what it finds becomes `to`
    (groups as \\1, counted with the name).
    """

    pattern: str
    names: Sequence[str]
    to: str

    def apply(self, state: State) -> State:
        """The state with the tensors fused where the first of them stood; an incomplete set stays as it was."""
        first = re.compile(self.pattern.replace("{}", f"(?P<part>{re.escape(self.names[0])})"))
        out: State = {}
        used: set[str] = set()
        fused: set[str] = set()
        for key, tensor in state.items():
            found = first.search(key)
            if found is not None:
                keys = [key[: found.start("part")] + name + key[found.end("part") :] for name in self.names]
                if all(each in state for each in keys):
                    target = key[: found.start()] + found.expand(self.to) + key[found.end() :]
                    out[target] = torch.cat([state[each] for each in keys])
                    used |= set(keys)
                    fused.add(target)
                    continue
            if key not in fused:
                out[key] = tensor
        return {key: tensor for key, tensor in out.items() if key in fused or key not in used}


@dataclass(frozen=True)
class Split:
    """Cut a tensor along its first axis into parts of given shares: in_proj [3W, W] into q (1) and kv (2)."""

    pattern: str
    to: Mapping[str, int]

    def apply(self, state: State) -> State:
        """The state with the tensors cut."""
        out: State = {}
        total = sum(self.to.values())
        for key, tensor in state.items():
            found = re.search(self.pattern, key)
            if found is None or not tensor.dim() or tensor.shape[0] % total:
                out[key] = tensor
                continue
            sizes = [tensor.shape[0] // total * share for share in self.to.values()]
            for name, piece in zip(self.to, torch.split(tensor, sizes), strict=True):
                out[key[: found.start()] + name + key[found.end() :]] = piece
        return out


@dataclass(frozen=True)
class Squeeze:
    """Take away axes of length one: a 1x1 convolution [W, T, 1, 1] as a linear layer [W, T], a token [1, W] as [W].

    `dims` are the axes to take away.
    """

    pattern: str
    dims: tuple[int, ...] = (-1, -2)

    def apply(self, state: State) -> State:
        """The state with those tensors reduced; an axis of another length stays, and loading will say so."""
        out: State = {}
        for key, tensor in state.items():
            dims = [d for d in self.dims if -tensor.dim() <= d < tensor.dim() and tensor.shape[d] == 1]
            out[key] = tensor.squeeze(tuple(dims)) if dims and re.search(self.pattern, key) else tensor
        return out


@dataclass(frozen=True)
class Rearrange:
    """Lay the axes of a tensor out anew: positions [1, W, h, w] as a table [h * w, W], by "one w h v -> (one h v) w".

    `axes` is a pattern of `einops.rearrange`.
    """

    pattern: str
    axes: str

    def apply(self, state: State) -> State:
        """The state with those tensors laid out; one with another number of axes stays, and loading will say so."""
        count = len(self.axes.partition("->")[0].split())
        fits = {k for k, tensor in state.items() if re.search(self.pattern, k) and tensor.dim() == count}
        return {k: rearrange(tensor, self.axes) if k in fits else tensor for k, tensor in state.items()}


@dataclass(frozen=True)
class Drop:
    """Leave out what only training needed; `pattern` names it, so that nothing goes silently."""

    pattern: str

    def apply(self, state: State) -> State:
        """The state without it."""
        return {key: tensor for key, tensor in state.items() if not re.search(self.pattern, key)}


Rule = Rename | Fuse | Split | Squeeze | Rearrange | Drop


class KeyMap:
    """Rules, applied in order."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules

    def ours(self, released: Mapping[str, Tensor]) -> State:
        """The released tensors under our names, in our shapes."""
        state = dict(released)
        for rule in self.rules:
            state = rule.apply(state)
        return state


def numbered(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers a state's keys have where `pattern`, from their beginning, has its group."""
    return len({found[1] for key in state if (found := re.match(pattern, key))})
