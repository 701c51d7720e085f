"""A folder as a finished run leaves it, with random weights: text as bytes, clouds of four codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from unitok import Modality, Vocabulary, create
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


def leave_blocks(folder: Path, blocks: Mapping[str, tuple[str, Modality]], seq_len: int) -> None:
    """Write a run of other blocks (name -> registry name and modality) into the folder; it has no records."""
    listed = "".join(f'{name} = {{ use = "{use}" }}\n' for name, (use, _) in blocks.items())
    source = 'path = "none.jsonl"\nplain = ["{text}"]\nfields = { text = "text" }\n'
    (folder / "config.toml").write_text(
        f"[vocabulary]\n{listed}[model]\ndepth = 1\n[data]\nseq_len = {seq_len}\n[data.sources.none]\n{source}"
    )
    vocabulary = Vocabulary.build({name: modality for name, (_, modality) in blocks.items()})
    vocabulary.save(folder)
    torch.manual_seed(0)
    weights.save(Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary))), folder / "model")
