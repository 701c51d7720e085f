from __future__ import annotations

import pytest
import torch

from modalities.common.flow import between, euler, logit_normal, velocity_target


def test_a_way_begins_and_ends_where_it_says():
    start, end = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert between(start, end, torch.zeros(2)).equal(start)
    assert torch.allclose(between(start, end, torch.ones(2)), end)
    assert torch.allclose(between(start, end, torch.ones(2), least=0.1), end + 0.1 * start)


def test_the_target_is_the_derivative_of_the_way():
    start, end = torch.randn(2, 2, 3, dtype=torch.float64)
    for least in (0.0, 0.2):
        t = torch.tensor([0.3, 0.8], dtype=torch.float64)
        step = (between(start, end, t + 1e-6, least) - between(start, end, t, least)) / 1e-6
        assert torch.allclose(step, velocity_target(start, end, least), atol=1e-8)


@pytest.mark.parametrize("times", [torch.linspace(0, 1, 4), torch.linspace(1, 0, 6)])
def test_euler_follows_a_straight_way_exactly(times):
    start, end = torch.randn(2, 5), torch.randn(2, 5)
    asked = []

    def net(x, t):
        asked.append(float(t))
        return velocity_target(start, end)

    begin = between(start, end, times[:1].expand(2))
    found = euler(net, begin, times)
    assert torch.allclose(found, between(start, end, times[-1:].expand(2)), atol=1e-6)
    assert asked == times[:-1].tolist()


def test_euler_asks_at_other_times_and_refuses_none():
    asked = []
    euler(
        lambda x, t: asked.append(float(t)) or x,
        torch.ones(1),
        torch.tensor([0.0, 0.5, 1.0]),
        torch.tensor([0.1, 0.9]),
    )
    assert asked == pytest.approx([0.1, 0.9])
    with pytest.raises(ValueError, match=r"S \+ 1 times"):
        euler(lambda x, t: x, torch.ones(1), torch.zeros(1))


@pytest.mark.parametrize("stratified", [False, True])
def test_logit_normal_times(stratified):
    torch.manual_seed(0)
    t = logit_normal(20_000, stratified=stratified)
    logits = t.double().logit()
    assert t.min() > 0
    assert t.max() < 1
    assert abs(float(logits.mean())) < 0.03
    assert abs(float(logits.std()) - 1) < 0.03


def test_stratified_times_cover_every_part():
    t = logit_normal(8, stratified=True, generator=torch.Generator().manual_seed(3))
    parts = (torch.special.ndtr(t.logit()) * 8).long().sort().values
    assert parts.equal(torch.arange(8))
