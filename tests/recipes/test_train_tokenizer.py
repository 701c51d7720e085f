"""`recipes/train_tokenizer.py`: reading its file, and every shipped configuration for two steps."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from modalities.common.weights import save_weights
from modalities.image.base import ImageTokenizer
from modalities.image.objective import LossConfig
from modalities.image.seed_training import SeedLoss
from modalities.image.titok import TiTok
from modalities.image.training import PictureData
from unitok import registry
from unitok.strict import merge, validate
from unitok.train import metrics

ROOT = Path(__file__).parents[2]
CONFIGS = [
    path
    for path in sorted((ROOT / "recipes" / "configs").glob("*/*.toml"))
    if "tokenizer" in tomllib.loads(path.read_text())
    and "data" in tomllib.loads(path.read_text())
    and "generator" not in tomllib.loads(path.read_text())
]
QUICK = [path for path in CONFIGS if "published" not in path.stem]
"""Those that train anywhere; the published recipes want data and backbones of their own."""
SMALL = ["train.steps=2", "train.batch=4", "train.eval_every=1", "train.warmup=0"]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_tokenizer", ROOT / "recipes" / "train_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_tokenizer"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_read_and_overridden(recipe: ModuleType, config: Path) -> None:
    run = recipe.load(config, ["train.steps=7", "model.tokens=2", "run=elsewhere"])
    assert run.train.steps == 7
    assert run.model["tokens"] == 2
    assert run.run == Path("elsewhere")


def test_an_unknown_key_names_the_nearest(recipe: ModuleType) -> None:
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        recipe.load(CONFIGS[0], ["train.step=7"])
    with pytest.raises(ValueError, match="unknown key 'optimizer'"):
        recipe.load(CONFIGS[0], ["optimizer=1"])


def test_a_base_is_inherited(recipe: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(f'base = "{CONFIGS[0]}"\n[train]\nlr = 0.5\n')
    run = recipe.load(tmp_path / "more.toml")
    assert (run.train.lr, run.tokenizer) == (0.5, recipe.load(CONFIGS[0]).tokenizer)


def test_a_tokenizer_without_training_is_refused(recipe: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"text\.bytes is not trained by this recipe"):
        recipe.main([str(CONFIGS[0]), "tokenizer=text.bytes"])


@pytest.mark.slow
@pytest.mark.parametrize("config", QUICK, ids=lambda path: path.stem)
def test_every_configuration_trains(recipe: ModuleType, config: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    few = ["data.limit=60", "data.crops=0"]
    quick = {
        "cloud": ["data.fit=1"],
        "emoji64": ["data.kmeans=1"],
        "gigatok64": few,
        "seed64_stage2": ["data.kmeans=1"],
        "gigatok256": ["loss.gan.start=1"],
    }.get(config.stem, [])
    if config.stem.endswith("256"):  # at full size each of them takes minutes
        quick = [*quick, *few, "model.size=64", "model.tokens=16"]
    run = recipe.load(config)
    if run.init is not None:  # a stage after another one, whose weights are random here
        system: Any = registry.get(run.tokenizer)
        first = tmp_path / "first.safetensors"
        save_weights(first, system.Net(system.preset(run.model["preset"])), {})
        quick = [*quick, f"init={first}"]
    figures = recipe.main([str(config), *SMALL, *quick, f"run={tmp_path / 'run'}", f"output={weights}"])
    assert figures["fidelity"]
    assert figures["baselines"]
    made = json.loads(weights.with_suffix(".json").read_text())["made"]
    assert str(tmp_path) not in json.dumps(made)  # no folder of this machine gets out
    if config.stem.startswith("emoji"):
        assert TiTok(weights).spec.length == (32, 32)


@pytest.mark.dist
def test_two_ranks_agree_with_one(tmp_path: Path) -> None:
    deepspeed = shutil.which("deepspeed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert deepspeed is not None
    found = []
    for ranks in (1, 2):
        weights = tmp_path / f"w{ranks}.safetensors"
        arguments = [str(ROOT / "recipes" / "configs" / "image" / "emoji64.toml"), "train.steps=4"]
        arguments += ["train.batch=4", "data.zoom=0", "data.flip=false", "train.warmup=0", "data.kmeans=2"]
        arguments += [f"run={tmp_path / str(ranks)}", f"output={weights}", "train.stage=2"]
        subprocess.run(
            [deepspeed, "--num_gpus", str(ranks), "--master_port", str(29600 + ranks)]
            + [str(ROOT / "recipes" / "train_tokenizer.py"), *arguments],
            check=True,
            timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        found.append(json.loads(weights.with_suffix(".json").read_text())["made"])
    assert found[1]["world"] == 2
    assert found[0]["baselines"] == found[1]["baselines"]
    for key in (
        "loss",
        "grad_norm",
    ):  # later on the ranks revive dead codes from their own share of the items
        one, two = ([r[key] for r in metrics.read(tmp_path / n) if r["event"] == "step"] for n in "12")
        assert one[:2] == pytest.approx(two[:2], rel=1e-5)
    assert found[0]["fidelity"]["psnr"] == pytest.approx(found[1]["fidelity"]["psnr"], abs=0.02)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_network_and_table_of_losses_builds(recipe: ModuleType, config: Path) -> None:
    run = recipe.load(config)
    system = registry.get(run.tokenizer)
    if not issubclass(system, ImageTokenizer):
        return
    preset = system.preset(run.model["preset"]).model_dump() if "preset" in run.model else {}
    changes = {key: value for key, value in run.model.items() if key != "preset"}
    with torch.device("meta"):
        built = system.Net(validate(system.Config, merge(preset, changes), "[model]"))
    names = [name for name, _ in built.named_children()]
    assert all(part.split(".")[0] in names for part in run.freeze)
    table = SeedLoss if run.tokenizer == "image.seed" else LossConfig
    assert validate(table, run.loss, "[loss]") is not None
    assert validate(PictureData, run.data, "[data]").train


@pytest.mark.parametrize("tokens", [16, 32, 64, 128])
@pytest.mark.parametrize("name", ["titok64", "gigatok64", "instella64"])
def test_the_small_configurations_take_these_numbers_of_tokens(
    recipe: ModuleType, name: str, tokens: int
) -> None:
    path = ROOT / "recipes" / "configs" / "image" / f"{name}.toml"
    components = [f"model.components={7 * tokens}"] if name == "titok64" else []
    run = recipe.load(path, [f"model.tokens={tokens}", *components])
    system = registry.get(run.tokenizer)
    preset = system.preset(run.model["preset"]).model_dump() if "preset" in run.model else {}
    changes = {key: value for key, value in run.model.items() if key != "preset"}
    net = system.Net(validate(system.Config, merge(preset, changes), "[model]")).eval()
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found = net.quantizer(net.encode(pictures))
        assert net.decode(found.z_q).shape == pictures.shape
    assert found.ids.shape[1] == tokens
