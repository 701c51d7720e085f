"""`image.titok`: a picture as a few tokens of a 1D vision transformer (see `modalities.image.vit1d`).

TiTok (Yu et al., arXiv:2406.07550) and TA-TiTok (Kim et al., arXiv:2501.07730) in all released variants, and a
small preset of ours, whose weights ship: it was trained on emoji, and what else goes in comes out coarsely.
The optional linear path (`modalities.image.linear`) is ours, too: both transformers then correct it, the
encoder in units of each latent's spread, the decoder with the linear picture's patches added to its masks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ..common.blocks import init_linear
from ..common.checkpoint import Checkpoint
from ..common.keys import Drop, KeyMap, Rename, Squeeze
from ..common.quantize import Quantizer
from ..common.quantize.config import KLConfig, QuantizerConfig, VQConfig
from .base import ImageConfig, ImageTokenizer, Reconstruction
from .clip_text import CaptionStates
from .linear import LinearPath
from .proxy import DECODER
from .vit1d import SIZES, Decoder, Encoder, ViT1DConfig
from .vqgan import ProxyDecoder

VARIANTS: dict[str, tuple[str, str, int, str]] = {
    "l32": ("large", "large", 32, "legacy"),
    "b64": ("base", "base", 64, "legacy"),
    "s128": ("small", "small", 128, "legacy"),
    "bl64_vq8k": ("base", "large", 64, "vq8k"),
    "bl128_vq8k": ("base", "large", 128, "vq8k"),
    "sl256_vq8k": ("small", "large", 256, "vq8k"),
    "ll32_vae_c16": ("large", "large", 32, "vae"),
    "bl64_vae_c16": ("base", "large", 64, "vae"),
    "bl128_vae_c16": ("base", "large", 128, "vae"),
    "tatitok_bl32_vq": ("base", "large", 32, "vq8k text"),
    "tatitok_bl64_vq": ("base", "large", 64, "vq8k text"),
    "tatitok_bl128_vq": ("base", "large", 128, "vq8k text"),
    "tatitok_bl32_vae": ("base", "large", 32, "vae text"),
    "tatitok_bl64_vae": ("base", "large", 64, "vae text"),
    "tatitok_sl128_vae": ("small", "large", 128, "vae text"),
}
"""Released variants: encoder, decoder, tokens, kind."""


NARROW = -5.0
"""Log-variance that continuous latents with a linear path start from: a spread of .08 beside one of 1."""


class TiTokConfig(ViT1DConfig, ImageConfig):
    """Everything that builds the network."""

    quantizer: QuantizerConfig = Field(VQConfig(), description="kind = vq, fsq, binary or kl, and its fields")
    linear: Literal["pca"] | None = Field(None, description="the linear path; TiTok as published has none")
    components: int = Field(192, description="linear path: principal components")
    reduced: int = Field(32, description="linear path: side of the reduced picture; divides size")

    @classmethod
    def variant(cls, name: str) -> TiTokConfig:
        """The configuration of a released variant.

        Raises:
            ValueError: none is called so.
        """
        if name not in VARIANTS:
            raise ValueError(f"no TiTok is called {name!r}: there are {', '.join(VARIANTS)}")
        encoder, decoder, tokens, kind = VARIANTS[name]
        legacy = kind == "legacy"
        quantizer: Any = KLConfig(dim=16)
        if legacy:
            quantizer = VQConfig(codes=4096, dim=12, l2=True, learn="gradient")
        elif "vq8k" in kind:
            quantizer = VQConfig(codes=8192, dim=64, learn="gradient")
        return cls(
            tokens=tokens,
            encoder=SIZES[encoder],
            decoder=SIZES[decoder],
            head="proxy" if legacy else "smooth",
            legacy=legacy,
            text=77 if "text" in kind else 0,
            start="published",
            quantizer=quantizer,
        )


class TiTokNet(nn.Module):
    """Encoder, quantizer, decoder and head."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)
        self.encoder = Encoder(config, self.quantizer.inputs)
        self.decoder = Decoder(config, self.quantizer.dim)
        width, pixels = config.decoder.width, 3 * config.patch**2
        self.linear: LinearPath | None = None
        if config.head == "proxy":
            self.to_proxy = nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Linear(2 * width, 1024))
            self.proxy = ProxyDecoder()
        else:
            self.to_pixels = nn.Linear(width, pixels)
            init_linear(self.to_pixels)
            nn.init.constant_(self.to_pixels.bias, 0.5)
            self.smooth = nn.Conv2d(3, 3, 3, padding=1) if config.head == "smooth" else None
        if config.linear == "pca":
            dim = self.quantizer.dim
            self.linear = LinearPath(config.size, config.reduced, config.tokens, dim, config.components)
            self.linear_embed = nn.Linear(pixels, width)
            init_linear(self.linear_embed)
            for layer in (self.encoder.out, self.to_pixels):  # the corrections begin at zero
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            nn.init.constant_(self.encoder.out.bias[dim:], NARROW)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] -> latents [B, K, C], not yet quantised."""
        z: Tensor = self.encoder(pictures)
        if self.linear is None:
            return z
        own, more = z.split((self.quantizer.dim, self.quantizer.inputs - self.quantizer.dim), dim=-1)
        return torch.cat([own * self.linear.spread + self.linear.encode(pictures), more], dim=-1)

    def decode(self, z_q: Tensor, text: Tensor | None = None) -> Tensor:
        """Quantised latents [B, K, D] and, if need be, text states [B, 77, 768] -> pictures [B, 3, S, S]."""
        return self._pictures(z_q, text)[0]

    def proxy_logits(self, z_q: Tensor) -> Tensor:
        """Logits over the VQGAN's codes [B, 1024, h, w], for proxy heads."""
        logits = self.to_proxy(self.decoder(z_q))
        return rearrange(logits, "b (h w) n -> b n h w", h=self.config.side)

    def forward(self, pictures: Tensor, text: Tensor | None = None, paint: bool = True) -> Reconstruction:
        """What training compares with the pictures [B, 3, S, S].

        With paint=False a proxy head stops at its logits, and the pictures are those that came in.
        """
        quantized = self.quantizer(self.encode(pictures))
        if not paint and self.config.head == "proxy":
            return Reconstruction(pictures, quantized, {"proxy_logits": self.proxy_logits(quantized.z_q)})
        made, features = self._pictures(quantized.z_q, text)
        return Reconstruction(made, quantized, features)

    def _pictures(self, z_q: Tensor, text: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if self.config.head == "proxy":
            logits = self.proxy_logits(z_q)
            return self.proxy(logits), {"proxy_logits": logits}
        if self.linear is None:
            return self._unpatch(self.decoder(z_q, text)), {}
        coarse = self.linear.decode(z_q)
        side = self.config.patch
        patches = rearrange(coarse, "b c (h p) (w q) -> b (h w) (p q c)", p=side, q=side)
        paint = self.linear_embed(patches - self.config.shift)
        return coarse + self._unpatch(self.decoder(z_q / self.linear.spread, text, paint)), {}

    def _unpatch(self, tokens: Tensor) -> Tensor:
        side, rows = self.config.patch, self.config.side
        patches = self.to_pixels(tokens)
        pictures = rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=rows, p=side, q=side, c=3)
        return pictures if self.smooth is None else self.smooth(pictures)


KEYS = KeyMap(
    Drop(r"^quantize\.embed_prob$"),  # the running usage of CVQ training
    Drop(r"\.positional_embedding\.freqs_(cos|sin)$"),  # FlowTok's angles, computed here
    Rename(r"^latent_tokens$", "encoder.latents"),
    Squeeze(r"mask_token$", (0, 1)),
    Rename(r"\.class_embedding$", ".cls"),
    Rename(r"\.positional_embedding$", ".place"),
    Rename(r"\.latent_token_positional_embedding$", ".latent_place"),
    Rename(r"\.text_guidance_positional_embedding$", ".text_place"),
    Rename(r"\.text_guidance_proj\.", ".text_embed."),
    Rename(r"\.mask_token$", ".mask"),
    Rename(r"\.patch_embed\.", ".embed."),
    Rename(r"\.decoder_embed\.", ".embed."),
    Rename(r"^(encoder|decoder)\.(ln_pre|ln_post)\.", r"\1.body.\2."),
    Rename(r"\.transformer\.(\d+)\.", r".body.blocks.\1."),
    Rename(r"\.ln_([12])\.", r".norm_\1."),
    Rename(r"\.attn\.in_proj_", ".attn.qkv."),
    Rename(r"\.attn\.(out_)?proj\.", ".attn.out."),
    Rename(r"\.mlp\.(c_fc|w12)\.", ".mlp.up."),
    Rename(r"\.mlp\.(c_proj|w3)\.", ".mlp.down."),
    Rename(r"^encoder\.conv_out\.", "encoder.out."),
    Squeeze(r"^encoder\.out\.weight$"),
    Rename(r"^quantize\.embedding\.weight$", "quantizer.codebook"),
)
"""Names of all kinds of checkpoint; the heads have maps of their own."""

SMOOTH = KeyMap(
    Rename(r"^decoder\.ffn\.0\.", "to_pixels."),
    Squeeze(r"^to_pixels\.weight$"),
    Rename(r"^decoder\.conv_out\.", "smooth."),
)
PROXY = KeyMap(
    Rename(r"^decoder\.ffn\.", "to_proxy."),
    Squeeze(r"^to_proxy\.\d\.weight$"),
    Rename(r"^pixel_quantize\.embedding\.weight$", "proxy.codebook"),
    Rename(r"^pixel_decoder\.", "proxy.decoder."),
    *DECODER,
)


def released(checkpoint: Checkpoint) -> tuple[TiTokConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of any released TiTok or TA-TiTok, or of FlowTok's tokenizer.

    Everything follows from the shapes, the presence of a VQGAN decoder (legacy), of a codebook (VQ) and of
    rotary angles (FlowTok); whether codes are compared on the unit sphere from config.json, or else from the
    shape of the paper's codebook.
    """
    state = checkpoint.state
    legacy = any(key.startswith("pixel_decoder.") for key in state)
    table = state.get("quantize.embedding.weight")
    patch = state["encoder.patch_embed.weight"]
    tokens, cls = state["latent_tokens"].shape[0], "encoder.class_embedding" in state
    angles = state.get("encoder.positional_embedding.freqs_cos")
    grid = state["encoder.positional_embedding"].shape[0] - cls if angles is None else angles.shape[0]
    text = state.get("decoder.text_guidance_positional_embedding")
    quantizer: Any = KLConfig(dim=state["encoder.conv_out.weight"].shape[0] // 2)
    if table is not None:
        said = checkpoint.config.get("model", {}).get("vq_model", {})
        l2 = bool(said.get("use_l2_norm", tuple(table.shape) == (4096, 12)))
        quantizer = VQConfig(codes=table.shape[0], dim=table.shape[1], l2=l2, learn="gradient")
    config = TiTokConfig(
        size=round(grid**0.5) * patch.shape[-1],
        patch=patch.shape[-1],
        tokens=tokens,
        encoder=_size(state, "encoder"),
        decoder=_size(state, "decoder"),
        cls=cls,
        place="absolute" if angles is None else "rope",
        mlp="swiglu" if "encoder.transformer.0.mlp.w12.weight" in state else "gelu",
        head="proxy" if legacy else "smooth",
        legacy=legacy,
        text=0 if text is None else text.shape[0],
        start="published",
        quantizer=quantizer,
    )
    return config, (PROXY if legacy else SMOOTH).ours(KEYS.ours(state))


def _size(state: dict[str, Tensor], half: str) -> Any:
    """Width, layers and heads of a half: heads have 64 channels in all of them."""
    width = state[f"{half}.ln_pre.weight"].shape[0]
    layers = sum(key.startswith(f"{half}.transformer.") and key.endswith(".ln_1.weight") for key in state)
    return {"width": width, "layers": layers, "heads": width // 64}


class TiTok(ImageTokenizer):
    """Pictures through TiTok; see `ImageTokenizer` for the options that all systems have.

    Args:
        text: for TA-TiTok, the states of captions that guide the decoder: a tensor [77, 768] for all
            pictures or [B, 77, 768], a function that gives one from a list of captions, or the folder of a CLIP
            (`modalities.image.clip_text`); `decode` and `decode_tensor` take `text` as well (and captions, if
            the option is a function or a folder).
    """

    tokenizer = "image.titok"
    Config, Net = TiTokConfig, TiTokNet
    default = "emoji64"
    released = staticmethod(released)

    def __init__(
        self,
        *args: Any,
        text: Tensor | Callable[[list[str]], Tensor] | str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.text = CaptionStates(text, device=str(self.device)) if isinstance(text, str | Path) else text

    @classmethod
    def preset(cls, name: str) -> TiTokConfig:
        """A released variant: l32, b64, s128, bl64_vq8k, … tatitok_sl128_vae."""
        return TiTokConfig.variant(name)

    def guidance(self, count: int, **given: Any) -> dict[str, Any]:
        """The text states [count, 77, 768] for networks with text guidance.

        Raises:
            TypeError: another keyword.
            ValueError: they are missing, not of this number, or not wanted.
        """
        if unknown := given.keys() - {"text"}:
            raise TypeError(f"decode takes text, and no {', '.join(sorted(unknown))}")
        if not self.config.text:
            if given.get("text") is not None:
                raise ValueError("these weights take no text: only TA-TiTok decodes with captions")
            return {}
        text = given.get("text")
        if callable(self.text):
            text = self.text(list(text)) if text is not None and not isinstance(text, Tensor) else text
        elif text is None:
            text = self.text
        if not isinstance(text, Tensor):
            raise ValueError(
                "TA-TiTok decodes with text states [B, 77, 768] of CLIP ViT-L/14's last layer, and none were "
                "given: pass text=, or create it with text= a tensor, a function of captions or a CLIP folder"
            )
        text = text.expand(count, -1, -1) if text.dim() == 2 else text
        if text.shape != (count, self.config.text, 768):
            raise ValueError(
                f"text states of shape {list(text.shape)} for {count} pictures: give [{count}, 77, 768]"
            )
        return {"text": text}
