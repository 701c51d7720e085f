"""The bench of FlexTok on a tiny shape; beside the official modules only where a checkout of them is given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.image.flextok import FlexTokNet
from modalities.image.flextok_config import FlexTokConfig
from modalities.image.vae import ConvVAEConfig
from modalities.image.vit1d import ViTSize

TOOLS = Path(__file__).parents[2] / "tools"
TINY = FlexTokConfig(
    size=32,
    tokens=8,
    vae=ConvVAEConfig(channels=(32, 32), blocks=1, latents=4),
    patch=4,
    encoder=ViTSize(width=64, layers=1, heads=1),
    decoder=ViTSize(width=64, layers=1, heads=1),
)


class Theirs(torch.nn.Module):
    """Stands in for the official tokenizer: the same network behind its methods, one picture at a time."""

    def __init__(self, net: FlexTokNet, wrong: float = 0.0) -> None:
        super().__init__()
        self.net, self.wrong = net, wrong

    def tokenize(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        found = [self.net.quantizer.encode(self.net.encode(picture)) for picture in pictures.split(1)]
        return list(found)

    def _prepare_data_dict_for_detokenization(self, codes: list[torch.Tensor]) -> dict[str, Any]:
        return {"z_q": self.net.quantizer.lookup(torch.cat(codes))}

    def decoder(self, told: dict[str, Any]) -> dict[str, Any]:
        decoder, z_q = self.net.decoder, told["z_q"]
        dense = decoder.dropped(z_q, torch.full((len(z_q),), z_q.shape[1]), torch.zeros(len(z_q), dtype=bool))  # type: ignore[call-overload]
        found = decoder(torch.cat(told["noised"]), decoder.conditions(told["times"]), dense)
        return {"painted": list((found + self.wrong).split(1))}

    def decode(
        self, told: dict[str, Any], timesteps: int, guidance_scale: float, **rest: Any
    ) -> dict[str, Any]:
        made = self.net.decode(told["z_q"], torch.cat(told["noise"]), timesteps, guidance_scale, True)
        return {"rgb_painted": list((made + self.wrong).split(1))}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_flextok

    yield bench_flextok
    sys.modules.pop("bench_flextok")


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_speed_and_agreement_are_told(bench: Any, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    net = FlexTokNet(TINY).eval().requires_grad_(False)
    monkeypatch.setattr(bench, "official", lambda root, config: Theirs(net, wrong))
    monkeypatch.setattr(bench, "ours", lambda theirs: net)
    found = bench.compare(Path(), TINY, batch=2, keep=8, steps=2, repeats=1)
    assert found["codes equal"] == 1.0
    assert (found["velocity difference"] < 1e-4) == (wrong == 0)
    assert (found["picture difference, of its spread"] < 1e-3) == (wrong == 0)
    assert set(found["times as fast"]) == {"encode", "decoder forward", "picture, 2 steps"}
    assert all(s > 0 for taken in found["CPU seconds a picture"].values() for s in taken.values())


def test_it_has_help() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "bench_flextok.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--keep" in done.stdout
