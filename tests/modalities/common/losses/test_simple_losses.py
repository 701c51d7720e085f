"""Pixel and proxy losses, and the semantic one with its sources of features."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from safetensors.torch import save_file

from modalities.common.losses import l1, l2, proxy_cross_entropy, semantic_loss, smooth_l1
from modalities.common.losses.semantic import EncoderEmbedding, EncoderFeatures, StoredFeatures


def test_pixel_losses_are_their_formulas():
    made, wanted = torch.full((2, 3, 4, 4), 0.75), torch.full((2, 3, 4, 4), 0.25)
    assert l1(made, wanted).item() == pytest.approx(0.5)
    assert l2(made, wanted).item() == pytest.approx(0.25)
    assert smooth_l1(made, wanted).item() == pytest.approx(0.5 - 0.5 / 255)
    assert smooth_l1(wanted + 0.1 / 255, wanted).item() == pytest.approx(0.005 / 255, rel=1e-3)


def test_proxy_is_the_mean_nats_of_the_right_code():
    logits = torch.zeros(2, 1024, 3, 3)
    codes = torch.arange(18).view(2, 3, 3)
    assert proxy_cross_entropy(logits, codes).item() == pytest.approx(math.log(1024), rel=1e-5)
    logits.scatter_(1, codes[:, None], 30.0)
    assert proxy_cross_entropy(logits, codes).item() < 1e-6
    assert proxy_cross_entropy(logits, (codes + 1) % 1024).item() == pytest.approx(30, rel=1e-3)


def test_proxy_refuses_another_grid():
    with pytest.raises(ValueError, match=r"\[2, 4, 4\].*\[2, 8, 3, 3\]"):
        proxy_cross_entropy(torch.zeros(2, 8, 3, 3), torch.zeros(2, 4, 4, dtype=torch.long))


def test_semantic_is_minus_the_cosine_and_only_the_decoder_learns():
    wanted = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert semantic_loss(3 * wanted, wanted).item() == pytest.approx(-1, abs=1e-6)
    assert semantic_loss(-wanted, wanted).item() == pytest.approx(1, abs=1e-6)
    projected = torch.ones(2, 5, 7, requires_grad=True)
    loss = semantic_loss(projected, wanted)
    loss.backward()
    direct = -(wanted.sum(-1) / (wanted.norm(dim=-1) * math.sqrt(7))).mean()
    assert loss.item() == pytest.approx(direct.item(), abs=1e-6)
    assert wanted.grad is None
    assert projected.grad.abs().sum() > 0


def test_semantic_refuses_another_width():
    with pytest.raises(ValueError, match="project to the encoder's width"):
        semantic_loss(torch.zeros(1, 4, 8), torch.zeros(1, 4, 9))


def test_stored_features_come_by_key(tmp_path):
    path = tmp_path / "dino.safetensors"
    save_file({"a": torch.ones(4, 3).half(), "b": torch.zeros(4, 3).half()}, path)
    found = StoredFeatures(path)(["b", "a", "a"])
    assert found.dtype == torch.float32
    assert found[:, 0, 0].tolist() == [0, 1, 1]
    with pytest.raises(KeyError, match=r"'c' \(1 of 2 items\)"):
        StoredFeatures(path)(["a", "c"])


def test_stored_features_refuse_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of features"):
        StoredFeatures(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is no tensor file")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        StoredFeatures(tmp_path / "text.safetensors")


def test_an_encoder_needs_its_folder_and_transformers(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        EncoderFeatures(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        EncoderFeatures(tmp_path)


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_an_encoder_gives_its_patches(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "dinov2":
        settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14}
        model = transformers.Dinov2Model(transformers.Dinov2Config(image_size=56, **settings))
    else:
        vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14}
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.CLIPConfig(
            vision_config={**vision, "image_size": 56}, text_config=text, projection_dim=8
        )
        model = transformers.CLIPModel(config)
    model.eval().save_pretrained(tmp_path)
    if kind == "clip":
        said = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    features = EncoderFeatures(tmp_path, size=56)
    pictures = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    found = features.train()(pictures)
    assert found.shape == (2, 16, 16)
    assert not any(p.requires_grad for p in features.parameters())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    if kind == "clip":
        mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    pixels = (pictures - mean[:, None, None]) / std[:, None, None]
    inner = getattr(model, "vision_model", model)
    with torch.no_grad():
        wanted = inner(pixel_values=pixels).last_hidden_state
    assert torch.allclose(found, wanted[:, 1:], atol=1e-5)
    whole = EncoderFeatures(tmp_path, size=56, whole=True)
    assert whole.width == 16
    assert torch.allclose(whole(pictures), wanted, atol=1e-5)
    if kind == "dinov2":
        with pytest.raises(ValueError, match="holds a dinov2, which gives no image embeddings"):
            EncoderEmbedding(tmp_path, size=56)
        return
    with torch.no_grad():
        embeddings = model.visual_projection(inner(pixel_values=pixels).pooler_output)
    found = EncoderEmbedding(tmp_path, size=56)(pictures)
    assert found.shape == (2, 8)
    assert torch.allclose(found, embeddings, atol=1e-5)
