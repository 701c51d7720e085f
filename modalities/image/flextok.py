"""`image.flextok`: a picture as 1 to 256 codes of 64,000, any first ones of which are a picture.

FlexTok (Bachmann et al., arXiv:2502.13967) in all released variants, and a small preset of ours. The encoder is
deterministic: where the official program samples the VAE's posterior, so that its codes differ from call to call,
here its mean is taken (`posterior="sample"` draws, with fixed noise). The decoder follows a flow from noise: `seed` says
which, and the same codes and seed give the same picture in any company. See `modalities.image.flextok_net`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unitok.strict import validate

from ..common.flow import between, euler, logit_normal, velocity_target
from ..common.guidance import Projected, Schedule, guided
from ..common.losses.semantic import semantic_head
from ..common.nested import draw
from ..common.quantize import Quantizer
from .base import ImageTokenizer, Reconstruction
from .flextok_config import PRESETS, FlexTokConfig, Sampling
from .flextok_linear import Around, Spread, kept
from .flextok_net import Conditions, Decoder, Encoder, Registers
from .flextok_released import ours, released
from .linear import LinearPath
from .vae import ConvVAE, LinearVAE

FEW = 512
"""Pictures from which distances to linear ones are taken."""


class FlexTokNet(nn.Module):
    """The VAE, which does not train, encoder, quantizer and decoder."""

    cheap_prefix = True

    def __init__(self, config: FlexTokConfig) -> None:
        super().__init__()
        step = config.vae.factor * config.patch
        if config.size % step:
            raise ValueError(
                f"pictures of {config.size} pixels in patches of {config.patch} latents, {config.vae.factor} pixels "
                f"each: the side must be a multiple of {step}"
            )
        if config.semantic and config.layer > config.decoder.layers:
            raise ValueError(
                f"layer = {config.layer}, but the decoder has {config.decoder.layers}: name one of them"
            )
        self.config = config
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)
        self.vae: ConvVAE | LinearVAE = config.vae.build().requires_grad_(False)
        self.encoder = Encoder(config, self.quantizer.inputs)
        self.decoder = Decoder(config, self.quantizer.dim)
        self.semantic = semantic_head(config.decoder.width, config.semantic) if config.semantic else None
        self.linear: LinearPath | None = None
        if config.linear:
            dim = self.quantizer.dim
            self.linear = LinearPath(config.size, config.reduced, config.tokens, dim, config.components)
            self.spread = Spread(config.tokens, config.vae.latents)

    def encode(self, pictures: Tensor, count: int | None = None) -> Tensor:
        """Pictures [B, 3, S, S] -> latents [B, k, D] before the quantizer, of the first `count` registers or all."""
        z: Tensor = self.encoder(self._latents(pictures), count)
        if self.linear is None:
            return z
        return z * self.linear.spread[:count] + self.linear.encode(pictures)[:, :count]

    def decode(
        self,
        z_q: Tensor,
        noise: Tensor | None = None,
        steps: int | None = None,
        scale: float | Schedule | None = None,
        projected: bool | None = None,
    ) -> Tensor:
        """Codes' latents [B, k, D] -> pictures [B, 3, S, S].

        Args:
            z_q: the first k of K.
            noise: where the flow begins, [B, C, h, w]; that of the seeds 0 to B - 1 if not given.
            steps, scale, projected: fields of `Sampling`, the configuration's if not given; `scale` may also be a
                function of the way done, from 0 to 1.
        """
        asked = self.config.sampling
        noise = self.noise(range(len(z_q))).to(z_q.device) if noise is None else noise
        steps, scale = steps or asked.steps, asked.scale if scale is None else scale
        latents = self.sample(z_q, noise, steps, scale, asked.projected if projected is None else projected)
        return self.vae.decode(latents / self.config.scaling_factor)

    def sample(
        self, z_q: Tensor, noise: Tensor, steps: int, scale: float | Schedule, projected: bool
    ) -> Tensor:
        """Follow the flow from noise [B, C, h, w] to latents."""
        times = torch.linspace(1, 0, steps + 1, device=z_q.device)
        conditions = self.decoder.conditions(times[:-1])
        ways = [(self.decoder.told(z_q), self._around(z_q))]
        if scale != 1:
            ways.append((self.decoder.untold(len(z_q)), self._around(z_q[:, :0])))
        apg = Projected(1.0) if projected else None
        number = 0

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal number
            now = conditions.at(number)
            here = scale(number / steps) if callable(scale) else scale
            number += 1
            found = [self._velocity(x, t, now, told, around).float() for told, around in ways]
            if len(found) == 1:
                return found[0]
            if apg is None:
                return guided(*found, here)
            apg.scale = here
            return apg(*found)

        return euler(velocity, noise, times)

    def _around(self, z_q: Tensor, keep: Tensor | None = None) -> Around | None:
        """The linear pictures of codes [B, k, D], all of which count or the first keep [B], if there is a linear path."""
        if self.linear is None:
            return None
        keep = torch.full((len(z_q),), z_q.shape[1]) if keep is None else keep
        with torch.autocast(z_q.device.type, enabled=False):  # at late times the flow divides by little
            pictures = self.linear.decode(kept(z_q.float(), keep, self.config.tokens))
            return Around(self.vae.encode(pictures) * self.config.scaling_factor, self.spread(keep))

    def _velocity(
        self,
        noisy: Tensor,
        t: Tensor,
        conditions: Conditions,
        told: Registers,
        around: Around | None,
        tap: list[Tensor] | None = None,
    ) -> Tensor:
        """The velocity of noisy latents [B, C, h, w] at times t, a scalar or [B]."""
        if around is None:
            found: Tensor = self.decoder(noisy, conditions, told, tap=tap)
            return found
        t = t.view(-1, 1, 1, 1)
        out = self.decoder(around.unit(noisy, t), conditions, told, linear=around.c, tap=tap)
        return around.velocity(noisy, t, out.float())

    def noise(self, seeds: Iterable[int]) -> Tensor:
        """Where the flow begins for each seed, float32 [B, C, h, w]; the same on every machine."""
        side = self.config.side * self.config.patch
        shape = (self.config.vae.latents, side, side)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def forward(self, pictures: Tensor, paint: bool = True) -> Reconstruction:
        """What training compares, of pictures [B, 3, S, S]: features "velocity" and "velocity_target" [B, C, h, w],
        "semantic" [B, N, F] where the configuration asks for it, and with `paint` the pictures that the flow would
        reach in one step from where each stands.
        """
        count, c = len(pictures), self.config
        latents = self._latents(pictures)
        quantized = self.quantizer(self.encode(pictures))
        keep, null = draw(c.nested, c.lengths, count, c.full), torch.rand(count) < c.null
        told = self.decoder.dropped(quantized.z_q, keep, null)
        around = self._around(quantized.z_q, torch.where(null, 0, keep))
        times = logit_normal(count, stratified=c.stratified, device=latents.device)
        noise = torch.randn_like(latents)
        noisy = between(latents, noise, times)
        tap: list[Tensor] = []
        velocity = self._velocity(noisy, times, self.decoder.conditions(times), told, around, tap)
        features = {"velocity": velocity, "velocity_target": velocity_target(latents, noise)}
        if self.semantic is not None:
            features["semantic"] = self.semantic(tap[0])
        if paint:
            reached = noisy - times.view(-1, 1, 1, 1) * velocity
            pictures = self.vae.decode(reached / c.scaling_factor)
        return Reconstruction(pictures, quantized, features)

    @torch.no_grad()
    def fit(self, pictures: Iterable[Tensor]) -> None:
        """Start what starts from data, from pictures [n, 3, S, S] in parts: the components of a linear VAE, and how
        far pictures lie from those of the linear path, which has been started before.
        """
        some: list[Tensor] = []
        if isinstance(self.vae, LinearVAE):
            self.vae.fit(_noting(pictures, some))
        if self.linear is not None:
            few = torch.cat(some or list(pictures))[:FEW]
            latents, z_q = self._latents(few), self.quantizer(self.encode(few)).z_q
            for k in range(self.config.tokens + 1):
                around = self._around(z_q[:, :k])
                assert around is not None
                self.spread.table[k] = (latents - around.c).square().mean((0, 2, 3)).sqrt()

    @staticmethod
    def ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of released files, those of a VAE alone as well, under the names of this network."""
        return ours(state)

    @torch.no_grad()
    def _latents(self, pictures: Tensor) -> Tensor:
        noise = None
        if self.config.posterior == "sample":
            like = self.noise([0]).to(pictures.device)
            noise = torch.randn_like(like.expand(len(pictures), -1, -1, -1)) if self.training else like[0]
        return self.vae.encode(pictures, noise) * self.config.scaling_factor


def _noting(parts: Iterable[Tensor], seen: list[Tensor]) -> Iterator[Tensor]:
    """The parts, of which the first ones are noted."""
    for part in parts:
        if sum(map(len, seen)) < FEW:
            seen.append(part)
        yield part


class FlexTok(ImageTokenizer):
    """Pictures through FlexTok; see `ImageTokenizer` for the options that all systems have.

    Beside weights, what their tensors cannot tell may be given: `scaling_factor`, `max_timestep`, `posterior`.

    Args:
        sampling: fields of `Sampling` to decode with instead of those of the weights, {"steps": 20}.
        seed: of random weights.
    """

    tokenizer = "image.flextok"
    Config, Net = FlexTokConfig, FlexTokNet
    adjustable = frozenset(
        {"scaling_factor", "max_timestep", "posterior", "nested", "full", "null", "sampling"}
    )
    released = staticmethod(released)
    losses = {"flow": 1.0, "l2": 0}

    def __init__(
        self, weights: Any = None, *, sampling: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(weights, **options)
        asked = {**self.config.sampling.model_dump(), **(sampling or {})}
        self.sampling = validate(Sampling, asked, "sampling")

    @classmethod
    def preset(cls, name: str) -> FlexTokConfig:
        """A published shape, "d12_d12", "d18_d18" or "d18_d28", or our "small64".

        Raises:
            ValueError: none is called so.
        """
        if name not in PRESETS:
            raise ValueError(f"no FlexTok is called {name!r}: there are {', '.join(PRESETS)}")
        return PRESETS[name]

    def guidance(
        self,
        count: int,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        scale: float | Callable[[float], float] | None = None,
        projected: bool | None = None,
        **given: Any,
    ) -> dict[str, Any]:
        """How to sample `count` pictures.

        Args:
            count: how many.
            seed: of the noise, one for all or one for each picture.
            steps, scale, projected: fields of `Sampling`; a function as `scale` gets the way done, from 0 to 1.

        Raises:
            TypeError: another keyword.
            ValueError: seeds of another number, or unfit fields.
        """
        if given:
            raise TypeError(f"decode takes seed, steps, scale and projected, and no {', '.join(given)}")
        seeds = [seed] * count if isinstance(seed, int) else list(seed)
        if len(seeds) != count:
            raise ValueError(f"{len(seeds)} seeds for {count} pictures: give one for all, or one for each")
        asked = {"steps": steps, "scale": None if callable(scale) else scale, "projected": projected}
        changes = {key: value for key, value in asked.items() if value is not None}
        found = validate(Sampling, {**self.sampling.model_dump(), **changes}, "sampling").model_dump()
        if callable(scale):
            found["scale"] = scale
        return {"noise": self.net.noise(seeds), **found}  # type: ignore[attr-defined]
