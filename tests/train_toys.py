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
from torch import Tensor

from unitok import Spec, Vocabulary, distributed
from unitok.data.row import Row, collate
from unitok.modality import Side
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.train.config import TrainConfig
from unitok.train.loss import LanguageModel, next_parts
from unitok.train.trainer import Trainer

LENGTH = 48
KINDS = ("mark", "text", "image")
TINY = {"steps": 6, "rows": 4, "warmup": 2, "lr": 1e-2, "progress": False, "precision": "fp32", "chunk": 64}


def vocabulary(fingerprint: str = "toy", stacked: bool = False) -> Vocabulary:
    """512 ids, an id channel and a float channel; stacked, images have three codes per position."""
    side = {"shell": Side("ids", 2, 8), "xyz": Side("float", 3)}
    text = Spec("text", 64, (1, None), "bytes", framed=False)
    parts = (32, 16, 16) if stacked else ()
    image = Spec("image", 64, (8, 8), fingerprint, parts=parts, side=side)
    return Vocabulary.build({"text": text, "image": image}, ["image"] if stacked else [])


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


def stacked_row(number: int) -> Row:
    """Row `number` with all of its ids as stacked positions, or, half of the time, none of them.

    Two ranks with two rows each: one has all stacked positions, the other none.
    """
    plain = row(number)
    more = torch.full((LENGTH, 2), -1)
    if number % 4 >= 2:
        return plain._replace(more=more)
    block = vocabulary(stacked=True).block("image")
    here, starts = plain.doc >= 0, [start for start, _ in block.ranges]
    more[here] = torch.stack([starts[1] + plain.tokens % 16, starts[2] + plain.tokens // 4], dim=1)[here]
    tokens, targets = (torch.where(i >= 0, starts[0] + i % 32, i) for i in (plain.tokens, plain.targets))
    kind = torch.where(plain.kind > 0, 2, 0).to(torch.uint8)
    return plain._replace(
        tokens=torch.where(here, tokens, plain.tokens), targets=targets, kind=kind, more=more
    )


class ToyFeed:
    """The rows 0, 1, 2, ... divided as `Loader` divides them; `seen` sums what this rank was given."""

    def __init__(self, batch: int, stacked: bool = False) -> None:
        self.batch, self.at, self.seen = batch, 0, 0
        self.row = stacked_row if stacked else row

    def __iter__(self) -> Iterator[Row]:
        while True:
            first = self.at + distributed.rank() * self.batch
            rows = [self.row(first + i) for i in range(self.batch)]
            for i, one in enumerate(rows):
                self.seen += zlib.crc32(one.tokens.numpy().tobytes()) * (first + i + 1)
            self.at += self.batch * distributed.world()
            yield collate(rows)

    def weight_sum(self, batches: int) -> float:
        count = batches * self.batch * distributed.world()
        return float(sum(codes(self.row(self.at + i)) for i in range(count)))

    def state(self) -> dict[str, Any]:
        return {"row": self.at}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.at = int(state["row"])


def codes(one: Row) -> Tensor:
    """Summed weight of the targets of a row, every part counted."""
    if one.more is None:
        return one.weight.sum()
    return (one.weight * (1 + (next_parts(one.more[None])[0] >= 0).sum(1))).sum()


def toy_module(z_loss: float = 0.0, chunk: int = 64, vocab: Vocabulary | None = None) -> LanguageModel:
    """Two layers of width 32, the same weights each time."""
    vocab = vocab or vocabulary()
    torch.manual_seed(0)
    config = ModelConfig.preset(
        2, vocab_size=len(vocab), channels=vocab.channels, stacks=vocab.stacks, width=32
    )
    return LanguageModel(Decoder(config), len(KINDS), z_loss, chunk)


def toy_trainer(
    folder: Path, stage: int = 2, vocab: Vocabulary | None = None, stacked: bool = False, **options: Any
) -> Trainer:
    """A trainer of the toy; options that `TrainConfig` has go there."""
    mine = {name: options.pop(name) for name in list(options) if name in TrainConfig.model_fields}
    config = TrainConfig(**{**TINY, **mine})
    vocab = vocab or vocabulary(stacked=stacked)
    share = config.rows // distributed.world()
    feed = ToyFeed(min(config.micro_rows or share, share), stacked)
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
