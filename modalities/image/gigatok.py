"""`image.gigatok`: a picture through convolutions and a Q-Former to a row of codes, coarse ones first.

GigaTok (Xiong et al., arXiv:2504.08736) in all released variants, the two-dimensional ablations included, and
small presets of ours for training here. pictures -> `conv` encoder -> `qformer` encoder -> one linear layer ->
codes; back the same way. While it trains, tokens of an early decoder layer are projected to the features of a
frozen image encoder (semantic regularisation), and at first the convolutions are also trained without the
Q-Former between them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from ..common.checkpoint import Checkpoint
from ..common.keys import Drop, KeyMap, Rename, Split, Squeeze
from ..common.losses.semantic import semantic_head
from ..common.quantize import Quantizer
from ..common.quantize.config import QuantizerConfig, VQConfig
from .base import ImageConfig, ImageTokenizer, Reconstruction
from .conv import CHANNELS, ConvDecoder, ConvEncoder
from .qformer import SIZES, Decoder, Encoder, Form
from .vit1d import ViTSize

VARIANTS: dict[str, tuple[str, str, Form, float]] = {
    "VQ_SS256": ("small", "small", "queries", 0.0),
    "VQ_SB256": ("small", "base", "queries", 0.0),
    "VQ_BL256": ("base", "large", "queries", 0.0),
    "VQ_XLXXL256": ("xl", "xxl", "queries", 0.005),
    "VQ_SS256_2d": ("small", "small", "crossed", 0.0),
    "VQ_BL256_2d": ("base", "large", "plain", 0.005),
}
"""Released variants: encoder, decoder, form of the Q-Former, weight of the entropy loss (the largest model
collapses without it). VQ_BL256_dino_disc has the shape of VQ_BL256."""


class GigaTokConfig(ImageConfig):
    """Everything that builds the network; the defaults are the small preset for 64 pixels."""

    range: tuple[float, float] = Field((-1.0, 1.0), description="values of black and white in the network")
    channels: tuple[int, ...] = Field(
        (32, 64, 64, 128), min_length=1, description="of the convolutions at each level; multiples of 32"
    )
    features: int = Field(128, description="channels between convolutions and Q-Former, and around the codes")
    encoder: ViTSize = ViTSize(width=128, layers=3, heads=4)
    decoder: ViTSize = ViTSize(width=192, layers=4, heads=6)
    form: Form = Field("queries", description="of the Q-Former; in the others the tokens are the map's cells")
    quantizer: QuantizerConfig = Field(
        VQConfig(codes=1024, dim=8, l2=True, learn="gradient", rotation=True),
        description="kind = vq, fsq, binary or kl, and its fields",
    )
    semantic: int = Field(
        0, ge=0, description="width of the features to regularise by, 768 for DINOv2-B; 0: none"
    )
    layer: int = Field(3, ge=1, description="decoder layer whose tokens are projected to them")
    start: Literal["wide", "published"] = Field(
        "wide", description="spread of learned positions at the start"
    )

    @property
    def side(self) -> int:
        """Cells in a row of the map of features."""
        return self.size // 2 ** (len(self.channels) - 1)

    @classmethod
    def variant(cls, name: str) -> GigaTokConfig:
        """The configuration of a released variant, or "small64" or "small256" of ours.

        Raises:
            ValueError: none is called so.
        """
        if name == "small64":
            return cls()
        if name == "small256":
            return cls(size=256, tokens=128, channels=(32, 32, 64, 64, 128))
        if name not in VARIANTS:
            raise ValueError(
                f"no GigaTok is called {name!r}: there are small64, small256, {', '.join(VARIANTS)}"
            )
        encoder, decoder, form, entropy = VARIANTS[name]
        return cls(
            size=256,
            tokens=256,
            channels=CHANNELS,
            features=256,
            encoder=SIZES[encoder],
            decoder=SIZES[decoder],
            form=form,
            quantizer=VQConfig(codes=16384, dim=8, l2=True, learn="gradient", rotation=True, entropy=entropy),
            semantic=768,
            resize="halve",
            start="published",
        )


class GigaTokNet(nn.Module):
    """Convolutions, Q-Former, quantizer, Q-Former, convolutions."""

    def __init__(self, config: GigaTokConfig) -> None:
        super().__init__()
        if config.size % 2 ** (len(config.channels) - 1):
            raise ValueError(
                f"size {config.size} cannot be halved {len(config.channels) - 1} times, once between the "
                f"levels of channels {list(config.channels)}: choose a multiple of {2 ** (len(config.channels) - 1)}"
            )
        if config.form != "queries" and config.tokens != config.side**2:
            raise ValueError(
                f"tokens = {config.tokens}, but the {config.form} form has one for each of "
                f"{config.side} x {config.side} cells: {config.side**2}"
            )
        self.config = config
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)
        shape = (config.features, config.side, config.tokens, config.form)
        std = 0.0 if config.start == "published" else 0.5
        self.cnn_encoder = ConvEncoder(config.features, config.channels)
        self.encoder = Encoder(config.encoder, *shape, std)
        self.to_code = nn.Linear(config.features, self.quantizer.inputs)
        self.from_code = nn.Linear(self.quantizer.dim, config.features)
        self.decoder = Decoder(config.decoder, *shape, std)
        self.cnn_decoder = ConvDecoder(config.features, config.channels)
        self.semantic: nn.Module | None = None
        if config.semantic:
            if config.layer > config.decoder.layers:
                raise ValueError(
                    f"layer = {config.layer}, but the decoder has {config.decoder.layers} layers: name one of them"
                )
            self.semantic = semantic_head(config.decoder.width, config.semantic)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] -> latents [B, K, D], not yet quantised.

        Raises:
            ValueError: pictures of another size.
        """
        return self._latents(self._features(pictures))

    def decode(self, z_q: Tensor) -> Tensor:
        """Quantised latents [B, K, D] -> pictures [B, 3, S, S]."""
        made: Tensor = self.cnn_decoder(self.decoder(self.from_code(z_q))[0])
        return made

    def forward(self, pictures: Tensor, direct: bool = False) -> Reconstruction:
        """What training compares with the pictures [B, 3, S, S].

        Args:
            pictures: in the network's range.
            direct: whether to add what the paper's early steps look at, too.

        Returns:
            features "semantic" [B, N, F], where the configuration asks for them, and with `direct`
            "encoded" and "painted", the maps [B, C, h, w] before and after the codes, and "direct", the
            pictures [B, 3, S, S] made from the former.
        """
        encoded = self._features(pictures)
        quantized = self.quantizer(self._latents(encoded))
        painted, inner = self.decoder(
            self.from_code(quantized.z_q), self.config.layer if self.semantic else 0
        )
        features: dict[str, Tensor] = {}
        if self.semantic is not None:
            features["semantic"] = self.semantic(inner)
        if direct:
            features |= {"encoded": encoded, "painted": painted, "direct": self.cnn_decoder(encoded)}
        return Reconstruction(self.cnn_decoder(painted), quantized, features)

    def _features(self, pictures: Tensor) -> Tensor:
        size = self.config.size
        if pictures.shape[1:] != (3, size, size):
            raise ValueError(
                f"pictures of shape {list(pictures.shape[1:])}: this network was built for [3, {size}, {size}], "
                "whose positions it learnt"
            )
        found: Tensor = self.cnn_encoder(pictures)
        return found

    def _latents(self, features: Tensor) -> Tensor:
        z: Tensor = self.to_code(self.encoder(features))
        return z


KEYS = KeyMap(
    Drop(r"^quantize\.codebook_used$"),  # the window of usage in training
    Rename(r"^encoder\.", "cnn_encoder."),
    Rename(r"^decoder\.", "cnn_decoder."),
    Rename(r"^(s2to1|s2d)encoder\.", "encoder."),
    Rename(r"^(s1to2|s2d)decoder\.", "decoder."),
    # convolutions
    Rename(r"\.conv_blocks\.(\d+)\.res\.(\d+)\.", r".levels.\1.\2."),
    Rename(r"\.mid\.", ".middle."),
    Rename(r"^(cnn_\w+\..*)\.(norm|conv)([12])\.", r"\1.\2_\3."),
    Rename(r"\.nin_shortcut\.", ".shortcut."),
    Rename(r"\.conv_blocks\.(\d+)\.downsample\.conv\.", r".halves.\1."),
    Rename(r"\.conv_blocks\.(\d+)\.upsample\.conv_1\.", r".doubles.\1."),
    Rename(r"\.adaptive\.(\d+)\.gamma\.", r".styles.\1.scale."),
    Rename(r"\.adaptive\.(\d+)\.beta\.", r".styles.\1.shift."),
    # Q-Former
    Squeeze(r"positional_embedding$", (1,)),
    Rename(r"\.latent_token_positional_embedding$", ".latent_place"),
    Rename(r"\.positional_embedding$", ".place"),
    Rename(r"\.(encoder|decoder)_embed\.", ".embed."),
    Rename(r"\.ln_pre\.", ".norm_in."),
    Rename(r"\.ln_post\.", ".norm_out."),
    Rename(r"\.global_proj\.", ".query."),
    Rename(r"\.transformer\.(\d+)\.", r".blocks.\1."),
    Rename(r"\.self_attn\.in_proj_", ".attn.qkv."),
    Rename(r"\.self_attn\.out_proj\.", ".attn.out."),
    Split(r"multihead_attn\.in_proj_weight$", {"cross.q.weight": 1, "cross.kv.weight": 2}),
    Split(r"multihead_attn\.in_proj_bias$", {"cross.q.bias": 1, "cross.kv.bias": 2}),
    Rename(r"\.multihead_attn\.out_proj\.", ".cross.out."),
    Rename(r"\.linear1\.", ".mlp.up."),
    Rename(r"\.linear2\.", ".mlp.down."),
    Rename(r"\.norm1\.", ".norm_1."),
    Rename(r"\.norm3\.", ".norm_3."),
    Rename(r"\.norm2\.", ".norm_2."),
    Rename(r"^(encoder|decoder)\.conv_out\.", r"\1.out."),
    Squeeze(r"^encoder\.out\.weight$"),
    Rename(r"^decoder\.distill_mlp\.", "semantic."),
    # codes
    Rename(r"^quantize\.embedding\.weight$", "quantizer.codebook"),
    Rename(r"^quant_conv\.", "to_code."),
    Rename(r"^post_quant_conv\.", "from_code."),
    Squeeze(r"^(to|from)_code\.weight$"),
)


CROSS = KeyMap(Rename(r"(blocks\.\d+)\.norm_2\.", r"\1.norm_cross."), Rename(r"\.norm_3\.", ".norm_2."))
"""The norm before the MLP is the third where the second is that of cross-attention."""


def released(checkpoint: Checkpoint) -> tuple[GigaTokConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of any released GigaTok; everything follows from the shapes."""
    state = KEYS.ours(checkpoint.state)
    form: Form = "queries" if "encoder.latent_place" in state else "crossed"
    if "encoder.blocks.0.norm_3.weight" in state:
        state = CROSS.ours(state)
    else:
        form = "plain"
    levels = sum(key.startswith("cnn_encoder.levels.") and key.endswith(".0.conv_1.weight") for key in state)
    side = round(state["encoder.place"].shape[0] ** 0.5)
    codes, dim = state["quantizer.codebook"].shape
    place = state.get("encoder.latent_place", state["encoder.place"])
    head = state.get("semantic.4.weight")
    encoder, decoder = _size(state, "encoder"), _size(state, "decoder")
    entropy = {(SIZES[e], SIZES[d], f): weight for e, d, f, weight in VARIANTS.values()}
    config = GigaTokConfig(
        size=side * 2 ** (levels - 1),
        tokens=place.shape[0],
        channels=tuple(state[f"cnn_encoder.levels.{i}.0.conv_1.weight"].shape[0] for i in range(levels)),
        features=state["cnn_encoder.conv_out.weight"].shape[0],
        encoder=encoder,
        decoder=decoder,
        form=form,
        quantizer=VQConfig(
            codes=codes,
            dim=dim,
            l2=True,
            learn="gradient",
            rotation=True,
            entropy=entropy.get((encoder, decoder, form), 0.0),
        ),
        semantic=0 if head is None else head.shape[0],
        layer=min(3, decoder.layers),  # the third in all that were released
        resize="halve",
        start="published",
    )
    return config, state


def _size(state: dict[str, Tensor], half: str) -> ViTSize:
    """Width, layers and heads of a half: heads have 64 channels in all of them."""
    width = state[f"{half}.embed.weight"].shape[0]
    layers = sum(key.startswith(f"{half}.blocks.") and key.endswith(".norm_1.weight") for key in state)
    return ViTSize(width=width, layers=layers, heads=width // 64)


class GigaTok(ImageTokenizer):
    """Pictures through GigaTok; see `ImageTokenizer` for the options that all systems have.

    Args:
        head: keep the projection of semantic regularisation, which codes and pictures do not need (2 % to 5 %
            of the parameters). The fingerprint covers it where it is kept.
    """

    tokenizer = "image.gigatok"
    Config, Net = GigaTokConfig, GigaTokNet
    released = staticmethod(released)

    def __init__(self, weights: Any = None, *, head: bool = False, **options: Any) -> None:
        super().__init__(weights, **options)
        if not head:
            self.net.semantic = None  # type: ignore[attr-defined]

    @classmethod
    def preset(cls, name: str) -> GigaTokConfig:
        """A released variant, VQ_SS256, … VQ_BL256_2d, or small64 or small256 of ours."""
        return GigaTokConfig.variant(name)
