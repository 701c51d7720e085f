"""Semantic regularisation: features inside the decoder follow those of a frozen image encoder.

GigaTok (Xiong et al., arXiv:2504.08736): minus the mean cosine between projected decoder features [B, N, C]
and the patch features [B, N, C] of DINOv2. The target comes from a file that was computed before, or from an
encoder in a local folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def semantic_loss(projected: Tensor, wanted: Tensor) -> Tensor:
    """Minus the mean cosine, in [-1, 1], of features [B, N, C]; no gradient goes to `wanted`.

    One projected token [B, 1, C] is compared with the mean of all wanted ones.

    Raises:
        ValueError: features of different shapes.
    """
    if projected.shape[1] == 1 < wanted.shape[1]:
        wanted = wanted.mean(1, keepdim=True)
    if projected.shape != wanted.shape:
        raise ValueError(
            f"features {list(projected.shape)} against {list(wanted.shape)}: project to the encoder's width, "
            "with as many queries as the encoder has patches"
        )
    return -F.cosine_similarity(projected.float(), wanted.detach().float(), dim=-1).mean()


def semantic_head(width: int, features: int, inner: int | None = None) -> nn.Sequential:
    """Three layers from tokens [B, N, width] to features [B, N, features], as GigaTok and REPA have them.

    `inner` is the width between them, 4 times that of the tokens if not given.
    """
    inner = inner or 4 * width
    return nn.Sequential(
        nn.Linear(width, inner),
        nn.SiLU(),
        nn.Linear(inner, inner),
        nn.SiLU(),
        nn.Linear(inner, features),
    )


class StoredFeatures:
    """Features that were computed before: a safetensors file with one tensor [N, C] for each item's key.

    Raises:
        ValueError: not a whole safetensors file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file of features")
        try:
            with safe_open(self.path, framework="pt") as file:
                self.keys = frozenset(file.keys())
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}): make it again") from error

    def __call__(self, keys: Sequence[str]) -> Tensor:
        """Features float32 [B, N, C] of the items with these keys.

        Raises:
            KeyError: an item without features.
        """
        absent = [key for key in keys if key not in self.keys]
        if absent:
            raise KeyError(
                f"{self.path} holds no features of {absent[0]!r} ({len(absent)} of {len(keys)} items): "
                "compute them for every picture of the training data"
            )
        with safe_open(self.path, framework="pt") as file:  # opened anew: handles do not survive a fork
            return torch.stack([file.get_tensor(key).float() for key in keys])


class EncoderFeatures(nn.Module):
    """Patch features of an image encoder (DINOv2, CLIP) in a local Hugging Face folder; frozen.

    Args:
        folder: holds config.json and the weights; nothing is downloaded.
        size: side that pictures are resized to; N = (size / the encoder's patch) ** 2.
        whole: give the class token and registers, too, before the patches.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        FileNotFoundError: no such folder.
    """

    mean: Tensor
    std: Tensor
    projected: ClassVar[bool] = False

    def __init__(self, folder: str | Path, size: int = 224, *, whole: bool = False) -> None:
        super().__init__()
        self.encoder, (mean, std) = _open_encoder(Path(folder), self.projected)
        self.size, self.whole = size, whole
        self.width = int(getattr(self.encoder.config, "vision_config", self.encoder.config).hidden_size)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> features of the patches, row by row, [B, N, C]; all tokens if `whole`."""
        side = (self.size, self.size)
        pictures = F.interpolate(pictures, size=side, mode="bicubic", antialias=True)
        found: Tensor = self.encoder(pixel_values=(pictures - self.mean) / self.std).last_hidden_state
        patches = (self.size // int(self.encoder.config.patch_size)) ** 2
        return found if self.whole else found[:, -patches:]  # the class token and registers come first

    def train(self, mode: bool = True) -> EncoderFeatures:
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)


class EncoderEmbedding(EncoderFeatures):
    """One embedding for each picture, of a CLIP with its projection in a local Hugging Face folder; frozen.

    Raises:
        ValueError: the folder of another model, which has no such embedding.
    """

    projected: ClassVar[bool] = True

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> `image_embeds` [B, E], not normalised."""
        side = (self.size, self.size)
        pictures = F.interpolate(pictures, size=side, mode="bicubic", antialias=True)
        pixels = (pictures - self.mean) / self.std
        found: Tensor = self.encoder.visual_projection(
            self.encoder.vision_model(pixel_values=pixels).pooler_output
        )
        return found


def _open_encoder(
    folder: Path, projected: bool = False
) -> tuple[Any, tuple[Sequence[float], Sequence[float]]]:
    """The vision part of a Hugging Face folder, and the mean and spread that it normalises with."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no config.json: give the folder of an image encoder")
    try:
        from transformers import AutoModel, CLIPVisionModelWithProjection
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the encoder in {folder} needs the package transformers: pip install transformers, or give "
            "features that were computed before",
            name="transformers",
        ) from error
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if projected and kind not in ("clip", "clip_vision_model"):
        raise ValueError(
            f"{folder} holds a {kind}, which gives no image embeddings: give the folder of a CLIP"
        )
    # the vision half alone would make a fresh projection of another width than the whole model's file has
    reader = CLIPVisionModelWithProjection if projected and kind == "clip_vision_model" else AutoModel
    model = reader.from_pretrained(folder, local_files_only=True)
    model = model if projected else getattr(model, "vision_model", model)  # CLIP has a text half too
    settings = folder / "preprocessor_config.json"
    said = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    return model, (said.get("image_mean", IMAGENET[0]), said.get("image_std", IMAGENET[1]))
