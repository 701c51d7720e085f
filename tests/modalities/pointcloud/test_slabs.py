"""The quick way of farthest point sampling chooses what the plain one does, in its order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modalities.pointcloud import sample


def cloud(kind: str) -> Tensor:
    points = torch.rand(1, 600, 3, generator=torch.Generator().manual_seed(0))
    if kind == "grid":  # many ties
        return (points * 5).round()
    if kind == "line":
        return points * torch.tensor([1.0, 0, 0])
    if kind == "repeated":
        return points[:, :20].repeat(1, 30, 1)
    return points * 1e4 + 3e4 if kind == "far" else points


@pytest.mark.parametrize("kind", ["even", "grid", "line", "repeated", "far"])
@pytest.mark.parametrize("first", [None, 17])
def test_the_choices_are_the_same(kind: str, first: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(kind).repeat(2, 1, 1)
    plain = sample.farthest(points, 200, first=first)
    monkeypatch.setattr(sample, "SLABS", 100)
    assert sample.farthest(points, 200, first=first).equal(plain)
    assert sample.farthest(points, 1, first=first).equal(plain[:, :1])
