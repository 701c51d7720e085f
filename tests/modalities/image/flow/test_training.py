"""Training on captioned pictures, what is judged, and the pair of flow and tokenizer that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modalities.common.quantize import KL
from modalities.common.weights import save_weights
from modalities.image.flow.config import FlowConfig
from modalities.image.flow.net import FlowNet
from modalities.image.flow.pair import Pair
from modalities.image.flow.training import FlowTask, written
from modalities.image.flow.words import Words, counted
from modalities.image.flowtok import FlowTok, FlowTokConfig
from modalities.image.titok import TiTokNet
from unitok import registry

MODEL: dict[str, Any] = {
    "width": 32,
    "layers": 2,
    "heads": 2,
    "text": {"width": 32, "layers": 1, "heads": 2, "hidden": 32, "align": 16, "dropout": 0.0},
    "words": {"use": "text.bytes", "size": 256, "reads": 1, "writes": 1, "width": 32, "heads": 2},
    "sampling": {"steps": 5, "guidance": 2.0},
}


def task(pairs: Path, weights: Path, **changes: Any) -> FlowTask:
    torch.manual_seed(0)
    data = {"train": [str(pairs)], "options": {"weights": str(weights)}, **changes}
    return FlowTask(MODEL, data, pairs)


def test_batches_hold_latents_and_captions_of_the_same_pictures(pairs: Path, weights: Path) -> None:
    made = task(pairs, weights)
    latents, text, ids = made.batch(torch.tensor([0, 5]), torch.Generator().manual_seed(1))
    assert latents.shape == (2, 6, 4)
    assert text.equal(ids)
    again = made.batch(torch.tensor([0, 5]), torch.Generator().manual_seed(1))
    assert again[0].equal(latents)
    mean, log = KL.moments(made.train)
    whole = (mean + (0.5 * log).exp() * torch.randn_like(mean)) * made.model.config.scale
    assert float(whole.std()) == pytest.approx(1, abs=0.05)
    assert made.data["train"] + made.data["heldout"] == 48
    assert made.train.shape[1] == 2  # with mirror images


def test_a_few_steps_learn_which_picture_a_caption_means(pairs: Path, weights: Path) -> None:
    made = task(pairs, weights)
    net = made.model.train()
    optimizer = torch.optim.AdamW(made.parameter_groups(3e-3), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(60):
        index = torch.randint(len(made.train), (16,), generator=generator)
        found = made.judge(*made.batch(index, generator), step=step)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        losses.append({name: float(value) for name, value in found.figures.items()})
    assert set(losses[0]) == {"flow", "kl", "contrast", "write"}
    for name in ("flow", "write"):
        assert sum(each[name] for each in losses[-10:]) < 0.9 * sum(each[name] for each in losses[:10])
    net.eval()
    figures, lines = made.fidelity(), made.baselines()
    assert {"picture rank", "caption rank", "written rank", "picture in first 10"} <= figures.keys()
    assert lines["chance"] == (len(made.heldout) + 1) / 2
    assert 1 <= figures["picture rank"] <= len(made.heldout)


def test_what_cannot_be_trained_on_is_refused(pairs: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has codes: FlowTok flows between continuous latents"):
        task(pairs, weights, tokenizer="image.titok", options={"weights": "emoji64"})
    with pytest.raises(ValueError, match="captions are read either by a frozen CLIP.*or by a reader"):
        task(pairs, weights, clip="clip")
    for i in range(40):
        Image.new("RGB", (16, 16)).save(tmp_path / f"p{i}.png")
    with pytest.raises(ValueError, match="0 captioned pictures to train on and 0 held out"):
        task(tmp_path, weights)


def test_nats_of_all_pairs_are_those_of_each(pairs: Path, weights: Path) -> None:
    made = task(pairs, weights)
    ids = made.read([each[0] for each in made.heldout_texts])[0]
    latents = torch.randn(len(ids), 6, 4)
    assert made.model.writer is not None
    with torch.no_grad():
        each = made.model.eval().writer.nats(latents, ids)  # type: ignore[union-attr]
        torch.testing.assert_close(written(made.model, latents, ids).diagonal(), each)


def test_words_are_cut_filled_up_and_written_as_legal_text() -> None:
    words = Words(registry.create("text.bytes"), tokens=6)
    ids = words.ids(["ab", "abcdefgh", ""])
    assert ids[0].tolist()[2:] == [words.nothing] * 4
    assert words.nothing not in ids[1].tolist()
    assert counted(ids, words.nothing).sum(1).tolist() == [3, 6, 2]
    assert words.captions(torch.nn.functional.one_hot(ids, 257).float()) == ["ab", "abcdef", ""]
    some = words.captions(torch.randn(20, 6, 257, generator=torch.Generator().manual_seed(0)))
    assert all(isinstance(text, str) for text in some)
    cut = torch.tensor([[*"a€é".encode()]])  # six bytes, whole
    assert words.captions(torch.nn.functional.one_hot(cut, 257).float()) == ["a€é"]
    assert Words(words.text, 5).captions(torch.nn.functional.one_hot(cut[:, :5], 257).float()) == ["a€"]


@pytest.fixture(scope="module")
def flow(pairs: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained flow in a file of ours, with a velocity that is not zero."""
    made = task(pairs, weights)
    for layer in (made.model.velocity.head, made.model.velocity.head_modulation):
        torch.nn.init.normal_(layer.weight, std=0.2)
    torch.nn.init.normal_(made.model.velocity.null.weight, std=2.0)
    path = tmp_path_factory.mktemp("flow") / "flow.safetensors"
    save_weights(path, made.model, made.config, half=False)
    return path


def test_captions_are_drawn_and_pictures_described(flow: Path, weights: Path, pairs: Path) -> None:
    pair = Pair(flow, FlowTok(weights))
    both = pair.draw_tensor(["a red square", "blue everywhere"])
    torch.testing.assert_close(pair.draw_tensor(["blue everywhere"])[0], both[1], atol=1e-5, rtol=1e-4)
    assert not both[0].equal(both[1])
    assert not pair.draw_tensor(["a red square"], guidance=1.0)[0].allclose(both[0], atol=1e-4)
    assert not pair.draw_tensor(["a red square"], steps=2)[0].allclose(both[0], atol=1e-4)
    assert not pair.draw_tensor(["a red square"], seed=1)[0].allclose(both[0], atol=1e-4)
    assert pair.draw(["a red square"])[0].size == (16, 16)
    assert len(pair.describe([pairs / "p0.png", pairs / "p1.png"])) == 2
    assert pair.describe([]) == []
    assert pair.draw([]) == []


def test_a_flow_of_another_tokenizer_is_refused(flow: Path, weights: Path) -> None:
    other = FlowTok(weights)
    other.net.encoder.out.bias.data += 1  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="was trained on latents of image.flowtok with fingerprint"):
        Pair(flow, other)
    with pytest.raises(ValueError, match="tokenizer has 32 latents of 8, the flow 6 continuous latents of 4"):
        Pair(flow, FlowTok(None))


def test_the_flow_leads_back_the_way_it_came() -> None:
    torch.manual_seed(0)
    net = FlowNet(FlowConfig(tokens=4, channels=3, width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(net.velocity.head.weight, std=0.2)
    states = torch.randn(2, 4, 768)
    how = net.config.sampling.model_copy(update={"steps": 200, "guidance": 1.0})
    start = net.text_latents(states)[0]
    there = net.draw(states, how)
    assert (there - start).abs().mean() > 0.1
    assert (net.back(there, how) - start).abs().mean() < 0.02 * (there - start).abs().mean()


def test_guidance_asks_both_branches_in_one_batch() -> None:
    torch.manual_seed(0)
    net = FlowNet(FlowConfig(tokens=4, channels=3, width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(net.velocity.head.weight, std=0.2)
    torch.nn.init.normal_(net.velocity.null.weight, std=2.0)
    torch.nn.init.normal_(net.velocity.head_modulation.weight, std=0.2)
    seen: list[int] = []
    net.velocity.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    states = torch.randn(2, 4, 768)
    guided = net.draw(states)
    assert seen == [4] * 20
    plain = net.draw(states, net.config.sampling.model_copy(update={"guidance": 1.0}))
    assert seen[20:] == [2] * 20
    assert not guided.allclose(plain)
    with pytest.raises(ValueError, match="reads states of captions"):
        net.draw(torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(
        ValueError, match=r"text states of shape \[2, 5, 768\]: this network takes \[B, 4, 768\]"
    ):
        net.draw(torch.zeros(2, 5, 768))


def test_released_flows_read_a_clip_and_do_not_describe(weights: Path, pairs: Path) -> None:
    net = FlowNet(FlowConfig(tokens=6, channels=4, width=16, layers=1, heads=2)).eval()
    with pytest.raises(ValueError, match="reads the states of a CLIP"):
        Pair(net, FlowTok(weights))
    pair = Pair(net, FlowTok(weights), clip=lambda captions: torch.zeros(len(captions), 6, 768))
    assert pair.draw_tensor(["a", "b"]).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="has no text decoder, which was not released"):
        pair.describe([pairs / "p0.png"])


def test_the_published_tokenizer_decodes_with_the_states_that_the_flow_read(tmp_path: Path) -> None:
    size = {"width": 32, "layers": 1, "heads": 2}
    config = FlowTokConfig(
        size=16, tokens=77, encoder=size, decoder=size, text=77, quantizer={"kind": "kl", "dim": 4}
    )  # type: ignore[arg-type]
    save_weights(tmp_path / "guided.safetensors", TiTokNet(config), config.model_dump(mode="json"))
    net = FlowNet(
        FlowConfig(channels=4, width=16, layers=1, heads=2)
    ).eval()  # at rest: latents are the text's
    tokenizer = FlowTok(tmp_path / "guided.safetensors")
    pair = Pair(net, tokenizer, clip=lambda captions: torch.ones(len(captions), 77, 768) * len(captions[0]))
    still = {"guidance": 1.0, "steps": 1}
    made = pair.draw_tensor(["a"], **still)
    states = torch.ones(1, 77, 768)
    mean, log = net.text_latents(states)
    noise = torch.randn(77, 4, generator=torch.Generator().manual_seed(0))
    latents = (mean + (0.5 * log).exp() * noise) / net.config.scale
    torch.testing.assert_close(made, tokenizer.decode_tensor(latents.detach(), text=states))
