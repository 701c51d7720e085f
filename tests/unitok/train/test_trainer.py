from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from train_toys import TINY, collate, row, toy_trainer, vocabulary

from unitok.model import weights
from unitok.train import metrics
from unitok.train.checkpoint import CheckpointError
from unitok.train.trainer import Diverged, Trainer
from unitok.vocabulary import Vocabulary, VocabularyMismatch

GOLDEN = Path(__file__).parents[2] / "golden" / "train_loss.json"


def steps(folder: Path) -> list[dict[str, Any]]:
    """What a run's losses and gradients were; times differ."""
    kept = ("step", "loss", "nats", "grad_norm", "lr")
    return [{k: r[k] for k in kept} for r in metrics.read(folder) if r["event"] == "step"]


def stop_at(step: int) -> Any:
    """A hook that sends this process SIGTERM after a step."""

    def hook(trainer: Trainer, event: str) -> None:
        if event == "step" and trainer.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without interruption, with everything switched on."""
    folder = tmp_path_factory.mktemp("reference")
    heldout = [collate([row(1000 + i) for i in range(4)])]
    lines = {"text": {"unigram": 4.0}}
    toy_trainer(
        folder, save_every=2, eval_every=4, heldout=heldout, lines=lines, per_item={"image": 8.0}
    ).fit()
    return folder


def test_every_event_is_a_json_line(reference: Path) -> None:
    records = metrics.read(reference)
    events = [(r["event"], r["step"]) for r in records]
    assert events == [
        ("start", 0),
        *[("step", 1), ("step", 2), ("save", 2)],
        *[("step", 3), ("step", 4), ("heldout", 4), ("save", 4)],
        *[("step", 5), ("step", 6), ("heldout", 6), ("save", 6)],
        ("stop", 6),
    ]
    assert records[0]["lines"] == {"text": {"unigram": 4.0}}
    step = records[1]
    assert step["nats"].keys() == {"text", "image"}
    assert 0 <= step["wait"] <= 1
    assert min(step["per_s"], step["memory"], step["grad_norm"], step["lr"], step["seconds"]) > 0
    heldout = next(r for r in records if r["event"] == "heldout")
    assert heldout["bits_per_item"].keys() == {"image"}


def test_old_checkpoints_go(reference: Path) -> None:
    assert sorted(p.name for p in (reference / "checkpoints").glob("step_*")) == [
        "step_00000004",
        "step_00000006",
    ]


def test_the_export_needs_no_deepspeed_and_computes_the_same(reference: Path) -> None:
    decoder = weights.load(reference / "model")
    again = toy_trainer(reference)
    again.resume()
    assert again.step == 6
    trained = again.engine.module.decoder
    for name, value in trained.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[name]), name
    assert Vocabulary.load(reference / "model" / "unitok.json").fingerprint == vocabulary().fingerprint


def test_a_finished_run_is_not_trained_again(reference: Path) -> None:
    before = metrics.read(reference)
    toy_trainer(reference, save_every=2).fit()
    after = metrics.read(reference)
    assert steps(reference) == [r for r in steps(reference) if r["step"] <= 6]
    assert [r["event"] for r in after[len(before) :]] == ["start", "stop"]


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_sigterm_saves_and_leaves_with_0_and_the_run_goes_on_to_the_bit(stage: int, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy_trainer(whole, stage, micro_rows=2).fit()
    previous = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        toy_trainer(parts, stage, micro_rows=2, hooks=[stop_at(3)]).fit()
    assert caught.value.code == 0
    assert metrics.read(parts)[-1] == {"event": "stop", "step": 3, "reason": "SIGTERM"}
    assert signal.getsignal(signal.SIGTERM) == previous
    toy_trainer(parts, stage, micro_rows=2).fit()
    assert steps(parts) == steps(whole)


def test_the_losses_of_twenty_steps_are_those_of_the_golden_file(tmp_path: Path) -> None:
    toy_trainer(tmp_path, steps=20, z_loss=1e-4).fit()
    losses = [r["loss"] for r in steps(tmp_path)]
    if os.environ.get("UNITOK_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps([round(x, 6) for x in losses]) + "\n")
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-4)
    assert losses[-1] < losses[0] - 1.0


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within, the system refuses to let a file grow beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_stops_the_run_and_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    def fill(trainer: Trainer, event: str) -> None:
        if event == "step" and trainer.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    with (
        largest_file(resource.RLIM_INFINITY),
        pytest.raises(CheckpointError, match="step_00000002") as caught,
    ):
        toy_trainer(tmp_path, save_every=2, hooks=[fill]).fit()
    assert "step 4 could not be written" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step_00000002"]
    again = toy_trainer(tmp_path)
    again.resume()
    assert again.step == 2


def test_a_run_with_another_vocabulary_is_refused(reference: Path) -> None:
    other = vocabulary("another tokenizer")
    with pytest.raises(VocabularyMismatch, match=f"{vocabulary().fingerprint}.*{other.fingerprint}"):
        toy_trainer(reference, vocab=other).fit()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"lower train\.lr"):
        toy_trainer(tmp_path, steps=20, lr=1e20, clip=0.0, save_every=1).fit()
    records = metrics.read(tmp_path)
    assert all(torch.tensor(r["loss"]).isfinite() for r in records if r["event"] == "step")


def test_another_seed_is_another_random_state_and_each_step_its_own(tmp_path: Path) -> None:
    drawn = []

    def draw(trainer: Trainer, event: str) -> None:
        if event == "step":
            drawn.append(torch.rand(()).item())

    toy_trainer(tmp_path / "a", steps=3, hooks=[draw]).fit()
    toy_trainer(tmp_path / "b", steps=3, seed=1, hooks=[draw]).fit()
    assert len(set(drawn)) == 6


def test_tensorboard_gets_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is of the extra `train`")
    toy_trainer(tmp_path, steps=1, tensorboard=True).fit()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_batches_are_taken_in_order(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, steps=2, micro_rows=2)
    trainer.fit()
    assert trainer.feed.state() == {"row": 2 * TINY["rows"]}
