"""Captions as ids of a text tokenizer: a reader of them where there is no CLIP, and a writer from text latents. Ours.

    words = Words(registry.create("text.pieces"), tokens=32)
    ids = words.ids(["a red fox"])                   # int64 [1, 32], filled up with words.nothing
    captions = words.captions(writer(latents))       # logits [B, 32, N + 1] -> strings

FlowTok describes pictures by a text decoder after the flow (arXiv:2503.10772, section 3.3) that was not released and
of which the paper tells that it has six blocks. Here it is a transformer over the latents that gives the ids of all
positions at once: latents and positions of a caption are equally many, so that nothing has to be drawn in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unitok.modality import Codes, Modality

from ...common.blocks import Tokens, Transformer

if TYPE_CHECKING:
    from .config import WordsConfig


class Reader(nn.Module):
    """Ids int64 [B, T] to states [B, T, W], in place of a frozen CLIP."""

    def __init__(self, words: WordsConfig, tokens: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words.size + 1, width)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.place = Tokens(tokens, width)
        self.body = Transformer(width, words.reads, words.heads)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.body(self.embed(ids) + self.place(len(ids)))
        return out


class Writer(nn.Module):
    """Text latents [B, T, C] to logits [B, T, N + 1] of ids, the last for nothing: the caption has ended."""

    def __init__(self, words: WordsConfig, tokens: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, words.width)
        self.place = Tokens(tokens, words.width)
        self.body = Transformer(words.width, words.writes, words.heads)
        self.nothing = words.size
        self.head = nn.Linear(words.width, words.size + 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.head(self.body(self.embed(latents) + self.place(len(latents))))
        return out

    def nats(self, latents: Tensor, ids: Tensor) -> Tensor:
        """What each caption, ids int64 [B, T], costs in nats [B] given latents [B, T, C]: its ids and its first end."""
        logits = self(latents)
        costs = nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
        return (costs * counted(ids, self.nothing)).sum(1)


def counted(ids: Tensor, nothing: int) -> Tensor:
    """Float [B, T]: 1 for the ids of captions and for the first place after each, else 0."""
    ended = (ids == nothing).long().cumsum(1)
    return (ended <= 1).float()


class Words:
    """Captions to ids of one length, and logits back to captions.

    Args:
        text: a text tokenizer with one code to a position.
        tokens: T, ids of a caption; what is longer is cut.
    """

    def __init__(self, text: Modality, tokens: int) -> None:
        if text.spec.parts:
            raise ValueError(f"text codes with parts {text.spec.parts}: captions need one code to a position")
        self.text, self.tokens, self.nothing = text, tokens, text.spec.size

    def ids(self, captions: Sequence[str]) -> Tensor:
        """int64 [B, T], filled up with `nothing`."""
        ids = torch.full((len(captions), self.tokens), self.nothing)
        for row, codes in zip(ids, self.text.encode([caption or " " for caption in captions]), strict=True):
            found = codes.ids[: self.tokens]
            row[: len(found)] = found
        return ids

    def captions(self, logits: Tensor) -> list[str]:
        """The likeliest caption of logits [B, T, N + 1], each id among those that may stand there."""
        return [self._caption(rows) for rows in logits.float().cpu()]

    def _caption(self, logits: Tensor) -> str:
        ids: list[int] = []
        whole = 0  # how many of them make a text
        for row in logits:
            legal = self.text.legal(ids)
            if legal.end:
                whole = len(ids)
                if int(row.argmax()) == self.nothing:
                    break
            allowed = torch.cat([torch.arange(r.start, r.stop) for r in legal.ranges])
            ids.append(int(allowed[row[allowed].argmax()]))
        else:
            whole = len(ids) if self.text.legal(ids).end else whole
        return str(self.text.decode([Codes(torch.tensor(ids[:whole]))])[0]).strip() if whole else ""
