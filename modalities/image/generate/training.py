"""Training a generator on the codes of labelled pictures, with the trainer of the core.

    train(run, folder, output)       # run: what recipes/train_generator.py read from its TOML file

Pictures are encoded once, each with its mirror image; the class is a record's field, numbered in the order
of the names. Held-out records are never trained on: their loss is reported beside the nats of codes that
ignore the class, which is what a generator that learnt nothing of it would pay.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from rich.progress import track
from torch import Generator, Tensor, nn

from unitok import registry
from unitok.modality import Codes, Modality
from unitok.strict import Strict, validate
from unitok.train.config import TrainConfig
from unitok.train.engine import start
from unitok.train.trainer import Trainer

from ...common.feed import Items
from ...common.weights import round_to_half, save_weights
from . import generator_class

BATCH = 64


class GeneratorData(Strict):
    """Where the labelled pictures are: the `[data]` table."""

    path: str = Field(description="a .jsonl file whose records have an image and a class")
    field: str = Field("name", description="the field that names the class")
    flip: bool = Field(True, description="train on mirror images, too")
    corrected: bool = Field(
        False, description="codes as triples, with a wrong piece and what belongs there; of image.detailflow"
    )


class GeneratorRun(Strict):
    """What `recipes/train_generator.py` reads."""

    generator: str = Field(description="maskgit, rar, …")
    tokenizer: str = Field("image.titok", description="registry name")
    options: dict[str, Any] = Field({}, description="of the tokenizer, such as weights")
    run: Path
    output: Path
    model: dict[str, Any] = Field(
        {}, description="of the generator; tokens, codes and classes come from the data"
    )
    loss: dict[str, Any] = Field({}, description="keywords of the generator's loss")
    data: GeneratorData
    train: TrainConfig = TrainConfig()
    deepspeed: dict[str, Any] = {}


class LabelledCodes:
    """Codes with their classes, as `Items` wants them: rows int64 [n, 1 + K], the class first.

    `shape` is that of a picture's codes: [K], [K, parts], or [K, 3] where they are corrected.
    """

    def __init__(self, tokenizer: Modality, data: GeneratorData, root: Path) -> None:
        path = root / data.path
        records = list(_records(path, data.field))
        self.classes: list[str] = sorted({name for _, name, _ in records})
        number = {name: i for i, name in enumerate(self.classes)}
        rows: dict[bool, list[Tensor]] = {True: [], False: []}
        for at in track(range(0, len(records), BATCH), "encoding"):
            part = records[at : at + BATCH]
            items = [tokenizer.load(file) for file, _, _ in part]
            views = [items, [tokenizer.variants(item, 2)[-1] for item in items]] if data.flip else [items]
            for view, seen in enumerate(views):
                codes = _coded(tokenizer, seen, data.corrected, 2 * at + view)
                for (_, name, trains), each in zip(part, codes, strict=True):
                    self.shape = tuple(each.shape)
                    rows[trains].append(torch.cat([torch.tensor([number[name]]), each.reshape(-1)]))
        if not rows[True]:
            raise ValueError(f"{path} has no records to train on: all are held out")
        self.train = torch.stack(rows[True])
        self.heldout = torch.stack(rows[False]) if rows[False] else self.train[:0]

    def batch(self, index: Tensor, generator: Generator) -> Tensor:
        """The rows `index`."""
        return self.train[index]


def _coded(tokenizer: Any, items: Sequence[Any], corrected: bool, seed: int) -> list[Tensor]:
    """The codes of each picture, or triples of them.

    Raises:
        ValueError: the tokenizer makes no triples.
    """
    if not corrected:
        return [each.ids for each in tokenizer.encode(items)]
    if not hasattr(tokenizer, "corrected"):
        raise ValueError(
            f"data.corrected = true, but {tokenizer.tokenizer} corrects no codes: image.detailflow does"
        )
    made: list[Tensor] = tokenizer.corrected(items, seed)
    return made


def _records(path: Path, field: str) -> Iterator[tuple[Path, str, bool]]:
    """File, class and whether it is to be trained on, of each record; any split but "train" is held out.

    Raises:
        ValueError: names the line and what it lacks.
    """
    found = False
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path}:{line} is no JSON ({error}): mend the line") from error
        image = record.get("image") if isinstance(record, dict) else None
        file = image.get("file") if isinstance(image, dict) else image
        if not isinstance(file, str) or record.get(field) in (None, ""):
            raise ValueError(
                f"{path}:{line} lacks an image or the field {field!r}: it names each picture's class"
            )
        found = True
        yield path.parent / file, str(record[field]), record.get("split", "train") == "train"
    if not found:
        raise ValueError(f"{path} has no records: each needs an image and the field {field!r}")


class GeneratorModule(nn.Module):
    """A generator as `unitok.train.Trainer` wants it: summed loss and sums [2, 1] of rows [B, 1 + K]."""

    def __init__(
        self,
        model: nn.Module,
        config: Mapping[str, Any],
        loss: Mapping[str, Any],
        shape: Sequence[int],
        file: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.config, self.options, self.shape, self.file = config, dict(loss), tuple(shape), file

    def forward(self, rows: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over the rows."""
        codes = rows[:, 1:].reshape(len(rows), *self.shape)
        options = dict(self.options)
        if "anneal" in options:  # RAR: random orders until the first step, none after the second
            from .rar import random_share

            options["random"] = random_share(int(step), *options.pop("anneal"))
        options |= {} if self.training else {"drop": 0.0}
        loss = self.model.loss(codes, rows[:, 0], **options) * len(rows)  # type: ignore[operator]
        return loss, torch.stack([loss.detach(), loss.new_tensor(len(rows))]).unsqueeze(1)

    def export(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write the weight file to `folder`."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(weights[name])
        round_to_half(self.model)
        save_weights(folder / self.file, self.model, self.config, {"loss": self.options})


def train(run: GeneratorRun, root: Path) -> nn.Module:
    """Train and write `run.output`; the generator, as the file has it.

    Args:
        run: the resolved TOML file.
        root: folder from which `run.data.path` starts.
    """
    start()
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    tokenizer = registry.create(run.tokenizer, **run.options)
    data = LabelledCodes(tokenizer, run.data, root)
    build, describe = generator_class(run.generator)
    spec = tokenizer.spec
    known: dict[str, Any] = {"tokens": data.shape[0]}
    known |= {"parts": spec.parts} if spec.parts else {"codes": spec.size}
    bitwise = "parts" in describe.model_fields
    if bool(spec.parts) != bitwise:
        need = "several codes to a position, such as image.instella" if bitwise else "one code to a position"
        raise ValueError(f"{run.generator} writes {need}; {run.tokenizer} has parts {spec.parts or 'none'}")
    config = validate(describe, {**run.model, **known, "classes": len(data.classes)}, "[model]")
    written = {
        "generator": run.generator,
        "model": config.model_dump(mode="json"),
        "tokenizer": {"use": run.tokenizer, "fingerprint": spec.fingerprint},
        "classes": data.classes,
    }
    torch.manual_seed(run.train.seed)
    module = GeneratorModule(build(config), written, run.loss, data.shape, run.output.name)
    held = [(rows, torch.tensor(0)) for rows in torch.split(data.heldout, run.train.rows) if len(rows)]
    if run.data.corrected and "correction" not in inspect.signature(build.loss).parameters:  # type: ignore[attr-defined]
        raise ValueError(
            f"data.corrected = true is for the generator groups: {run.generator} learns codes alone"
        )
    unknown = sorted(set(run.loss) - set(inspect.signature(build.loss).parameters) - {"anneal"})  # type: ignore[attr-defined]
    if unknown or ("anneal" in run.loss and run.generator != "rar"):
        raise ValueError(f"[loss] of {run.generator} has no {', '.join(unknown) or 'anneal'}: see its loss()")
    Trainer(
        module,
        Items(data, run.train.rows, run.train.seed, rank, world),  # type: ignore[arg-type]
        run.train,
        run.run,
        extra=run.deepspeed,
        kinds=("loss",),
        heldout=held,
        unit="pictures",
        count=lambda batch: len(batch[0]),
    ).fit()
    if rank == 0:
        made = run.run / "model" / run.output.name
        run.output.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".safetensors", ".json"):
            run.output.with_suffix(suffix).write_bytes(made.with_suffix(suffix).read_bytes())
        print(f"wrote {run.output} ({run.output.stat().st_size / 1e6:.2f} MB)", flush=True)
    return module.model


def as_codes(ids: Tensor) -> list[Codes]:
    """Sampled ids [B, K] or [B, K, P] as the tokenizer's codes."""
    return [Codes(each) for each in ids]
