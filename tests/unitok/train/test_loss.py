from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from train_toys import KINDS, LENGTH, row, toy_module

from unitok.data.row import Row, collate
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.train.loss import LanguageModel


def batch(rows: int = 3) -> Row:
    return collate([row(i) for i in range(rows)])


def dense(module: LanguageModel, given: Row, z_loss: float = 0.0) -> Tensor:
    """The same loss the plain way, all logits at once."""
    hidden = module.decoder(given.tokens, given.doc, given.pos, given.side)
    logits = module.decoder.logits(hidden).flatten(0, 1)
    targets = given.targets.flatten()
    nats = F.cross_entropy(logits, targets.clamp(min=0), reduction="none")
    square = logits.logsumexp(-1).square()
    return (given.weight.flatten() * (nats + z_loss * square) * (targets >= 0)).sum()


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_loss_and_gradient_equal_the_dense_ones(chunk: int, z_loss: float) -> None:
    given = batch()
    module = toy_module(z_loss, chunk)
    loss, sums = module(*given)
    expected = dense(module, given, z_loss)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    if z_loss == 0:
        torch.testing.assert_close(sums[0].sum(), loss.detach(), rtol=1e-5, atol=1e-4)
    mine = torch.autograd.grad(loss, list(module.parameters()))
    theirs = torch.autograd.grad(expected, list(module.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_sums_tell_the_kinds_apart() -> None:
    given, module = batch(), toy_module()
    _, sums = module(*given)
    for kind in range(len(KINDS)):
        weight = torch.where((given.kind == kind) & (given.targets >= 0), given.weight, 0.0)
        alone, _ = module(*given._replace(weight=weight))
        torch.testing.assert_close(sums[1, kind], weight.sum())
        torch.testing.assert_close(sums[0, kind], alone.detach(), rtol=1e-5, atol=1e-4)
    assert not sums.requires_grad


def test_targets_without_loss_do_not_count() -> None:
    given, module = batch(), toy_module()
    loss, sums = module(*given)
    noisy = given._replace(
        weight=torch.where(given.targets >= 0, given.weight, 3.0),
        targets=torch.where(given.weight > 0, given.targets, -1),
    )
    again, sums_again = module(*noisy)
    assert torch.equal(loss, again)
    assert torch.equal(sums, sums_again)


def test_a_batch_without_loss_still_has_a_gradient_of_zero() -> None:
    """Ranks differ in what they are given; each must run the same modules, or ZeRO 3 waits for ever."""
    module, given = toy_module(), batch()
    calls = []
    module.decoder.lm_head.register_forward_hook(lambda *_: calls.append(1))
    loss, sums = module(*given._replace(weight=torch.zeros_like(given.weight)))
    loss.backward()
    assert loss.item() == 0
    assert sums.count_nonzero() == 0
    assert all(p.grad is not None and p.grad.count_nonzero() == 0 for p in module.parameters())
    pieces = math.ceil(3 * LENGTH / module.chunk)
    assert pieces > 1
    assert len(calls) == 2 * pieces, "once forward and once again backward"


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize("stacks", [{}, {"image": ((2048, 5120), (5120, 8192))}])
def test_the_logits_never_exist_as_a_whole(stacks: dict[str, tuple[tuple[int, int], ...]]) -> None:
    given = batch(8)
    if stacks:
        parts = [torch.randint(first, stop, given.tokens.shape) for first, stop in stacks["image"]]
        given = given._replace(more=torch.stack(parts, dim=-1))
    config = ModelConfig.preset(1, vocab_size=8192, width=32, stacks=stacks)
    module = LanguageModel(Decoder(config), len(KINDS), chunk=16)
    with Largest() as largest:
        loss, _ = module(*given)
        loss.backward()
    supervised = int((given.weight > 0).sum())
    assert largest.numel < supervised * 8192 / 4
    with Largest() as largest:
        dense(module, given)
    assert largest.numel >= supervised * 8192, "the measure itself works"
