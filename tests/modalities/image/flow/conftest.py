"""Small captioned pictures, a tokenizer for them, and a flow that reads and writes on its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from modalities.common.weights import save_weights
from modalities.image.flowtok import FlowTok

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (250, 250, 250)}
SMALL = {"size": 16, "tokens": 6, "linear": None, "head": "pixel"}
SIZE = {"width": 32, "layers": 1, "heads": 2}


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 pictures of one colour with their captions."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(48):
        name, colour = list(COLOURS.items())[i % 4]
        Image.new("RGB", (16, 16), tuple(max(0, c - i // 4) for c in colour)).save(folder / f"p{i}.png")
        (folder / f"p{i}.json").write_text(
            json.dumps({"captions": [f"a {name} square", f"{name} everywhere"]})
        )
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 6 latents of 4 numbers for 16 pixels."""
    tokenizer = FlowTok(None, **SMALL, encoder=SIZE, decoder=SIZE, quantizer={"kind": "kl", "dim": 4})
    path = tmp_path_factory.mktemp("flowtok") / "tok.safetensors"
    save_weights(path, tokenizer.net, tokenizer.config.model_dump(mode="json"), half=False)  # type: ignore[arg-type]
    return path
