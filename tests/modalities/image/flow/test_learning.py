"""The flow learns what captions say: right pictures and right captions come out far above chance, on drawn shapes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from modalities.common.weights import save_weights
from modalities.image.flow.training import FlowTask
from modalities.image.flowtok import FlowTok
from modalities.image.io import read_image, to_tensor
from unitok.strict import read

CONFIG = Path(__file__).parents[4] / "recipes" / "configs" / "image" / "flow64.toml"
COLOURS = {
    "red": (220, 30, 30), "green": (30, 170, 40), "blue": (30, 50, 220), "yellow": (240, 220, 30), "black": (10, 10, 10),
    "white": (250, 250, 250), "pink": (250, 150, 190), "brown": (120, 70, 30),
}  # fmt: skip


def shapes(folder: Path, count: int) -> None:
    """Squares and discs of one colour on another, with captions that say so."""
    chance = random.Random(0)
    for i in range(count):
        front, ground, shape = (
            chance.choice([*COLOURS]),
            chance.choice([*COLOURS]),
            chance.choice(["square", "disc"]),
        )
        image = Image.new("RGB", (64, 64), COLOURS[ground])
        x, y = chance.randint(8, 24), chance.randint(8, 24)
        pen = ImageDraw.Draw(image)
        (pen.rectangle if shape == "square" else pen.ellipse)((x, y, x + 32, y + 32), fill=COLOURS[front])
        image.save(folder / f"p{i}.png")
        (folder / f"p{i}.json").write_text(json.dumps({"caption": f"a {front} {shape} on {ground}"}))


@pytest.mark.slow
def test_captions_lead_to_their_pictures_and_pictures_to_their_captions(tmp_path: Path) -> None:
    shapes(tmp_path, 700)
    tokenizer = FlowTok(
        None, preset="small64", components=32
    )  # more would be noise, scaled up to a spread of one
    linear = tokenizer.net.linear  # type: ignore[attr-defined]
    pictures = torch.stack(
        [to_tensor(read_image(f.read_bytes()), 64) for f in sorted(tmp_path.glob("*.png"))]
    )
    linear.start(linear.reduce(pictures), bits=0, whiten=1.0)
    save_weights(tmp_path / "tok.safetensors", tokenizer.net, tokenizer.config.model_dump(mode="json"))  # type: ignore[arg-type]
    run = read(CONFIG, ())
    data = {"train": ["."], "options": {"weights": str(tmp_path / "tok.safetensors")}}
    torch.manual_seed(0)
    task = FlowTask(run["model"], data, tmp_path, run["loss"])
    net, generator = task.model.train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(task.parameter_groups(2e-3), lr=2e-3)
    for step in range(150):
        index = torch.randint(len(task.train), (32,), generator=generator)
        loss = task.judge(*task.batch(index, generator), step=step).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()
    found, chance = task.fidelity(), task.baselines()["chance"]
    print({name: round(value, 2) for name, value in found.items()}, chance)
    assert found["picture rank"] < 0.85 * chance
    assert found["caption rank"] < chance
    assert found["nats of an id"] < 0.5
