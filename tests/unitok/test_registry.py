from __future__ import annotations

import pytest
from toys import Letters, Plain

from unitok.registry import GROUP, Registry, UnknownModality, names


def test_the_built_in_modalities_come_through_the_entry_point():
    assert {"text.bytes", "text.pieces", "image.titok", "molecule.selfies", "pointcloud.any2point"} <= set(
        names()
    )


def test_a_name_is_created_with_its_options():
    registry = Registry(group=None)
    registry.register("toy.plain")(Plain)
    made = registry.create("toy.plain", name="image", size=8, length=(2, 2))
    assert made.spec.size == 8


def test_a_lazy_target_is_imported_only_when_asked_for():
    registry = Registry(group=None)
    registry._add("toy.letters", "toys:Letters", owner="test")
    registry._add("toy.broken", "no_such_module_at_all:Thing", owner="test")
    assert registry.names() == ["toy.broken", "toy.letters"]
    assert registry.get("toy.letters") is Letters


def test_an_unknown_name_gets_near_matches():
    with pytest.raises(UnknownModality, match=r"'image\.titokk'.*did you mean image\.titok"):
        Registry(GROUP).get("image.titokk")


def test_a_missing_package_names_its_extra(monkeypatch):
    registry = Registry(group=None)
    registry._add("toy.missing", "needs_rdkit:Thing", owner="test")

    def absent(module: str) -> None:
        raise ModuleNotFoundError("No module named 'rdkit'", name="rdkit")

    monkeypatch.setattr("unitok.registry.importlib.import_module", absent)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package 'rdkit'.*unitok-lm\[molecule\]"):
        registry.get("toy.missing")


def test_a_misspelt_option_names_the_nearest():
    registry = Registry(group=None)
    registry.register("toy.plain")(Plain)
    with pytest.raises(TypeError, match="no option 'lenght': did you mean 'length'"):
        registry.create("toy.plain", name="x", size=3, lenght=(1, 2))


def test_a_name_taken_twice_names_both_owners():
    registry = Registry(group=None)
    registry.register("toy")(Plain)
    with pytest.raises(
        ValueError, match=r"'toy' of class toys\.Letters is already taken by class toys\.Plain"
    ):
        registry.register("toy")(Letters)
