"""Real furniture clouds from the demo data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modalities.pointcloud import io

CLOUDS = Path(__file__).parents[3] / "recipes" / "demo" / "clouds"


@pytest.fixture(scope="session")
def furniture() -> list[torch.Tensor]:
    """An armchair, a bed and a third object of the demo, [1024, 3] each."""
    return [io.load(CLOUDS / f"{name}.npz") for name in ("000", "001", "020")]


@pytest.fixture(scope="session")
def heldout() -> list[torch.Tensor]:
    """The demo's held-out clouds."""
    from modalities.common.training import held_out

    files = sorted(CLOUDS.glob("*.npz"))
    return [io.load(file) for file in files if held_out(f"furniture/{int(file.stem)}")]
