"""The tokenizer trainer: order of items, learning rate, resume, the collapse guard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modalities.common.quantize import VQ, Quantizer
from modalities.common.trainer import Collapse, TrainSettings, indices, rate, train
from modalities.common.training import Step, TokenizerTask
from modalities.common.weights import load_weights, read_weights


class ToyNet(nn.Module):
    """Two numbers through a tiny autoencoder with 16 codes; `dull` maps everything to one latent."""

    def __init__(self, dull: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 6), nn.Linear(6, 2)
        self.quantizer = VQ(16, 3, revive_below=0.0 if dull else 0.02)
        self.dull = dull

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(0 * x if self.dull else x).view(-1, 2, 3)

    def forward(self, x: Tensor) -> Step:
        out = self.quantizer(self.encode(x))
        error = (self.decoder(out.z_q.flatten(1)) - x).square().mean()
        return Step(error + out.loss, out.ids, {})


class ToyTask(TokenizerTask):
    headline = "error"
    config = {"toy": True}
    data = {"items": 64}

    def __init__(self, dull: bool = False) -> None:
        torch.manual_seed(0)
        points = torch.randn(80, 2)
        self.train, self.heldout = points[:64], points[64:]
        self.model: ToyNet = ToyNet(dull)

    @property
    def quantizer(self) -> Quantizer:
        return self.model.quantizer

    def codes(self, items: Tensor) -> Tensor:
        return self.quantizer.encode(self.model.encode(items))

    def fidelity(self) -> dict[str, float]:
        with torch.no_grad():
            made = self.model.decoder(self.quantizer.lookup(self.codes(self.heldout)).flatten(1))
        return {"error": float((made - self.heldout).square().mean())}

    def baselines(self) -> dict[str, float]:
        return {"mean": float((self.train.mean(0) - self.heldout).square().mean())}


def test_every_epoch_has_every_item_once_in_another_order() -> None:
    stream = torch.cat([indices(10, 4, step, seed=1) for step in range(10)])
    epochs = stream.view(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4
    assert torch.equal(indices(10, 4, 7, seed=1), stream[28:32])
    assert not torch.equal(indices(10, 4, 7, seed=2), stream[28:32])


def test_rate_rises_then_falls() -> None:
    settings = TrainSettings(steps=100, warmup=10, final=0.1)
    rates = [rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0) == rates[10]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.1 <= rates[-1] < 0.11


@pytest.mark.slow
def test_train_resume_and_weights(tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=60, batch=16, lr=1e-2, warmup=5, log_every=10, eval_every=30, save_every=25
    )
    whole = train(ToyTask(), settings, run=tmp_path / "whole", output=tmp_path / "whole.safetensors")
    assert whole["fidelity"]["error"] < 0.5 * whole["baselines"]["mean"]

    class Stopped(ToyTask):
        def before_step(self, step: int, steps: int) -> None:
            if step == 26:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Stopped(), settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    again = train(ToyTask(), settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    assert again["fidelity"] == whole["fidelity"]
    assert again["baselines"] == whole["baselines"]
    (_, a), (_, b) = (read_weights(tmp_path / f"{name}.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    made = json.loads((tmp_path / "run.json").read_text())["made"]
    assert made["baselines"] == whole["baselines"]
    assert made["data"] == {"items": 64}
    assert made["codes"]["bits_per_item"] == 8
    assert 0 < made["codes"]["unigram_nats"] < 4
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"loss", "usage", "dead", "perplexity"} <= set(log[0])
    net = ToyTask()  # the file holds what was judged
    load_weights(net.model, b)
    net.model.eval()
    assert net.fidelity() == again["fidelity"]


@pytest.mark.slow
def test_collapse_stops_with_advice(tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=50, batch=16, warmup=0, log_every=10, collapse_after=20, collapse_below=0.3
    )
    with pytest.raises(Collapse, match=r"at step 20 only .* of the codes are in use .*fsq") as caught:
        train(ToyTask(dull=True), settings, run=tmp_path / "run", output=tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.slow
def test_a_batch_that_explodes_names_the_rate(tmp_path: Path) -> None:
    class Broken(ToyTask):
        def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
            return self.train[index] * float("nan")

    with pytest.raises(FloatingPointError, match=r"train\.lr"):
        train(Broken(), TrainSettings(steps=3), run=tmp_path / "run", output=tmp_path / "w.safetensors")
