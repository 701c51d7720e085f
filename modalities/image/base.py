"""What every image tokenizer shares: items to tensors and back, batches, files, comparing, weights.

A system is a subclass that names its configuration and its network:

    class TiTok(ImageTokenizer):
        tokenizer = "image.titok"
        Config, Net = TiTokConfig, TiTokNet
        released = staticmethod(…)         # (checkpoint) -> (config, state in our names)

A network has `quantizer`, `encode(pictures) -> z [B, K, C]` before the quantizer and
`decode(z_q [B, K, D], **guidance) -> pictures`, with pictures [B, 3, H, W] in the range of its configuration. Where
codes are nested (`ImageConfig.lengths`), `decode` takes the first k of them, too; a network that can encode the first
ones for less says `cheap_prefix = True` and takes `encode(pictures, count=k)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast, get_args

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from unitok.budget import longest
from unitok.modality import BadCodes, Codes, Item, Spec
from unitok.strict import Strict

from ..common.checkpoint import Checkpoint
from ..common.pretrained import CHUNK, encode_alike, network
from ..common.quantize import KL, Quantized, Quantizer
from ..common.training import TokenizerTask
from ..common.weights import fingerprint
from . import io
from .pictures import PictureModality

SHIPPED = Path(__file__).parent / "weights"
CLOSE = 3e-5
"""A position with less margin is decided again by the picture alone: sums differ (by up to 1e-6 here)
with the size of a batch, and the codes of a picture must not depend on its company."""

Precision = Literal["fp32", "bf16"]


class ImageConfig(Strict):
    """What the configuration of every system has. `size` and `tokens` are its own."""

    size: int = Field(64, ge=1, description="side of the pictures in pixels")
    tokens: int = Field(32, ge=1, description="codes of a picture")
    range: tuple[float, float] = Field((0.0, 1.0), description="values of black and white in the network")
    resize: io.Resize = Field(
        "cover",
        description="the picture's middle square (three ways), or all of it squeezed: modalities.image.io.fit",
    )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The numbers of codes that a picture may have, in rising order; more than one where codes are nested."""
        return (self.tokens,)

    @field_validator("range")
    @classmethod
    def _apart(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError(
                f"range {list(value)} has no room: black is below white, as in [0, 1] or [-1, 1]"
            )
        return value


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a network's forward gives in training.

    pictures: [B, 3, H, W] in the network's range, not clamped; quantized: see `Quantized`; features: what
    losses may want, by name ("proxy_logits" [B, N, h, w], "semantic" [B, N, W]); wanted: what they should be, in the
    network's range, where that is not what came in.
    """

    pictures: Tensor
    quantized: Quantized
    features: Mapping[str, Tensor] = field(default_factory=dict)
    wanted: Tensor | None = None


class Network(Protocol):
    """The network of a system."""

    quantizer: Quantizer

    def encode(self, pictures: Tensor, **first: int) -> Tensor:
        """Pictures [B, 3, H, W] -> latents [B, K, C] before the quantizer."""
        ...

    def decode(self, z_q: Tensor, **guidance: Any) -> Tensor:
        """Quantised latents [B, K, D] -> pictures [B, 3, H, W]."""
        ...


class ImageTokenizer(PictureModality):
    """Pictures through a network.

    Items are PIL images, paths or float tensors [3, H, W] in [0, 1]. Codes: int64 [tokens], or [tokens, parts].

    Args:
        weights: name of shipped weights, path of a .safetensors file of ours, path of a released file or
            folder, or None for a network with random weights (drawn from `seed`), which `preset` and
            `options` then shape. If not given: the system's default, with `preset` None.
        preset: a published shape, by name; beside a released file: what it must be.
        name: block name in the vocabulary.
        budget: most codes that `encode` gives, where any first codes are a coarser picture; None = all.
        seed: of random weights.
        device: where the network runs.
        precision: "bf16" runs encoder and decoder under autocast; the quantizer stays in fp32.
        compile: run encoder and decoder through torch.compile, which needs a C++ compiler on CPUs: the first
            batch takes a minute, sums change in their last bits, and the tokenizer cannot be pickled.
        options: fields of the configuration, for weights=None; those in `adjustable` beside weights, too.

    Raises:
        FileNotFoundError: no such weights; what ships is named.
        WeightsMismatch: the file fits another network, or is of another preset.
        ValueError: another `precision`, a device that is not there, or a budget that holds no picture.
    """

    tokenizer: ClassVar[str]
    Config: ClassVar[type[Any]]
    Net: ClassVar[type[Any]]
    default: ClassVar[str | None] = None
    adjustable: ClassVar[frozenset[str]] = frozenset()
    losses: ClassVar[Mapping[str, Any]] = {}
    """The `[loss]` table of a run that has none, where the usual one does not fit."""

    def __init__(
        self,
        weights: str | Path | None = "",
        *,
        preset: str | None = None,
        name: str = "image",
        budget: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        precision: Precision = "fp32",
        compile: bool = False,
        **options: Any,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision {precision!r}: use one of {', '.join(get_args(Precision))}")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:100]
            raise ValueError(
                f"device {device!r} cannot be used here ({reason}): name another, as in cpu"
            ) from error
        if weights == "":
            weights = self.default if preset is None else None
        self.config, net = network(
            weights,
            options,
            seed,
            tokenizer=self.tokenizer,
            shipped=SHIPPED,
            config=self.Config,
            build=self.Net,
            preset=None if preset is None else self.preset(preset),
            released=self.released,
            adjustable=self.adjustable,
        )
        # Channels-last kernels convolve a quarter faster on CPUs, twice as fast in bf16. Training keeps the plain
        # layout, which DeepSpeed asks for.
        net = net.to(device=device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compile:
            for half in ("encode", "decode"):
                setattr(net, half, torch.compile(getattr(net, half)))
        self.net = cast("Network", net)
        self.name, self.device, self.precision = name, torch.device(device), precision
        self._spec: Spec | None = None
        self.budget = self.config.lengths[-1] if budget is None else longest(self.config.lengths, budget)

    @classmethod
    def preset(cls, name: str) -> Any:
        """A published configuration by name.

        Raises:
            ValueError: there is none of that name.
        """
        raise ValueError(f"{cls.tokenizer} has no presets, so none is called {name!r}")

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[Any, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released checkpoint."""
        raise ValueError(f"{checkpoint.source} is no weight file of this tokenizer: none was released")

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        """See `unitok.modality.Spec`.

        Raises:
            TypeError: continuous latents have no codes.
        """
        if self._spec is None:
            quantizer, config = self.net.quantizer, self.config
            if not quantizer.size:
                raise TypeError(
                    f"{self.tokenizer} with these weights has continuous latents and no codes, so it cannot enter "
                    "a vocabulary: use latents() and decode_tensor(latents), or weights with a codebook"
                )
            told = {"tokenizer": self.tokenizer, **config.model_dump(mode="json")}
            self._spec = Spec(
                name=self.name,
                size=quantizer.size,
                length=(config.lengths[0], config.lengths[-1]),
                fingerprint=fingerprint(told, cast("nn.Module", self.net)),
                parts=quantizer.parts,
                nested=config.lengths if len(config.lengths) > 1 else (),
            )
        return self._spec

    # -------------------------------------------------------------------- codes

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Pictures to codes; the same alone or in a batch. `Modality.shorten` makes coarser pictures of nested codes.

        Raises:
            BadItem: not a picture, empty, or a tensor outside [0, 1].
            TypeError: continuous latents have no codes.
        """
        pictures = [self._tensor(i, item) for i, item in enumerate(items)]
        self.spec  # noqa: B018  (refuses continuous latents)
        most = self.config.lengths[-1]
        whole = (lambda picture: self._latents(picture, most)) if self._short else None
        ids = encode_alike(pictures, self._latents, self.net.quantizer, CLOSE, whole)
        return [Codes(each[: self.budget].cpu().clone()) for each in ids]

    def encoding(self) -> dict[str, Any]:
        """The budget, where one was given."""
        return {"budget": self.budget} if self.budget < self.config.lengths[-1] else {}

    def latents(self, items: Sequence[Item]) -> Tensor:
        """Latents before the quantizer, float32 [B, K, D]; of continuous systems the posterior's mean.

        Raises:
            BadItem: as in `encode`.
        """
        pictures = [self._tensor(i, item) for i, item in enumerate(items)]
        found = []
        for at in range(0, len(pictures), CHUNK):
            z = self._latents(torch.stack(pictures[at : at + CHUNK]))
            quantizer = self.net.quantizer
            found.append((quantizer.posterior(z)[0] if isinstance(quantizer, KL) else z).cpu())
        return torch.cat(found) if found else torch.zeros(0, self.config.tokens, self.net.quantizer.dim)

    def decode(self, codes: Sequence[Codes], **guidance: Any) -> list[Item]:
        """Codes to PIL images of the tokenizer's size, or of that which so many codes have.

        Raises:
            BadCodes: codes out of range or of a number that no picture has.
        """
        return [io.to_image(picture) for picture in self._each_decoded(codes, **guidance)]

    def decode_tensor(self, codes: Sequence[Codes] | Tensor, **guidance: Any) -> Tensor:
        """Codes, or latents [B, k, D], to pictures, float32 [B, 3, S, S], black 0 and white 1, not clamped.

        `guidance` is what the network's decoder takes beside the latents, with the batch first.

        Raises:
            BadCodes: as in `decode`.
            ValueError: latents of another shape, or codes whose pictures have several sizes.
        """
        if not len(codes):
            return torch.zeros(0, 3, self.config.size, self.config.size)
        if isinstance(codes, Tensor):
            lengths, dim = self.config.lengths, self.net.quantizer.dim
            fits = codes.dim() == 3 and codes.shape[1] in lengths and codes.shape[2] == dim
            if not fits or not codes.is_floating_point():
                raise ValueError(
                    f"latents are floats {[len(codes), lengths[-1], dim]}, not {codes.dtype} {list(codes.shape)}: give "
                    "what latents() gives, or a list of Codes"
                )
            return self._decoded(codes.float(), self.guidance(len(codes), **guidance))
        made = self._each_decoded(codes, **guidance)
        if len(sizes := {tuple(picture.shape[1:]) for picture in made}) > 1:
            raise ValueError(
                f"pictures of {len(sizes)} sizes make no tensor: decode() gives them one by one, or shorten codes alike"
            )
        return torch.stack(made)

    def _each_decoded(self, codes: Sequence[Codes], **guidance: Any) -> list[Tensor]:
        """The picture [3, S, S] of each; those with equally many codes go through the network together."""
        alike: dict[int, list[int]] = {}
        for row, each in enumerate(codes):
            alike.setdefault(len(self._checked(row, each)), []).append(row)
        given = self.guidance(len(codes), **guidance)
        made: list[Tensor] = [torch.empty(0)] * len(codes)
        for rows in alike.values():
            z_q = self.net.quantizer.lookup(
                torch.stack([codes[row].ids.long() for row in rows]).to(self.device)
            )
            part = {key: self._rows(value, rows) for key, value in given.items()}
            for row, picture in zip(rows, self._decoded(z_q, part), strict=True):
                made[row] = picture
        return made

    def _decoded(self, z_q: Tensor, given: Mapping[str, Any]) -> Tensor:
        """Pictures, float32 [B, 3, S, S] with black 0 and white 1, of latents [B, k, D]."""
        low, high = self.config.range
        made = []
        for at in range(0, len(z_q), CHUNK):
            rows = range(at, min(at + CHUNK, len(z_q)))
            part = {key: self._rows(value, rows) for key, value in given.items()}
            with torch.no_grad(), self._autocast():
                pictures = self.net.decode(z_q[at : at + CHUNK].to(self.device), **part)
            made.append(pictures.float().cpu())
        pictures = torch.cat(made)
        return pictures if (low, high) == (0.0, 1.0) else (pictures - low) / (high - low)

    def guidance(self, count: int, **given: Any) -> dict[str, Any]:
        """What the decoder takes beside the latents of `count` pictures; systems fill in their own."""
        return given

    def _rows(self, value: Any, rows: Sequence[int]) -> Any:
        """What belongs to some pictures, of a tensor with the batch first; anything else belongs to all."""
        return value[list(rows)].to(self.device) if isinstance(value, Tensor) else value

    @property
    def _short(self) -> bool:
        """Whether the budget lets the network encode less than all codes."""
        return self.budget < self.config.lengths[-1] and getattr(self.net, "cheap_prefix", False)

    def _latents(self, pictures: Tensor, count: int | None = None) -> Tensor:
        """Latents [B, K, C] of pictures [B, 3, S, S] in [0, 1]; of networks that can, the first `count`."""
        low, high = self.config.range
        pictures = pictures.to(self.device)
        if (low, high) != (0.0, 1.0):
            pictures = pictures * (high - low) + low
        first = {"count": count or self.budget} if getattr(self.net, "cheap_prefix", False) else {}
        with torch.no_grad(), self._autocast():
            return self.net.encode(pictures, **first).float()

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def _checked(self, index: int, codes: Codes) -> Tensor:
        if not isinstance(codes, Codes):
            raise BadCodes(f"item {index}: a {type(codes).__name__}: give Codes(ids)")
        ids = codes.ids
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise BadCodes(f"item {index}: codes of {ids.dtype}: give whole numbers, as int64")
        parts, lengths = torch.tensor(self.spec.parts or (self.spec.size,)), self.config.lengths
        beside = [len(parts)] if self.spec.parts else []
        if ids.dim() != 1 + len(beside) or len(ids) not in lengths or list(ids.shape[1:]) != beside:
            some = f", or a first {lengths[0]} to {lengths[-2]} of them" if len(lengths) > 1 else ""
            raise BadCodes(
                f"item {index}: codes of shape {list(ids.shape)}, but a picture has {[lengths[-1], *beside]}{some}"
            )
        columns = ids if self.spec.parts else ids.unsqueeze(-1)
        if bool(((columns < 0) | (columns >= parts)).any()):
            raise BadCodes(f"item {index}: a code is outside its range: {parts.tolist()} codes, from 0")
        return ids.long()

    @classmethod
    def training_task(
        cls,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> TokenizerTask:
        """What `modalities.common.trainer` trains; see `modalities.image.training`."""
        from .training import PictureTask

        return PictureTask(cls, model, data, root, loss)
