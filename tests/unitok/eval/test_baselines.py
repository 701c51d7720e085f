from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unitok.eval.baselines import Lines, lines
from unitok.eval.bodies import Bodies


def entropy(p):
    p = np.asarray(p, dtype=float)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def as_bodies(codes, source=0, stride=1, group=None):
    """Items [items, n] of flat codes, already in their parts' ranges."""
    items, n = codes.shape
    position = np.tile(np.arange(n), items)
    return Bodies(
        at=np.arange(codes.size),
        code=codes.reshape(-1).astype(np.int64),
        part=position % stride,
        position=position,
        source=np.full(codes.size, source),
        group=np.repeat(np.arange(items) if group is None else group, n),
    )


def join(*several):
    return Bodies(*(np.concatenate(column) for column in zip(*several, strict=True)))


def draw(rng, tables, items):
    """tables [n, V] -> codes [items, n], position j drawn from row j."""
    return np.stack([rng.choice(len(p), size=items, p=p) for p in tables], axis=1)


def test_categorical_source_gives_its_entropy_on_both_lines():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(20))
    found = lines(*(as_bodies(draw(rng, [p] * 16, n)) for n in (1000, 1000)), (20,))
    assert found.unigram == pytest.approx(entropy(p), abs=0.02)
    assert found.position == pytest.approx(entropy(p), abs=0.02)
    assert found.uniform == pytest.approx(np.log(20))
    assert found.plugin == pytest.approx(entropy(p), abs=0.02)
    assert (found.held_items, found.train_codes, found.size) == (1000, 16_000, 20)


def test_position_line_finds_what_depends_on_the_position():
    rng = np.random.default_rng(1)
    tables = rng.dirichlet(np.full(32, 0.2), size=12)
    train, held = draw(rng, tables, 2000), draw(rng, tables, 1000)
    found = lines(as_bodies(train), as_bodies(held), (32,))
    truth = -np.log(tables[np.arange(12), held]).mean()
    assert found.position == pytest.approx(truth, abs=0.02)
    assert found.unigram == pytest.approx(entropy(tables.mean(0)), abs=0.02)


def test_markov_source_is_at_its_stationary_entropy_which_a_model_can_beat():
    rng = np.random.default_rng(2)
    step = rng.dirichlet(np.full(8, 0.3), size=8)
    stationary = np.linalg.matrix_power(step, 200)[0]
    rate = float(stationary @ [entropy(row) for row in step])

    def walk(items, n=40):
        at = rng.choice(8, size=items, p=stationary)
        out = [at]
        for _ in range(n - 1):
            at = (step[at].cumsum(1) > rng.random(items)[:, None]).argmax(1)
            out.append(at)
        return as_bodies(np.stack(out, axis=1))

    found = lines(walk(1000), walk(1000), (8,))
    assert found.unigram == pytest.approx(entropy(stationary), abs=0.02)
    assert found.position == pytest.approx(entropy(stationary), abs=0.02)
    assert found.unigram > rate + 0.1


def test_few_samples_of_many_codes_do_not_look_predictable():
    """553 items of 1,000 uniform codes: a plug-in entropy is under ln 553, the line stays at ln 1000."""
    rng = np.random.default_rng(3)
    train, held = (rng.integers(0, 1000, size=(n, 32)) for n in (553, 51))
    found = lines(as_bodies(train), as_bodies(held), (1000,))
    naive = np.mean([entropy(np.bincount(column) / len(column)) for column in train.T])
    assert naive < np.log(553)
    assert found.position == pytest.approx(np.log(1000), abs=0.03)
    assert found.unigram == pytest.approx(np.log(1000), abs=0.03)


def test_the_lines_know_the_source():
    rng = np.random.default_rng(4)
    a, b = np.eye(2).repeat(5, axis=1) / 5  # codes 0-4 in one source, 5-9 in the other

    def both(items):
        return join(*(as_bodies(draw(rng, [p] * 10, items), source=s) for s, p in enumerate((a, b))))

    assert lines(both(300), both(300), (10,)).unigram == pytest.approx(np.log(5), abs=0.02)


def test_a_source_that_training_has_not_falls_back_on_the_pooled_counts():
    rng = np.random.default_rng(5)
    p = rng.dirichlet(np.ones(10))
    train, held = as_bodies(draw(rng, [p] * 8, 800)), as_bodies(draw(rng, [p] * 8, 800), source=7)
    assert lines(train, held, (10,)).unigram == pytest.approx(entropy(p), abs=0.03)


def test_parts_stay_in_their_own_range():
    rng = np.random.default_rng(6)
    tables = [np.full(2, 0.5), np.full(8, 0.125)] * 6
    held, train = (as_bodies(draw(rng, tables, n), stride=2) for n in (400, 800))
    found = lines(train, held, (2, 8))
    expected = (np.log(2) + np.log(8)) / 2
    for value in (found.uniform, found.unigram, found.position, found.plugin):
        assert value == pytest.approx(expected, abs=0.02)
    assert (found.used, found.size) == (10, 10)


def test_positions_past_the_cap_share_a_table():
    rng = np.random.default_rng(7)
    head, tail = [np.eye(16)[j] for j in range(4)], [rng.dirichlet(np.ones(16))] * 60
    train, held = (as_bodies(draw(rng, head + tail, n)) for n in (300, 300))
    capped = lines(train, held, (16,), cap=4)
    assert capped.position == pytest.approx(60 / 64 * entropy(tail[0]), abs=0.03)


def test_variants_of_one_record_do_not_make_the_line_overconfident():
    """Every training item stands there eight times: a split must keep the eight together."""
    rng = np.random.default_rng(8)
    train = rng.integers(0, 200, size=(40, 16)).repeat(8, axis=0)
    held = as_bodies(rng.integers(0, 200, size=(100, 16)))
    together = lines(as_bodies(train, group=np.arange(40).repeat(8)), held, (200,))
    apart = lines(as_bodies(train), held, (200,))
    assert together.position < np.log(200) + 0.15
    assert apart.position > together.position + 0.5


def test_a_split_without_the_block_has_no_lines():
    empty, some = as_bodies(np.zeros((0, 4))), as_bodies(np.zeros((3, 4)))
    assert lines(empty, some, (4,)) is None
    assert lines(some, empty, (4,)) is None
    one = as_bodies(np.zeros((1, 1)))
    assert isinstance(lines(one, one, (4,)), Lines)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12), st.integers(1, 40))
def test_lines_are_finite_and_a_code_never_has_probability_zero(seed, items, n, size):
    rng = np.random.default_rng(seed)
    train, held = (as_bodies(rng.integers(0, size, size=(k, n)), source=rng.integers(3)) for k in (items, 5))
    found = lines(train, held, (size,), cap=4)
    assert np.isfinite([found.unigram, found.position]).all()
    assert found.unigram >= 0 <= found.position


def test_a_million_codes_take_seconds_not_minutes():
    rng = np.random.default_rng(9)
    train, held = (as_bodies(rng.integers(0, 2048, size=(n, 200))) for n in (5000, 500))
    start = time.process_time()
    lines(train, held, (2048,))
    assert time.process_time() - start < 60  # hangs, not speed
