"""Losses of tokenizers, on pictures [B, 3, H, W] in [0, 1] unless they say otherwise; one concept a file.

    pixel          l1, l2, smooth_l1                     proxy        cross-entropy of another tokenizer's codes
    perceptual     LPIPS, ConvNeXt-S, or a substitute    semantic     cosine to a frozen encoder's features
    adversarial    discriminators, hinge, LeCam          contrast     pairs that find one another in a batch

`perceptual` and `semantic` open files and are imported from their own modules.
"""

from __future__ import annotations

from .adversarial import Adversarial, build_discriminator, hinge_discriminator, hinge_generator
from .augment import Augment
from .contrast import Contrast
from .pixel import l1, l2, smooth_l1
from .proxy import proxy_cross_entropy
from .semantic import semantic_loss

__all__ = [
    "Adversarial",
    "Augment",
    "Contrast",
    "build_discriminator",
    "hinge_discriminator",
    "hinge_generator",
    "l1",
    "l2",
    "proxy_cross_entropy",
    "semantic_loss",
    "smooth_l1",
]
