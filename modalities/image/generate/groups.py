"""DetailFlow's generator: a GPT that writes the first group of codes one by one, and then a whole group at a time.

    generator = Groups(GroupsConfig.preset("l"))
    codes = generator.sample(classes [B], generator.config.sampling, torch.Generator())      # int64 [B, K]

Liu et al., arXiv:2505.21473, section 3.5: LlamaGen's transformer with one mask and one table of rotations of its own. What
goes in is the class, the first group, G - 1 learned tokens, the other groups but the last; from the first group on the
output at a place of one group tells the code at the same place of the next. So K codes take G + K / G - 1 forwards.
It may be trained on codes that were made wrong and corrected (`image.detailflow`'s `corrected`), to write on from errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ...common import guidance
from ...common.attention import Cache, TurnHeads
from ...common.keys import KeyMap, Rename
from ...common.positions import Turn, angles, grid
from ..detail import group_causal
from .llamagen import NAMES, LlamaGen, LlamaGenConfig, LlamaGenSampling, likeliest, shape, size

if TYPE_CHECKING:
    from ...common.checkpoint import Checkpoint

PUBLISHED = {128: 1.45, 256: 1.5, 512: 1.32}
"""Scale of the guidance for so many codes."""


class GroupsSampling(LlamaGenSampling):
    """How codes are drawn. The published figures take all codes at temperature 1."""

    guidance: float = Field(1.45, ge=0, description="scale of the guidance; 0 or 1 = none")


class GroupsConfig(LlamaGenConfig):
    """Everything that builds the generator, and how it is best sampled from."""

    tokens: int = Field(128, ge=1, description="codes of an image, a multiple of group")
    group: int = Field(8, ge=2, description="codes of a group")
    codes: int = Field(8192, ge=2, description="size of the tokenizer's codebook")
    width: int = 1024
    layers: int = Field(24, ge=1)
    heads: int = 16
    hidden: int = 2816
    sampling: GroupsSampling = GroupsSampling()

    @model_validator(mode="after")
    def _whole(self) -> GroupsConfig:
        if self.tokens % self.group:
            raise ValueError(f"tokens {self.tokens} are no whole groups of {self.group}: choose a multiple")
        return self

    @classmethod
    def preset(cls, name: str, tokens: int = 128) -> GroupsConfig:
        """A size of LlamaGen's: "b", "l" (the released one), "xl" or "xxl".

        Raises:
            ValueError: another name.
        """
        sampling = GroupsSampling(guidance=PUBLISHED.get(tokens, 1.45))
        return cls(tokens=tokens, sampling=sampling, **size(name, "generator of groups"))


class Groups(LlamaGen):
    """The generator, its training loss and its sampler."""

    KEYS = KeyMap(Rename(r"^spe_tok_embeddings\.special_embeddings\.weight$", "between"), *NAMES)

    def own(self, width: int) -> None:
        """What stands between the first group and the others."""
        self.between = nn.Parameter(torch.randn(self.config.group - 1, width) * 0.02)

    def forward(self, codes: Tensor, classes: Tensor, caches: list[Cache] | None = None) -> Tensor:
        """Logits of what comes next.

        Args:
            codes: int64 [B, n], the codes so far: fewer than a group, or whole groups but the last.
            classes: int64 [B], -1 for no class.
            caches: keys and values of what an earlier call has seen; one for each block.

        Returns:
            [B, m, N], one row for each place of what went in: the last one tells code n while the first group is being
            written, the last G the next group; with caches that have seen something the new places alone.

        Raises:
            ValueError: a number of codes after which nothing can come.
        """
        group, count = self.config.group, codes.shape[1]
        if count >= self.config.tokens or (count > group and count % group):
            raise ValueError(
                f"{count} codes: give fewer than {group}, or whole groups of {group} that are not yet "
                f"{self.config.tokens}"
            )
        x = torch.cat([self.first(classes), self.embed(codes)], dim=1)
        if count >= group:
            between = self.between.expand(len(x), -1, -1).to(x.dtype)
            x = torch.cat([x[:, : group + 1], between, x[:, group + 1 :]], dim=1)
        seen = caches[0].count if caches else 0
        total = x.shape[1]
        x = F.dropout(x[:, seen:], self.config.dropout, self.training)
        turn, mask = self.turn(seen, total), group_causal(total, group)[seen:].to(x.device)
        for number, block in enumerate(self.blocks):
            x = block(x, turn=turn, mask=mask, cache=caches[number] if caches else None)
        out: Tensor = self.head(self.norm_out(x))
        return out

    def angles(self, total: int) -> Tensor:
        """Angles [total, d / 2] of all places: half the channels of a head tell the group, half the place in it.

        The first place is the class: its angles are not in use, see `turn`.
        """
        config = self.config
        half = config.width // config.heads // 2
        table = angles(grid(config.tokens // config.group, config.group), (half, half))
        return torch.cat([torch.zeros_like(table[:1]), table])[:total]

    def turn(self, seen: int, total: int) -> TurnHeads:
        """The rotation of places `seen` to `total`.

        The released weights were trained with cosine and sine of the class both zero: its queries and keys vanish, so
        that it is looked at by all alike.
        """
        rotate = Turn(self.angles(total)[seen:])
        kept = torch.ones(total - seen, 1)
        kept[: max(0, 1 - seen)] = 0.0

        def turned(heads: Tensor) -> Tensor:
            return rotate(heads) * kept.to(heads)

        return turned

    def loss(
        self,
        codes: Tensor,
        classes: Tensor,
        *,
        drop: float = 0.1,
        correction: float = 0.3,
        generator: Generator | None = None,
    ) -> Tensor:
        """Cross-entropy of the codes.

        Args:
            codes: int64 [B, K], or triples [B, K, 3]: the true ones, those with a wrong piece, what belongs at each place.
            classes: int64 [B].
            drop: share of the rows that lose their class, which guidance needs.
            correction: in training, share of the rows of triples that are written on from a wrong piece.
            generator: of both draws.
        """
        dropped = (torch.rand(len(codes), generator=generator) < drop).to(codes.device)
        given = wanted = codes
        if codes.dim() == 3:
            wrong = torch.rand(len(codes), 1, generator=generator) < (correction if self.training else 0.0)
            wrong = wrong.to(codes.device)
            given = torch.where(wrong, codes[..., 1], codes[..., 0])
            wanted = torch.where(wrong, codes[..., 2], codes[..., 0])
        logits = self(given[:, : -self.config.group], torch.where(dropped, -1, classes))
        return F.cross_entropy(logits.transpose(1, 2), wanted)

    @torch.no_grad()
    def sample(
        self, classes: Tensor, sampling: GroupsSampling | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Codes int64 [B, K] of classes [B], in G + K / G - 1 forwards."""
        how = sampling or self.config.sampling
        group, rows = self.config.group, len(classes)
        guided = how.guidance not in (0.0, 1.0)
        both = torch.cat([classes, torch.full_like(classes, -1)]) if guided else classes
        caches = [Cache(self.config.tokens) for _ in self.blocks]
        ids = classes.new_zeros(rows, 0)
        while ids.shape[1] < self.config.tokens:
            new = 1 if ids.shape[1] < group else group
            logits = self(ids.repeat(len(both) // rows, 1), both, caches=caches)[:, -new:]
            if guided:
                logits = guidance.guided(*logits.chunk(2), how.guidance)
            flat = likeliest(logits.float().flatten(0, 1) / how.temperature, how.top_k, how.top_p)
            drawn = torch.multinomial(flat.softmax(-1).cpu(), 1, generator=generator)
            ids = torch.cat([ids, drawn.view(rows, new).to(ids.device)], dim=1)
        return ids

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[GroupsConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released generator; sizes come from the shapes.

        The number of codes is in no tensor: it is what config.json says (`block_size`), or else 128. Heads have 64 channels.
        """
        state = Groups.KEYS.ours(checkpoint.state)
        said: Any = checkpoint.config.get("block_size")
        tokens = said if isinstance(said, int) and said > 0 else 128
        config = GroupsConfig(
            tokens=tokens,
            group=state["between"].shape[0] + 1,
            sampling=GroupsSampling(guidance=PUBLISHED.get(tokens, 1.45)),
            **shape(state),
        )
        return config, state
