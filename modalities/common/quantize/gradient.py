"""How the gradient passes a step that has none: straight through, or turned and stretched as the latent was.

straight(z, z_q)     value z_q, gradient as if z_q were z        Bengio et al., arXiv:1308.3432
rotated(z, z_q)      value z_q, gradient turned with z to z_q    Fifty et al., arXiv:2410.06424, section 4
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def straight(z: Tensor, z_q: Tensor) -> Tensor:
    """z_q [..., D] with the gradient of z [..., D]."""
    return z + (z_q - z).detach()


def rotated(z: Tensor, z_q: Tensor) -> Tensor:
    """z_q [..., D] as a rotation and scaling of z [..., D], both of which count as constant.

    The value is z_q up to rounding. The rotation is that in the plane of the two, made of two reflections.
    """
    with torch.no_grad():
        start, end = F.normalize(z, dim=-1, eps=1e-6), F.normalize(z_q, dim=-1, eps=1e-6)
        middle = F.normalize(start + end, dim=-1, eps=1e-6)
        stretch = z_q.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    turned = z - 2 * (z * middle).sum(-1, keepdim=True) * middle + 2 * (z * start).sum(-1, keepdim=True) * end
    out: Tensor = turned * stretch
    return out
