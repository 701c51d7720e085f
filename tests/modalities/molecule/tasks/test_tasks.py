"""Tasks: what is asked and answered, from known molecules; answers about space against plain geometry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from modalities.molecule.posed import placed
from modalities.molecule.selfies import Selfies
from modalities.molecule.symbols import split
from modalities.molecule.tasks import properties, space, structure, text
from modalities.molecule.tasks.record import Molecule, filled, parts

WATERY = placed(Chem.MolFromSmiles("OCCN"), [[0, 0, 0], [1.4, 0, 0], [1.4, 1.5, 0], [2.8, 1.5, 0.5]])


def said(record, turn=0):
    return record["turns"][turn]["content"]


def test_templates_keep_text_and_molecules_apart():
    assert filled("What is {m}?", m=Molecule("CO")) == ["What is ", "CO", "?"]
    assert parts(["a", Molecule("CO"), ""]) == [{"text": "a"}, {"molecule": "CO"}]


def test_a_record_is_the_same_every_time_and_plain_json():
    one, two = (text.caption("k/1", "train", "CO", "It is methanol.") for _ in range(2))
    assert json.loads(json.dumps(one)) == two
    assert {"molecule": "CO"} in said(one)
    assert said(one, 1) == [{"text": "It is methanol."}]
    assert said(text.molecule("k/1", "train", "CO", "It is methanol."), 1) == [{"molecule": "CO"}]
    assert said(text.named("k", "train", "CO", "methanol"), 1) == [{"molecule": "CO"}]
    assert said(text.name_of("k", "train", "CO", "methanol"), 1) == [{"text": "methanol"}]


def test_names_in_a_text_become_molecules():
    known = {"acetic acid": "CC(=O)O", "ethanol": "CCO"}
    found = list(text.mentions("Acetic acid esterifies ethanol, not methanol.", known))
    assert found == [(0, 11, "CC(=O)O"), (23, 30, "CCO")]
    record = text.wrapped("k", "train", "Acetic acid esterifies ethanol.", known)
    assert [p["molecule"] for p in record["document"] if "molecule" in p] == ["CC(=O)O", "CCO"]
    assert record["document"][-1] == {"text": "."}
    assert text.wrapped("k", "train", "Nothing known.", known) is None


def test_what_is_to_be_mended_is_a_molecule_with_fewer_symbols():
    tokenizer = Selfies()
    smiles = "CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1.[Na+]"
    lengths = set()
    for number in range(30):
        record = structure.denoise(f"k/{number}", "train", smiles, tokenizer)
        if record is None:
            continue
        broken = next(p["molecule"] for p in said(record) if "molecule" in p)
        assert said(record, 1) == [{"molecule": smiles}]
        assert Chem.MolFromSmiles(tokenizer.decode(tokenizer.encode([broken]))[0]) is not None
        lengths.add(len(split(broken)))
    assert len(lengths) > 3
    assert max(lengths) < len(tokenizer.encode([smiles])[0])


def test_coordinates_as_lines_name_every_atom():
    record = structure.seen("k", "train", WATERY)
    lines = next(p["text"] for p in said(record) if ";" in p.get("text", ""))
    assert sorted(one.split()[0] for one in lines.split("; ")) == ["C", "C", "N", "O"]
    assert {p["molecule"] for p in said(record, 1)} == {"NCCO"}


def answer(kind, mol=WATERY, tries=40):
    """All (question, answer) of a kind that some draws give."""
    found = {}
    for number in range(tries):
        record = space.ask(f"k/{number}", "train", mol, kind)
        if record is not None:
            found[said(record)[-1]["text"].strip()] = said(record, 1)[0]["text"]
    return found


def test_answers_about_space_are_those_of_plain_geometry():
    # In the order of the canonical SMILES NCCO: the first C is the one beside N.
    assert (
        answer("distance")["How far is the first N from the first O?"]
        == f"{np.sqrt(2.8**2 + 1.5**2 + 0.25):.2f}"
    )
    assert answer("distance")["How far is the first C from the second C?"] == "1.50"
    assert answer("angle")["What is the angle the first C, the second C, the first O?"] == "90"
    x, mass = WATERY.GetConformer().GetPositions(), np.array([15.999, 12.011, 12.011, 14.007])
    centre = mass @ x / mass.sum()
    wanted = np.sqrt(mass @ ((x - centre) ** 2).sum(1) / mass.sum())
    assert answer("gyration") == {"What is its radius of gyration?": f"{wanted:.2f}"}
    assert (
        answer("nearest")["Which atom that is not bonded to the first O is nearest to it?"] == "the first C"
    )


@pytest.mark.parametrize(("smiles", "wanted"), [("C[C@H](N)C(=O)O", "S"), ("C[C@@H](N)C(=O)O", "R")])
def test_handedness_is_read_from_the_coordinates(smiles, wanted):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    mol = Chem.RemoveHs(mol)
    assert set(answer("hand", mol, tries=5).values()) == {wanted}
    assert answer("hand") == {}


def test_without_coordinates_the_same_is_asked():
    shown, flat = (space.ask("k/3", "train", WATERY, "distance", flat=flat) for flat in (False, True))
    assert said(shown, 1) == said(flat, 1)
    assert said(shown)[-1] == said(flat)[-1]
    assert "|" in said(shown)[0]["molecule"]
    assert said(flat)[0] == {"molecule": "NCCO"}


def test_numbers_have_their_decimals():
    assert said(properties.computed("k", "train", "CCO", "mw"), 1) == [{"text": "46.07"}]
    assert said(properties.given("k", "train", "CCO", "homo", -0.25), 1) == [{"text": "-0.2500"}]
    with pytest.raises(ValueError, match="is not SMILES"):
        properties.computed("k", "train", "C(", "mw")


def test_cells_of_a_table_are_numbers_classes_or_nothing():
    assert said(properties.measured("k", "train", "CCO", "logS", "-0.771"), 1) == [{"text": "-0.77"}]
    assert said(properties.measured("k", "train", "CCO", "p_np", "yes"), 1) == [{"text": "yes"}]
    assert properties.measured("k", "train", "CCO", "logS", " ") is None
    with pytest.raises(ValueError, match="could not convert"):
        properties.measured("k", "train", "CCO", "logS", "soluble")
