"""Frechet ChemNet distance (Preuer et al., arXiv:1803.09518) by the package fcd, whose weights come with it.

The distance is between the sets of molecules, so pairs play no role; 0 is equal. It is compared only with others
of one computation: the 0.3 to 1.2 of published tables are not what that package gives on the same files, where
two halves of real molecules are already 1.8 apart (1,500 and 1,500 of ChEBI-20).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .progress import Track, quiet

BATCH = 128
PADDED = 350  # characters; ChemNet reads every SMILES padded to this, or to the longest of the set
FEATURES = 512

Floats = npt.NDArray[np.floating[Any]]


class NoFrechet(LookupError):
    """The distance cannot be had; the sentence says why."""


def activations(smiles: Sequence[str], track: Track = quiet) -> Floats:
    """ChemNet's last hidden layer for canonical SMILES, float32 [n, 512].

    Raises:
        NoFrechet: the package fcd is not installed, or there are fewer than two molecules.
    """
    try:
        from fcd import load_ref_model
        from fcd.utils import SmilesDataset
    except ImportError as error:
        raise NoFrechet(f"FCD needs the package fcd ({error}): pip install fcd") from error
    if len(smiles) < 2:
        raise NoFrechet(f"FCD compares two sets and one has {len(smiles)} molecules: it needs at least two")
    import torch

    model = load_ref_model()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)  # that a SMILES is longer than 350 characters
        data = SmilesDataset(list(smiles), pad_len=max(PADDED, 1 + max(map(len, smiles))))
        out = []
        for start in track(range(0, len(smiles), BATCH), "ChemNet"):
            rows = np.stack([data[at] for at in range(start, min(start + BATCH, len(smiles)))])
            out.append(model(torch.from_numpy(rows).transpose(1, 2).float()).numpy())
    return np.concatenate(out)


def distance(a: Floats, b: Floats) -> float:
    """Frechet distance of the normal distributions of two sets of activations, [n, 512] and [m, 512]."""
    from fcd import calculate_frechet_distance

    moments = [(np.mean(one, axis=0), np.cov(one.T)) for one in (a, b)]
    (mean_a, spread_a), (mean_b, spread_b) = moments
    return float(calculate_frechet_distance(mu1=mean_a, mu2=mean_b, sigma1=spread_a, sigma2=spread_b))
