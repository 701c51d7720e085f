"""The patch dVAE's reconstruction in the table of a point tokenizer's, with the bits of both kinds: codes, and centres given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.usage import Usage
from ..peers.dvae import PatchDVAE
from ..peers.training import through
from ..sample import unit_sphere
from .reconstruction import POINTS, agreement

FLOAT = 32
"""Bits of a coordinate of a centre."""


def beside(peer: PatchDVAE, clouds: Tensor, others: Tensor) -> dict[str, Any]:
    """What `reconstruction.evaluate` measures, of the peer: clouds [n, N, 3] through it against `others` [n, M, 3].

    Returns:
        `tables`: agreement of the decoded clouds, and of the given centres by themselves; `bits` of a cloud: those of the
        codes and those of the centres as float32; `codes`: their use.

    Raises:
        ValueError: clouds with fewer points than the peer has groups.
    """
    frame = unit_sphere(clouds.float())
    wanted = (others.float() - frame.centre) / frame.radius
    ids, made, centres = through(peer, frame.points)
    points = min(POINTS, wanted.shape[1], frame.points.shape[1], made.shape[1])
    usage = Usage.of(peer.quantizer)
    usage.add(ids)
    groups = peer.config.groups
    with torch.no_grad():
        return {
            "tables": {
                f"patch dVAE: {groups} codes, {groups} centres given": agreement(
                    made[:, :points], wanted[:, :points]
                ),
                f"the {groups} centres given alone": agreement(centres, wanted[:, :points]),
            },
            "bits": {"codes": peer.quantizer.bits * groups, "centres given": FLOAT * centres[0].numel()},
            "codes": usage.summary(),
        }
