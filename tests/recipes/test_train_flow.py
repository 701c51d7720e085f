"""The recipes of FlowTok's flow: train on the demo's captioned pictures, draw, describe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from modalities.common.weights import save_weights
from modalities.image.flowtok import FlowTok
from recipes import sample_flow, train_flow

CONFIGS = Path(train_flow.__file__).parent / "configs" / "image"
DEMO = Path(train_flow.__file__).parent / "demo"
SIZE = {"width": 32, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tokenizer for 32 pixels."""
    tokenizer = FlowTok(None, size=32, tokens=8, head="pixel", encoder=SIZE, decoder=SIZE)
    path = tmp_path_factory.mktemp("tok") / "tok.safetensors"
    save_weights(path, tokenizer.net, tokenizer.config.model_dump(mode="json"))  # type: ignore[arg-type]
    return path


@pytest.mark.slow
def test_a_short_run_writes_a_flow_that_draws_and_describes(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "flow.safetensors"
    figures = train_flow.main(
        [
            str(CONFIGS / "flow64.toml"), f"run={tmp_path / 'run'}", f"output={output}", "train.steps=3", "train.batch=8",
            f"data.options.weights={weights}", "data.limit=60", "model.width=32", "model.layers=1", "model.heads=2",
            "model.text.width=32", "model.text.layers=1", "model.text.heads=2", "model.words.width=32", "model.words.heads=2",
        ]
    )  # fmt: skip
    assert figures["fidelity"]["picture rank"] >= 1
    made = json.loads(output.with_suffix(".json").read_text())
    assert made["config"]["tokenizer"]["use"] == "image.flowtok"
    assert made["made"]["baselines"]["chance"] > 1
    picture = next((DEMO / "images").glob("*.webp"))
    sheet = tmp_path / "sheet.png"
    told = sample_flow.main(
        [
            str(output),
            "--weights",
            str(weights),
            "--captions",
            "a cat",
            "--pictures",
            str(picture),
            "--out",
            str(sheet),
        ]
    )
    assert sheet.is_file()
    assert len(told) == 1


def test_nothing_to_do_is_said(weights: Path) -> None:
    with pytest.raises(ValueError, match="nothing to do: give --captions to draw, or --pictures"):
        sample_flow.main(["x.safetensors", "--weights", str(weights)])


def test_the_published_configuration_is_that_of_the_paper() -> None:
    from modalities.image.flow.config import FlowConfig
    from modalities.image.flow.losses import FlowLoss
    from unitok.strict import read, validate

    run = validate(train_flow.FlowRun, read(CONFIGS / "flow_published.toml", ()), "flow_published.toml")
    assert FlowConfig.preset(run.model["preset"]).width == 1152
    assert FlowLoss(**run.loss).weights == (1e-4, 1.0)
    with torch.device("meta"):
        assert FlowTok.preset("bl77_256").tokens == FlowConfig.preset("XL").tokens
