"""The search for a molecule's conformers: ETKDGv3, then MMFF94 if wanted.

    search("CCO", 4, Params()) -> up to 4 times positions float32 [n, 3], Angstrom, of the SMILES' n atoms

The first attempt starts from distance geometry, the others from random coordinates. `Params.iterations` ends an
attempt at the same place everywhere; `seconds` is for the few molecules whose iterations take too long, and is the
one thing that can make two machines differ.

ETKDGv3 is Wang et al. 2020 (J. Chem. Inf. Model. 60, 2044); MMFF94 is Halgren 1996 (J. Comput. Chem. 17, 490).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from . import structure
from .fragments import beside

Positions = NDArray[np.float32]

RELAX_STEPS = 200
MOST = 1000
"""Atoms with their hydrogens; the time of one embedding, which no limit ends, grows with their square and more."""


@dataclass(frozen=True)
class Params:
    """How conformers are made.

    Args:
        seed: of the search, 1 and up.
        attempts: how often it starts, 1 and up.
        iterations: embeddings tried in an attempt, 1 and up.
        seconds: limit of an attempt, 1 and up; not part of what names a conformer.
        relax: MMFF94 after it, 200 steps, where the force field knows all atoms.

    Raises:
        ValueError: a number out of range.
    """

    seed: int = 1
    attempts: int = 3
    iterations: int = 30
    seconds: int = 30
    relax: bool = False

    def __post_init__(self) -> None:
        for name in ("seed", "attempts", "iterations", "seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is out of range: 1 and up")

    @property
    def key(self) -> str:
        """What tells conformers of one set of parameters from another's."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "seconds"})


class NoConformer(ValueError):
    """No conformer was found; `seconds` is the limit that was met, 0 if none was."""

    def __init__(self, reason: str, seconds: int = 0) -> None:
        super().__init__(reason)
        self.seconds = seconds


def search(smiles: str, count: int, params: Params) -> list[Positions]:
    """Positions [n, 3], Angstrom, of 1 to `count` conformers of a canonical SMILES, in the order of its atoms.

    Raises:
        NoConformer: RDKit finds none, or stumbles over the molecule.
    """
    try:
        with rdBase.BlockLogs():
            bare = structure.from_smiles(smiles)
            if bare.GetNumAtoms(onlyExplicit=False) > MOST:
                raise ValueError(
                    f"{bare.GetNumAtoms(onlyExplicit=False)} atoms with hydrogens, at most {MOST}"
                )
            whole = Chem.AddHs(bare)
            late = False
            for attempt in range(params.attempts):
                rules = _rules(params, attempt)
                # RDKit numbers one that it gave up for lack of time -1.
                found = [one for one in rdDistGeom.EmbedMultipleConfs(whole, count, rules) if one >= 0]
                if found:
                    return [_finished(whole, one, bare.GetNumAtoms(), params) for one in found]
                late |= rules.GetFailureCounts()[rdDistGeom.EmbedFailureCauses.EXCEEDED_TIMEOUT] > 0
    except (RuntimeError, ValueError) as error:  # RDKit's own checks arrive as either
        raise NoConformer(
            f"{_short(smiles)} has no conformer ({' '.join(str(error).split())[:160]}): leave it out"
        ) from error
    limit = f"{params.seconds} s were over" if late else f"{params.iterations} iterations"
    raise NoConformer(
        f"{_short(smiles)} has no conformer after {params.attempts} attempts ({limit}): leave it out, or allow more",
        params.seconds if late else 0,
    )


def _rules(params: Params, attempt: int) -> Any:
    rules: Any = rdDistGeom.ETKDGv3()
    rules.randomSeed = params.seed + attempt
    rules.maxIterations = params.iterations
    rules.timeout = params.seconds
    rules.useRandomCoords = attempt > 0
    rules.trackFailures = True
    return rules


def _finished(whole: Chem.Mol, conformer: int, atoms: int, params: Params) -> Positions:
    """Positions of the atoms that are no added hydrogens, as float32, so that kept and fresh ones are equal."""
    where = whole.GetConformer(conformer)
    where.SetPositions(beside(whole, where.GetPositions()))
    if params.relax and rdForceFieldHelpers.MMFFHasAllMoleculeParams(whole):
        rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=RELAX_STEPS, confId=conformer)
    positions: Positions = where.GetPositions()[:atoms].astype(np.float32)
    if not np.isfinite(positions).all():
        raise ValueError("the force field gave coordinates that are not finite")
    return positions


def _short(smiles: str) -> str:
    return smiles if len(smiles) <= 120 else smiles[:117] + "..."
