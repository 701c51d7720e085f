"""CVQ: codes that are hardly used drift to the latents nearest to them.

Zheng and Vedaldi, Online Clustered Codebook, arXiv:2307.15139, in the form TA-TiTok trains with. The share p
of each code is a running average; a code moves by alpha = exp(-10 N p / (1 - decay) - 1e-3) of the way to
the closest latent of the batch, so that a code in fair use stays where it is.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


@torch.no_grad()
def restart(codebook: Tensor, share: Tensor, latents: Tensor, ids: Tensor, decay: float = 0.99) -> None:
    """Update share [N] and codebook [N, D], in place, by latents [n, D] with codes [n]; alike on every rank."""
    size = len(codebook)
    used = torch.bincount(ids, minlength=size).float()
    total = used.sum()
    if _many():
        dist.all_reduce(used)
        dist.all_reduce(total)
    share.mul_(decay).add_(used / total, alpha=1 - decay)
    alpha = torch.exp(-10 * size * share / (1 - decay) - 1e-3).unsqueeze(-1)
    nearest = _closest(codebook, latents)  # before the codebook moves
    codebook.lerp_(nearest, alpha)


def _closest(codebook: Tensor, latents: Tensor) -> Tensor:
    """For each code [N, D] the nearest of all ranks' latents [n, D]."""
    distance = latents.square().sum(-1) - 2 * codebook @ latents.t()  # [N, n], up to a constant of the code
    nearest, at = distance.min(-1)
    found = latents[at]
    if _many():
        distances = [torch.empty_like(nearest) for _ in range(dist.get_world_size())]
        candidates = [torch.empty_like(found) for _ in range(dist.get_world_size())]
        dist.all_gather(distances, nearest)
        dist.all_gather(candidates, found.contiguous())
        best = torch.stack(distances).argmin(0)
        found = torch.stack(candidates)[best, torch.arange(len(codebook), device=best.device)]
    return found


def _many() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1
