"""Training Any2Point to classify: what DeepSpeed sees, how clouds are changed, what is reported.

    module = Adapting(model, data, settings, "adapted.safetensors")     # for unitok.train.Trainer
    loss, sums = module(points [B, N, 3], labels [B], step)

DeepSpeed gets the trainable parts alone. The frozen source is held beside them, out of its sight: it is in no
optimizer, no checkpoint and no partition. Which weights are the answer is decided on a part of the training
data; what a choice on the test data would have given, as the published code does it, is reported under its name.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict
from unitok.train.config import TrainConfig
from unitok.train.trainer import Trainer

from ...common.feed import mix
from ..sample import unit_sphere
from .labelled import Labelled, Part
from .model import Any2Point

CHUNK = 32


class AdaptData(Strict):
    """Where the labelled clouds are, and how they are changed: the `[data]` table."""

    train: str = Field(
        description="an .npz, an .h5 or a folder, see modalities.pointcloud.any2point.labelled"
    )
    test: str = Field("", description="the second .h5")
    points: int = Field(
        1024, ge=8, description="of a cloud, drawn anew in each step; evaluation takes the first"
    )
    validation: float = Field(0.1, gt=0, lt=1, description="share of each class that chooses the weights")
    seed: int = Field(0, description="of that choice")
    scale: tuple[float, float] = Field((0.8, 1.25), description="range of a random factor for each axis")
    turn: bool = Field(False, description="random turns about the up axis")
    up: Literal["x", "y", "z"] = Field("z", description="ScanObjectNN has y")


class AdaptTrain(Strict):
    """How long and how fast: the `[train]` table. Defaults are the published ones."""

    steps: int = Field(92_400, ge=1, description="300 epochs of ModelNet40 at 32")
    batch: int = Field(32, ge=1, description="clouds of a step, over all ranks")
    lr: float = Field(5e-4, gt=0)
    warmup: int = Field(3_080, ge=0)
    final: float = Field(2e-3, ge=0, le=1, description="last rate as a share of the peak (cosine)")
    weight_decay: float = Field(0.05, ge=0)
    clip: float = Field(10.0, ge=0)
    smoothing: float = Field(0.0, ge=0, lt=1, description="of the labels")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; parameters stay in fp32")
    stage: int = Field(0, ge=0, le=2, description="ZeRO stage")
    seed: int = 0
    votes: int = Field(
        1, ge=1, description="logits of as many changed copies are averaged in the end; 1 = none"
    )
    eval_every: int = Field(1_000, ge=1)
    save_every: int = Field(1_000, ge=0)

    def config(self) -> TrainConfig:
        """The same for the trainer."""
        shared = self.model_dump(include=set(TrainConfig.model_fields) - {"precision"})
        return TrainConfig(rows=self.batch, precision="fp32", schedule="cosine", betas=(0.9, 0.999), **shared)


class Clouds:
    """The training part as `modalities.common.feed.Items` wants it, and what is kept out of it.

    Args:
        found: the data set.
        settings: the `[data]` table.
    """

    def __init__(self, found: Labelled, settings: AdaptData) -> None:
        self.settings, self.names, self.test = settings, found.names, found.test
        order = torch.randperm(len(found.train.labels), generator=Generator().manual_seed(settings.seed))
        out = torch.zeros(len(order), dtype=torch.bool)
        for label in range(len(found.names)):
            mine = order[found.train.labels[order] == label]
            out[mine[: math.ceil(settings.validation * len(mine)) if len(mine) > 1 else 0]] = True
        if not bool(out.any()) or bool(out.all()):
            raise ValueError(
                f"data.validation = {settings.validation} of {len(out)} clouds leaves nothing to choose or train with"
            )
        self.train, self.labels = found.train.points[~out], found.train.labels[~out]
        self.validation = Part(found.train.points[out], found.train.labels[out])

    def batch(self, index: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Clouds [B, points, 3] of the objects `index`, changed at random, and their labels."""
        return self.changed(self.train[index], generator), self.labels[index]

    def changed(self, clouds: Tensor, generator: Generator) -> Tensor:
        """Some points [B, points, 3] of clouds [B, N, 3], stretched, turned, in the unit sphere again."""
        count, given, _ = clouds.shape
        order = torch.rand(count, given, generator=generator).argsort(1)[:, : self.settings.points]
        clouds = clouds.gather(1, order[..., None].expand(-1, -1, 3))
        low, high = self.settings.scale
        clouds = clouds * (low + (high - low) * torch.rand(count, 1, 3, generator=generator))
        if self.settings.turn:
            angle = 2 * math.pi * torch.rand(count, 1, generator=generator)
            a, b = (axis for axis in range(3) if axis != "xyz".index(self.settings.up))
            clouds = clouds.clone()
            first, second = clouds[..., a].clone(), clouds[..., b].clone()
            clouds[..., a] = angle.cos() * first - angle.sin() * second
            clouds[..., b] = angle.sin() * first + angle.cos() * second
        return unit_sphere(clouds).points


class Adapting(nn.Module):
    """The trainable parts of a model, as `unitok.train.Trainer` wants them.

    Args:
        model: whole; it is moved to `device` here.
        data: what is trained and measured with.
        settings: the `[train]` table.
        file: name of the weight file that `export` writes.
        made: JSON-able, goes into that file's description.
        whole: write the frozen source, too.
    """

    def __init__(
        self,
        model: Any2Point,
        data: Clouds,
        settings: AdaptTrain,
        file: str,
        made: Mapping[str, Any],
        *,
        device: torch.device,
        whole: bool = False,
    ) -> None:
        super().__init__()
        self._beside = (model.to(device),)  # a tuple, so that nn.Module does not look into it
        self.parts = nn.ModuleDict(
            {name: getattr(model, name) for name in ("front", "widen", "guides", "views", "norm", "head")}
        )
        self.cls_token, self.cls_pos = model.cls_token, model.cls_pos
        self.data, self.settings, self.file, self.made, self.whole = data, settings, file, dict(made), whole
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.each: list[float] = []  # test accuracy of each class with these weights

    @property
    def model(self) -> Any2Point:
        """The whole model."""
        return self._beside[0]

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and class tokens do not."""
        named = [p for p in self.parameters() if p.requires_grad]
        matrices = [p for p in named if p.dim() > 1 and p.shape[0] > 1]
        known = {id(p) for p in matrices}
        rest = [p for p in named if id(p) not in known]
        return [{"params": matrices, "lr": lr}, {"params": rest, "lr": lr, "weight_decay": 0.0}]

    def forward(self, points: Tensor, labels: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over clouds [B, N, 3], and sums [2, 1]: the same without gradient, and B."""
        self.model.train(self.training)
        with torch.autocast(points.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            logits = self.model(points)
        loss = F.cross_entropy(
            logits.float(),
            labels,
            label_smoothing=self.settings.smoothing if self.training else 0.0,
            reduction="sum",
        )
        return loss, torch.stack([loss.detach(), loss.new_tensor(len(points))]).unsqueeze(1)

    @torch.no_grad()
    def logits(self, clouds: Tensor, votes: int = 1) -> Tensor:
        """Logits [n, classes] on the CPU of clouds [n, N, 3], in evaluation mode; the mode before comes back."""
        mode, device = self.model.training, self.model.cls_token.device
        self.model.eval()
        found = []
        for at in range(0, len(clouds), CHUNK):
            part = clouds[at : at + CHUNK]
            views = [part[:, : self.data.settings.points]]
            for vote in range(1, votes):
                views.append(
                    self.data.changed(part, Generator().manual_seed(mix(self.settings.seed, at, vote)))
                )
            found.append(sum(self.model(view.to(device)).float().softmax(-1).cpu() for view in views) / votes)
        self.model.train(mode)
        return torch.cat(found)

    def accuracy(self, part: Part, votes: int = 1) -> tuple[float, list[float]]:
        """Share of clouds that are told rightly, of all and of each class (nan without any)."""
        right = self.logits(part.points, votes).argmax(-1) == part.labels
        each = [float(right[part.labels == label].float().mean()) for label in range(len(self.data.names))]
        return float(right.float().mean()), each

    def judge(self, step: int) -> dict[str, float]:
        """Measure on both held-out parts, and keep the weights if they are the best on the validation part."""
        validation, (test, each) = self.accuracy(self.data.validation)[0], self.accuracy(self.data.test)
        found = {"step": step, "validation": validation, "test": test}
        if validation > max((row["validation"] for row in self.history), default=-1.0):
            self.each = each
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.trained().items()}
        self.history.append(found)
        return found

    def trained(self) -> dict[str, Tensor]:
        """Tensors of the model that training changes, by the names of its state dict."""
        frozen = ("layers.", "opening.", "source_positions")
        kept = {
            id(t)
            for n, t in [*self.model.named_parameters(), *self.model.named_buffers()]
            if n.startswith(frozen)
        }
        state = self.model.state_dict(keep_vars=True)
        return {name: tensor for name, tensor in state.items() if id(tensor) not in kept}

    def export(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write what was chosen to `folder`, and leave the model with it."""
        self.model.load_state_dict({**self.model.state_dict(), **self.best})
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if self.whole else self.best
        config = self.model.config.model_dump_json()
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(plain, folder / self.file, metadata={"config": config})

    def report(self, seconds: list[float]) -> dict[str, Any]:
        """Figures of the run; call it after `export`."""
        votes = self.settings.votes
        chosen = max(self.history, key=lambda row: row["validation"])
        overall, each = chosen["test"], self.each
        if votes > 1:
            overall, each = self.accuracy(self.data.test, votes)
        trained = sum(p.numel() for _, p in self.model.trainable())
        head = sum(p.numel() for p in self.model.head.parameters())
        common = int(self.data.labels.bincount(minlength=len(self.data.names)).argmax())
        shares = [share for share in each if not math.isnan(share)]
        return {
            "accuracy": overall,
            "chosen": {"rule": "best on a part of the training data", **chosen, "votes": votes},
            "mean of classes": sum(shares) / len(shares),
            "per class": {  # null: the test data have none
                name: None if math.isnan(share) else share
                for name, share in zip(self.data.names, each, strict=True)
            },
            "other rules": {
                "last step": self.history[-1]["test"],
                "best on the test data (as the published code chooses; optimistic)": max(
                    r["test"] for r in self.history
                ),
            },
            "most frequent class": float((self.data.test.labels == common).float().mean()),
            "clouds": {
                "train": len(self.data.labels),
                "validation": len(self.data.validation.labels),
                "test": len(self.data.test.labels),
            },
            "trainable parameters": trained,
            "trainable parameters without the head": trained - head,
            "frozen parameters": sum(p.numel() for p in self.model.parameters()) - trained,
            "seconds of a step": statistics.median(seconds) if seconds else None,
            "history": self.history,
            **self.made,
        }

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the trainable parts."""
        return {"history": self.history, "best": self.best, "each": self.each}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` gave."""
        self.history, self.best = list(state["history"]), dict(state["best"])
        self.each = list(state["each"])


class Watch:
    """The trainer's hook: measures, prints, and notes how long steps take."""

    def __init__(self, module: Adapting) -> None:
        self.module = module
        self.seconds: list[float] = []

    def __call__(self, trainer: Trainer, event: str) -> None:
        """See `unitok.train.trainer.Hook`."""
        if event != "step" or torch.distributed.get_rank() != 0:
            return
        self.seconds.append(float(trainer.last["seconds"]))
        if trainer.due(self.module.settings.eval_every):
            found = self.module.judge(trainer.step)
            print("  ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
