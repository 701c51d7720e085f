"""Pictures of captions and captions of pictures: a flow, its tokenizer and what reads the captions, together.

    pair = Pair("flow64.safetensors", unitok.create("image.flowtok", weights="flowtok64.safetensors"))
    pair.draw(["a red apple"])                       # PIL images
    pair.describe([picture])                         # strings

A released flow reads CLIP's states, which its tokenizer decodes with, too: `clip=` is the folder of
clip-vit-large-patch14-336, or a function of captions that gives states [B, 77, 768].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unitok import registry
from unitok.modality import Item

from ...common.quantize import KL
from ...common.weights import fingerprint, is_ours, read_weights
from .. import io
from ..base import ImageTokenizer
from ..clip_text import CaptionStates
from .net import FlowNet
from .released import open_flow
from .words import Words


class Pair:
    """See the module's text.

    Args:
        flow: path of a flow, see `open_flow`, or a network.
        tokenizer: with continuous latents, of the flow's number and width.
        clip: folder of a CLIP, or a function of captions; for flows without a reader of their own.

    Raises:
        ValueError: a tokenizer that the flow does not fit, or was not trained with, or no way to read captions.
    """

    def __init__(
        self,
        flow: str | Path | FlowNet,
        tokenizer: ImageTokenizer,
        clip: str | Path | Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        self.tokenizer: Any = tokenizer
        self.net = flow if isinstance(flow, FlowNet) else open_flow(flow)
        config, latents = self.net.config, tokenizer.net.quantizer
        if not isinstance(latents, KL) or (latents.dim, tokenizer.config.tokens) != (
            config.channels,
            config.tokens,
        ):
            kind = (
                f"{tokenizer.config.tokens} latents of {latents.dim}" if isinstance(latents, KL) else "codes"
            )
            raise ValueError(
                f"the tokenizer has {kind}, the flow {config.tokens} continuous latents of {config.channels}: give the "
                "tokenizer of the flow"
            )
        if not isinstance(flow, FlowNet) and is_ours(flow):
            self._same(read_weights(flow)[0].get("tokenizer", {}))
        self.words = None if config.words is None else Words(registry.create(config.words.use), config.tokens)
        self.clip = CaptionStates(clip) if isinstance(clip, str | Path) else clip
        if self.net.reader is None and self.clip is None:
            raise ValueError("this flow reads the states of a CLIP: give its folder, or a function, as clip=")

    def _same(self, told: dict[str, Any]) -> None:
        """Refuse another tokenizer than the flow was trained with."""
        found = fingerprint(self.tokenizer.config.model_dump(mode="json"), self.tokenizer.net)
        if told and told["fingerprint"] != found:
            raise ValueError(
                f"the flow was trained on latents of {told['use']} with fingerprint {told['fingerprint']}, this one has "
                f"{found}: give that tokenizer's own weights"
            )

    def read(self, captions: Sequence[str]) -> Tensor:
        """What the network reads of captions: ids int64 [B, K], or states [B, K, W]."""
        if self.net.reader is not None:
            assert self.words is not None
            return self.words.ids(captions)
        assert self.clip is not None
        return self.clip(list(captions)).cpu()

    @torch.no_grad()
    def draw_tensor(
        self,
        captions: Sequence[str],
        *,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Pictures of captions, float32 [B, 3, S, S], black 0 and white 1, not clamped.

        All captions are drawn with the same noise, so that none depends on its company.

        Args:
            captions: what to draw.
            guidance: scale, 1 = none; the flow's own if not given.
            steps: of Euler's method; the flow's own if not given.
            seed: of the noise.
        """
        changes = {"guidance": guidance, "steps": steps}
        config = self.net.config
        told = config.sampling.model_dump() | {k: v for k, v in changes.items() if v is not None}
        how = type(config.sampling)(**told)
        if not captions:
            return torch.zeros(0, 3, self.tokenizer.config.size, self.tokenizer.config.size)
        text = self.read(captions)
        noise = torch.randn(config.tokens, config.channels, generator=torch.Generator().manual_seed(seed))
        latents = self.net.draw(text, how, noise.expand(len(text), -1, -1)) / config.scale
        said = text if text.is_floating_point() else list(captions)  # the tokenizer's own CLIP reads these
        given = {"text": said} if self.tokenizer.config.text else {}
        found: Tensor = self.tokenizer.decode_tensor(latents, **given)
        return found

    def draw(self, captions: Sequence[str], **how: Any) -> list[Image.Image]:
        """The same as PIL images."""
        return [io.to_image(picture) for picture in self.draw_tensor(captions, **how)]

    @torch.no_grad()
    def describe(self, pictures: Sequence[Item]) -> list[str]:
        """Captions of pictures: the flow back to text latents, and what the writer makes of them.

        Raises:
            ValueError: a flow that does not write, such as the released ones.
        """
        if self.net.writer is None or self.words is None:
            raise ValueError(
                "this flow has no text decoder, which was not released: train one with model.words.writes"
            )
        if not pictures:
            return []
        back = self.net.back(self.tokenizer.latents(pictures) * self.net.config.scale)
        return self.words.captions(self.net.writer(back))
