from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unitok.train.config import TrainConfig
from unitok.train.derive import KNOWN, derive, shape


def derived(extra: dict[str, Any] | None = None, world: int = 1, cuda: bool = False, **options: Any) -> Any:
    return derive(TrainConfig(**options), extra or {}, world=world, cuda=cuda)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 4))
def test_a_step_covers_the_same_rows_at_any_world_size(micro: int, accumulation: int, world: int) -> None:
    config = TrainConfig(rows=micro * accumulation * world, micro_rows=micro)
    assert shape(config, world) == (micro, accumulation, world)


def test_all_rows_of_a_rank_are_one_micro_batch_by_default() -> None:
    assert shape(TrainConfig(rows=8), 2) == (4, 1, 2)
    assert shape(TrainConfig(rows=8, micro_rows=8), 2) == (4, 1, 2), "a rank never has more than its share"


@pytest.mark.parametrize(
    ("rows", "micro", "world", "message"),
    [(4, None, 3, "do not divide over 3 ranks"), (12, 4, 2, "6 rows a rank .* no multiple of")],
)
def test_rows_that_do_not_divide_are_refused(rows: int, micro: int, world: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape(TrainConfig(rows=rows, micro_rows=micro), world)


def test_rows_are_a_multiple_of_micro_rows() -> None:
    with pytest.raises(ValidationError, match=r"train\.rows 6 is no multiple of train\.micro_rows 4"):
        TrainConfig(rows=6, micro_rows=4)


def test_an_unknown_key_of_the_train_table_is_refused() -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        TrainConfig.model_validate({"learning_rate": 1.0})


def test_what_deepspeed_would_choose_silently_is_written_out() -> None:
    config = derived(rows=8, micro_rows=2, world=2, clip=0.5)
    assert config["gradient_clipping"] == 0.5
    assert config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert config["gradient_accumulation_steps"] == 2
    assert config["optimizer"]["params"]["torch_adam"] is True


@pytest.mark.parametrize(
    ("precision", "cuda", "bf16"),
    [("auto", True, True), ("auto", False, False), ("bf16", False, True), ("fp32", True, False)],
)
def test_precision(precision: str, cuda: bool, bf16: bool) -> None:
    assert derived(precision=precision, cuda=cuda)["bf16"]["enabled"] is bf16


def test_the_deepspeed_table_is_merged_last() -> None:
    config = derived({"zero_optimization": {"stage": 3}, "log_level": "info"})
    assert config["zero_optimization"]["stage"] == 3
    assert config["zero_optimization"]["contiguous_gradients"] is True
    assert config["log_level"] == "info"
    assert derived()["zero_optimization"]["stage"] == 2


@pytest.mark.parametrize(
    ("key", "near"),
    [("zero_optimisation", "zero_optimization"), ("bfloat16", "bf16"), ("fp32", "fp16"), ("moo", "known: ")],
)
def test_a_key_that_deepspeed_would_ignore_is_refused_and_the_nearest_named(key: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"deepspeed.{key} .*{near}"):
        derived({key: {}})


@pytest.mark.parametrize("key", ["optimizer", "zero_optimization", "bf16"])
def test_a_table_must_be_one(key: str) -> None:
    with pytest.raises(ValueError, match=rf"deepspeed\.{key} = 3 is no table"):
        derived({key: 3})


def test_keys_that_the_train_table_decides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"deepspeed\.gradient_clipping .* set train\.clip"):
        derived({"gradient_clipping": 3.0})


def test_learning_rates_belong_to_the_train_table() -> None:
    with pytest.raises(ValueError, match=r"overwritten each step: set train\.lr"):
        derived({"optimizer": {"params": {"lr": 1.0}}})
    assert derived({"optimizer": {"params": {"eps": 1e-6}}})["optimizer"]["params"]["eps"] == 1e-6


def test_muon_and_clipping_do_not_go_together_under_zero() -> None:
    with pytest.raises(ValueError, match=r"set train\.clip = 0"):
        derived(optimizer="muon")
    config = derived({"zero_optimization": {"stage": 3}}, optimizer="muon", clip=0.0, muon_lr=0.05)
    assert config["zero_optimization"]["reduce_scatter"] is False
    assert config["optimizer"]["type"] == "Muon"
    assert config["optimizer"]["params"]["muon_lr"] == 0.05


def test_every_derived_key_is_known() -> None:
    assert set(derived()) <= KNOWN
