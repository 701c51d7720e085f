"""Texts for the generators of bits: what every layer of a frozen language model makes of a prompt.

    read = TextStates("folder of the language model")
    codes = generator.sample(read(["a red fox"]), without=read([""]))

The released generators read AMD-OLMo-1B. Any causal language model in a local Hugging Face folder with as
many layers as the generator does for one that is trained here, and so does any function that gives a `Text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bits import Text

LENGTH = 128


class TextStates:
    """Prompts to the states of all layers of a language model; frozen, nothing is downloaded.

    Args:
        folder: holds config.json, the weights and the tokenizer.
        length: tokens of a prompt; what is longer is cut.
        device: where the model runs.
        dtype: of the model; the released generators were trained on bfloat16.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        FileNotFoundError: no such folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        length: int = LENGTH,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.length, self.device = length, torch.device(device)
        self.tokenizer, model = _open(Path(folder), dtype)
        self.model = model.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Text:
        """States [L, B, T, V] in float32 and mask [B, T] of prompts, padded on the left."""
        rows = [
            self.tokenizer(prompt, truncation=True, max_length=self.length)["input_ids"] for prompt in prompts
        ]
        # Padding is done here: tokenizers without a padding token refuse to, and an empty batch has no length.
        longest = max([1, *map(len, rows)])
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for i, row in enumerate(rows):
            if row:
                ids[i, -len(row) :] = torch.tensor(row)
                mask[i, -len(row) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        found: Sequence[Tensor] = self.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states[1:]  # the first are the embeddings
        seen = mask.bool()
        states = torch.stack([each.float() for each in found])
        # A row without a token has nothing to attend to and may give nan, which a mask does not hide.
        return Text(states.masked_fill(~seen[None, :, :, None], 0.0), seen)


def _open(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model of a folder."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no config.json: give the folder of a causal language model")
    try:
        import transformers
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a language model needs transformers, which is not installed: pip install transformers"
        ) from None
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True)
    return tokenizer, model.to(dtype)
