"""The contrastive loss, in one process and over ranks."""

from __future__ import annotations

import math
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from released import numbers
from torch.nn import functional as F

from modalities.common.losses import Contrast


def pairs(count=4):
    return (numbers(name, (count, 3, 5)).float() - 0.5 for name in ("one", "two"))


def test_it_is_the_symmetric_cross_entropy():
    one, two = pairs()
    found = Contrast(0.2)(one, two)
    a, b = (F.normalize(each.flatten(1), dim=1) for each in (one, two))
    logits = a @ b.t() / 0.2
    right = logits.diagonal()
    wanted = ((logits.logsumexp(1) - right) + (logits.logsumexp(0) - right)).mean() / 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_smoothing_spreads_a_share_of_each_target_over_all_partners():
    one, two = pairs()
    a, b = (F.normalize(each.flatten(1), dim=1) for each in (one, two))
    logits = a @ b.t() / 0.2
    target = 0.9 * torch.eye(4) + 0.1 / 4
    wanted = -sum((target * each.log_softmax(1)).sum(1).mean() for each in (logits, logits.t())) / 2
    assert Contrast(0.2, smoothing=0.1)(one, two).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_equal_pairs_cost_little_and_swapped_ones_much():
    one, _ = pairs()
    contrast = Contrast()
    assert contrast(one, 2 * one).item() < 0.05
    assert contrast(one, one.roll(1, 0)).item() > 5


def test_the_temperature_learns_within_its_bound():
    one, _ = pairs()
    contrast = Contrast(temperature=0.5, most=4.0)
    learn = torch.optim.SGD(contrast.parameters(), 5.0)
    losses = []
    for _ in range(20):
        learn.zero_grad()
        loss = contrast(one, one)
        loss.backward()
        learn.step()
        losses.append(loss.item())
    scale = (contrast.log_scale - contrast.log_scale.clamp(max=math.log(4))).item()
    assert scale > 0  # it has gone past the bound,
    bounded = Contrast(temperature=0.25, most=4.0)(one, one).item()
    assert contrast(one, one).item() == pytest.approx(bounded, rel=1e-5)  # which holds in value,
    contrast.zero_grad()
    contrast(one, one.roll(1, 0)).backward()
    assert contrast.log_scale.grad > 0  # and it can come back
    assert losses[-1] < losses[0]


def test_pairs_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 4\] and \[3, 4\]"):
        Contrast()(torch.zeros(2, 4), torch.zeros(3, 4))


def rank_of_two(rank, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    one, two = (each[2 * rank : 2 * rank + 2].requires_grad_() for each in pairs())
    contrast = Contrast(0.2)
    loss = contrast(one, two)
    (loss / 2).backward()  # what averaging over ranks does
    total = loss.detach() / 2
    dist.all_reduce(total)
    dist.all_reduce(contrast.log_scale.grad)
    results.put((rank, total.item(), contrast.log_scale.grad.item(), one.grad.tolist(), two.grad.tolist()))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_ranks_are_one_batch():
    context = processes.get_context("spawn")
    results = context.Queue()
    port = 29500 + os.getpid() % 400
    ranks = [context.Process(target=rank_of_two, args=(rank, port, results)) for rank in range(2)]
    for each in ranks:
        each.start()
    found = sorted(results.get(timeout=120) for _ in ranks)
    for each in ranks:
        each.join(60)
    one, two = (each.requires_grad_() for each in pairs())
    contrast = Contrast(0.2)
    loss = contrast(one, two)
    loss.backward()
    for rank, total, slope, grad_one, grad_two in found:
        assert total == pytest.approx(loss.item(), rel=1e-5)
        assert slope == pytest.approx(contrast.log_scale.grad.item(), rel=1e-4)
        for grad, whole in ((grad_one, one.grad), (grad_two, two.grad)):
            assert torch.allclose(torch.tensor(grad), whole[2 * rank : 2 * rank + 2], atol=1e-6)
