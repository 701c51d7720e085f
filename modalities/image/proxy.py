"""The released MaskGIT-VQGAN: proxy codes for TiTok's first stage, and the pixel decoder of its second.

vqgan = Proxy.open("maskgit-vqgan-imagenet-f16-256.bin")
codes = vqgan(pictures [B, 3, H, W] in [0, 1])         # int64 [B, H / 16, W / 16]
vqgan.decoder                                          # a ProxyDecoder
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.checkpoint import open_checkpoint
from ..common.keys import KeyMap, Rename
from ..common.weights import load_weights
from .vqgan import ProxyDecoder, VQGANEncoder

LEVELS = 5
DECODER = (
    Rename(r"\.mid\.", ".middle."),
    *(
        Rename(rf"\.up\.{n}\.block\.", f".levels.{LEVELS - 1 - n}@.") for n in range(LEVELS)
    ),  # file: by level;
    *(Rename(rf"\.up\.{n}\.upsample_conv\.", f".doubles.{LEVELS - 1 - n}@.") for n in range(1, LEVELS)),
    Rename("@", ""),  # ours: in the order in which they run
    Rename(r"\.(norm|conv)([12])\.", r".\1_\2."),
    Rename(r"\.nin_shortcut\.", ".shortcut."),
)
"""Names inside either half, after a dot."""

KEYS = KeyMap(
    Rename(r"^quantize\.embedding\.weight$", "decoder.codebook"),
    Rename(r"^decoder\.(?=conv|mid|up|norm)", "decoder.decoder."),
    Rename(r"^encoder\.down\.(\d+)\.block\.", r"encoder.levels.\1."),
    *DECODER,
)


class Proxy(nn.Module):
    """Encoder and decoder of the VQGAN, frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = VQGANEncoder()
        self.decoder = ProxyDecoder()

    @classmethod
    def open(cls, path: str | Path) -> Proxy:
        """Load the released file.

        Raises:
            WeightsMismatch: another file; all differences are listed.
        """
        proxy = cls()
        load_weights(proxy, KEYS.ours(open_checkpoint(path).state), str(path))
        return proxy.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """The codes of pictures: int64 [B, h, w]."""
        features = self.encoder(pictures).permute(0, 2, 3, 1)  # [B, h, w, C]
        table = self.decoder.codebook
        distance = table.square().sum(-1) - 2 * features @ table.t()
        codes: Tensor = distance.argmin(-1)
        return codes

    def train(self, mode: bool = True) -> Proxy:
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)
