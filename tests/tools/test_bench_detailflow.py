"""The bench of DetailFlow on a tiny shape, with stand-ins for the official modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modalities.common.quantize.config import VQConfig
from modalities.image.detailflow_config import DetailFlowConfig
from modalities.image.detailflow_net import DetailFlowNet
from modalities.image.generate.groups import Groups, GroupsConfig, GroupsSampling
from modalities.image.vit1d import ViTSize

TOOLS = Path(__file__).parents[2] / "tools"
TINY = DetailFlowConfig(
    size=32,
    tokens=12,
    group=4,
    patch=8,
    encoder=ViTSize(width=32, layers=1, heads=1),
    decoder=ViTSize(width=32, layers=1, heads=1),
    hidden=0,
    quantizer=VQConfig(codes=32, dim=4, l2=True, learn="gradient"),
)
WRITER = GroupsConfig(tokens=12, group=4, codes=16, classes=3, width=32, layers=1, heads=2, hidden=32)


class Theirs(torch.nn.Module):
    """Stands in for the official tokenizer: the same network behind its methods."""

    def __init__(self, net: DetailFlowNet, wrong: float) -> None:
        super().__init__()
        self.net, self.wrong = net, wrong

    def encode(self, pictures: torch.Tensor) -> Any:
        return None, None, (None, None, self.net.quantizer.encode(self.net.encode(pictures)).reshape(-1))

    def decode(self, z_q: torch.Tensor, count: int, side: int) -> Any:
        return SimpleNamespace(pixel_value=self.net.decode(z_q[:, :count], side) + self.wrong)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_detailflow

    yield bench_detailflow
    sys.modules.pop("bench_detailflow")


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_speed_and_agreement_are_told(bench: Any, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    torch.manual_seed(0)
    net = DetailFlowNet(TINY).eval().requires_grad_(False)
    monkeypatch.setattr(bench, "official", lambda root, config: Theirs(net, wrong))
    monkeypatch.setattr(bench, "ours", lambda theirs: net)
    found = bench.tokenizing(Path(), TINY, batch=2, few=4, repeats=1)
    assert found["codes equal"] == 1.0
    assert (found["picture difference, of its spread"] < 1e-5) == (wrong == 0)
    assert set(found["times as fast"]) == {"encode", "decode", "decode 4 codes"}
    assert all(s > 0 for taken in found["CPU seconds a picture"].values() for s in taken.values())


@pytest.mark.parametrize("shift", [0, 1])
def test_the_generators_are_compared(bench: Any, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    torch.manual_seed(0)
    net = Groups(WRITER).eval()
    torch.nn.init.normal_(net.head.weight)
    monkeypatch.setattr(bench.Groups, "KEYS", SimpleNamespace(ours=lambda state: state))

    def sample(classes: torch.Tensor, scale: float, greedy: bool = False) -> torch.Tensor:
        how = GroupsSampling(guidance=scale, temperature=1e-5 if greedy else 1.0)
        return (net.sample(classes, how) + shift) % 16

    monkeypatch.setattr(bench, "official_generator", lambda root, config: (dict(net.state_dict()), sample))
    found = bench.generating(Path(), WRITER, batch=2, repeats=1)
    assert found["greedy codes equal"] == (0.0 if shift else 1.0)
    assert found["times as fast"]["write 12 codes"]["ours"] > 0


def test_it_has_help() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "bench_detailflow.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--few" in done.stdout
