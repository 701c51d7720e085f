from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitok.generate.choose import Choice, choose, uniforms

SEEDS = st.integers(0, 2**31)


def masked(logits: torch.Tensor, legal: torch.Tensor) -> torch.Tensor:
    return torch.where(legal, logits, float("-inf"))


def random(seed: int, rows: int = 4, size: int = 50) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, a mask with at least one legal id per row, uniform numbers."""
    g = torch.Generator().manual_seed(seed)
    legal = torch.rand(rows, size, generator=g) < 0.3
    legal[torch.arange(rows), torch.randint(0, size, (rows,), generator=g)] = True
    return torch.randn(rows, size, generator=g) * 5, legal, torch.rand(rows, generator=g, dtype=torch.float64)


@given(SEEDS, st.sampled_from([0.0, 0.001, 0.5, 1.0, 30.0]), st.integers(0, 60), st.floats(0.01, 1.0))
def test_the_choice_is_legal(seed: int, temperature: float, top_k: int, top_p: float) -> None:
    logits, legal, uniform = random(seed)
    ids = choose(masked(logits, legal), uniform, Choice(temperature, top_k, top_p).check())
    assert legal.gather(1, ids[:, None]).all()


@given(SEEDS, st.sampled_from([0.0, 1.0]), st.integers(0, 3))
def test_one_legal_id_is_taken_whatever_the_logits(seed: int, temperature: float, top_k: int) -> None:
    logits, _, uniform = random(seed)
    only = torch.tensor([3, 0, 49, 7])
    legal = torch.zeros(4, 50, dtype=torch.bool).scatter(1, only[:, None], True)
    assert choose(masked(logits * 100, legal), uniform, Choice(temperature, top_k)).tolist() == only.tolist()


@given(SEEDS)
def test_uniform_numbers_at_the_edges_stay_legal(seed: int) -> None:
    logits, legal, _ = random(seed)
    legal[:, -1] = False
    legal[:, 0] = False
    legal[:, 1] = True
    for u in (0.0, 1 - 2**-53):
        ids = choose(masked(logits, legal), torch.full((4,), u, dtype=torch.float64), Choice())
        assert legal.gather(1, ids[:, None]).all()


def test_frequencies_follow_the_softmax_of_the_legal_logits_over_temperature() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0])
    legal = torch.tensor([True, False, True, True])
    uniform = uniforms(5, 1, 40_000)[0]
    ids = choose(masked(logits, legal).expand(40_000, 4), uniform, Choice(temperature=2.0))
    seen = torch.bincount(ids, minlength=4) / 40_000
    expected = torch.where(legal, logits / 2, float("-inf")).softmax(0)
    torch.testing.assert_close(seen, expected, atol=0.01, rtol=0)


def possible(logits: torch.Tensor, how: Choice) -> set[int]:
    uniform = torch.linspace(0, 1 - 1e-9, 2000, dtype=torch.float64)
    return set(choose(logits.expand(2000, -1), uniform, how).tolist())


def test_top_k_keeps_the_likeliest() -> None:
    logits = torch.tensor([0.0, 0.3, 0.1, 0.2])
    assert possible(logits, Choice(top_k=2)) == {1, 3}
    assert possible(logits, Choice(top_k=9)) == {0, 1, 2, 3}


def test_top_p_keeps_the_fewest_that_hold_it() -> None:
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    assert possible(logits, Choice(top_p=0.4)) == {1}
    assert possible(logits, Choice(top_p=0.6)) == {1, 3}
    assert possible(logits, Choice(top_p=0.9)) == {1, 3, 0}


def test_top_p_is_taken_of_what_temperature_and_top_k_left() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert possible(logits, Choice(top_k=2, top_p=0.56)) == {0}  # 0.4 of 0.7 is 0.57
    assert possible(logits, Choice(top_p=0.56)) == {0, 1}
    assert possible(logits, Choice(temperature=0.1, top_p=0.9)) == {0}


def test_a_rows_numbers_are_its_own() -> None:
    many = uniforms(3, 5, 40)
    assert torch.equal(uniforms(3, 2, 10), many[:2, :10])
    assert torch.equal(uniforms([9, 4], 2, 10)[1], uniforms(4, 1, 10)[0])
    assert len({float(row[0]) for row in torch.cat([many, uniforms(4, 5, 40)])}) == 10
    assert float(many.min()) >= 0
    assert float(many.max()) < 1


def test_any_integer_is_a_seed() -> None:
    seeds = [0, 1, -1, 2**63, 2**64 - 2]
    assert len({float(uniforms(seed, 1, 1)) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Choice(temperature=-1.0), "temperature is -1.0"),
        (Choice(temperature=1e-9), "at least 0.001, or 0"),
        (Choice(top_k=-1), "top_k is -1"),
        (Choice(top_p=0.0), "top_p is 0.0"),
        (Choice(top_p=1.5), "top_p is 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(how: Choice, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        how.check()


@pytest.mark.parametrize("how", [Choice(), Choice(temperature=0.0), Choice(top_k=3), Choice(top_p=0.5)])
def test_logits_that_are_not_finite_are_an_error_and_not_an_id(how: Choice) -> None:
    logits = torch.full((1, 5), float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        choose(logits, torch.tensor([0.5], dtype=torch.float64), how)


def test_seeds_must_be_one_or_one_per_row() -> None:
    with pytest.raises(ValueError, match="2 seeds were given for 3 rows"):
        uniforms([1, 2], 3, 4)
