"""What adapting wrote, opened again: alone where the source was random, beside its source elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modalities.common.weights import WeightsMismatch
from modalities.pointcloud.any2point import Any2Point, FrozenSource, SourceShape, load_adapted

SHAPE = SourceShape(width=48, layers=2, heads=4, hidden=48, grid=(12,))
SMALL = {"points": 64, "neighbours": 6, "classes": 3}


def source(seed: int = 0, shape: SourceShape = SHAPE) -> FrozenSource:
    torch.manual_seed(seed)
    net = Any2Point("language", shape=shape, **SMALL)  # type: ignore[arg-type]
    own = [(name, t) for name, t in [*net.named_parameters(), *net.named_buffers()]]
    state = {name: t.detach().clone() for name, t in own if name.startswith(("layers.", "source_positions"))}
    return FrozenSource("language", shape, state, "a folder")


def saved(model: Any2Point, path: Path, whole: bool) -> Path:
    state = model.state_dict()
    if not whole:
        kept = {
            id(t)
            for n, t in [*model.named_parameters(), *model.named_buffers()]
            if n.startswith(("layers.", "source_"))
        }
        state = {n: t for n, t in model.state_dict(keep_vars=True).items() if id(t) not in kept}
    plain = {n: t.detach().clone().contiguous() for n, t in state.items()}
    save_file(plain, path, metadata={"config": model.config.model_dump_json()})
    return path


def test_a_whole_file_gives_the_same_logits(tmp_path: Path) -> None:
    model = Any2Point("language", shape=SHAPE, **SMALL).eval()  # type: ignore[arg-type]
    again = load_adapted(saved(model, tmp_path / "a.safetensors", whole=True))
    points = torch.randn(2, 64, 3)
    assert not again.training
    assert torch.equal(again(points), model(points))


def test_trained_parts_are_put_beside_their_source(tmp_path: Path) -> None:
    frozen = source()
    model = Any2Point("language", frozen=frozen, **SMALL).eval()  # type: ignore[arg-type]
    path = saved(model, tmp_path / "a.safetensors", whole=False)
    points = torch.randn(2, 64, 3)
    assert torch.equal(load_adapted(path, frozen)(points), model(points))
    with pytest.raises(ValueError, match="holds the trained parts alone: give frozen=load_source"):
        load_adapted(path)
    other = source(shape=SHAPE.model_copy(update={"layers": 1}))
    with pytest.raises(ValueError, match="adapted to a source of 2 layers of 48, and a folder has 1 of 48"):
        load_adapted(path, other)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_adapted(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no")
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_adapted(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(ValueError, match="does not say what it configures"):
        load_adapted(tmp_path / "plain")
    model = Any2Point("language", shape=SHAPE, **SMALL)  # type: ignore[arg-type]
    save_file({"a": torch.zeros(1)}, tmp_path / "odd", metadata={"config": model.config.model_dump_json()})
    with pytest.raises(WeightsMismatch, match="does not fit its own configuration"):
        load_adapted(tmp_path / "odd")
