"""The module that DeepSpeed trains: logits and loss inside one forward, in pieces.

    loss, sums = LanguageModel(decoder, kinds=5)(tokens, targets, weight, kind, doc, pos, side, more)

`loss` is a *sum* over supervised targets; the trainer divides it by the step's global weight. The head runs
here because ZeRO-3 gathers its weight only within the engine's forward. Logits exist for `chunk` positions
at a time and are computed again in the backward pass, so [B, T, V] never exists. Every part of a stacked
position counts as a code of its own with the position's weight, so the loss means the same in both layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unitok.model.decoder import Decoder
from unitok.model.weights import save


class LanguageModel(nn.Module):
    """Next-token loss of a decoder.

    Args:
        decoder: the network.
        kinds: how many kinds of target there are (marks, then the vocabulary's blocks).
        z_loss: weight of the squared log-partition (Chowdhery et al., "PaLM", 2022), on the same targets.
        chunk: positions whose logits exist at once.
    """

    def __init__(self, decoder: Decoder, kinds: int, z_loss: float = 0.0, chunk: int = 2048) -> None:
        super().__init__()
        self.decoder = decoder
        self.kinds = kinds
        self.z_loss = z_loss
        self.chunk = chunk

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor,
        weight: Tensor,
        kind: Tensor,
        doc: Tensor,
        pos: Tensor,
        side: Mapping[str, Tensor],
        more: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch of rows; the arguments are the fields of a `Row`, in its order.

        Args:
            tokens: int64 [B, T].
            targets: int64 [B, T], -1 = none.
            weight: float32 [B, T], of each target.
            kind: uint8 [B, T], of each target.
            doc: int [B, T], -1 = pad.
            pos: int64 [B, T].
            side: {channel: [B, T, width]}.
            more: int64 [B, T, P - 1], further parts, -1 absent; None if nothing is stacked.

        Returns:
            The summed loss (z-loss included), a scalar that carries gradient; and [2, kinds] without it:
            per kind the weighted sum of nats (z-loss apart) and the sum of weights.
        """
        hidden = rearrange(self.decoder(tokens, doc, pos, side, more=more), "b t d -> (b t) d")
        weight = torch.where(targets >= 0, weight, 0.0).flatten()
        following = None if more is None else rearrange(next_parts(more), "b t p -> (b t) p")
        picked = weight.nonzero().squeeze(1)  # [m], what is supervised
        total = hidden.new_zeros((), dtype=torch.float32)
        sums = hidden.new_zeros((2, self.kinds), dtype=torch.float32)
        # As many pieces as the shape alone demands: under ZeRO-3 every rank must call the head equally often.
        pieces = picked.tensor_split(-(-targets.numel() // self.chunk))
        for piece in pieces:
            further = None if following is None else following[piece]
            given = hidden[piece], targets.flatten()[piece], further
            # A single piece is needed whole at once in the backward pass, which follows: nothing to save.
            nats, cost = self._piece(*given) if len(pieces) == 1 else self._again(*given)
            share = weight[piece]
            total = total + (share * cost).sum()
            codes = share if further is None else share * (1 + (further >= 0).sum(1))
            pair = torch.stack((share * nats.detach(), codes))  # [2, m]
            sums.index_add_(1, kind.flatten()[piece].long(), pair)
        return total, sums

    def export(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write the decoder as a Hugging Face folder; `weights` are named as in this module."""
        prefix = "decoder."
        mine = {
            name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)
        }
        save(self.decoder, folder, mine)

    def _piece(self, hidden: Tensor, targets: Tensor, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """Nats [m] of targets [m] with all their parts, and what they cost with the z-loss, [m]."""
        parts, partition = self.decoder.nats(hidden, targets, more)  # [m, P]
        nats = parts.sum(1)
        if self.z_loss == 0:
            return nats, nats
        return nats, nats + self.z_loss * partition.square().sum(1)

    def _again(self, hidden: Tensor, targets: Tensor, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """`_piece`, its logits forgotten and computed again in the backward pass."""
        result = checkpoint(self._piece, hidden, targets, more, use_reentrant=False)
        return cast("tuple[Tensor, Tensor]", result)


def next_parts(more: Tensor) -> Tensor:
    """The further parts [B, T, P - 1] of what follows each position; they belong to a target, where there is one."""
    return torch.cat([more[:, 1:], torch.full_like(more[:, :1], -1)], dim=1)
