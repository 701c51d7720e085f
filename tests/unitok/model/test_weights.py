from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unitok.modality import Side
from unitok.model import weights
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "hf_logits.json").read_text())
CHANNELS = {"molecule_shell": Side("ids", 3, 20)}


def waves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that any program can make again: norms near 1, matrices two sines of the flat index."""
    filled = {}
    for k, name in enumerate(sorted(state)):
        index = torch.arange(state[name].numel(), dtype=torch.float64)
        wave = torch.sin(index * 0.37 + k)
        norm = state[name].dim() == 1
        value = 1 + 0.1 * wave if norm else 0.25 * wave * torch.cos(index * 1.7)
        filled[name] = value.reshape(state[name].shape).float()
    return filled


def folder_of(kind: str, path: Path, **change: Any) -> Path:
    config = {**GOLDEN[kind]["config"], **change}
    (path / "config.json").write_text(json.dumps(config))
    state = Decoder(weights.read_config(path)).state_dict()
    save_file(waves(state), path / "model.safetensors")
    return path


def logits(decoder: Decoder, tokens: list[int]) -> Tensor:
    ids = torch.tensor([tokens])
    with torch.no_grad():
        return decoder.logits(decoder(ids, torch.zeros_like(ids), torch.arange(len(tokens))[None]))[0]


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_logits_equal_those_of_transformers(kind: str, tmp_path: Path) -> None:
    decoder = weights.load(folder_of(kind, tmp_path))
    expected = torch.tensor(GOLDEN[kind]["logits"])
    torch.testing.assert_close(logits(decoder, GOLDEN[kind]["tokens"]), expected, atol=1e-5, rtol=1e-5)


def test_rope_theta_is_read_in_the_older_spelling(tmp_path: Path) -> None:
    folder_of("qwen3", tmp_path)
    config = dict(GOLDEN["qwen3"]["config"])
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert weights.read_config(tmp_path).rope_theta == 5000.0


@pytest.mark.parametrize("qk_norm", [True, False])
def test_load_undoes_save(qk_norm: bool, tmp_path: Path) -> None:
    preset = ModelConfig.preset(2, vocab_size=64, channels=CHANNELS)
    decoder = Decoder(ModelConfig(**{**vars(preset), "qk_norm": qk_norm, "rope_theta": 7e5}))
    torch.nn.init.normal_(decoder.model.get_submodule("embed_molecule_shell").weight)
    weights.save(decoder, tmp_path)
    again = weights.load(tmp_path)
    assert again.config == decoder.config
    for name, value in decoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert "model.embed_molecule_shell.weight" not in load_file(tmp_path / "model.safetensors")


def test_a_grown_vocabulary_moves_no_id(tmp_path: Path) -> None:
    decoder = weights.load(folder_of("qwen3", tmp_path))
    grown = weights.load(tmp_path, vocab_size=128, channels=CHANNELS)
    tokens = GOLDEN["qwen3"]["tokens"]
    assert grown.config.vocab_size == 128
    torch.testing.assert_close(logits(grown, tokens)[:, :40], logits(decoder, tokens))
    fresh = grown.lm_head.weight[40:]
    assert len(fresh.unique(dim=0)) == 88
    assert fresh.norm(dim=1).max() < decoder.lm_head.weight.norm(dim=1).max()


def test_a_vocabulary_cannot_shrink(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 40 ids, 32 were asked for"):
        weights.load(folder_of("qwen3", tmp_path), vocab_size=32)


def test_a_tied_head_is_a_copy_of_the_table(tmp_path: Path) -> None:
    folder_of("llama", tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    del found["lm_head.weight"]
    save_file(found, tmp_path / "model.safetensors")
    decoder = weights.load(tmp_path)
    assert torch.equal(decoder.lm_head.weight, decoder.model.embed_tokens.weight)
    assert decoder.lm_head.weight is not decoder.model.embed_tokens.weight


def test_shards_are_joined(tmp_path: Path) -> None:
    whole = weights.load(folder_of("qwen3", tmp_path))
    found = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    halves = {"a.safetensors": sorted(found)[::2], "b.safetensors": sorted(found)[1::2]}
    for file, names in halves.items():
        save_file({name: found[name] for name in names}, tmp_path / file)
    index = {"weight_map": {name: file for file, names in halves.items() for name in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    tokens = GOLDEN["qwen3"]["tokens"]
    assert torch.equal(logits(weights.load(tmp_path), tokens), logits(whole, tokens))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="b.safetensors is missing"):
        weights.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "holds a 'gpt2'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "rope_parameters": None}, "scaled rotary"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "'gelu'"),
    ],
)
def test_other_shapes_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**GOLDEN["qwen3"]["config"], **change}))
    with pytest.raises(weights.UnknownModel, match=message):
        weights.load(tmp_path)


def test_missing_and_unknown_weights_are_named(tmp_path: Path) -> None:
    folder_of("qwen3", tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    del found["model.norm.weight"]
    save_file(found, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 weights are missing and 0 unknown.*model\.norm\.weight"):
        weights.load(tmp_path)


def test_a_damaged_file_a_wrong_shape_and_a_missing_table_are_one_sentence(tmp_path: Path) -> None:
    folder_of("qwen3", tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    found = {name: tensor.clone() for name, tensor in load_file(path).items()}  # not mapped from the file
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        weights.load(tmp_path)
    save_file({**found, "model.norm.weight": found["model.norm.weight"][1:].clone()}, path)
    with pytest.raises(ValueError, match=r"model\.norm\.weight has shape"):
        weights.load(tmp_path)
    del found["model.embed_tokens.weight"]
    save_file(found, path)
    with pytest.raises(ValueError, match=r"has no model\.embed_tokens\.weight"):
        weights.load(tmp_path)


def test_a_disk_that_refuses_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    decoder = Decoder(ModelConfig.preset(1, vocab_size=64))
    with pytest.raises(OSError, match=r"model\.safetensors could not be written \(No space"):
        weights.save(decoder, tmp_path)


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        weights.load(tmp_path)


@pytest.mark.parametrize(("qk_norm", "name"), [(True, "Qwen3ForCausalLM"), (False, "LlamaForCausalLM")])
def test_an_export_opens_as_the_stock_class(qk_norm: bool, name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the project does not need transformers")
    preset = ModelConfig.preset(2, vocab_size=64, channels=CHANNELS)
    decoder = Decoder(ModelConfig(**{**vars(preset), "qk_norm": qk_norm}))
    weights.save(decoder, tmp_path)
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(stock).__name__ == name
    tokens = list(range(0, 60, 3))
    with torch.no_grad():
        expected = stock(torch.tensor([tokens])).logits[0]
    torch.testing.assert_close(logits(decoder, tokens), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ('{"model_type": "qwen3"}', "does not say vocab_size")]
)
def test_a_damaged_configuration_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(weights.UnknownModel, match=f"config.json {message}"):
        weights.load(tmp_path)
