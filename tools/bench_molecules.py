"""Fingerprints here and in the e3fp package, side by side: `python tools/bench_molecules.py MOLECULES`.

    pip install --no-deps e3fp==1.2.7 mmh3 smart_open wrapt sdaxen_python_utilities python-utilities scipy
    python tools/bench_molecules.py zinc250k.smi --count 500 --conformers runs/conformers

MOLECULES is a list of SMILES (.smi, .zst too), which get ETKDG conformers, or an .sdf with coordinates. Both
fingerprint the same molecules in turns on one core, once as e3fp does by default and once as 3D-MolT5 does.
Printed are how many identifiers are equal, molecules per second and the median of the turns' ratios. The e3fp
package (LGPL) is needed for this comparison alone; unitok does not import it.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase

from modalities.molecule.conformers import Conformers
from modalities.molecule.files import text_of
from modalities.molecule.shells import Settings, shells
from unitok.command import command
from unitok.eval.provenance import provenance

FORMS = {
    "default": Settings(),
    "3dmolt5": Settings(level=3, rdkit_invariants=True, exclude_floating=False),
}


def molecules(path: Path, count: int, folder: Path | None) -> list[Chem.Mol]:
    """The first `count` molecules with coordinates."""
    with rdBase.BlockLogs():
        if ".sdf" in path.suffixes:
            every = Chem.ForwardSDMolSupplier(io.BytesIO(text_of(path).encode()))
            return [mol for mol in every if mol is not None][:count]
        smiles = [line.split()[0] for line in text_of(path).splitlines() if line.strip()][:count]
        found, failures = Conformers(folder).get(smiles, progress=True)
    print(f"{len(failures)} of {len(smiles)} have no conformer")
    return [mol for mol in found if mol is not None]


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
    """Equality and speed of one form."""
    ratios, speeds = [], []
    for _ in range(repeats):
        start = time.process_time()
        ours = shells(mols, settings)
        middle = time.process_time()
        wanted = [theirs(mol, settings) for mol in mols]
        end = time.process_time()
        speeds.append((len(mols) / (middle - start), len(mols) / (end - middle)))
        ratios.append((end - middle) / (middle - start))
    found = [sorted(set((one.ids[one.accepted] & 0xFFFFFFFF).tolist())) for one in ours]
    both = [(a, b) for a, b in zip(found, wanted, strict=True) if b is not None]
    return {
        "molecules": len(mols),
        "e3fp fails on": len(mols) - len(both),
        "identifiers": sum(len(b) for _, b in both),
        "molecules that differ": sum(a != b for a, b in both),
        "ours molecules/s": statistics.median(a for a, _ in speeds),
        "e3fp molecules/s": statistics.median(b for _, b in speeds),
        "ratio": statistics.median(ratios),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("molecules", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--conformers", type=Path, help="folder to keep conformers in")
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
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
