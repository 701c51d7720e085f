"""Captions to CLIP's text states."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from modalities.image.clip_text import LENGTH, CaptionStates

WORDS = ["a", "b", "cup"]


def test_a_missing_folder_and_a_missing_package_are_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json: give the folder of a CLIP"):
        CaptionStates(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers, or give text="):
        CaptionStates(tmp_path)


@pytest.mark.slow
def test_states_of_all_positions_with_zeros_after_the_end(tmp_path):
    transformers = pytest.importorskip("transformers")
    letters = sorted(set("".join(WORDS)))
    vocab = ["!", *letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocab)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(
        tmp_path
    )
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=len(vocab) - 2, eos_token_id=len(vocab) - 1,
    )  # fmt: skip
    model = transformers.CLIPTextModel(config).eval()
    model.save_pretrained(tmp_path)
    states = CaptionStates(tmp_path)
    found = states(["a b", "a " * 100])
    assert found.shape == (2, LENGTH, 16)
    start, end, a, b = (vocab.index(each) for each in ("<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>"))
    ids = torch.tensor([[start, a, b, end] + [0] * (LENGTH - 4), [start] + [a] * (LENGTH - 2) + [end]])
    with torch.no_grad():
        torch.testing.assert_close(found, model(input_ids=ids).last_hidden_state)
    assert states([]).shape == (0, LENGTH, 16)
