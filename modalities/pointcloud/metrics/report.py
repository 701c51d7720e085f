"""The report of a point tokenizer: reconstruction, classes, generated sets, a sheet of pictures, one HTML page."""

from __future__ import annotations

import base64
import io as streams
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import io
from ..data import Clouds
from ..render import grid, render
from ..sample import canonical, stride, unit_sphere
from .classes import latents, trained
from .classes import probe as linear_probe
from .generation import compare
from .reconstruction import CHUNK, Evaluation

if TYPE_CHECKING:
    from PIL import Image

SHOWN = (4, 16, 64)
"""Numbers of codes whose reconstructions are drawn."""


def halves(clouds: Tensor) -> tuple[Tensor, Tensor]:
    """Two samplings of the same surfaces out of one of clouds [n, N, 3]: [n, N // 2, 3] each.

    Raises:
        ValueError: fewer than two points.
    """
    half = clouds.shape[1] // 2
    if half < 1:
        raise ValueError(f"clouds of {clouds.shape[1]} points have no two halves: give at least 2 points")
    return clouds[:, :half], clouds[:, half : 2 * half]


def even(count: int, most: int) -> Tensor:
    """Even steps through `count` clouds: at most `most` numbers."""
    return stride(torch.arange(count), min(count, most))


def classes(tokenizer: Any, train: Clouds, test: Clouds, found: Evaluation, steps: int) -> dict[str, Any]:
    """Accuracy of the probe of codes and of the classifier, on originals and on reconstructions.

    Raises:
        ValueError: clouds without labels.
    """
    if train.labels is None or test.labels is None:
        raise ValueError("classes are told with labels: name the arrays of both sets")
    given, _ = halves(train.points)
    parts = [tokenizer.encode(list(some.float())) for some in given.split(CHUNK)]
    codes = torch.stack([each.ids for part in parts for each in part])
    net = trained(train.points, train.labels, steps)
    most = torch.bincount(train.labels).argmax()
    return {
        "train": len(train.points),
        "most frequent class": float((test.labels == most).double().mean()),
        "linear probe of all codes": linear_probe(
            latents(tokenizer, codes), train.labels, latents(tokenizer, found.codes), test.labels
        ),
        "classifier on originals": net.accuracy(halves(test.points)[1], test.labels),
        "classifier on reconstructions": {
            str(count): net.accuracy(made, test.labels) for count, made in found.made.items()
        },
    }


def read_set(path: Path, points: int) -> Tensor:
    """A set of clouds [n, points, 3] in the unit sphere: an .npz with points [n, N, 3], or a folder of files.

    Raises:
        ValueError: no cloud, or one that is all in one place; the file is named.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in io.SUFFIXES)
        named = [(str(file), io.load(file)[:, :3]) for file in files]
    else:
        held = io.arrays(path)
        array = held.get(io.ARRAY, next(iter(held.values())) if len(held) == 1 else None)
        if array is None:
            raise ValueError(f"{path} has the arrays {', '.join(held)}, none of them called {io.ARRAY!r}")
        stack = io.checked_stack(array, str(path))[..., :3].float()
        named = [(f"{path}: cloud {number}", cloud) for number, cloud in enumerate(stack)]
    if not named:
        raise ValueError(f"{path} holds no clouds: give files of {', '.join(io.SUFFIXES)}")
    out = []
    for name, cloud in named:
        unit = unit_sphere(cloud)
        if not float(unit.radius) > 0:
            raise ValueError(f"{name} has all its points in one place: leave it out")
        out.append(stride(canonical(unit.points), points))
    return torch.stack(out)


def generated(made: Tensor, reference: Tensor) -> dict[str, Any]:
    """MMD, coverage and 1-NNA of generated clouds, and of as many reference clouds in their place.

    The reference set's second half takes the part of the generated one in `real`: what a perfect generator gets.
    """
    half = len(reference) // 2
    real = compare(reference[half:], reference[:half]) if half else None
    return {"made": len(made), "reference": len(reference), **compare(made, reference), "real": real}


def sheet(clouds: Tensor, found: Evaluation, made: Tensor | None, rows: int) -> Image.Image:
    """Row by row: what was encoded, its reconstructions at 4, 16 and 64 codes, and a generated cloud if there are some."""
    counts = [count for count in SHOWN if count in found.made]
    pictures = []
    for number, row in enumerate(even(len(clouds), rows).tolist()):  # sets come class by class
        pictures.append(render(clouds[row].float()))
        pictures += [render(found.made[count][row]) for count in counts]
        if made is not None:
            pictures.append(render(made[number % len(made)]))
    return grid(pictures, 1 + len(counts) + (made is not None))


def page(report: Mapping[str, Any], picture: Image.Image) -> str:
    """The report as one HTML file. jinja2 is imported here."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    stream = streams.BytesIO()
    picture.save(stream, "PNG")
    made = report["reconstruction"]
    lines = [(f"{count} codes", table) for count, table in made["tokens"].items()]
    for name in ("floor (another sampling)", "another object"):
        if made[name] is not None:
            lines.append((name, made[name]))
    lines += (made.get("peer") or {"tables": {}})["tables"].items()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        made=made,
        lines=lines,
        names=list(lines[0][1]),
        counts=[count for count in SHOWN if str(count) in made["tokens"]],
        picture=base64.b64encode(stream.getvalue()).decode(),
    )
