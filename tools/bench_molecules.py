"""Fingerprints here and in the e3fp package, side by side: `python tools/bench_molecules.py MOLECULES`.

    pip install --no-deps e3fp==1.2.7 mmh3 smart_open wrapt sdaxen_python_utilities python-utilities scipy
    python tools/bench_molecules.py zinc250k.smi --count 500 --conformers runs/conformers

MOLECULES is a list of SMILES (.smi), which get ETKDG conformers, or an .sdf with coordinates; .gz and .zst too. Both
fingerprint the same molecules in turns on one core, once as e3fp does by default and once as 3D-MolT5 does.
Printed are how many identifiers are equal, molecules per second and the median of the turns' ratios. The e3fp
package (LGPL) is needed for this comparison alone; unitok does not import it. The section fingerprints of
`tools/bench.py` does the same with the molecules of a run's own data.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import statistics
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rdkit import Chem

from modalities.molecule.conformers import Conformers
from modalities.molecule.posed import in_space
from modalities.molecule.sdf import structures
from modalities.molecule.shells import Settings, shells
from modalities.molecule.tables import lines
from unitok.command import command
from unitok.eval.provenance import provenance
from unitok.modality import Codes, Modality

FORMS = {
    "default": Settings(),
    "3dmolt5": Settings(level=3, rdkit_invariants=True, exclude_floating=False),
}


def molecules(path: Path, count: int, folder: Path | None) -> list[Chem.Mol]:
    """The first `count` records' molecules with coordinates.

    Raises:
        ValueError: there is none.
    """
    if ".sdf" in path.suffixes:
        records = list(islice(structures(path), count))
        mols = [one.mol for one in records if one.mol is not None and in_space(one.mol)]
        print(f"{len(records) - len(mols)} of {len(records)} cannot be read or are flat")
    else:
        smiles = ["".join(row.cells) for row in islice(lines(path), count)]
        found, failures = Conformers(folder).get(smiles, progress=True)
        print(f"{len(failures)} of {len(smiles)} have no conformer")
        mols = [mol for mol in found if mol is not None]
    if not mols:
        raise ValueError(f"{path} has no molecule with coordinates among its first {count} records")
    return mols


def installed() -> bool:
    """Whether the e3fp package is there to compare with."""
    return importlib.util.find_spec("e3fp") is not None


def theirs(mol: Chem.Mol, settings: Settings) -> list[int] | None:
    """Identifiers by the e3fp package; None where it fails."""
    from e3fp.fingerprint.fprinter import Fingerprinter

    maker = Fingerprinter(bits=2**32, **vars(settings))
    try:
        maker.run(mol=mol)
    except (ValueError, KeyError):
        return None
    return sorted({shell.identifier % 2**32 for shell in maker.get_shells_at_level(-1)})


def compared(mols: Sequence[Chem.Mol], settings: Settings, repeats: int) -> dict[str, Any]:
    """Speed of one form; where the e3fp package is installed also equality, its speed and the turns' ratios."""
    beside = installed()
    taken = []
    wanted: list[list[int] | None] = []
    for _ in range(repeats):
        start = time.process_time()
        ours = shells(mols, settings)
        middle = time.process_time()
        if beside:
            wanted = [theirs(mol, settings) for mol in mols]
        taken.append((max(middle - start, 1e-9), max(time.process_time() - middle, 1e-9)))
    figures: dict[str, Any] = {
        "molecules": len(mols),
        "ours molecules/s": statistics.median(len(mols) / a for a, _ in taken),
    }
    if not beside:
        return figures
    found = [sorted(set((one.ids[one.accepted] & 0xFFFFFFFF).tolist())) for one in ours]
    both = [(a, b) for a, b in zip(found, wanted, strict=True) if b is not None]
    return figures | {
        "e3fp fails on": len(mols) - len(both),
        "identifiers": sum(len(b) for _, b in both),
        "molecules that differ": sum(a != b for a, b in both),
        "e3fp molecules/s": statistics.median(len(mols) / b for _, b in taken),
        "ratio": statistics.median(b / a for a, b in taken),
    }


def of_codes(modality: Modality, codes: Sequence[Codes], repeats: int) -> dict[str, Any]:
    """Both forms of the molecules that a modality's codes stand for, with ETKDG conformers."""
    found, _ = Conformers().get([modality.label(item) for item in modality.decode(codes)])
    mols = [mol for mol in found if mol is not None]
    return {name: compared(mols, form, repeats) for name, form in FORMS.items()}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("molecules", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--conformers", type=Path, help="folder to keep conformers in")
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.repeats < 1:
        raise ValueError(f"--count {options.count} --repeats {options.repeats} are out of range: 1 and up")
    if not installed():
        raise ImportError("there is no e3fp package to compare with: pip install it as --help says")
    logging.getLogger().setLevel(logging.ERROR)
    mols = molecules(options.molecules, options.count, options.conformers)
    report = {**provenance(), **{name: compared(mols, form, options.repeats) for name, form in FORMS.items()}}
    for name in FORMS:
        print(name, json.dumps(report[name]))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    command(main)
