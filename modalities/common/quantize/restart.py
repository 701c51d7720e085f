"""CVQ: codes that are hardly used drift to the latents nearest to them.

Zheng and Vedaldi, Online Clustered Codebook, arXiv:2307.15139, in the form TA-TiTok trains with. The share p
of each code is a running average; a code moves by alpha = exp(-10 N p / (1 - decay) - 1e-3) of the way to
the closest latent of the batch, so that a code in fair use stays where it is.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def restart(
    codes: Tensor, share: Tensor, latents: Tensor, ids: Tensor, *, l2: bool = False, decay: float = 0.99
) -> Tensor:
    """What to add to codes [N, D] after a batch; moves share [N] in place. Alike on every rank.

    Args:
        codes: the codebook, not normalised.
        share: running average of each code's share of the uses.
        latents: [n, D] of this rank, not normalised: where codes move to.
        ids: [n], their codes.
        l2: nearness is that of the unit sphere.
        decay: of the average.
    """
    size = len(codes)
    used = torch.bincount(ids, minlength=size).float()
    if _many():
        dist.all_reduce(used)
    share.mul_(decay).add_(used / used.sum(), alpha=1 - decay)
    alpha = torch.exp(-10 * size * share / (1 - decay) - 1e-3).unsqueeze(-1)
    return alpha * (_closest(codes, latents, l2) - codes)


def _closest(codes: Tensor, latents: Tensor, l2: bool) -> Tensor:
    """For each code [N, D] the nearest of all ranks' latents [n, D]."""
    a, b = (F.normalize(x, dim=-1) for x in (codes, latents)) if l2 else (codes, latents)
    distance = b.square().sum(-1) - 2 * a @ b.t()  # [N, n], up to a constant of the code
    nearest, at = distance.min(-1)
    found = latents[at]
    if _many():
        distances = [torch.empty_like(nearest) for _ in range(dist.get_world_size())]
        candidates = [torch.empty_like(found) for _ in range(dist.get_world_size())]
        dist.all_gather(distances, nearest)
        dist.all_gather(candidates, found.contiguous())
        best = torch.stack(distances).argmin(0)
        found = torch.stack(candidates)[best, torch.arange(len(codes), device=best.device)]
    return found


def _many() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1
