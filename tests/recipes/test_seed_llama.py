"""SEED-LLaMA's forms from end to end on a tiny model: records, loss mask, training, a report, and a conversation after it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from unitok.config import load
from unitok.data.store import Store
from unitok.data.template import compile_forms
from unitok.document import Mark, Segment
from unitok.generate import Sampler
from unitok.generate.conversation import Conversation
from unitok.run import Run, reopen
from unitok.segment import same

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "configs" / "seed_llama"
VOCABULARY = """
text = { use = "text.pieces" }
image = { use = "image.titok" }
molecule = { use = "molecule.selfies" }
cloud = { use = "pointcloud.any2point" }
"""
PICTURES = [f"demo/images/{name}.webp" for name in ("1f34e", "1f34f", "1f408", "1f697")]


def say(*parts: str | dict[str, Any]) -> list[dict[str, Any]]:
    return [{"text": part} if isinstance(part, str) else part for part in parts]


def picture(at: int) -> dict[str, Any]:
    return {"image": {"file": PICTURES[at % 4]}}


def chat(number: int) -> dict[str, Any]:
    """Pictures, molecules and clouds in one conversation; what was drawn stays in context, with text after it."""
    cloud = {"cloud": {"file": f"demo/clouds/{number % 4:03d}.npz"}}
    turns = [
        ("system", say("You draw.")),
        ("user", say("Draw a thing.")),
        ("assistant", say("Here: ", picture(number), " It is done.")),
        ("user", say(picture(number + 1), "And ", {"molecule": "CCO"}, "?")),
        ("assistant", say({"molecule": "CCN"}, " is like it.")),
        ("user", say(cloud, "What?")),
        ("assistant", say(cloud)),
    ]
    return {"key": f"chat/{number}", "turns": [{"role": role, "content": parts} for role, parts in turns]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on chats, edits, frames and pairs of both orders."""
    torch.set_num_threads(1)  # more threads only wait for one another in so small a model
    root = tmp_path_factory.mktemp("seed")
    (root / "demo").symlink_to(ROOT / "recipes" / "demo")
    frames = [{"file": name} for name in PICTURES[:3]]
    edit = {"source": {"file": PICTURES[0]}, "how": "Make it green.", "target": {"file": PICTURES[1]}}
    rows = {
        "chats": [chat(i) for i in range(6)],
        "edits": [{"key": f"e{i}", **edit} for i in range(2)],
        "clips": [{"key": f"c{i}", "frames": frames, "caption": f"clip {i}"} for i in range(2)],
        "pairs": [
            {"key": f"p{i}", "image": {"file": PICTURES[i % 4]}, "caption": "a thing"} for i in range(12)
        ],
    }
    for name, records in rows.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (root / "run.toml").write_text(
        f"""
        run = "{root / "run"}"
        [vocabulary]
        {VOCABULARY}
        [model]
        depth = 1
        [data]
        cache = "{root / "cache"}"
        seq_len = 320
        [data.sources.chats]
        path = "chats.jsonl"
        heldout = 0.3
        [data.sources.edits]
        path = "edits.jsonl"
        fields = {{ source = "image", how = "text", target = "image" }}
        plain = ["{{source:given}}{{how:given}}{{target}}"]
        [data.sources.clips]
        path = "clips.jsonl"
        fields = {{ frames = "image", caption = "text" }}
        chat = [{{ user = "{{frames:all}}What happens?", assistant = "{{caption}}" }}]
        [data.sources.pairs]
        path = "pairs.jsonl"
        fields = {{ image = "image", caption = "text" }}
        plain = ["{{image}}{{caption}}", "{{caption}}{{image}}"]
        shares = [1, 1]
        [train]
        steps = 2
        rows = 2
        warmup = 0
        progress = false
        [report]
        openings = 1
        """
    )
    runpy.run_path(str(ROOT / "recipes" / "pretrain.py"))["main"]([str(root / "run.toml")])
    return root


@pytest.fixture(scope="module")
def stores(folder: Path) -> tuple[Run, dict[str, Store]]:
    run = Run.of(load(folder / "run.toml"))
    return run, run.stores("train")


def test_turns_have_their_boundaries_and_only_answers_their_loss(
    stores: tuple[Run, dict[str, Store]],
) -> None:
    run, found = stores
    assert len(found["chats"]) > 2
    for doc in range(len(found["chats"])):
        rendered = found["chats"].document(doc)
        stream = rendered.parse(run.vocabulary)
        names = [part.name for part in stream if isinstance(part, Mark)]
        asked = ["user", "turn", "assistant", "turn"] * 3
        assert names == ["doc", "system", "turn", *asked, "end"]
        marks = [run.vocabulary.mark(name) for name in ("system", "user", "assistant", "turn")]
        role, wanted = "", []
        for one in rendered.ids.tolist():
            wanted.append(float(role == "assistant"))
            if one in marks[:3]:
                role = ("system", "user", "assistant")[marks.index(one)]
                wanted[-1] = 0.0
            elif one == marks[3]:
                role = ""
        assert rendered.weight.tolist() == wanted


def test_every_span_is_whole_and_text_after_a_picture_is_there(stores: tuple[Run, dict[str, Store]]) -> None:
    run, found = stores
    stream = found["chats"].document(0).parse(run.vocabulary)
    parts = [part for part in stream if isinstance(part, Segment)]
    assert {part.name for part in parts} == {"text", "image", "molecule", "cloud"}
    assert all(len(part.codes) == 32 for part in parts if part.name == "image")
    assert all(len(part.codes) == 64 for part in parts if part.name == "cloud")
    for part in parts:
        run.modalities[part.name].decode([part.codes])
    first = [part.name for part in parts].index("image")
    assert run.modalities["text"].decode([parts[first + 1].codes]) == [" It is done."]


def test_frames_edits_and_both_orders(stores: tuple[Run, dict[str, Store]]) -> None:
    run, found = stores
    clip = [p for p in found["clips"].document(0).parse(run.vocabulary) if isinstance(p, Segment)]
    assert [part.name for part in clip] == ["image", "image", "image", "text", "text"]
    edit = found["edits"].document(0)
    stream = [p for p in edit.parse(run.vocabulary) if isinstance(p, Segment)]
    target = run.vocabulary.frame("image", stream[-1].codes)
    assert edit.ids[edit.weight > 0].tolist() == [*target.tolist(), run.vocabulary.mark("end")]
    assert {found["pairs"].form(doc) for doc in range(len(found["pairs"]))} == {"plain.0", "plain.1"}
    assert len(found["pairs"]) == 12


def test_the_report_tells_what_the_model_opens(folder: Path) -> None:
    report = json.loads((folder / "run" / "report.json").read_text())
    blocks = report["openings"]["blocks"]
    assert set(blocks) == {"image", "molecule", "cloud"}
    assert all(row["recall"]["of"] >= 1 for row in blocks.values())
    assert all(row["forced"]["count"] == row["forced"]["of"] for row in blocks.values())


def test_a_conversation_of_all_modalities_goes_on_alike_from_its_file(folder: Path, tmp_path: Path) -> None:
    run, decoder = reopen(folder / "run")
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    talk = Conversation(sampler, 640, system="You draw.", seed=1, budget=100)
    for line, first in (
        (f"Change {{image:{ROOT / 'recipes' / PICTURES[0]}}}.", "image"),
        ("Now a molecule like {molecule:CCO}.", "molecule"),
        (f"Like {{cloud:{ROOT / 'recipes' / 'demo' / 'clouds' / '000.npz'}}}.", "cloud"),
    ):
        list(talk.say(line, first=first))
        assert talk.turns[-1][1][0].name == first
    document = talk.document()
    assert same(document.render(run.vocabulary).parse(run.vocabulary), document.normal(run.vocabulary))
    talk.save(tmp_path / "talk.json")
    again = Conversation(sampler, 640)
    again.load(tmp_path / "talk.json")
    for one in (talk, again):
        list(one.say("And?", forbid=("image", "cloud"), budget=20))
    assert same(talk.document().normal(run.vocabulary), again.document().normal(run.vocabulary))


def test_published_mixtures_have_their_numbers_and_forms_that_compile(
    stores: tuple[Run, dict[str, Store]],
) -> None:
    vocabulary = stores[0].vocabulary
    weights = {}
    for path in sorted(CONFIGS.glob("*.toml")):
        config = load(path)
        for name, source in config.data.sources.items():
            forms = compile_forms(name, source, vocabulary)
            assert not source.shares or len(source.shares) == len(forms)
        weights[path.stem] = {name: source.weight for name, source in config.data.sources.items()}
    assert list(weights["pretrain"].values()) == [0.5, 5.0, 2.0, 1.0, 0.5, 1.0]
    sizes = [0.15, 0.08, 0.5, 0.15, 0.2, 0.2, 0.1, 0.15, 0.2, 0.1, 0.15, 0.2, 0.4, 0.5, 0.5, 0.1, 0.08, 0.05]
    assert list(weights["instruct"].values()) == sizes
