"""SEED's two stages of training (Ge et al., arXiv:2310.01218, section 3.2), by the terms of the `[loss]` table.

    [loss]                                        # first stage: pictures and captions find each other
    contrast = { temperature = 0.07, smoothing = 0.1 }

    [loss]                                        # second stage, the first one frozen: codes, and what they tell
    vq = 5.0
    recon = 2.0                                   # 1 - cosine of the rebuilt tokens to the Q-Former's
    distil = { weight = 0.5, encoder = "clip-vit-h-14" }
    l2 = 4.0                                      # and any other loss of pixels, for the small decoder

Weights are those of the released configuration, whose commitment lies on the codebook's loss: `model.legacy = true`
repeats that. Without `distil.encoder` the embedding follows the first stage's own vector of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from pydantic import Field, field_validator, model_validator
from torch import Generator, Tensor
from torch.nn import functional as F

from ..common.losses import Contrast
from ..common.losses.semantic import EncoderEmbedding
from ..common.training import Step
from .base import ImageTokenizer, Reconstruction
from .objective import LossConfig, Objective, Term
from .retrieval import chance, retrieval
from .seed_captions import captions, hashed
from .seed_config import SeedConfig
from .training import PictureTask


class ContrastTerm(Term):
    """Vectors of pictures and of their captions that find each other in a batch."""

    temperature: float = Field(0.07, gt=0, description="where the learned temperature starts")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")


class DistilTerm(Term):
    """An embedding like that of a frozen image encoder."""

    encoder: str | None = Field(
        None, description="local Hugging Face folder of a CLIP with its projection; none: our own vectors"
    )


class SeedLoss(LossConfig):
    """The `[loss]` table: `contrast` alone, or the terms of the second stage."""

    l2: Term | None = Term(weight=4.0)
    contrast: ContrastTerm | None = None
    vq: float = Field(5.0, ge=0, description="of the quantizer's own losses")
    recon: Term | None = Term(weight=2.0)
    distil: DistilTerm | None = DistilTerm(weight=0.5)

    @field_validator("contrast", "recon", "distil", mode="before")
    @classmethod
    def _weight(cls, value: Any) -> Any:
        """A plain number is a weight; 0 leaves the loss out."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"weight": float(value)} if value else None
        return value

    @model_validator(mode="after")
    def _one_stage(self) -> Self:
        others = sorted(self.model_fields_set - {"contrast"})
        if self.contrast is not None and others:
            raise ValueError(
                f"contrast is the first stage, {', '.join(others)} the second: give one run the one or the other"
            )
        return self


class SeedObjective(Objective):
    """What trains beside the network: also the contrast's temperature."""

    def __init__(self, config: SeedLoss, root: Path) -> None:
        super().__init__(config, root)
        term = config.contrast
        self.contrast: Contrast | None = None
        if term is not None:
            self.contrast = Contrast(temperature=term.temperature, smoothing=term.smoothing)

    def parameter_groups(self, lr: float) -> list[Mapping[str, Any]]:
        """The discriminator's, and the temperature without decay."""
        own = [] if self.contrast is None else list(self.contrast.parameters())
        more = [{"params": own, "lr": lr, "weight_decay": 0.0}] if own else []
        return [*super().parameter_groups(lr), *more]


class Captions:
    """The captions of pictures, hashed: called with keys, int64 [B, C, T, GRAMS]; those with fewer than C repeat.

    Args:
        paths: the sources of the pictures.
        config: of the network with the reader.
    """

    def __init__(self, paths: Sequence[Path], config: SeedConfig) -> None:
        assert config.captions is not None
        self.texts: dict[str, tuple[str, ...]] = {}
        for path in paths:
            for key, texts in captions(path).items():
                self.texts.setdefault(key, texts)
        self.config = config.captions
        self.most = min(MOST, max(map(len, self.texts.values()), default=1))

    def __call__(self, keys: Sequence[str]) -> Tensor:
        """See the class.

        Raises:
            KeyError: a picture without a caption.
        """
        absent = [key for key in keys if key not in self.texts]
        if absent:
            raise KeyError(
                f"no caption beside picture {absent[0]!r} ({len(absent)} of {len(keys)}): the first stage needs a "
                ".json or .txt file of the same name, or a caption in its record, for every picture"
            )
        rows = [[self.texts[key][i % len(self.texts[key])] for i in range(self.most)] for key in keys]
        flat = hashed([text for row in rows for text in row], self.config.buckets, self.config.words)
        return flat.view(len(keys), self.most, *flat.shape[1:])


MOST = 5
"""Captions of a picture that are used."""


class SeedTask(PictureTask):
    """See the module's text; arguments as those of `PictureTask`."""

    Losses = SeedLoss
    Aim = SeedObjective
    losses: SeedLoss
    objective: SeedObjective

    def __init__(
        self,
        system: type[ImageTokenizer],
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(system, model, data, root, loss)
        if self.settings.text is not None:
            raise ValueError("data.text is for TA-TiTok: SEED reads the captions beside the pictures")
        config: SeedConfig = self.model.config
        self.first = self.losses.contrast is not None
        self.headline = "i2t_r5" if self.first else "cosine" if self.model.painter is None else "psnr"
        self.words: Captions | None = None
        if config.captions is not None:
            settings = self.settings
            self.words = Captions([root / path for path in (*settings.train, *settings.heldout)], config)
        elif self.first:
            raise ValueError(
                "the first stage needs a reader of captions: set model.captions, as in { layers = 12 }"
            )
        distil = None if self.first else self.losses.distil
        self._teacher: tuple[EncoderEmbedding, ...] = ()  # no part of what is saved
        if distil is not None and distil.encoder is not None:
            self._teacher = (EncoderEmbedding(root / distil.encoder),)
        elif distil is not None and (config.captions is None or config.embedding != config.contrast):
            raise ValueError(
                f"distil without an encoder follows the vectors of the first stage, so it needs model.captions and "
                f"embedding {config.embedding} = contrast {config.contrast}: give distil.encoder, or make them equal"
            )
        if not self.first and self.model.painter is None:
            if self.losses.paints:
                raise ValueError("this network paints no pictures: set l2 = 0, or give model.painter")
            if self.model.semantic is None:
                raise ValueError(
                    "nothing would tell how good the codes are: set model.semantic or model.painter"
                )
        self._begun = False

    def start(self) -> None:
        """The second stage's codebook from the data; the first has no use for codes."""
        self._begun = True
        if not self.first:
            super().start()

    def before_step(self, step: int, steps: int) -> None:
        """With weights of the first stage the codebook starts from what these make of the data.

        One that has been trained on averages before is left as it is; one that learns by gradient keeps its codes with
        `data.kmeans = 0`.
        """
        fresh = not bool(getattr(self.quantizer, "ready", False))
        if step == 0 and fresh and not self._begun and not self.first and not self.quantizer.frozen:
            self._begun = True
            self.model.eval()
            with torch.no_grad():
                self._start_codes()
            self.model.train()

    def batch(self, index: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Pictures, augmented, and in the first stage one caption of each, drawn at random: int64 [B, T, GRAMS]."""
        self.text = cast(Any, self.words) if self.first else None
        views, *texts = super().batch(index, generator)
        if not texts:
            return (views,)
        pick = torch.randint(texts[0].shape[1], (len(views),), generator=generator)
        return views, texts[0][torch.arange(len(views)), pick]

    def judge(self, *batch: Tensor, step: int) -> Step:
        """The stage's loss on pictures [B, 3, S, S] in [0, 1], and captions in the first."""
        pictures, *texts = batch
        if self.first:
            assert self.objective.contrast is not None
            assert self.losses.contrast is not None
            vectors = self.model.vector(self.model.tokens(self._to_net(pictures)))
            loss = self.losses.contrast.at(step) * self.objective.contrast(
                vectors, self.model.captions(texts[0])
            )
            scale = self.objective.contrast.log_scale.detach().exp().squeeze()
            return Step(loss, None, {"contrast": loss.detach(), "temperature": 1 / scale})
        found = self.model(self._to_net(pictures))
        parts = self._second(found, pictures, step)
        total = torch.stack([value.float() for value in parts.values()]).sum()
        return Step(total, found.quantized.ids, {name: value.detach() for name, value in parts.items()})

    def _second(self, found: Reconstruction, pictures: Tensor, step: int) -> dict[str, Tensor]:
        c = self.losses
        quantized = found.quantized
        weighted = {name: c.vq * value for name, value in quantized.losses.items()}
        parts = dict(weighted)
        if c.recon is not None and c.recon.at(step) and "tokens" in found.features:
            apart = 1 - F.cosine_similarity(
                found.features["tokens"].float(), found.features["tokens_target"].float(), dim=-1
            )
            parts["recon"] = c.recon.at(step) * apart.mean()
        if c.distil is not None and c.distil.at(step):
            wanted = self._embedded(pictures, found.features["tokens_target"])
            parts["distil"] = c.distil.at(step) * F.mse_loss(found.features["embedding"].float(), wanted)
        if c.paints:
            made = Reconstruction(
                self._from_net(found.pictures), quantized._replace(losses=weighted), found.features
            )
            parts |= self.objective(made, pictures, step)
        return parts

    @torch.no_grad()
    def _embedded(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """What the embedding should be, [B, E]: the teacher's, or our own vectors with a mean square of 1.

        Raises:
            ValueError: a teacher of another width.
        """
        if not self._teacher:
            vectors = F.normalize(self.model.vector(tokens).float(), dim=-1)
            return vectors * vectors.shape[-1] ** 0.5
        found = self._teacher[0].to(pictures.device)(pictures).float()
        if found.shape[-1] != self.model.config.embedding:
            raise ValueError(
                f"distil.encoder gives embeddings of {found.shape[-1]}, the network of {self.model.config.embedding}: "
                "set model.embedding"
            )
        return found

    @torch.no_grad()
    def fidelity(self) -> dict[str, float]:
        """Figures of the held-out pictures.

        First stage: retrieval among them and their first captions, see `modalities.image.retrieval`. Second stage:
        `psnr` and `ssim` of the small decoder, `cosine` of the rebuilt tokens, retrieval by these, as far as there is
        a decoder, are blocks that rebuild, and are captions.
        """
        found: dict[str, float] = {}
        if not self.first and self.model.painter is not None:
            found |= super().fidelity()
        if not self.first and self.model.semantic is None:
            return found
        told, likeness = [], []
        for part in self._parts(self.heldout):
            tokens = known = self.model.tokens(part)
            if not self.first:
                tokens = self.model.rebuilt(self.quantizer(self.model.to_code(known)).z_q)
                likeness.append(F.cosine_similarity(tokens.float(), known.float(), dim=-1).mean(1).cpu())
            told.append(tokens[:, -1:])
        if likeness:
            found["cosine"] = float(torch.cat(likeness).mean())
        if self.words is None:
            return found
        kept = [i for i, key in enumerate(self.heldout_keys) if key in self.words.texts]
        if not kept:
            return found
        vectors = self.model.vector(torch.cat(told)[kept]).float().cpu()
        ids = self.words([self.heldout_keys[i] for i in kept])[:, 0].to(told[0].device)
        texts = torch.cat([self.model.captions(part).float().cpu() for part in ids.split(64)])
        return found | retrieval(vectors, texts)

    @torch.no_grad()
    def baselines(self) -> dict[str, float]:
        """Chance; what `PictureTask` compares pixels with; or the cosine of the mean tokens of training pictures."""
        if self.headline == "psnr":
            return super().baselines()
        if self.first:
            return chance(len(self.heldout))
        some = torch.cat([self.model.tokens(part) for part in self._parts(self.train[self._some(512)])])
        mean = some.mean(0)
        near = [
            F.cosine_similarity(self.model.tokens(part), mean, dim=-1) for part in self._parts(self.heldout)
        ]
        return {"mean tokens": float(torch.cat(near).mean())}
