"""A folder as a finished run leaves it, with random weights: text as bytes, clouds of four codes."""

from __future__ import annotations

from pathlib import Path

import torch

from unitok import Vocabulary, create
from unitok.model import weights
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

CONFIG = """[vocabulary]
text = {{ use = "text.bytes" }}
cloud = {{ use = "pointcloud.any2point", budget = 4 }}
[model]
depth = 1
[data]
seq_len = 128
[data.sources.{source}]
path = "{source}.jsonl"
"""


def leave(folder: Path, source: str) -> None:
    """Write the run into the folder; its records are those of `source`.jsonl there."""
    (folder / "config.toml").write_text(CONFIG.format(source=source))
    blocks = {"text": create("text.bytes"), "cloud": create("pointcloud.any2point", budget=4)}
    vocabulary = Vocabulary.build(blocks)
    vocabulary.save(folder)
    torch.manual_seed(0)
    weights.save(Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary), width=32)), folder / "model")
