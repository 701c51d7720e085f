"""SEED's network: features of a vision transformer, a causal Q-Former, codes, and what is rebuilt from them.

    SeedNet(config).encode(pictures [B, 3, S, S]) -> latents [B, K, D] before the quantizer
    .tokens(pictures) -> the Q-Former's tokens [B, K, W], which the codes stand for
    .rebuilt(z_q) -> the same from codes;  .embedding(z_q) -> the image embedding [B, E]

Ge et al., arXiv:2310.01218, section 3.1. The queries attend to those before them, however many there are, and to
the whole picture: the first code already tells of all of it, and none depends on a later one. After the codes, one
stack of blocks rebuilds the Q-Former's tokens, another one leads to the embedding that unCLIP takes.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..common.blocks import Block, Tokens, init_linear
from ..common.losses.semantic import EncoderFeatures
from ..common.quantize import Quantized, Quantizer
from .base import Reconstruction
from .seed_captions import CaptionReader
from .seed_config import PainterConfig, SeedConfig, VisionConfig
from .seed_released import begun
from .vit1d import Decoder, ViT1DConfig

BERT_EPS = 1e-12
VIT_EPS = 1e-6


class Vision(nn.Module):
    """EVA-CLIP's transformer (Sun et al., arXiv:2303.15389): normalised pictures to features [B, 1 + N, V]."""

    def __init__(self, config: VisionConfig, size: int) -> None:
        super().__init__()
        width = config.width
        self.width = width
        self.embed = nn.Conv2d(3, width, config.patch, stride=config.patch)
        self.cls = nn.Parameter(torch.randn(width) * 0.5)
        self.place = nn.Parameter(torch.randn((size // config.patch) ** 2 + 1, width) * 0.5)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, hidden=config.hidden, eps=VIT_EPS) for _ in range(config.layers)
        )
        self.apply(init_linear)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        x = rearrange(self.embed(pictures), "b w h v -> b (h v) w")
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.place
        for block in self.blocks:
            x = block(x)
        return x


class QFormer(nn.Module):
    """BERT blocks (norms after) over learned queries, every few of which look at a memory.

    Args:
        config: width W, layers, heads and so on.
        tokens: queries.
        memory: V, width of what they look at.
    """

    def __init__(self, config: SeedConfig, tokens: int, memory: int) -> None:
        super().__init__()
        self.queries = Tokens(tokens, config.width, std=0.5)
        self.norm = nn.LayerNorm(config.width, eps=BERT_EPS)
        self.blocks = nn.ModuleList(
            Block(
                config.width,
                config.heads,
                hidden=config.hidden,
                eps=BERT_EPS,
                after=True,
                cross=number % config.cross_every == 0,
                memory_width=memory,
            )
            for number in range(config.layers)
        )
        self.apply(init_linear)

    def forward(self, memory: Tensor) -> Tensor:
        """Memory [B, M, V] -> the queries [B, K, W], each of which has seen those before it and all of the memory."""
        x = self.norm(self.queries(len(memory)))
        count = x.shape[1]
        causal = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
        for block in self.blocks:
            x = block(x, mask=causal, memory=memory if hasattr(block, "cross") else None)
        return x


class Stack(nn.Module):
    """Positions and blocks (norms before) over the tokens that codes stand for: [B, K, W] -> [B, K, W]."""

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        self.place = Tokens(config.tokens, config.width, std=0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, eps=VIT_EPS) for _ in range(config.depth)
        )
        self.apply(init_linear)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.place(len(x))
        for block in self.blocks:
            x = block(x)
        return x


class Painter(nn.Module):
    """Tokens [B, K, W] and their embedding [B, E] to pictures in [0, 1]; ours."""

    def __init__(self, config: SeedConfig, painter: PainterConfig) -> None:
        super().__init__()
        self.patch, self.side = painter.patch, config.size // painter.patch
        shape = ViT1DConfig(
            size=config.size,
            patch=painter.patch,
            tokens=config.tokens + 1,
            decoder=painter.body,
            cls=False,
        )
        self.embed = nn.Linear(config.embedding, config.width)
        self.body = Decoder(shape, config.width)
        self.to_pixels = nn.Linear(painter.body.width, 3 * painter.patch**2)
        init_linear(self.to_pixels)
        nn.init.constant_(self.to_pixels.bias, 0.5)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """See the class."""
        patches = self.to_pixels(self.body(torch.cat([self.embed(embedding)[:, None], tokens], dim=1)))
        p = self.patch
        return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=self.side, p=p, q=p, c=3)


class SeedNet(nn.Module):
    """See the module's text."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer: Quantizer = config.build_quantizer()
        width, dim = config.width, self.quantizer.dim
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)
        self.vision: Vision | EncoderFeatures = (
            Vision(config.vision, config.size)
            if config.vision.folder is None
            else EncoderFeatures(config.vision.folder, config.size, whole=True)
        )
        self.norm_vision = nn.LayerNorm(self.vision.width)
        self.qformer = QFormer(config, config.tokens, self.vision.width)
        self.to_code = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, self.quantizer.inputs)
        )
        self.from_code = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, width))
        self.semantic = Stack(config) if config.semantic else None
        self.image = Stack(config)
        self.reverse: QFormer | None = None
        self.down: nn.Sequential | None = None
        if config.branch == "reverse":
            self.reverse = QFormer(config, 1, width)
            self.to_embedding = nn.Linear(width, config.embedding)
        else:
            one, two, three = config.down
            self.down = nn.Sequential(
                nn.Linear(width, one, bias=False),
                nn.ReLU(),
                nn.Linear(one, two, bias=False),
                nn.ReLU(),
                nn.Linear(two, three, bias=False),
            )
            self.to_embedding = nn.Linear(config.tokens * three, config.embedding)
        self.captions: CaptionReader | None = None
        if config.captions is not None:
            self.captions = CaptionReader(config.captions, config.contrast)
            self.to_vector = nn.Linear(width, config.contrast)
        self.painter = Painter(config, config.painter) if config.painter is not None else None

    def tokens(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] -> the Q-Former's tokens [B, K, W].

        Raises:
            ValueError: pictures of another size.
        """
        low, high = self.config.range
        size = self.config.size
        if pictures.shape[1:] != (3, size, size):
            raise ValueError(
                f"pictures of shape {list(pictures.shape[1:])}: this network was built for [3, {size}, {size}]"
            )
        pictures = (pictures - low) / (high - low)
        if isinstance(self.vision, EncoderFeatures):  # which normalises as its folder says
            features = self.vision(pictures)
        else:
            features = self.vision((pictures - self.mean) / self.std)
        found: Tensor = self.qformer(self.norm_vision(features))
        return found

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] -> latents [B, K, D] before the quantizer."""
        z: Tensor = self.to_code(self.tokens(pictures))
        return z

    def rebuilt(self, z_q: Tensor) -> Tensor:
        """Latents of codes [B, K, D] -> the Q-Former's tokens [B, K, W], as the codes tell them.

        Raises:
            ValueError: a network without the blocks for it.
        """
        if self.semantic is None:
            raise ValueError("these weights have no blocks that rebuild the Q-Former's tokens")
        found: Tensor = self.semantic(self.from_code(z_q))
        return found

    def embedding(self, z_q: Tensor) -> Tensor:
        """Latents of codes [B, K, D] -> the image embedding [B, E]."""
        return self._embedded(self.image(self.from_code(z_q)))

    def _embedded(self, tokens: Tensor) -> Tensor:
        if self.reverse is not None:
            flat = self.reverse(tokens)[:, 0]
        else:
            assert self.down is not None
            flat = self.down(tokens).flatten(1)
        found: Tensor = self.to_embedding(flat)
        return found

    def vector(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, W] -> vectors [B, C] beside those of captions: the last query's, which has seen all others.

        Raises:
            ValueError: a network without the reader of captions.
        """
        if self.captions is None:
            raise ValueError(
                "these weights have no reader of captions: the released file left its own out, too"
            )
        found: Tensor = self.to_vector(tokens[:, -1])
        return found

    def decode(self, z_q: Tensor) -> Tensor:
        """Latents of codes [B, K, D] -> pictures [B, 3, S, S] by the small decoder.

        Raises:
            ValueError: a network without it.
        """
        if self.painter is None:
            raise ValueError("these weights have no decoder to pixels: give the folder of an unCLIP pipeline")
        tokens = self.image(self.from_code(z_q))
        low, high = self.config.range
        painted: Tensor = self.painter(tokens, self._embedded(tokens))
        return painted * (high - low) + low

    def forward(self, pictures: Tensor) -> Reconstruction:
        """What the second stage compares: features "tokens" and "tokens_target" [B, K, W], "embedding" [B, E]."""
        target = self.tokens(pictures)
        quantized: Quantized = self.quantizer(self.to_code(target))
        image = self.image(self.from_code(quantized.z_q))
        features = {"tokens_target": target.detach(), "embedding": self._embedded(image)}
        if self.semantic is not None:
            features["tokens"] = self.rebuilt(quantized.z_q)
        low, high = self.config.range
        painted = pictures
        if self.painter is not None:
            painted = self.painter(image, features["embedding"]) * (high - low) + low
        return Reconstruction(painted, quantized, features)

    def ours(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of an earlier stage under our names: ours, SEED's, BLIP-2's or EVA-CLIP's; see `seed_released`."""
        return begun(state)
