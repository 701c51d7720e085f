"""The time of a flow or diffusion as a vector: sines and cosines through two layers (Peebles and Xie, arXiv:2212.09748).

TimeEmbedding(width)(t [B]) -> [B, width]
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .positions import sincos_at


class TimeEmbedding(nn.Module):
    """Times [B] to vectors [B, W]: cosines, then sines, of `channels` / 2 frequencies, and two layers with SiLU.

    Args:
        width: W.
        channels: of sines and cosines together.
        theta: how many times slower than the first the last frequency nearly is; FlexTok takes 256.
        scale: what times are multiplied by, 1000 for times from 0 to 1.
    """

    def __init__(
        self, width: int, channels: int = 256, *, theta: float = 10_000.0, scale: float = 1000.0
    ) -> None:
        super().__init__()
        self.channels, self.theta, self.scale = channels, theta, scale
        self.up, self.down = nn.Linear(channels, width), nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """t [B] -> [B, W]."""
        waves = sincos_at(t.double() * self.scale, self.channels, theta=self.theta, cosine_first=True)
        out: Tensor = self.down(F.silu(self.up(waves.to(self.up.weight.dtype))))
        return out
