"""The tokenizer trainer: resume to the bit, figures of the file, the collapse guard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modalities.common.losses import Adversarial
from modalities.common.quantize import KL, VQ, Quantizer
from modalities.common.trainable import Trainable
from modalities.common.trainer import Collapse, TrainSettings, train
from modalities.common.training import Step, TokenizerTask
from modalities.common.weights import load_weights, read_weights
from unitok.train import metrics
from unitok.train.trainer import Diverged


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


TOY = {"steps": 60, "batch": 16, "lr": 1e-2, "warmup": 5, "log_every": 10, "eval_every": 30, "save_every": 25}


def events(folder: Path, event: str, *keys: str) -> list[tuple[object, ...]]:
    return [tuple(r[key] for key in ("step", *keys)) for r in metrics.read(folder) if r["event"] == event]


def test_the_loss_is_summed_and_its_mean_is_the_task_s() -> None:
    task = ToyTask()
    module = Trainable(task, 10, "w.safetensors").eval()
    loss, sums = module(task.train[:5], torch.tensor(0))
    assert float(loss.detach()) == pytest.approx(5 * float(task.model(task.train[:5]).loss.detach()))
    assert sums.tolist() == [[pytest.approx(float(loss.detach()))], [5.0]]
    assert module.usage.summary()["seen"] == 0  # only training counts


def test_running_averages_and_baselines_are_kept_but_not_exported(tmp_path: Path) -> None:
    task = ToyTask()
    module = Trainable(task, 10, "w.safetensors")
    module.begin(0)
    module.train()
    module._used = 1e6  # seconds of an earlier start
    for step in range(3):
        module(task.train[:16], torch.tensor(step))
    again = Trainable(ToyTask(), 10, "w.safetensors")
    assert not torch.equal(again.model.quantizer.total, task.model.quantizer.total)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.model.quantizer.total, task.model.quantizer.total)
    assert torch.equal(again.model.quantizer.count, task.model.quantizer.count)
    assert again.baselines == module.baselines == task.baselines()
    assert again.seconds >= 1e6 > Trainable(ToyTask(), 10, "w.safetensors").seconds
    module.export(dict(module.named_parameters()), tmp_path)
    _, state = read_weights(tmp_path / "w.safetensors")
    assert state.keys() == task.model.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_train_resume_and_weights(stage: int, tmp_path: Path) -> None:
    settings = TrainSettings(**TOY, stage=stage)
    whole = train(ToyTask(), settings, run=tmp_path / "whole", output=tmp_path / "whole.safetensors")
    assert whole["fidelity"]["error"] < 0.6 * whole["baselines"]["mean"]

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
    assert events(tmp_path / "run", "step", "loss") == events(tmp_path / "whole", "step", "loss")
    made = json.loads((tmp_path / "run.json").read_text())["made"]
    assert made["baselines"] == whole["baselines"]
    assert made["data"] == {"items": 64}
    assert made["codes"]["bits_per_item"] == 8
    assert 0 < made["codes"]["unigram_nats"] < 4
    seconds = dict(events(tmp_path / "run", "fidelity", "cpu_seconds"))
    assert made["cpu_seconds"] >= seconds[60] >= seconds[30] > 0
    net = ToyTask()  # the file holds what was judged
    load_weights(net.model, b)
    net.model.eval()
    assert net.fidelity() == again["fidelity"]


@pytest.mark.slow
def test_a_learnt_codebook_keeps_what_cvq_moves_through_partitioned_steps_and_a_resume(
    tmp_path: Path,
) -> None:
    class Far(ToyTask):
        stop = 60

        def __init__(self) -> None:
            super().__init__()
            self.model.quantizer = VQ(16, 3, learn="gradient", cvq=True)
            with torch.no_grad():
                self.model.quantizer.codebook.mul_(16).add_(20)  # no step of the optimizer gets from there

        def before_step(self, step: int, steps: int) -> None:
            if step == self.stop:
                raise KeyboardInterrupt

    class Stopped(Far):
        stop = 26

    settings = TrainSettings(**TOY, stage=1)
    whole = train(Far(), settings, run=tmp_path / "whole", output=tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(Stopped(), settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    again = train(Far(), settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    assert again["fidelity"] == whole["fidelity"]
    assert whole["codes"]["usage"] > 0.3
    (_, a), (_, b) = (read_weights(tmp_path / f"{name}.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert float((a["quantizer.codebook"] + a["quantizer.moved"]).abs().median()) < 5


class Contested(ToyTask):
    """The toy against a discriminator, from step 20 on."""

    stop = 60

    def __init__(self) -> None:
        super().__init__()
        judge = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.objective: Adversarial = Adversarial(judge, start=20, lecam=0.1)

    def judge(self, *batch: Tensor, step: int) -> Step:
        (x,) = batch
        out = self.model.quantizer(self.model.encode(x))
        made = self.model.decoder(out.z_q.flatten(1))
        parts = {
            "error": (made - x).square().mean(),
            "gan": 0.1 * self.objective.generator(made, step),
            "discriminator": self.objective.discriminate(made, x, step),
        }
        return Step(sum(parts.values(), out.loss), out.ids, parts)

    def before_step(self, step: int, steps: int) -> None:
        if step == self.stop:
            raise KeyboardInterrupt


class ContestedAndStopped(Contested):
    stop = 46


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_averages_and_a_discriminator_resume_to_the_bit(stage: int, tmp_path: Path) -> None:
    settings = TrainSettings(**TOY, stage=stage, ema=0.9)
    tasks = Contested(), Contested()
    born = [p.detach().clone() for p in tasks[0].objective.parameters()]
    whole = train(tasks[0], settings, run=tmp_path / "whole", output=tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(ContestedAndStopped(), settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    again = train(tasks[1], settings, run=tmp_path / "run", output=tmp_path / "run.safetensors")
    assert again["fidelity"] == whole["fidelity"]
    (_, a), (_, b) = (read_weights(tmp_path / f"{name}.safetensors") for name in ("whole", "run"))
    assert a.keys() == tasks[0].model.state_dict().keys()  # nothing of the discriminator
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert events(tmp_path / "run", "step", "loss") == events(tmp_path / "whole", "step", "loss")
    one, two = (task.objective.state_dict() for task in tasks)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert float(one["wanted_mean"]) != 0
    assert any(
        not torch.equal(p, start) for p, start in zip(tasks[0].objective.parameters(), born, strict=True)
    )
    parts = events(tmp_path / "whole", "parts", "discriminator", "gan")
    assert [step for step, *_ in parts] == [10, 20, 30, 40, 50, 60]
    assert all(judged == 0 for step, judged, _ in parts if step <= 20)
    assert all(judged > 0 for step, judged, _ in parts if step > 20)


@pytest.mark.slow
def test_the_file_holds_the_averages(tmp_path: Path) -> None:
    found = []
    for decay in (0.0, 0.9, 0.999999):
        settings, path = TrainSettings(**{**TOY, "steps": 20}, ema=decay), tmp_path / f"{decay}.safetensors"
        train(ToyTask(), settings, run=tmp_path / f"{decay}", output=path)
        found.append(read_weights(path)[1]["encoder.weight"].float())
    newest, smooth, oldest = found
    start = ToyTask().model.encoder.weight.detach()
    assert torch.allclose(oldest, start, atol=1e-3)  # an average that hardly moves
    assert (smooth - start).norm() > 0.1 * (newest - start).norm()
    assert (smooth - newest).norm() > 0.1 * (newest - start).norm()


def test_autocast_is_around_the_forward_and_parameters_stay_in_fp32() -> None:
    seen = {}

    class Nosy(ToyNet):
        def encode(self, x: Tensor) -> Tensor:
            z = super().encode(x)
            seen[torch.is_autocast_enabled("cpu")] = z.dtype
            return z

    for bf16 in (False, True):
        task = ToyTask()
        task.model = Nosy(dull=False)
        module = Trainable(task, 10, "w.safetensors", bf16=bf16).train()
        loss, _ = module(task.train[:8], torch.tensor(0))
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in task.model.parameters())
        assert task.model.quantizer.codebook.dtype == torch.float32
    assert seen == {False: torch.float32, True: torch.bfloat16}


@pytest.mark.slow
def test_a_second_stage_begins_with_the_first_and_keeps_what_is_frozen(tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    settings = TrainSettings(**{**TOY, "steps": 20})
    train(ToyTask(), settings, run=tmp_path / "one", output=first)
    frozen = ("encoder", "quantizer")
    train(ToyTask(), settings, run=tmp_path / "two", output=second, init=first, freeze=frozen)
    (_, a), (_, b) = (read_weights(path) for path in (first, second))
    assert torch.equal(a["encoder.weight"], b["encoder.weight"])
    assert torch.equal(a["quantizer.codebook"], b["quantizer.codebook"])
    assert not torch.equal(a["decoder.weight"], b["decoder.weight"])


@pytest.mark.slow
def test_a_run_goes_on_without_the_weights_that_it_began_with(tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train(ToyTask(), TrainSettings(**{**TOY, "steps": 5}), run=tmp_path / "one", output=first)
    train(ToyTask(), TrainSettings(**{**TOY, "steps": 5}), run=tmp_path / "two", output=second, init=first)
    first.unlink()
    train(ToyTask(), TrainSettings(**{**TOY, "steps": 6}), run=tmp_path / "two", output=second, init=first)
    assert events(tmp_path / "two", "step")[-1] == (6,)


def test_an_output_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    for name, words in (("w.bin", "no .safetensors file"), ("folder.safetensors", "is a folder")):
        with pytest.raises(ValueError, match=words):
            train(ToyTask(), TrainSettings(**TOY), run=tmp_path / "run", output=tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_quantizer_or_average_says_so() -> None:
    module = Trainable(ToyTask(), 10, "w.safetensors")
    state = module.get_extra_state()
    with pytest.raises(RuntimeError, match="of a quantizer, this run"):
        module.set_extra_state({**state, "averages": {}})
    with pytest.raises(RuntimeError, match=r"another train\.ema"):
        Trainable(ToyTask(), 10, "w.safetensors", ema=0.9).set_extra_state(state)


def test_continuous_latents_train_without_codes(tmp_path: Path) -> None:
    class Smooth(ToyTask):
        def __init__(self) -> None:
            super().__init__()
            self.model.encoder, self.model.quantizer = nn.Linear(2, 6), KL(3)
            self.model.encode = lambda x: self.model.encoder(x).view(-1, 1, 6)
            self.model.decoder = nn.Linear(3, 2)

        def fidelity(self) -> dict[str, float]:
            with torch.no_grad():
                made = self.model.decoder(self.quantizer(self.model.encode(self.heldout)).z_q.flatten(1))
            return {"error": float((made - self.heldout).square().mean())}

    whole = train(Smooth(), TrainSettings(**TOY), run=tmp_path / "run", output=tmp_path / "w.safetensors")
    assert whole["fidelity"]["error"] < 0.6 * whole["baselines"]["mean"]
    assert whole["codes"] == {}
    assert events(tmp_path / "run", "codes") == []


@pytest.mark.slow
def test_what_a_run_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainSettings(**{**TOY, "steps": 25})
    train(ToyTask(), settings, run=tmp_path / "run", output=tmp_path / "w.safetensors")
    counts = events(tmp_path / "run", "codes", "usage", "dead", "perplexity", "seen")
    assert [(step, seen) for step, *_, seen in counts] == [(10, 320.0), (20, 320.0), (25, 160.0)]
    judged = events(tmp_path / "run", "fidelity", "fidelity", "baselines")
    assert [step for step, *_ in judged] == [25]
    assert judged[0][2] == ToyTask().baselines()
    said = capsys.readouterr().out
    assert "step 25  codes in use" in said
    assert "error of simple ways on the same items: mean" in said


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
def test_a_stage_that_uses_no_codes_is_no_collapse(tmp_path: Path) -> None:
    class Early(ToyTask):
        def judge(self, *batch: Tensor, step: int) -> Step:
            found: Step = self.model(*batch)
            return found._replace(ids=None)

    settings = TrainSettings(
        steps=30, batch=16, warmup=0, log_every=10, collapse_after=20, collapse_below=0.3
    )
    train(Early(), settings, run=tmp_path / "run", output=tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").exists()
    assert events(tmp_path / "run", "codes") == []


@pytest.mark.slow
def test_falling_usage_is_warned_of_once_before_it_is_a_collapse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Narrowing(ToyTask):
        """From step 20 on it sees two items alone."""

        def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
            return self.train[index % self.kept]

        kept = 64

        def before_step(self, step: int, steps: int) -> None:
            self.kept = 64 if step < 20 else 2

    task = Narrowing()
    task.model.quantizer.revive_below = 0.0
    train(task, TrainSettings(**TOY), run=tmp_path / "run", output=tmp_path / "w.safetensors")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(said) == 1
    assert "at step 30" in said[0] or "at step 40" in said[0]
    assert "of the codes are in use, down from" in said[0]
    assert "lower train.lr, use fewer codes" in said[0]
    train(ToyTask(), TrainSettings(**TOY), run=tmp_path / "fine", output=tmp_path / "f.safetensors")
    assert "warning" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_count_of_a_few_steps_is_no_collapse(tmp_path: Path) -> None:
    settings = TrainSettings(steps=12, batch=1, warmup=0, log_every=10, collapse_after=11, collapse_below=0.3)
    train(ToyTask(dull=True), settings, run=tmp_path / "run", output=tmp_path / "w.safetensors")
    assert events(tmp_path / "run", "codes", "usage")[-1] == (12, 2 / 16)


@pytest.mark.slow
def test_a_batch_that_explodes_names_the_rate(tmp_path: Path) -> None:
    class Broken(ToyTask):
        def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
            return self.train[index] * float("nan")

    with pytest.raises(Diverged, match=r"train\.lr"):
        train(Broken(), TrainSettings(steps=3), run=tmp_path / "run", output=tmp_path / "w.safetensors")


def test_zero_3_is_refused(tmp_path: Path) -> None:
    extra = {"zero_optimization": {"stage": 3}}
    with pytest.raises(ValueError, match="ZeRO 0, 1 or 2"):
        train(
            ToyTask(), TrainSettings(), run=tmp_path, output=tmp_path / "w.safetensors", deepspeed_extra=extra
        )


def test_other_data_in_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    def run(**changed: int) -> None:
        settings = TrainSettings(steps=2, collapse_after=9, **changed)
        train(ToyTask(), settings, run=tmp_path, output=tmp_path / "w.safetensors")

    run()
    with pytest.raises(ValueError, match="seed = 0, this run has 1"):
        run(seed=1)
