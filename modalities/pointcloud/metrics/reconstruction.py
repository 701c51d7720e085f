"""Clouds through a tokenizer and back, at several numbers of codes, beside the noise floor of another sampling.

Compared are 1,024 points (or as many as there are) of what is decoded with as many of ANOTHER sampling of the same
surface, in the unit sphere of the cloud that was encoded: what a perfect tokenizer would reach is the floor, not 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unitok.modality import Codes

from ...common.usage import Usage
from ..chamfer import cd1, cd2, f_score
from ..sample import unit_sphere

COUNTS = (4, 8, 16, 32, 64)
POINTS = 1024
NEAR = (0.02, 0.05)
CHUNK = 32


class Evaluation(NamedTuple):
    """The figures, JSON-able; codes of all clouds [n, K(, P)]; decoded clouds by number of codes, each [n, P, 3]."""

    report: dict[str, Any]
    codes: Tensor
    made: dict[int, Tensor]


def agreement(made: Tensor, wanted: Tensor) -> dict[str, float]:
    """Means over clouds [n, N, 3] and [n, N, 3]: `cd1` (not squared), `cd2` (squared), F-scores at 0.02 and 0.05."""
    rows: dict[str, list[Tensor]] = {}
    for one, two in zip(made.split(CHUNK), wanted.split(CHUNK), strict=True):
        rows.setdefault("cd1", []).append(cd1(one, two))
        rows.setdefault("cd2", []).append(cd2(one, two))
        for near in NEAR:
            rows.setdefault(f"f_{near}", []).append(f_score(one, two, near))
    return {name: float(torch.cat(each).mean()) for name, each in rows.items()}


def evaluate(
    tokenizer: Any,
    clouds: Tensor,
    others: Tensor,
    counts: Sequence[int] = COUNTS,
    seen: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Encode, decode prefixes, measure.

    Args:
        tokenizer: a point tokenizer whose codes are those of the shape alone.
        clouds: what is encoded [n, N, 3].
        others: another sampling of the same surfaces [n, M, 3], in the same frame.
        counts: numbers of codes; those above the tokenizer's own are left out.
        seen: told how many clouds are encoded so far.

    Raises:
        ValueError: sets of other numbers, or no count that the tokenizer can have.
    """
    if len(clouds) != len(others) or not len(clouds):
        raise ValueError(
            f"{len(clouds)} clouds and {len(others)} other samplings: give one for each, at least one"
        )
    most = int(tokenizer.spec.length[1])
    counts = [count for count in counts if 1 <= count <= most]
    if not counts:
        raise ValueError(f"no count is one of 1 to {most}, which this tokenizer has")
    with torch.no_grad():
        found = []
        for at in range(0, len(clouds), CHUNK):
            found += tokenizer.encode(list(clouds[at : at + CHUNK].float()))
            seen(min(at + CHUNK, len(clouds)))
        codes = torch.stack([each.ids for each in found])
        frame = unit_sphere(clouds.float())
        wanted = (others.float() - frame.centre) / frame.radius
        made = {
            count: torch.stack(tokenizer.decode([Codes(ids[:count]) for ids in codes])) for count in counts
        }
        points = min(POINTS, wanted.shape[1], frame.points.shape[1], made[counts[0]].shape[1])
        floor = agreement(frame.points[:, :points], wanted[:, :points])
        tables = {str(n): agreement(each[:, :points], wanted[:, :points]) for n, each in made.items()}
        aside = frame.points.roll(1, 0)[:, :points]
        usage = Usage.of(tokenizer.net.quantizer)
        usage.add(codes)
    report = {
        "clouds": len(clouds),
        "points": points,
        "units": "unit sphere; cd1: distances, cd2: squared distances, each the mean of both directions",
        "tokens": tables,
        "floor (another sampling)": floor,
        "another object": agreement(aside, wanted[:, :points]) if len(clouds) > 1 else None,
        "codes": usage.summary(),
        "bits": tokenizer.net.quantizer.bits * max(counts),
    }
    return Evaluation(report, codes, made)
