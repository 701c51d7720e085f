"""How well vectors of pictures and captions find each other among all of them.

    retrieval(images [n, C], texts [n, C])    # {"i2t_r1": 0.31, "i2t_r5": …, "i2t_median": 4.0, "t2i_r1": …}

Item i of the one belongs to item i of the other. i2t ranks the captions by their cosine to each picture, t2i the
pictures by theirs to each caption: recall at 1, 5 and 10, and the median rank, from 1. Equal ones share their mean rank,
so that nothing is won by giving everything the same vector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

AT = (1, 5, 10)


def ranks(images: Tensor, texts: Tensor) -> Tensor:
    """Rank of the right text for each image, float [n], from 1.

    Raises:
        ValueError: vectors that are not in pairs.
    """
    if images.shape != texts.shape or images.dim() != 2 or not len(images):
        raise ValueError(
            f"vectors {list(images.shape)} and {list(texts.shape)}: retrieval needs pairs [n, C], at least one"
        )
    likeness = F.normalize(images.double(), dim=-1) @ F.normalize(texts.double(), dim=-1).t()
    own = likeness.diagonal().unsqueeze(1)
    close = (likeness - own).abs() <= 1e-9  # equal captions differ in the last bits
    better = ((likeness > own) & ~close).sum(1)
    return 1 + better + (close.sum(1) - 1) / 2


def retrieval(images: Tensor, texts: Tensor) -> dict[str, float]:
    """Figures of both directions; see the module's text."""
    found: dict[str, float] = {}
    for name, rank in (("i2t", ranks(images, texts)), ("t2i", ranks(texts, images))):
        found |= {f"{name}_r{k}": float((rank <= k).double().mean()) for k in AT}
        found[f"{name}_median"] = float(torch.quantile(rank.double(), 0.5))
    return found


def chance(count: int) -> dict[str, float]:
    """What guessing among `count` reaches."""
    return {**{f"chance r{k}": min(1.0, k / count) for k in AT}, "chance median": (count + 1) / 2}
