"""`image.seed`: a picture as 32 codes of 8192 that tell what is in it, not how each pixel looks.

SEED (Ge et al., arXiv:2310.01218), in the version released with SEED-LLaMA, and a small preset of ours. Codes come
from a causal Q-Former that was trained to find a picture's caption (see `modalities.image.seed_net`). They lead to
the image embedding of unCLIP, whose diffusion model paints a new picture of the same content: with the released
weights `decode` needs the folder of such a pipeline. Networks of ours have a small decoder to pixels instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unitok.modality import BadItem, Codes, Item

from ..common.pretrained import CHUNK
from ..common.training import TokenizerTask
from .base import ImageTokenizer
from .seed_config import PRESETS, SeedConfig
from .seed_net import SeedNet
from .seed_released import released
from .unclip import UnCLIP


class Seed(ImageTokenizer):
    """Pictures through SEED; see `ImageTokenizer` for the options that all systems have.

    Args:
        pipeline: folder of a diffusers StableUnCLIPImg2ImgPipeline (SEED: Stable Diffusion 2.1 unCLIP), which paints
            what codes tell; it is opened at the first `decode`.
        steps: of its sampler.
        guidance_scale: of its guidance.
    """

    tokenizer = "image.seed"
    Config, Net = SeedConfig, SeedNet
    released = staticmethod(released)
    net: Any

    def __init__(
        self,
        *args: Any,
        pipeline: str | Path | None = None,
        steps: int = 20,
        guidance_scale: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.pipeline = None
        if pipeline is not None:
            self.pipeline = UnCLIP(pipeline, steps, guidance_scale, device=str(self.device))

    @classmethod
    def preset(cls, name: str) -> SeedConfig:
        """`published` and `published_reverse`, the two released forms, or `small64`, ours.

        Raises:
            ValueError: none is called so.
        """
        if name not in PRESETS:
            raise ValueError(f"no SEED is called {name!r}: there are {', '.join(PRESETS)}")
        return PRESETS[name]

    # -------------------------------------------------------------------- what codes tell

    def embedding(self, codes: Sequence[Codes]) -> Tensor:
        """The image embedding, float32 [B, E], of codes: with the released weights that of unCLIP, E = 1024.

        Raises:
            BadCodes: as in `decode`.
        """
        return self._by_chunks(codes, self.net.embedding, self.config.embedding)

    def code_vectors(self, codes: Sequence[Codes]) -> Tensor:
        """Vectors of length one, float32 [B, C], that lie near those of fitting captions, from codes alone.

        Raises:
            BadCodes: as in `decode`.
            ValueError: a network without a reader of captions.
        """
        found = self._by_chunks(codes, lambda z: self.net.vector(self.net.rebuilt(z)), self.config.contrast)
        return F.normalize(found, dim=-1)

    def image_vectors(self, items: Sequence[Item]) -> Tensor:
        """The same from the Q-Former's continuous tokens of pictures.

        Raises:
            BadItem: as in `encode`.
            ValueError: a network without a reader of captions.
        """
        pictures = [self._tensor(i, item) for i, item in enumerate(items)]
        low, high = self.config.range
        found = [torch.zeros(0, self.config.contrast)]
        for at in range(0, len(pictures), CHUNK):
            part = torch.stack(pictures[at : at + CHUNK]).to(self.device) * (high - low) + low
            with torch.no_grad(), self._autocast():
                found.append(self.net.vector(self.net.tokens(part)).float().cpu())
        return F.normalize(torch.cat(found), dim=-1)

    def caption_vectors(self, captions: Sequence[str]) -> Tensor:
        """Vectors of length one, float32 [B, C], of captions.

        Raises:
            BadItem: a caption that is no text.
            ValueError: a network without a reader of captions.
        """
        reader = self.net.captions
        if reader is None:
            raise ValueError(
                "these weights have no reader of captions: the released file left its own out, too"
            )
        for index, caption in enumerate(captions):
            if not isinstance(caption, str):
                raise BadItem(index, f"a {type(caption).__name__}: a caption is text")
        found = [torch.zeros(0, self.config.contrast)]
        for at in range(0, len(captions), CHUNK):
            with torch.no_grad(), self._autocast():
                ids = reader.ids(captions[at : at + CHUNK]).to(self.device)
                found.append(reader(ids).float().cpu())
        return F.normalize(torch.cat(found), dim=-1)

    def _by_chunks(self, codes: Sequence[Codes], of: Any, width: int) -> Tensor:
        rows = [self._checked(row, each) for row, each in enumerate(codes)]
        found = [torch.zeros(0, width)]
        for at in range(0, len(rows), CHUNK):
            z_q = self.net.quantizer.lookup(torch.stack(rows[at : at + CHUNK]).to(self.device))
            with torch.no_grad(), self._autocast():
                found.append(of(z_q).float().cpu())
        return torch.cat(found)

    # -------------------------------------------------------------------- pictures

    def guidance(self, count: int, **given: Any) -> dict[str, Any]:
        """`seed` of the pipeline's noise, the same for every picture.

        Raises:
            TypeError: another keyword, or a seed without a pipeline.
        """
        allowed = set() if self.pipeline is None else {"seed"}
        if unknown := given.keys() - allowed:
            takes = "seed" if allowed else "nothing beside the codes without pipeline="
            raise TypeError(f"decode takes {takes}, and no {', '.join(sorted(unknown))}")
        return given

    def _decoded(self, z_q: Tensor, given: Mapping[str, Any]) -> Tensor:
        if self.pipeline is None:
            return super()._decoded(z_q, given)
        made = []
        for at in range(0, len(z_q), CHUNK):
            with torch.no_grad(), self._autocast():
                embeddings = self.net.embedding(z_q[at : at + CHUNK].to(self.device)).float()
            made.append(self.pipeline(embeddings, **given))
        return torch.cat(made)

    @classmethod
    def training_task(
        cls,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> TokenizerTask:
        """One of the two stages, as the `[loss]` table asks; see `modalities.image.seed_training`."""
        from .seed_training import SeedTask

        return SeedTask(cls, model, data, root, loss)
