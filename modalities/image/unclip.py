"""Image embeddings to pictures by a local unCLIP pipeline of diffusers.

    UnCLIP("stable-diffusion-2-1-unclip")(embeddings [B, 1024], seed=0)     # [B, 3, 768, 768] in [0, 1]

The pipeline's noise follows from `seed` alone and is the same for every picture, so that none depends on its company
or on what was painted before. SEED's program keeps one latent drawn at its start instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class UnCLIP:
    """A pipeline in a folder, opened when it is first used; nothing is downloaded.

    Args:
        folder: as `StableUnCLIPImg2ImgPipeline.save_pretrained` writes it; model_index.json is in it.
        steps: of the sampler.
        scale: of the guidance.
        device: where it runs; in half precision on accelerators.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: fewer than one step.
    """

    def __init__(
        self, folder: str | Path, steps: int = 20, scale: float = 10.0, *, device: str = "cpu"
    ) -> None:
        self.folder = Path(folder)
        if not (self.folder / "model_index.json").is_file():
            raise FileNotFoundError(
                f"{folder} holds no model_index.json: give the folder of a StableUnCLIPImg2ImgPipeline"
            )
        if steps < 1:
            raise ValueError(f"steps {steps}: the sampler needs at least 1")
        self.steps, self.scale, self.device = steps, scale, device
        self._opened: Any = None

    def __call__(self, embeddings: Tensor, seed: int = 0) -> Tensor:
        """Embeddings [B, E] -> pictures, float32 [B, 3, S, S] in [0, 1].

        Args:
            embeddings: of what the pictures show.
            seed: of the noise.

        Raises:
            ModuleNotFoundError: diffusers is not installed.
        """
        pipeline = self._pipeline()
        noise = [torch.Generator().manual_seed(seed) for _ in embeddings]
        made = pipeline(
            prompt=[""] * len(embeddings),
            image_embeds=embeddings.to(self.device, pipeline.dtype),
            num_inference_steps=self.steps,
            guidance_scale=self.scale,
            noise_level=0,
            generator=noise,
            output_type="pt",
        ).images
        pictures: Tensor = torch.as_tensor(made).float().cpu()
        return pictures

    def _pipeline(self) -> Any:
        if self._opened is None:
            try:
                from diffusers import StableUnCLIPImg2ImgPipeline
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"the pipeline in {self.folder} needs diffusers and transformers, and {error.name} is not installed: "
                    "pip install diffusers transformers, or use embedding() alone",
                    name=error.name,
                ) from None
            kind = torch.float32 if self.device == "cpu" else torch.float16
            found = StableUnCLIPImg2ImgPipeline.from_pretrained(
                str(self.folder), torch_dtype=kind, local_files_only=True
            )
            self._opened = found.to(self.device)
            self._opened.set_progress_bar_config(disable=True)
        return self._opened
