"""A run small enough for tests: rows that are a pure function of their number, and a tiny decoder.

Also a program, for tests that kill runs or start several ranks:
`python train_toys.py FOLDER [stage=2] [die=save|seal|step] [at=3] [term=3] [steps=6] ... [+ FOLDER ...]`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from unitok import Spec, Vocabulary, distributed
from unitok.data.row import Row, collate
from unitok.modality import Side
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.train.config import TrainConfig
from unitok.train.loss import LanguageModel
from unitok.train.trainer import Trainer

LENGTH = 48
KINDS = ("mark", "text", "image")
TINY = {"steps": 6, "rows": 4, "warmup": 2, "lr": 1e-2, "progress": False, "precision": "fp32", "chunk": 64}


def vocabulary(fingerprint: str = "toy") -> Vocabulary:
    """512 ids, an id channel and a float channel."""
    side = {"shell": Side("ids", 2, 8), "xyz": Side("float", 3)}
    text = Spec("text", 64, (1, None), "bytes", framed=False)
    return Vocabulary.build({"text": text, "image": Spec("image", 64, (8, 8), fingerprint, side=side)})


def row(number: int) -> Row:
    """Row `number`: counting documents of many lengths, between 5 and 95 % supervised, some pads."""
    g = torch.Generator().manual_seed(number)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=g))

    tokens, targets, weight, kind, doc, pos = [], [], [], [], [], []
    share = draw(5, 95) / 100
    while len(tokens) < LENGTH - 8:
        length = min(draw(3, 14), LENGTH - len(tokens))
        start, step, number_of_doc = draw(0, 64), draw(1, 3), (doc[-1] + 1 if doc else 0)
        ids = [(start + step * i) % 64 for i in range(length)]
        loss = [draw(0, 100) < 100 * share for _ in ids[1:]] + [False]
        tokens += ids
        targets += [i if x else -1 for i, x in zip([*ids[1:], -1], loss, strict=True)]
        weight += [(0.5 if step == 2 else 1.0) * x for x in loss]
        kind += [step * x for x in loss]
        doc += [number_of_doc] * length
        pos += range(length)
    pads = LENGTH - len(tokens)
    columns = [
        torch.tensor(tokens + [0] * pads),
        torch.tensor(targets + [-1] * pads),
        torch.tensor(weight + [0.0] * pads, dtype=torch.float32),
        torch.tensor(kind + [0] * pads, dtype=torch.uint8),
        torch.tensor(doc + [-1] * pads, dtype=torch.int32),
        torch.tensor(pos + [0] * pads),
    ]
    shell = torch.randint(-1, 8, (LENGTH, 2), generator=g)
    return Row(*columns, {"image_shell": shell, "image_xyz": torch.randn(LENGTH, 3, generator=g)})


class ToyFeed:
    """The rows 0, 1, 2, ... divided as `Loader` divides them; `seen` sums what this rank was given."""

    def __init__(self, batch: int) -> None:
        self.batch, self.at, self.seen = batch, 0, 0

    def __iter__(self) -> Iterator[Row]:
        while True:
            first = self.at + distributed.rank() * self.batch
            rows = [row(first + i) for i in range(self.batch)]
            for i, one in enumerate(rows):
                self.seen += zlib.crc32(one.tokens.numpy().tobytes()) * (first + i + 1)
            self.at += self.batch * distributed.world()
            yield collate(rows)

    def weight_sum(self, batches: int) -> float:
        count = batches * self.batch * distributed.world()
        return float(sum(row(self.at + i).weight.sum() for i in range(count)))

    def state(self) -> dict[str, Any]:
        return {"row": self.at}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.at = int(state["row"])


def toy_module(z_loss: float = 0.0, chunk: int = 64, vocab: Vocabulary | None = None) -> LanguageModel:
    """Two layers of width 32, the same weights each time."""
    vocab = vocab or vocabulary()
    torch.manual_seed(0)
    config = ModelConfig.preset(2, vocab_size=len(vocab), channels=vocab.channels, width=32)
    return LanguageModel(Decoder(config), len(KINDS), z_loss, chunk)


def toy_trainer(folder: Path, stage: int = 2, vocab: Vocabulary | None = None, **options: Any) -> Trainer:
    """A trainer of the toy; options that `TrainConfig` has go there."""
    mine = {name: options.pop(name) for name in list(options) if name in TrainConfig.model_fields}
    config = TrainConfig(**{**TINY, **mine})
    vocab = vocab or vocabulary()
    share = config.rows // distributed.world()
    feed = ToyFeed(min(config.micro_rows or share, share))
    module = toy_module(config.z_loss, config.chunk, vocab)
    extra = {"zero_optimization": {"stage": stage}}
    given = {"extra": extra, "kinds": KINDS, "vocabulary": vocab, **options}
    return Trainer(module, feed, config, folder, **given)


@torch.no_grad()
def markov(vocab: Vocabulary, block: str, seed: int = 0) -> Decoder:
    """A decoder that knows p(id | id before it) and, in `block` of two parts, the same in either layout.

    Its vectors are one-hot and its blocks do nothing, so that the heads are the tables themselves.
    """
    size, forbidden = len(vocab), -40.0
    g = torch.Generator().manual_seed(seed)
    (a, b), (c, d) = vocab.block(block).ranges
    table = torch.randn(
        size, size, generator=g
    )  # of the last part of a position, or any other id, to what follows
    table[:, c:d] = forbidden
    parts = torch.randn(b - a, d - c, generator=g).log_softmax(1)  # of the first part to the second
    preset = ModelConfig.preset(1, vocab_size=size, width=size, stacks=vocab.stacks)
    decoder = Decoder(preset)
    for name, weight in decoder.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight", "entry.weight")):
            weight.zero_()
    decoder.model.embed_tokens.weight.copy_(
        torch.eye(size) * 1000
    )  # so large that the norm's epsilon is nothing
    length = size**0.5  # of a vector behind the norm
    if decoder.depth is None:
        table[a:b] = forbidden
        table[a:b, c:d] = parts
        decoder.lm_head.weight.copy_(table.T / length)
    else:
        table[a:b] = 0  # the last part alone tells what follows; two vectors share the length behind the norm
        table[c:d] *= 2**0.5
        decoder.lm_head.weight.copy_(table.T / length)
        head = torch.zeros(d - c, size)
        head[:, a:b] = parts.T / length
        decoder.depth.lm_heads[f"{block}_1"].weight.copy_(head)
    return decoder


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in(place: str, at: int, trainer: Trainer) -> None:
    """Arrange to be killed at step `at`: in the middle of a file, before the manifest, or after a step."""
    from unitok.train import checkpoint

    if place == "save":

        def half(obj: Any, path: str, **options: Any) -> None:
            if trainer.step == at:
                Path(path).write_bytes(b"half a file")
                _die()
            original(obj, path, **options)

        original, torch.save = torch.save, half
    elif place == "seal":

        def unsealed(path: Path, manifest: Any) -> None:
            if trainer.step == at:
                _die()
            seal(path, manifest)

        seal, checkpoint.seal = checkpoint.seal, unsealed


def main(arguments: list[str]) -> None:
    """Train as the arguments say, one run after another."""
    torch.set_num_threads(1)
    runs: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "+":
            runs.append([])
        elif not argument.startswith("--local_rank"):  # the launcher adds it in front
            runs[-1].append(argument)
    for run in runs:
        train(*run)


def train(folder: str, *pairs: str) -> None:
    """One run; writes stream.jsonl, a hash of the tokens of each step."""
    options: dict[str, Any] = dict(pair.split("=", 1) for pair in pairs)
    place, at, term = options.pop("die", ""), int(options.pop("at", 0)), int(options.pop("term", 0))
    values = {name: json.loads(value) for name, value in options.items()}

    def hook(trainer: Trainer, event: str) -> None:
        if event != "step":
            return
        seen = torch.tensor(trainer.feed.seen)  # type: ignore[attr-defined]
        line = json.dumps({"step": trainer.step, "seen": int(distributed.reduce_sum(seen))})
        trainer.feed.seen = 0  # type: ignore[attr-defined]
        if distributed.is_main():
            with (Path(folder) / "stream.jsonl").open("a") as file:
                file.write(line + "\n")
        if trainer.step == term and distributed.is_main():
            os.kill(os.getpid(), signal.SIGTERM)
        if place == "step" and trainer.step == at:
            _die()

    trainer = toy_trainer(Path(folder), hooks=[hook], **values)
    _die_in(place, at, trainer)
    trainer.fit()


if __name__ == "__main__":
    main(sys.argv[1:])
