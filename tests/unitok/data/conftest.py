"""A vocabulary of made-up modalities, sources and stores of made-up documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_toys import Formula, Latin, Picture

from unitok import Codes, Document, Modality, Segment, Vocabulary
from unitok.data.config import DataConfig
from unitok.data.store import Store
from unitok.data.writer import StoreWriter


@pytest.fixture
def modalities() -> dict[str, Modality]:
    return {"text": Latin(), "image": Picture(), "molecule": Formula()}


@pytest.fixture
def vocabulary(modalities: dict[str, Modality]) -> Vocabulary:
    return Vocabulary.build(modalities)


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., DataConfig]:
    """Writes rows to `s.jsonl` and gives a configuration with that one source."""

    def make(rows: Sequence[Any], *, data: dict[str, Any] | None = None, **table: Any) -> DataConfig:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / "s.jsonl").write_text("\n".join(lines) + "\n")
        sources = {"s": {"path": "s.jsonl", **table}}
        settings = {"cache": str(tmp_path / "cache"), "seq_len": 64, **(data or {})}
        return DataConfig.model_validate({"sources": sources, **settings})

    return make


@pytest.fixture
def stores(tmp_path: Path, vocabulary: Vocabulary, modalities: dict[str, Modality]) -> dict[str, Store]:
    """Two sources of random documents: chats about pictures with companions, and plain text."""
    rng = np.random.default_rng(0)

    def text(longest: int) -> Segment:
        return Segment("text", Codes(torch.from_numpy(rng.integers(0, 256, rng.integers(1, longest)))))

    def chat(i: int) -> Document:
        shown = Segment("image", modalities["image"].encode([bytes(rng.integers(0, 200, 4).tolist())])[0])
        made = Segment("molecule", modalities["molecule"].encode(["CNO" * int(rng.integers(1, 4))])[0])
        told = [("user", [shown, text(9)]), ("assistant", [text(9), made])]
        return Document.chat(told if i % 2 else [("user", [made]), ("assistant", [shown])])

    made = {"chat": chat, "plain": lambda i: Document.of(text(20))}
    out = {}
    for name, build in made.items():
        with StoreWriter(tmp_path / name, vocabulary) as writer:
            for i in range(40):
                writer.add(build(i).render(vocabulary), f"{name}{i}", "own")
            out[name] = writer.finish()
    return out
