"""The decoder: Qwen3's shape and Hugging Face's names, side channels added to the token embedding.

    hidden = decoder(tokens, doc, pos, side)     # [B, T] -> [B, T, D]
    logits = decoder.logits(hidden)              # [..., D] -> [..., V]

RMSNorm, rotary positions (the half-rotation of Hugging Face), grouped-query attention, SwiGLU, a norm on
each head's query and key, an untied head (Yang et al., "Qwen3 Technical Report", 2025). Parameters are
called as in `Qwen3ForCausalLM`, so pretrained folders load and exports open there. The names
`embed_tokens`, `embed_<channel>` and `lm_head` also tell DeepSpeed's Muon what to leave to Adam.

Of a stacked block, the vectors of a position's parts are summed, and `decoder.depth` predicts the further ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unitok.model import embed
from unitok.model.attention import Where
from unitok.model.config import ModelConfig
from unitok.model.depth import DepthHead
from unitok.model.layer import KeyValues, Layer, rotary


class Backbone(nn.Module):
    """Everything but the head; `model.` in the names of Hugging Face."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        for name, side in config.channels.items():
            self.add_module(f"embed_{name}", embed.build(side, config.width))

    def vectors(self, ids: Tensor) -> Tensor:
        """Embeddings [..., D] of ids [...]; 0 where an id is -1."""
        present = rearrange(ids >= 0, "... -> ... 1")
        return cast("Tensor", self.embed_tokens(ids.clamp(min=0)) * present)

    def forward(
        self,
        tokens: Tensor,
        pos: Tensor,
        side: Mapping[str, Tensor],
        where: Where,
        cache: KeyValues | None,
        more: Tensor | None,
    ) -> Tensor:
        """Tokens [B, T] and their further parts [B, T, P - 1] -> hidden states [B, T, D]."""
        x = self.embed_tokens(tokens)  # [B, T, D]
        for column in () if more is None else more.unbind(-1):  # all at once would be P times the memory
            x = x + self.vectors(column)
        for name, spec in self.config.channels.items():
            channel = side[name] if name in side else embed.absent(spec, tokens)
            x = x + self.get_submodule(f"embed_{name}")(channel)
        turn = rotary(pos, self.config.head_dim, self.config.rope_theta, x.dtype)
        for number, layer in enumerate(self.layers):
            if self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, turn, where, cache, number, use_reentrant=False)
            else:
                x = layer(x, turn, where, cache, number)
        return cast("Tensor", self.norm(x))


class Decoder(nn.Module):
    """A causal language model over shared ids; see the module's text."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.depth = DepthHead(config) if config.stacks else None
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights: fan-in scaled, the two outputs of each block damped by the depth.

        The token table has 0.3, not the usual 0.02: beside it the blocks' outputs, about 1, would drown the
        token, which costs a small model a third of a nat after 400,000 tokens.
        """
        for name, weight in self.named_parameters():
            if weight.dim() < 2 or (".embed_" in name and "embed_tokens" not in name):
                continue  # norms stay at 1, side channels at 0
            std = weight.shape[1] ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= (2 * self.config.layers) ** 0.5
            elif name.endswith("embed_tokens.weight"):
                std = 0.3
            weight.normal_(std=std)

    def forward(
        self,
        tokens: Tensor,
        doc: Tensor,
        pos: Tensor,
        side: Mapping[str, Tensor] | None = None,
        cache: KeyValues | None = None,
        more: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of a batch of rows.

        Args:
            tokens: int64 [B, T], shared ids.
            doc: int [B, T], -1 for pads; positions see their own document alone. Ignored with a cache.
            pos: int64 [B, T], positions, starting anew in each document.
            side: {channel: [B, T, width]}; a missing channel is absent everywhere.
            cache: keys and values of earlier positions; its mask replaces the documents'.
            more: int64 [B, T, P - 1], further parts of stacked positions, -1 absent; None: absent everywhere.

        Returns:
            [B, T, D].
        """
        mask = None if cache is None else cache.mask(tokens.shape[1])
        where = Where(doc, self.config.backend, mask)
        return cast("Tensor", self.model(tokens, pos, side or {}, where, cache, more))

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]."""
        return cast("Tensor", self.lm_head(hidden))

    def nats(self, hidden: Tensor, target: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What targets cost after hidden states, each part by itself.

        Args:
            hidden: [m, D].
            target: int64 [m].
            more: int64 [m, P - 1], the targets' further parts, -1 absent; None of a decoder that stacks nothing.

        Returns:
            nats and log-partitions, float32 [m, P], 0 where there is no part.
        """
        logits = self.logits(hidden).float()  # [m, V]
        nats = F.cross_entropy(logits, target, reduction="none")
        # The log-partition without a second pass over all logits: the chosen logit + nats.
        partition = logits.gather(1, target[:, None]).squeeze(1) + nats
        if self.depth is None or more is None:
            return nats[:, None], partition[:, None]
        parts = torch.cat([target[:, None], more], dim=1)  # [m, P]
        further = self.depth.nats(hidden, self.model.vectors(parts), more)
        return torch.cat([nats[:, None], further[0]], 1), torch.cat([partition[:, None], further[1]], 1)
