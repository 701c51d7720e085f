"""The configurations for molecules: their panels ask for what there is, and joint pretraining runs from data to page."""

from __future__ import annotations

import json
import runpy
from collections import defaultdict
from pathlib import Path

import pytest
from rdkit import Chem

import unitok
from modalities.molecule.conformers import embed
from modalities.molecule.selfies import Selfies
from modalities.molecule.tasks import structure, text
from modalities.text.pieces import MODEL
from unitok.config import load

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "recipes" / "configs" / "molecule").glob("*.toml"))
MOLECULES = {
    "CC(=O)OCCN": "an ester",
    "CCC(O)CC#N": "a nitrile",
    "CCNC(=O)CF": "an amide",
    "CC1CCCO1": "an ether",
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_panels_ask_for_sources_and_blocks_that_there_are(path: Path):
    config = load(path)
    for panel in config.report.panel if config.report else ():
        assert panel.source in config.data.sources
        assert {*(panel.produce or ()), panel.first} - {None} <= set(config.vocabulary)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """pretrain.toml with data of four molecules, held out too, and a model of a few thousand parameters."""
    tasks = defaultdict(list)
    for split in ("train", "heldout"):
        for smiles, said in MOLECULES.items():
            key, mol = f"{split}/{smiles}", embed(Chem.MolFromSmiles(smiles))
            smiles = Chem.MolToSmiles(mol)
            tasks["denoise"].append(structure.denoise(key, split, smiles, Selfies(), rate=0.5))
            tasks["place"].append(structure.place(key, split, mol))
            tasks["seen"].append(structure.seen(key, split, mol))
            tasks["caption"].append(text.caption(key, split, smiles, f"It is {said}."))
            tasks["molecule"].append(text.molecule(key, split, smiles, f"It is {said}."))
            tasks["wrapped"].append(text.wrapped(key, split, f"A word on {said}.", {said: smiles}))
            tasks["named"].append(text.named(key, split, smiles, said))
    lines = [f'base = "{ROOT / "recipes/configs/molecule/pretrain.toml"}"', f'run = "{tmp_path / "run"}"']
    lines += [
        f'vocabulary.text.model = "{MODEL}"',
        "model = { depth = 1, width = 32 }",
        "train = { steps = 2, rows = 2, warmup = 0, progress = false }",
        f'data.cache = "{tmp_path / "cache"}"',
    ]
    for task, records in tasks.items():
        (tmp_path / f"{task}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records if one))
        lines.append(f'data.sources.{task}.path = "{task}.jsonl"')
    (tmp_path / "tiny.toml").write_text("\n".join(lines))
    return tmp_path / "tiny.toml"


@pytest.mark.slow
def test_joint_pretraining_runs_from_data_to_page(tiny: Path):
    runpy.run_path(str(ROOT / "recipes" / "pretrain.py"))["main"]([str(tiny)])
    page = (tiny.parent / "run" / "report.html").read_text()
    panels = json.loads((tiny.parent / "run" / "report.json").read_text())["panels"]
    assert list(panels) == [panel.title for panel in load(tiny).report.panel]
    for panel in panels.values():
        for row in panel["valid"].values():
            assert row["valid"] == row["written"] > 0
    mol3d = unitok.create("molecule.mol3d", constraints="hypervalent")
    placed = embed(Chem.MolFromSmiles("CC1CCCO1"))
    assert mol3d.show(placed).size == (512, 256)
    assert page.count("data:image/png") >= 20
