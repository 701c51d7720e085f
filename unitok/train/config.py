"""The `[train]` table of a run, strict; no torch here. The `[deepspeed]` table lies beside it, see `derive`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unitok.train.schedule import Kind

Share = Annotated[float, Field(ge=0, le=1)]


class TrainConfig(BaseModel):
    """How a run learns, saves and reports.

    Args:
        steps: optimizer steps in the whole run.
        rows: rows of each step, over all ranks and micro-batches; the same at any world size.
        micro_rows: rows of one forward on one rank; None = all of a rank's share at once.
        lr: peak learning rate (of Adam; Muon's matrices use `muon_lr`).
        schedule: shape of the learning rate, see `unitok.train.schedule`.
        warmup: steps of linear rise.
        final: share of the peak left at the end.
        decay: for "wsd", share of the steps spent descending.
        optimizer: "adamw", or "muon" for matrices with AdamW for the rest.
        muon_lr: peak learning rate of Muon.
        betas: of Adam.
        weight_decay: on matrices; never on norms, id tables and side channels.
        clip: largest gradient norm; 0 = no clipping.
        precision: "auto" is bf16 on CUDA and fp32 on CPU.
        z_loss: weight of the squared log-partition.
        chunk: positions whose logits exist at once.
        seed: of weights and of each step's randomness.
        save_every: steps between checkpoints; 0 = at the end alone.
        keep: how many checkpoints stay.
        eval_every: steps between held-out losses; 0 = at the end alone.
        tensorboard: write TensorBoard events too.
        progress: show a bar on rank 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(ge=1)] = 1000
    rows: Annotated[int, Field(ge=1)] = 4
    micro_rows: Annotated[int, Field(ge=1)] | None = None
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    schedule: Kind = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 50
    final: Share = 0.1
    decay: Share = 0.2
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_lr: Annotated[float, Field(gt=0)] = 0.02
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    clip: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    z_loss: Annotated[float, Field(ge=0)] = 0.0
    chunk: Annotated[int, Field(ge=1)] = 2048
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    save_every: Annotated[int, Field(ge=0)] = 0
    keep: Annotated[int, Field(ge=1)] = 2
    eval_every: Annotated[int, Field(ge=0)] = 0
    tensorboard: bool = False
    progress: bool = True

    @model_validator(mode="after")
    def _whole_batches(self) -> TrainConfig:
        if self.micro_rows is not None and self.rows % self.micro_rows:
            raise ValueError(
                f"train.rows {self.rows} is no multiple of train.micro_rows {self.micro_rows}: choose one that is"
            )
        return self
