"""What the point tokenizer is trained for: Chamfer distances, anchors, colours, and the class if there are labels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..common.training import Step
from .chamfer import cd1, gaps, match, root
from .config import LossConfig
from .network import View
from .sample import farthest, gather


class CloudLoss(nn.Module):
    """The loss of a `View`, and a classifier of the mean of the codes where there are labels.

    Args:
        config: weights of the terms.
        dim: channels of quantised latents.
        classes: how many labels there are; 0 for none.
    """

    def __init__(self, config: LossConfig, dim: int, classes: int = 0) -> None:
        super().__init__()
        self.config = config
        self.classify = nn.Linear(dim, classes) if classes and config.labels else None

    def forward(self, view: View, labels: Tensor | None = None) -> Step:
        """The mean over the batch; `labels` int64 [B]."""
        c, (points, anchors), wanted = self.config, view.made, view.wanted
        forth, back = gaps(points[..., :3], wanted[..., :3])
        error = (root(forth).mean(1) + root(back).mean(1)).mean() / 2
        figures, loss = {"cd1": error.detach()}, error + view.quantized.loss
        if c.squared:
            loss = loss + c.squared * (forth.mean() + back.mean()) / 2
        if c.anchors and anchors is not None:
            count = min(anchors.shape[1], wanted.shape[1])
            sparse = gather(wanted[..., :3], farthest(wanted[..., :3], count))
            coarse = cd1(anchors, sparse).mean()
            figures["anchors"], loss = coarse.detach(), loss + c.anchors * coarse
        if c.colours and points.shape[-1] > 3:
            found = match(points[..., :3], wanted[..., :3])
            there = (points[..., 3:] - gather(wanted[..., 3:], found.forth)).square().mean()
            here = (wanted[..., 3:] - gather(points[..., 3:], found.back)).square().mean()
            figures["colours"] = (there + here).detach() / 2
            loss = loss + c.colours * (there + here) / 2
        if self.classify is not None and labels is not None:
            guess = F.cross_entropy(self.classify(view.quantized.z_q.mean(1)), labels)
            figures["labels"], loss = guess.detach(), loss + c.labels * guess
        return Step(loss, view.quantized.ids, figures)
