"""Captions to the text states that guide TA-TiTok's decoder: CLIP ViT-L/14-336's text half, from a local folder.

    CaptionStates("clip-vit-large-patch14-336/")(["a red cup"]) -> states [1, 77, 768]

The states are those of all 77 positions after the last LayerNorm, not projected. TA-TiTok was trained on
open_clip's tokens, which are followed by zeros, where the tokenizer of transformers repeats its end token;
so the padding is done here. Attention is causal: nothing masks the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LENGTH = 77


class CaptionStates:
    """Captions to states; frozen, nothing is downloaded.

    Args:
        folder: holds config.json, the weights and the tokenizer of a CLIP.
        device: where the model runs.

    Raises:
        FileNotFoundError: no such folder.
        ModuleNotFoundError: transformers is not installed.
    """

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} holds no config.json: give the folder of a CLIP with its tokenizer"
            )
        try:
            import transformers
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "the states of captions need transformers, which is not installed: pip install transformers, or "
                "give text= a tensor or a function",
                name="transformers",
            ) from None
        self.device = torch.device(device)
        self.tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        model: Any = transformers.CLIPTextModel.from_pretrained(str(folder), local_files_only=True)
        self.model = model.float().to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> Tensor:
        """States [B, 77, W], float32; longer captions are cut, their end token kept."""
        if not captions:  # which transformers cannot reshape
            return torch.zeros(0, LENGTH, self.model.config.hidden_size, device=self.device)
        ids = torch.zeros(len(captions), LENGTH, dtype=torch.int64)
        for row, caption in zip(ids, captions, strict=True):
            found = self.tokenizer(caption, truncation=True, max_length=LENGTH)["input_ids"]
            row[: len(found)] = torch.tensor(found)
        states: Tensor = self.model(input_ids=ids.to(self.device)).last_hidden_state
        return states
