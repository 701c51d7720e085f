"""From predictions to a report: the model's scores, and beside them copying from the training set and a floor.

Both functions take lists (`Predictions`), wherever these come from. With a training set the report has

    "train":               its size, and how many of its molecules have the connections of a test molecule
    "nearest":             the answer of the nearest training item, those shared molecules left out
    "nearest_with_shared": the same, all training items allowed
    "floor":               what needs no look at the question (see `baselines`)

and where outputs are CXSMILES with coordinates, "space" says whether these agree with the structures (see `space`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ..posed import in_space
from . import baselines
from .captioning import CaptionScorer
from .ensembles import Ensembles
from .generation import GenerationScorer
from .predictions import Pairs, Predictions, bare, structure_of
from .progress import Track, quiet
from .space import SpaceScorer

PACKAGES = ("nltk", "rouge-score", "tokenizers", "rapidfuzz", "fcd", "rdkit")
NAMED = 20  # bad rows that the report names; all are counted

Nearest = Callable[[Sequence[int]], list[int]]


def captioning_report(
    rows: Predictions, train: Pairs | None = None, root: Path | None = None, track: Track = quiet
) -> dict[str, Any]:
    """Scores of descriptions that a model wrote for molecules.

    Args:
        rows: given SMILES, reference descriptions, written descriptions.
        train: what the model was trained on.
        root: where WordNet is kept, as in `wordnet.folder`.
        track: shows progress.

    Raises:
        ValueError: no row, or an empty training set.
    """
    score = CaptionScorer(root, track)
    report = {**score(rows.references, rows.outputs), **_bad(rows)}
    if train is not None:

        def near(kept: Sequence[int]) -> list[int]:
            return baselines.nearest([train.smiles[at] for at in kept], rows.given, track)

        for name, found in _copied(train, rows.given, near, track).items():
            report[name] = (
                score(rows.references, [train.texts[at] for at in found])
                if isinstance(found, list)
                else found
            )
        report["floor"] = score(rows.references, [baselines.unigram(train.texts)] * len(rows.references))
    return {**report, "packages": versions()}


def generation_report(
    rows: Predictions,
    train: Pairs | None = None,
    fcd: bool = True,
    track: Track = quiet,
    space: SpaceScorer | None = None,
) -> dict[str, Any]:
    """Scores of SMILES that a model wrote for descriptions.

    Args:
        rows: given descriptions, reference SMILES, written SMILES, either of which may be CXSMILES with coordinates.
        train: what the model was trained on.
        fcd: whether the Frechet ChemNet distance is measured.
        track: shows progress.
        space: measures coordinates, where outputs have some.

    Raises:
        ValueError: no row, or an empty training set.
    """
    score = GenerationScorer(fcd, track)
    known = None if train is None else train.smiles
    references, outputs = [bare(one) for one in rows.references], [bare(one) for one in rows.outputs]
    report = {**score(references, outputs, known), **_bad(rows)}
    both = written, _ = [[structure_of(one) for one in side] for side in (rows.outputs, rows.references)]
    if any(mol is not None and in_space(mol) for mol in written):
        report["space"] = (space or SpaceScorer(Ensembles(), track=track))(*both)
    if train is not None:

        def near(kept: Sequence[int]) -> list[int]:
            return baselines.nearest_text([train.texts[at] for at in kept], rows.given, track)

        for name, found in _copied(train, references, near, track).items():
            report[name] = (
                score(references, [train.smiles[at] for at in found]) if isinstance(found, list) else found
            )
        report["floor"] = score(references, baselines.drawn(train.smiles, len(references)))
    return {**report, "packages": versions()}


def _copied(train: Pairs, test: Sequence[str], near: Nearest, track: Track) -> dict[str, Any]:
    """Indices of the nearest training items with and without molecules of the test set, and the sizes."""
    kept = baselines.unshared(train.smiles, test, track)
    found: dict[str, Any] = {
        "train": {"n": len(train.smiles), "shared": len(train.smiles) - len(kept), "bad_rows": len(train.bad)}
    }
    found["nearest"] = [kept[at] for at in near(kept)] if kept else None
    everything = range(len(train.smiles))
    found["nearest_with_shared"] = near(everything) if len(kept) < len(train.smiles) else found["nearest"]
    return found


def _bad(rows: Predictions) -> dict[str, Any]:
    return {"bad_rows": len(rows.bad), "bad": rows.bad[:NAMED]} if rows.bad else {"bad_rows": 0}


def versions() -> dict[str, str]:
    """Versions of the packages that figures depend on, as far as they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
