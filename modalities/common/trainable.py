"""A `TokenizerTask`'s network as `unitok.train.Trainer` wants it, and what is kept and written beside its weights.

    loss, sums = Trainable(task, steps=2000, file="emoji.safetensors")(items, step)     # summed loss, sums [2, 1]

Buffers that a weight file leaves out (running averages), the baselines and the time used so far are part of
the state that checkpoints hold, so that a resumed run repeats the one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .ema import Average
from .training import TokenizerTask
from .usage import Usage, position_cross_entropy, unigram_cross_entropy
from .weights import round_to_half, save_weights

CODED = 4096
"""Training items whose codes are counted at the end."""


class Trainable(nn.Module):
    """The module that is trained.

    Args:
        task: what to train; its `start` is the caller's business, by `begin`.
        steps: length of the run.
        file: name of the weight file that `export` writes.
        made: how the weights come to be; goes into the file beside them, with the data and the figures.
        ema: decay of the running average of the weights, which is then what is judged and written; 0 = none.
        bf16: run the forward under bf16 autocast; parameters and quantizer stay in fp32.
    """

    def __init__(
        self,
        task: TokenizerTask,
        steps: int,
        file: str,
        made: Mapping[str, Any] | None = None,
        *,
        ema: float = 0.0,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.model = task.model
        self.objective = task.objective
        self.bf16 = bf16
        self.average = Average(task.model, ema) if ema else None
        self.parts: dict[str, Tensor] = {}  # sums of the loss's parts since they were last taken
        self.task, self.steps, self.file, self.made = task, steps, file, dict(made or {})
        self.usage = Usage.of(task.quantizer)
        self.baselines: dict[str, float] = {}
        self.best = 0.0  # the largest share of codes that was in use so far
        self.figures: dict[str, Any] = {}
        self._used = 0.0  # CPU seconds of this rank before it was last started
        self._begun = time.process_time()

    def begin(self, seed: int, from_data: bool = True) -> None:
        """Start the network from its data, if asked to, and note the baselines; for runs that do not resume."""
        torch.manual_seed(seed)
        if from_data:
            self.task.start()
        self.model.eval()
        self.baselines = self.task.baselines()
        if self.average is not None:
            self.average = Average(self.model, self.average.decay)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The task's own groups."""
        return self.task.parameter_groups(lr)

    def forward(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over items [B, ...], and sums [2, 1]: the same without gradient, and B.

        `batch` is what the feed gives: items, what goes with them, the number of the step.
        """
        *drawn, step = batch
        items = drawn[0]
        if self.training:
            self.task.before_step(int(step), self.steps)
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.task.judge(*drawn, step=int(step))
        if self.training:
            self.usage.add(out.ids)
            for name, value in out.figures.items():
                self.parts[name] = self.parts.get(name, 0) + value.detach().float()
        loss = out.loss * len(items)
        return loss, torch.stack([loss.detach(), loss.new_tensor(len(items))]).unsqueeze(1)

    def after_step(self) -> None:
        """Let the average follow; called once the optimizer has moved."""
        if self.average is not None:
            self.average.update(self.model)

    def take_parts(self, steps: int) -> dict[str, float]:
        """Means of the loss's parts over the last `steps` steps of this rank; begins anew."""
        found = {name: float(value) / max(1, steps) for name, value in self.parts.items()}
        self.parts = {}
        return found

    @property
    def seconds(self) -> float:
        """CPU seconds of this rank so far, those before a resume included."""
        return self._used + time.process_time() - self._begun

    def fidelity(self) -> dict[str, float]:
        """The task's figures on held-out items; the network is back in training mode afterwards."""
        self.model.eval()
        with self.average.instead(self.model) if self.average is not None else nullcontext():
            found = self.task.fidelity()
        self.model.train()
        return found

    def export(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write the weight file to `folder` and judge what it holds; `figures` has the result.

        The network is left as the file has it: with `weights`, rounded to half precision, in evaluation mode.
        """
        averages = {} if self.average is None else self.average.values
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(averages.get(name, weights[f"model.{name}"]))
        round_to_half(self.model)
        self.model.eval()
        self.figures = {
            "fidelity": self.task.fidelity(),
            "baselines": self.baselines,
            "codes": self._codes(),
            "steps": self.steps,
            "cpu_seconds": round(self.seconds, 1),
        }
        made = {**self.made, "data": dict(self.task.data), **self.figures}
        save_weights(folder / self.file, self.model, self.task.config, made)

    def _codes(self) -> dict[str, float]:
        """Use of the codes over the training items, and nats per held-out code of simple models of them.

        Empty where latents stay continuous.
        """
        if not self.task.quantizer.size:
            return {}
        some = self.task.train[torch.arange(min(CODED, len(self.task.train)))]
        train, heldout = (self.task.codes(items) for items in (some, self.task.heldout))
        usage = Usage.of(self.task.quantizer)
        usage.add(train)
        size = max(self.task.quantizer.parts or (self.task.quantizer.size,))
        rows, held = train.flatten(1), heldout.flatten(1)
        return {
            **usage.summary(),
            "unigram_nats": unigram_cross_entropy(rows, held, size),
            "position_nats": position_cross_entropy(rows, held, size),
            "bits_per_item": self.task.quantizer.bits * train.shape[1],
        }

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside parameters and buffers of the weight file."""
        return {
            "averages": {name: buffer.cpu() for name, buffer in self._averages().items()},
            "ema": {} if self.average is None else {n: v.cpu() for n, v in self.average.values.items()},
            "baselines": self.baselines,
            "best": self.best,
            "seconds": self.seconds,
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` gave.

        Raises:
            RuntimeError: of another quantizer, or with running averages where there were none.
        """
        own = self._averages()
        if own.keys() != state["averages"].keys():
            raise RuntimeError(f"it keeps {sorted(state['averages'])} of a quantizer, this run {sorted(own)}")
        if self.average is not None and self.average.values.keys() != state["ema"].keys():
            raise RuntimeError("it was saved with another train.ema or another network")
        for name, buffer in own.items():
            buffer.copy_(state["averages"][name])
        if self.average is not None:
            self.average.values = {n: v.clone() for n, v in state["ema"].items()}
        self.baselines, self.best, self._used = state["baselines"], state["best"], state["seconds"]
        self._begun = time.process_time()

    def _averages(self) -> dict[str, Tensor]:
        """Buffers that the state dict leaves out."""
        kept = self.model.state_dict().keys()
        return {name: buffer for name, buffer in self.model.named_buffers() if name not in kept}
