from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.train.schedule import Kind, rate

KINDS: tuple[Kind, ...] = ("cosine", "wsd", "constant")
RUN = {"steps": 100, "peak": 2.0, "warmup": 10, "final": 0.1}


@given(st.sampled_from(KINDS), st.integers(1, 500), st.integers(0, 80), st.integers(0, 600))
def test_rates_lie_between_zero_and_the_peak(kind: Kind, steps: int, warmup: int, step: int) -> None:
    value = rate(step, steps=steps, peak=3.0, warmup=warmup, kind=kind)
    assert 0 < value <= 3.0


@given(st.sampled_from(KINDS), st.integers(1, 300), st.integers(0, 50))
def test_a_rate_never_rises_after_the_warm_up(kind: Kind, steps: int, warmup: int) -> None:
    rates = [rate(s, steps=steps, peak=1.0, warmup=warmup, kind=kind) for s in range(steps + 5)]
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_peak_comes_right_after_the_warm_up(kind: Kind) -> None:
    assert rate(10, **RUN, kind=kind) == 2.0
    assert rate(0, **RUN, kind=kind) == pytest.approx(2.0 / 11)


@pytest.mark.parametrize("kind", ["cosine", "wsd"])
def test_the_last_step_has_the_final_share(kind: Kind) -> None:
    assert rate(99, **RUN, kind=kind) == pytest.approx(0.2)
    assert rate(1000, **RUN, kind=kind) == pytest.approx(0.2)


def test_shapes_differ() -> None:
    assert rate(55, **RUN, kind="wsd", decay=0.2) == 2.0
    assert rate(85, **RUN, kind="wsd", decay=0.2) == pytest.approx(2.0 * (1 - 0.9 * 5 / 19))
    assert rate(54, **RUN, kind="cosine") == pytest.approx(1.1, abs=0.03)
    assert rate(99, **RUN, kind="constant") == 2.0
