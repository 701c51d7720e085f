"""What builds FlowTok's generator (He et al., arXiv:2503.10772): published sizes, and the parts that are ours."""

from __future__ import annotations

from pydantic import Field

from unitok.strict import Strict

SIZES: dict[str, tuple[int, int, int]] = {
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "XL": (1152, 28, 16),
    "H": (1280, 36, 20),
}
"""Width, layers and heads of the velocity network; B, XL and H are the paper's, S and L those of the released code."""


class TextConfig(Strict):
    """The text projector: states of a caption to a Gaussian over its latents. The defaults are the published ones."""

    width: int = Field(768, ge=1, description="of the states; 768 is CLIP ViT-L/14")
    layers: int = Field(6, ge=1)
    heads: int = Field(8, ge=1)
    hidden: int = Field(1024, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    align: int = Field(512, ge=1, description="inner width of the MLP that latents are contrasted with")


class WordsConfig(Strict):
    """Ours: captions as ids of a text tokenizer, read where there is no CLIP, and written from text latents."""

    use: str = Field("text.pieces", description="registry name of the text tokenizer")
    size: int = Field(2048, ge=2, description="its number of ids")
    reads: int = Field(
        0, ge=0, description="layers of a trainable reader of ids; 0: states of a frozen model such as CLIP"
    )
    writes: int = Field(6, ge=0, description="layers of the text decoder; 0: pictures are not described")
    width: int = Field(512, ge=1, description="of the text decoder; the reader has that of the states")
    heads: int = Field(8, ge=1, description="of both")


class FlowSampling(Strict):
    """How latents are drawn."""

    steps: int = Field(
        20, ge=1, description="Euler steps; each asks the network once, for both branches of guidance"
    )
    guidance: float = Field(2.0, ge=0, description="to pictures; 1 = none")
    noise: float = Field(
        1.0, ge=0, description="share of the text latents' spread that is drawn; 0 = their mean"
    )


class FlowConfig(Strict):
    """Everything that builds the generator, and how it is best sampled from."""

    tokens: int = Field(77, ge=1, description="latents of a picture, and states of a caption")
    channels: int = Field(16, ge=1, description="of a latent")
    width: int = Field(384, ge=2)
    layers: int = Field(12, ge=1)
    heads: int = Field(6, ge=1)
    text: TextConfig = TextConfig()
    words: WordsConfig | None = Field(None, description="ours; the released files have none")
    scale: float = Field(
        1.0143, gt=0, description="what the tokenizer's latents are multiplied by, for a spread of one"
    )
    least: float = Field(
        1e-5, ge=0, lt=1, description="of the text latents that is left at the picture's end"
    )
    sampling: FlowSampling = FlowSampling()

    @classmethod
    def preset(cls, name: str) -> FlowConfig:
        """A published size: S, B, L, XL or H, with the published text projector.

        Raises:
            ValueError: none is called so.
        """
        if name not in SIZES:
            raise ValueError(f"no FlowTok is called {name!r}: there are {', '.join(SIZES)}")
        width, layers, heads = SIZES[name]
        return cls(width=width, layers=layers, heads=heads)
