"""Checkpoints with shards that are small files; `test_trainer.py` and `test_crash.py` use DeepSpeed's."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from train_toys import vocabulary

from unitok.train.checkpoint import UNIVERSAL, CheckpointError, Checkpoints, complete, read, seal
from unitok.vocabulary import VocabularyMismatch


class Shards:
    """One file; `failure` is what the disk says."""

    device = torch.device("cpu")

    def __init__(self, stage: int = 2) -> None:
        self.stage = stage
        self.failure: Exception | None = None
        self.loaded: list[tuple[str, bool]] = []

    def save(self, folder: Path, tag: str) -> list[Exception]:
        (folder / tag / "shard.pt").write_bytes(b"numbers")
        return [self.failure] if self.failure else []

    def load(self, folder: Path, tag: str, universal: bool = False) -> None:
        assert (folder / tag / "shard.pt").is_file()
        self.loaded.append((tag, universal))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    checkpoints, shards = Checkpoints(tmp_path / "c", vocabulary=vocabulary()), Shards()
    state = {"step": 7, "feed": {"row": 28, "draws": {"text": 3}}}
    path = checkpoints.save(shards, 7, state)
    assert Checkpoints(tmp_path / "c", vocabulary=vocabulary()).restore(shards) == state
    assert shards.loaded == [(path.name, False)]
    assert names(path) == ["manifest.json", "shard.pt", "unitok.json"]
    assert (tmp_path / "c" / "latest").read_text() == path.name


def test_an_empty_folder_restores_nothing(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").restore(Shards()) is None


def test_the_newest_few_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 10, 100):
        checkpoints.save(Shards(), step, {})
    assert names(tmp_path) == ["latest", "step_00000010", "step_00000100"]
    checkpoints.save(Shards(), 100, {"again": True})
    assert checkpoints.restore(Shards()) == {"again": True}


@pytest.mark.parametrize("damage", ["manifest", "missing", "short", "aside"])
def test_incomplete_checkpoints_are_passed_over(damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    good, bad = (checkpoints.save(Shards(), step, {"step": step}) for step in (1, 2))
    if damage == "manifest":
        (bad / "manifest.json").unlink()
    elif damage == "missing":
        (bad / "shard.pt").unlink()
    elif damage == "short":
        (bad / "shard.pt").write_bytes(b"num")
    else:
        bad.rename(bad.with_name(bad.name + ".tmp"))
    assert checkpoints.newest() == good
    assert checkpoints.restore(Shards()) == {"step": 1}
    checkpoints.save(Shards(), 3, {})
    assert not list(tmp_path.glob("*.tmp")), "what a killed run left behind goes with the next save"


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    checkpoints, shards = Checkpoints(tmp_path, keep=1), Shards()
    checkpoints.save(shards, 1, {"step": 1})
    shards.failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(
        CheckpointError, match=r"step 2 .*No space left.*free some space.*step_00000001"
    ) as caught:
        checkpoints.save(shards, 2, {"step": 2})
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["latest", "step_00000001"]
    assert checkpoints.restore(Shards()) == {"step": 1}


def test_a_checkpoint_of_another_vocabulary_is_refused_naming_both(tmp_path: Path) -> None:
    old, new = vocabulary(), vocabulary("retrained")
    Checkpoints(tmp_path, vocabulary=old).save(Shards(), 1, {})
    shards = Shards()
    with pytest.raises(VocabularyMismatch, match=f"{old.fingerprint}.*{new.fingerprint}"):
        Checkpoints(tmp_path, vocabulary=new).restore(shards)
    with pytest.raises(VocabularyMismatch):
        Checkpoints(tmp_path).restore(shards)
    assert shards.loaded == []


def pretend(path: Path, **change: object) -> None:
    """Say in the manifest that a checkpoint is of another shape."""
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **change}))


@pytest.mark.parametrize("change", [{"world": 2}, {"stage": 3}])
def test_shards_of_another_shape_are_refused_with_the_way_out(change: dict[str, int], tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    pretend(checkpoints.save(Shards(), 4, {}), **change)
    with pytest.raises(CheckpointError, match=r"convert it with `python tools/to_universal\.py"):
        checkpoints.restore(Shards())


def test_zero_0_shards_nothing_and_fits_any_world(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    pretend(checkpoints.save(Shards(0), 4, {"step": 4}), world=8)
    assert checkpoints.restore(Shards(0)) == {"step": 4}


def test_the_universal_form_fits_any_world_and_goes_with_its_step(tmp_path: Path) -> None:
    checkpoints, shards = Checkpoints(tmp_path, keep=1), Shards()
    path = checkpoints.save(shards, 4, {"step": 4})
    universal = path.with_name(path.name + UNIVERSAL)
    universal.mkdir()
    (universal / "shard.pt").write_bytes(b"numbers")
    seal(universal, read(path))
    pretend(path, world=2)
    assert checkpoints.newest() == path
    assert checkpoints.restore(shards) == {"step": 4}
    assert shards.loaded == [(universal.name, True)]
    checkpoints.save(shards, 5, {"step": 5})
    assert names(tmp_path) == ["latest", "step_00000005"]


def test_a_checkpoint_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(Shards(), 1, {})
    pretend(path, format=99)
    with pytest.raises(CheckpointError, match="has format 99"):
        complete(path)


def test_a_checkpoint_of_another_model_is_one_sentence(tmp_path: Path) -> None:
    class Other(Shards):
        def load(self, folder: Path, tag: str, universal: bool = False) -> None:
            raise RuntimeError("Error(s) in loading state_dict:\n\tMissing key(s): layers.1.weight")

    Checkpoints(tmp_path).save(Shards(), 7, {"step": 7})
    with pytest.raises(
        CheckpointError, match=r"step_00000007 does not fit this run \(.*layers.1.weight"
    ) as error:
        Checkpoints(tmp_path).restore(Other())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 1, "odd": 2}'])
def test_a_manifest_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    good = checkpoints.save(Shards(), 1, {"step": 1})
    bad = checkpoints.save(Shards(), 2, {"step": 2})
    (bad / "manifest.json").write_text(text)
    assert checkpoints.newest() == good
