"""Training FlowTok on captioned pictures, with the trainer of the tokenizers: latents once, captions as they come.

    task = FlowTask(model, data, root, loss)         # tables of the TOML file; recipes/train_flow.py

Held-out pairs are judged by retrieval among each other: which picture's latents are nearest to those drawn from a
caption, which caption's latents are nearest to where the flow leads back from a picture, and which caption costs
the fewest nats there, less what it costs beside the other pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from unitok import registry
from unitok.strict import Strict, merge, validate

from ...common.quantize import KL, Quantizer
from ...common.training import Step, TokenizerTask, grouped, preset_of
from ...common.weights import fingerprint
from ..clip_text import CaptionStates
from ..retrieval import ranks
from ..seed_captions import captions
from ..sources import split
from .config import FlowConfig
from .losses import FlowLoss, chance, flow_loss
from .net import FlowNet
from .words import Words, counted

PIXELS = 64 * 64**2


class FlowData(Strict):
    """Where captioned pictures are, and what reads them: the `[data]` table."""

    train: tuple[str, ...] = Field(description="tars, folders or jsonl files, relative to the TOML file")
    heldout: tuple[str, ...] = Field((), description="further sources that are never trained on, only judged")
    tokenizer: str = Field("image.flowtok", description="registry name")
    options: dict[str, Any] = Field({}, description="of the tokenizer, such as weights")
    clip: str | None = Field(
        None, description="folder of a CLIP whose states captions have, unless ids are read"
    )
    flip: bool = Field(True, description="train on mirror images, too")
    limit: int = Field(0, ge=0, description="pictures taken of each source at most; 0 = all")
    judged: int = Field(100, ge=2, description="held-out pairs among which is searched")
    licence: str = Field("", description="noted beside the weights")


class FlowTask(TokenizerTask):
    """See the module's text.

    Args:
        model: the `[model]` table, fields of `FlowConfig`, or `preset = "S"` and changes to it; without `scale`
            it is what gives the tokenizer's latents a spread of one here.
        data: the `[data]` table.
        root: folder from which the paths in `data` start.
        loss: the `[loss]` table, fields of `FlowLoss`.

    Raises:
        ValueError: pictures without captions, a tokenizer with codes, or one whose latents do not fit the model.
    """

    headline = "picture rank"

    def __init__(
        self,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = validate(FlowData, data, "[data]")
        self.losses = validate(FlowLoss, loss or {}, "[loss]")
        tokenizer: Any = registry.create(self.settings.tokenizer, **self.settings.options)
        if not isinstance(tokenizer.net.quantizer, KL):
            raise ValueError(
                f"{self.settings.tokenizer} with these options has codes: FlowTok flows between continuous latents, "
                "as image.flowtok has them"
            )
        sources = [root / path for path in (*self.settings.train, *self.settings.heldout)]
        told: dict[str, tuple[str, ...]] = {}
        for path in sources:
            told = {**captions(path), **told}
        train, heldout = sources[: len(self.settings.train)], sources[len(self.settings.train) :]
        found = split(train, tokenizer.config.size, 0, self.settings.limit, heldout, tokenizer.config.resize)
        rows, self.texts = _captioned(found.keys, told)
        held, texts = _captioned(found.heldout_keys, told)
        if not rows or len(held) < 2:
            raise ValueError(
                f"{len(rows)} captioned pictures to train on and {len(held)} held out in {', '.join(map(str, sources))}: "
                "give pictures with a .json or .txt file of the same name, or records with captions"
            )
        some = torch.linspace(0, len(held) - 1, min(len(held), self.settings.judged)).long().tolist()
        held, self.heldout_texts = [held[i] for i in some], [texts[i] for i in some]
        self.train = _moments(tokenizer, found.train[torch.tensor(rows)], self.settings.flip)  # type: ignore[index]
        self.heldout = _moments(tokenizer, found.heldout[torch.tensor(held)], False)[:, 0]
        preset, changes = preset_of(model, FlowConfig.preset)
        mean, log = KL.moments(self.train)
        spread = float((mean.var() + log.exp().mean()).sqrt())
        known = {"tokens": mean.shape[2], "channels": mean.shape[3]}
        if "preset" not in model:
            changes = {"scale": 1 / spread, **changes}
        config = validate(FlowConfig, {**merge(preset, changes), **known}, "[model]")
        self.model: FlowNet = FlowNet(config)
        self._read_with(config, root)
        self.config = {
            "flow": config.model_dump(mode="json"),
            "tokenizer": {
                "use": self.settings.tokenizer,
                "fingerprint": fingerprint(tokenizer.config.model_dump(mode="json"), tokenizer.net),
            },
        }
        self.data = {
            "files": [Path(path).name for path in self.settings.train],
            "licence": self.settings.licence,
            "train": len(self.train),
            "heldout": len(self.heldout),
            "held out": "sha256 of the key divisible by ten, or as records say",
            "loss": self.losses.model_dump(mode="json", exclude_none=True),
        }

    def _read_with(self, config: FlowConfig, root: Path) -> None:
        """What turns captions into states and ids."""
        words, clip = config.words, self.settings.clip
        if (words is None or not words.reads) == (clip is None):
            raise ValueError(
                "captions are read either by a frozen CLIP (data.clip, its folder) or by a reader of ids that is "
                "trained (model.words.reads, its layers): give one of the two"
            )
        self.clip = None if clip is None else CaptionStates(root / clip)
        self.words: Words | None = None
        if words is not None:
            text: Any = registry.create(words.use)
            if text.spec.size != words.size:
                raise ValueError(f"{words.use} has {text.spec.size} ids, model.words.size says {words.size}")
            self.words = Words(text, config.tokens)

    def read(self, texts: Sequence[str]) -> tuple[Tensor, ...]:
        """What the network reads of captions, states or ids, and the ids that its writer writes, if there are words."""
        ids = () if self.words is None else (self.words.ids(texts),)
        return (ids[0] if self.clip is None else self.clip(texts).cpu(), *ids)

    @property
    def quantizer(self) -> Quantizer:
        """The text latents' Gaussian: there are no codes to count."""
        return self.model.posterior

    def batch(self, index: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Latents [B, K, C] drawn from the tokenizer's posterior, times `scale`, and `read` of one caption each."""
        view = torch.randint(self.train.shape[1], (len(index),), generator=generator)
        mean, log = KL.moments(self.train[index, view])
        latents = mean + (0.5 * log).exp() * torch.randn(mean.shape, generator=generator)
        picks = torch.rand(len(index), generator=generator).tolist()
        own = [self.texts[i] for i in index.tolist()]
        texts = [each[int(pick * len(each))] for each, pick in zip(own, picks, strict=True)]
        return latents * self.model.config.scale, *self.read(texts)

    def judge(self, *batch: Tensor, step: int) -> Step:
        """The sum of the loss's parts."""
        latents, text, *ids = batch
        drawn = chance(latents, self.losses.null)
        parts = flow_loss(self.model, text, latents, self.losses, drawn, *ids)
        figures = {name: value.detach() for name, value in parts.items()}
        return Step(torch.stack([value.float() for value in parts.values()]).sum(), None, figures)

    def codes(self, items: Tensor) -> Tensor:
        """There are none.

        Raises:
            TypeError: always.
        """
        raise TypeError("FlowTok's latents are continuous and have no codes")

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Matrices with decay, vectors without."""
        return grouped(self.model, lr, None, 0.0)

    @torch.no_grad()
    def fidelity(self) -> dict[str, float]:
        """Ranks of the right picture and the right caption among the held-out ones, see the module's text."""
        net, device = self.model, next(self.model.parameters()).device
        text, *ids = self.read([each[0] for each in self.heldout_texts])
        true = (KL.moments(self.heldout)[0] * net.config.scale).to(device)
        mean = net.text_latents(text.to(device))[0]
        back = net.back(true)
        found = _figures("picture", ranks(net.draw(text.to(device)).flatten(1).cpu(), true.flatten(1).cpu()))
        found |= _figures("caption", ranks(back.flatten(1).cpu(), mean.flatten(1).cpu()))
        if net.writer is not None and ids:
            costs = written(net, back, ids[0].to(device)).cpu()
            costs = costs - costs.mean(0)  # a short caption is cheap beside any picture
            own = costs.diagonal().unsqueeze(1)
            rank = 1 + (costs < own).sum(1) + ((costs == own).sum(1) - 1) / 2
            found |= _figures("written", rank)
            nats = net.writer.nats(mean, ids[0].to(device)).sum()
            found["nats of an id"] = float(nats / counted(ids[0], net.writer.nothing).sum())
        return found

    def baselines(self) -> dict[str, float]:
        """What guessing reaches."""
        count = len(self.heldout)
        return {"chance": (count + 1) / 2, "chance in first 10": min(1.0, 10 / count)}


def written(net: FlowNet, latents: Tensor, ids: Tensor) -> Tensor:
    """Nats [n, m] of m captions, ids int64 [m, T], after each of n text latents [n, T, C]."""
    assert net.writer is not None
    rows = []
    wanted = counted(ids, net.writer.nothing)
    for each in latents.split(1):
        logs = F.log_softmax(net.writer(each).float(), dim=-1)[0]  # [T, N + 1]
        picked = logs.gather(1, ids.t()).t()  # [m, T]
        rows.append(-(picked * wanted).sum(1))
    return torch.stack(rows)


def _figures(name: str, rank: Tensor) -> dict[str, float]:
    return {
        f"{name} rank": float(rank.double().mean()),
        f"{name} in first 10": float((rank <= 10).double().mean()),
    }


def _captioned(
    keys: Sequence[str], told: Mapping[str, tuple[str, ...]]
) -> tuple[list[int], list[tuple[str, ...]]]:
    """Numbers of the keys with captions, and these."""
    rows = [i for i, key in enumerate(keys) if key in told]
    return rows, [told[keys[i]] for i in rows]


@torch.no_grad()
def _moments(tokenizer: Any, pictures: Tensor, flip: bool) -> Tensor:
    """Means and log-variances [n, views, K, 2 C] of uint8 pictures [n, 3, S, S], and of their mirror images."""

    def parts() -> Iterator[Tensor]:
        low, high = tokenizer.config.range
        for part in pictures.split(max(1, PIXELS // pictures.shape[-1] ** 2)):
            x = part.to(tokenizer.device).float() / 255 * (high - low) + low
            views = [x, x.flip(-1)] if flip else [x]
            yield torch.stack([tokenizer.net.encode(view).cpu() for view in views], dim=1)

    return torch.cat(list(parts()))
