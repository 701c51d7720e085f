from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from train_toys import KINDS, TINY, codes, row, stacked_row, toy_module, vocabulary

from unitok.data.row import Row, collate
from unitok.train.config import TrainConfig
from unitok.train.engine import Engine, groups
from unitok.train.schedule import rate

STEPS = 4
ROWS = 4


def micro_batches(step: int, accumulation: int) -> list[Row]:
    numbers = range(step * ROWS, (step + 1) * ROWS)
    size = ROWS // accumulation
    return [collate([row(n) for n in numbers[i : i + size]]) for i in range(0, ROWS, size)]


def learning_rate(step: int) -> float:
    return rate(step, steps=STEPS, peak=TINY["lr"], warmup=TINY["warmup"])


def by_engine(stage: int, accumulation: int, **options: Any) -> tuple[list[float], list[float], Engine]:
    config = TrainConfig(**{**TINY, "micro_rows": ROWS // accumulation, **options})
    engine = Engine(toy_module(), config, {"zero_optimization": {"stage": stage}})
    losses, norms = [], []
    for step in range(STEPS):
        batches = micro_batches(step, accumulation)
        weight = float(sum(b.weight.sum() for b in batches))
        done = engine.step(batches, weight, learning_rate(step))
        losses.append(float(done.sums[0].sum() / done.sums[1].sum()))
        norms.append(done.grad_norm)
    return losses, norms, engine


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The same steps in plain torch, each on all rows at once."""
    module = toy_module()
    optimizer = torch.optim.AdamW(groups(module, 0.1), lr=1.0, betas=(0.9, 0.95))
    losses, norms = [], []
    for step in range(STEPS):
        (batch,) = micro_batches(step, 1)
        loss, _ = module(*batch)
        loss = loss / batch.weight.sum()
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(module.parameters(), 1.0)))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        losses.append(loss.item())
    return losses, norms, {name: p.detach() for name, p in module.named_parameters()}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_stage_equals_plain_torch(stage: int, accumulation: int, plain: Any) -> None:
    """Rows are supervised unevenly, 5 to 95 %: a mean of means over micro-batches would be far off."""
    losses, norms, engine = by_engine(stage, accumulation)
    expected_losses, expected_norms, expected = plain
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert norms == pytest.approx(expected_norms, rel=1e-5)
    weights = engine.weights()
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        # As a whole: Adam's first steps go by the sign of a gradient, even where that is rounding alone.
        assert (value - expected[name]).norm() < 1e-4 * expected[name].norm().clamp(min=1e-3), name


def test_a_mean_of_means_would_be_another_gradient(plain: Any) -> None:
    """The usual loss, each micro-batch's mean, differs by far more than the tolerance above."""
    module = toy_module()
    for batch in micro_batches(0, 4):
        loss, _ = module(*batch)
        (loss / batch.weight.sum() / 4).backward()
    norm = float(nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))
    assert abs(norm / plain[1][0] - 1) > 1e-2


def test_bf16_trains_float32_master_weights() -> None:
    losses, _, engine = by_engine(2, 2, precision="bf16")
    exact, _, _ = by_engine(2, 2)
    assert engine.module.decoder.lm_head.weight.dtype == torch.bfloat16
    assert losses == pytest.approx(exact, rel=2e-2)
    assert losses != exact
    master = engine.weights()["decoder.lm_head.weight"]
    assert not torch.equal(master, master.bfloat16().float())


def test_evaluation_weighs_rows_and_changes_nothing() -> None:
    losses, norms, engine = by_engine(1, 1)
    before = engine.weights()
    batches = [b for step in range(3) for b in micro_batches(step, 2)]
    sums = engine.evaluate(batches)
    expected = sum(engine.module(*batch)[1].double() for batch in batches)
    torch.testing.assert_close(sums, expected)
    assert sums.shape == (2, len(KINDS))
    assert all(torch.equal(value, before[name]) for name, value in engine.weights().items())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_micro_batches_is_refused(count: int) -> None:
    engine = Engine(
        toy_module(), TrainConfig(**{**TINY, "micro_rows": 2}), {"zero_optimization": {"stage": 0}}
    )
    batches: Sequence[Row] = (micro_batches(0, 2) * 2)[:count]
    with pytest.raises(ValueError, match="a step here takes 2"):
        engine.step(batches, 1.0, 1e-3)


def test_matrices_decay_and_nothing_else_does() -> None:
    module = toy_module()
    decayed, kept = groups(module, 0.3)
    names = {id(p): name for name, p in module.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert all("proj" in names[id(p)] or "lm_head" in names[id(p)] for p in decayed["params"])
    assert all("norm" in names[id(p)] or "embed_" in names[id(p)] for p in kept["params"])
    assert len(names) == len(decayed["params"]) + len(kept["params"])


@pytest.mark.parametrize("stacked", [False, True])
def test_muon_leaves_tables_norms_and_heads_to_adam(stacked: bool) -> None:
    module = toy_module(vocab=vocabulary(stacked=stacked))
    config = TrainConfig(**{**TINY, "optimizer": "muon", "clip": 0.0})
    engine = Engine(module, config, {"zero_optimization": {"stage": 2}})
    tagged = {name for name, p in module.named_parameters() if p.use_muon}  # type: ignore[attr-defined]
    matrices = ("_proj.weight", "depth.entry.weight")
    assert tagged == {name for name, _ in module.named_parameters() if name.endswith(matrices)}
    rows = [(stacked_row if stacked else row)(i) for i in range(ROWS)]
    before = engine.weights()
    engine.step([collate(rows)], float(sum(map(codes, rows))), TINY["lr"])
    after = engine.weights()
    assert all(
        not torch.equal(before[n], after[n]) for n in before if n.endswith(("proj.weight", "head.weight"))
    )


class OwnGroups(nn.Module):
    """Two scalars that both have the gradient 1, `slow` with a tenth of the rate and no decay; a third is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.slow = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1, 1))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": [self.fast]}, {"params": [self.slow], "lr": lr / 10, "weight_decay": 0.0}]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = (x * (self.fast + self.slow) * self.frozen).sum()
        return loss, torch.stack([loss.detach(), loss.new_tensor(len(x))])[:, None]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_module_s_own_groups_keep_their_share_of_the_rate_and_their_decay(stage: int) -> None:
    config = TrainConfig(rows=2, lr=0.5, weight_decay=0.2, clip=0, precision="fp32")
    engine = Engine(OwnGroups(), config, {"zero_optimization": {"stage": stage}})
    engine.step([(torch.ones(2, 1),)], weight=2.0, rate=0.1)
    found = {name: value.item() for name, value in engine.weights().items()}
    # Adam's first step is the rate itself; decay is rate x 0.2
    assert found == pytest.approx({"fast": 1 - 0.1 * 0.2 - 0.1, "slow": 1 - 0.01, "frozen": 1.0}, abs=1e-6)
