"""How faithful reconstructions are: PSNR and SSIM of each pair, a perceptual measure, and a Frechet distance.

Pictures are float [B, 3, H, W] in [0, 1]. A measure that depends on a network or a filter bank carries its
name: figures under different names do not compare. Everything is deterministic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.checkpoint import open_checkpoint
from ..common.losses.steerable import Steerable
from ..common.weights import load_weights
from .inception import Inception

BEST_PSNR = 100.0  # of equal pictures, in dB, so that means stay finite
WINDOW, SIGMA = 11, 1.5
FID_SHA256 = "6726825d"  # the released file pt_inception-2015-12-05-6726825d.pth carries it in its name


def psnr(made: Tensor, wanted: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair in dB, [B]; `made` is clamped to [0, 1], equal pictures give 100."""
    mse = (made.clamp(0, 1) - wanted).double().square().flatten(1).mean(1)
    decibels: Tensor = -10 * mse.clamp(min=10.0 ** (-BEST_PSNR / 10)).log10()
    return decibels.float()


def ssim(made: Tensor, wanted: Tensor) -> Tensor:
    """Structural similarity of each pair, [B]; the mean over the three channels, at most 1.

    Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004: a Gaussian
    window of 11 x 11 (sigma 1.5), constants 0.01 and 0.03, over the places where the window fits.

    Raises:
        ValueError: pictures smaller than the window.
    """
    if min(made.shape[2:]) < WINDOW:
        raise ValueError(
            f"SSIM needs pictures of {WINDOW} pixels or more, not {list(made.shape[2:])}: make them larger"
        )
    line = torch.exp(-torch.arange(-(WINDOW // 2), WINDOW // 2 + 1).double().square() / (2 * SIGMA**2))
    line = (line / line.sum()).to(made.device)
    a, b = made.clamp(0, 1).double(), wanted.double()
    mean_a, mean_b, aa, bb, ab = _windowed(torch.stack([a, b, a * a, b * b, a * b]), line)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    spread_a, spread_b = aa - mean_a**2, bb - mean_b**2
    structure = (2 * (ab - mean_a * mean_b) + c2) / (spread_a + spread_b + c2)
    return (luminance * structure).flatten(1).mean(1).float()


def _windowed(x: Tensor, line: Tensor) -> Tensor:
    """Windowed means of maps [N, B, C, H, W] where the whole window fits."""
    flat = x.flatten(0, 2).unsqueeze(1)
    flat = F.conv2d(F.conv2d(flat, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
    return flat.view(*x.shape[:3], *flat.shape[2:])


class FeatureSpace(NamedTuple):
    """A named map of pictures [B, 3, H, W] in [0, 1] to features [B, D]."""

    name: str
    features: Callable[[Tensor], Tensor]


def feature_space(inception: str | Path | None = None, device: str = "cpu") -> FeatureSpace:
    """Where Frechet distances are taken: Inception's features from a local file, or `frechet-steerable`.

    The name is "FID" for the weights of pytorch-fid alone (told by their sha256), "frechet-STEM" for another
    file of that network. Without a file it is the statistics of the fixed filters of
    `modalities.common.losses.steerable`: colours and the energy of each band, which feel blur, noise and
    shifts of colour and know nothing of what a picture shows.

    Raises:
        FileNotFoundError: no such file.
        WeightsMismatch: a file of another network.
    """
    if inception is None:
        return FeatureSpace("frechet-steerable", Steerable().to(device).statistics)
    path = Path(inception)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; FID needs pt_inception-2015-12-05-6726825d.pth")
    state = {key: value for key, value in open_checkpoint(path).state.items() if "AuxLogits" not in key}
    network = Inception(len(state["fc.bias"]) if "fc.bias" in state else 1008)
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, value)  # some copies leave these counters out
    load_weights(network, state, str(path))
    return FeatureSpace("FID" if is_fid(path) else f"frechet-{path.stem}", network.to(device))


def is_fid(path: Path) -> bool:
    """Whether a file is the one that FID is defined by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(FID_SHA256)


def frechet(one: Tensor, two: Tensor) -> float:
    """Squared Frechet distance between Gaussians fitted to features [n, D] and [m, D].

    Heusel et al., arXiv:1706.08500. With at least 2 D items the covariances are the plain ones; with fewer
    they are shrunk towards a multiple of the identity (Chen et al., Shrinkage Algorithms for MMSE Covariance
    Estimation, arXiv:0907.4698), for otherwise their noise would be most of the distance.

    Raises:
        ValueError: fewer than two items on a side.
    """
    if min(len(one), len(two)) < 2:
        raise ValueError(f"a Frechet distance of {len(one)} and {len(two)} pictures: give two or more")
    shrink = min(len(one), len(two)) < 2 * one.shape[1]
    (mean_one, cov_one), (mean_two, cov_two) = (_gaussian(each.double(), shrink) for each in (one, two))
    values, vectors = torch.linalg.eigh(cov_one)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.t()
    cross = torch.linalg.eigvalsh(root @ cov_two @ root).clamp(min=0).sqrt().sum()
    distance = (mean_one - mean_two).square().sum() + cov_one.trace() + cov_two.trace() - 2 * cross
    return max(0.0, float(distance))


def floor(features: Tensor, seed: int = 0) -> float | None:
    """The Frechet distance between two random halves of features [n, D]: what sampling alone gives.

    Halves are noisier than the whole, and reconstructions share their pictures with the originals, so a good
    tokenizer may lie below it. None for fewer than four items.
    """
    if len(features) < 4:
        return None
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    half = len(features) // 2
    return frechet(features[order[:half]], features[order[half : 2 * half]])


def _gaussian(rows: Tensor, shrink: bool) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of rows [n, D]."""
    count, width = rows.shape
    mean = rows.mean(0)
    centred = rows - mean
    cov = centred.t() @ centred / (count - 1)
    if shrink:
        square, trace = cov.square().sum(), cov.trace()
        lean = (1 - 2 / width) * square + trace**2
        full = (count + 1 - 2 / width) * (square - trace**2 / width)
        weight = float((lean / full).clamp(max=1)) if full > 0 else 1.0
        cov = (1 - weight) * cov + weight * trace / width * torch.eye(width, dtype=cov.dtype)
    return mean, cov
