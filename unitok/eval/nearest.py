"""The nearest-neighbour baseline: answer as the training item does that looks most alike.

    index = nearest([modality.show(item) for item in train], [modality.show(item) for item in asked])

Pictures are compared as 16 x 16 thumbnails, each with its mean taken away and its length made one, so that
the likeness is their correlation. A model that answers no better than this has learnt to look things up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

SIDE = 16


def nearest(known: Sequence[Image.Image], asked: Sequence[Image.Image]) -> list[int]:
    """For each of `asked` the index of the picture of `known` that is most like it.

    Raises:
        ValueError: nothing is known.
    """
    if not known:
        raise ValueError("no training item to be near to: the source has no records of split 'train'")
    likeness = _thumbnails(asked) @ _thumbnails(known).t()  # [asked, known]
    found: list[int] = likeness.argmax(-1).tolist()
    return found


def _thumbnails(pictures: Sequence[Image.Image]) -> Tensor:
    """Unit vectors [n, 3 * SIDE ** 2]."""
    small = [
        np.asarray(picture.convert("RGB").resize((SIDE, SIDE), resample=1), np.float32)
        for picture in pictures
    ]
    rows = torch.from_numpy(np.stack(small)).flatten(1)
    rows = rows - rows.mean(-1, keepdim=True)
    return torch.nn.functional.normalize(rows, dim=-1)
