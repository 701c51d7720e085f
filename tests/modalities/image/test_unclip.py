"""How a pipeline is asked, with a stand-in for the package; and a real one of tiny random parts where it is installed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from modalities.image.unclip import UnCLIP


class Pipeline:
    """Paints noise from its generators, shifted by the embedding."""

    dtype = torch.float32
    asked: dict[str, Any] = {}

    @classmethod
    def from_pretrained(cls, folder: str, **options: Any) -> Pipeline:
        cls.asked = {"folder": folder, **options}
        return cls()

    def to(self, device: str) -> Pipeline:
        return self

    def set_progress_bar_config(self, **options: Any) -> None:
        self.asked["bar"] = options

    def __call__(self, *, image_embeds: Any, generator: Any, **options: Any) -> Any:
        self.asked |= options
        noise = torch.stack([torch.rand(3, 4, 4, generator=each) for each in generator])
        return SimpleNamespace(images=noise + image_embeds.mean(1)[:, None, None, None])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = ModuleType("diffusers")
    package.StableUnCLIPImg2ImgPipeline = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", package)
    (tmp_path / "model_index.json").write_text("{}")
    return tmp_path


def test_it_is_asked_as_published_and_only_locally(folder) -> None:
    unclip = UnCLIP(folder, steps=7, scale=3.0)
    pictures = unclip(torch.zeros(2, 5), seed=4)
    assert pictures.shape == (2, 3, 4, 4)
    asked = Pipeline.asked
    assert asked["folder"] == str(folder)
    assert asked["local_files_only"] is True
    assert (asked["num_inference_steps"], asked["guidance_scale"], asked["noise_level"]) == (7, 3.0, 0)
    assert asked["prompt"] == ["", ""]


def test_a_picture_depends_on_the_seed_alone_not_on_company_or_order(folder) -> None:
    unclip = UnCLIP(folder)
    embeddings = torch.arange(10.0).view(2, 5)
    both = unclip(embeddings, seed=1)
    torch.testing.assert_close(unclip(embeddings[1:], seed=1), both[1:])
    assert not torch.allclose(unclip(embeddings[1:], seed=2), both[1:])


def test_what_is_missing_is_named(tmp_path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model_index\.json: give the folder of a Stable"):
        UnCLIP(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="steps 0: the sampler needs at least 1"):
        UnCLIP(tmp_path, steps=0)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"{tmp_path.name} needs diffusers .* pip install diffusers"
    ):
        UnCLIP(tmp_path)(torch.zeros(1, 5))
