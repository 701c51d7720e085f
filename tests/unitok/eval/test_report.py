from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from pydantic import ValidationError

from unitok.eval import panels
from unitok.eval.config import PanelConfig, ReportConfig
from unitok.eval.figures import Curve, loss_figure, smoothed
from unitok.eval.report import Trained, duration, large, short, write

PANELS = (
    PanelConfig(title="picture -> words", source="pictures", chat=0, count=2, score=3, produce=("text",), budget=20),
    PanelConfig(
        title="words -> picture", source="pictures", chat=1, count=2, score=4, first="image", guidance={"image": 2.0},
        budget=20, note="With guidance <2>.",
    ),
    PanelConfig(title="a chat", source="talks", turns="all", count=1, score=1, budget=20),
)  # fmt: skip


class Seen(HTMLParser):
    """Collects what a page loads, its headings, ids and text, and checks that elements close."""

    VOID = {"meta", "img", "br", "hr", "link", "input"}

    def __init__(self) -> None:
        super().__init__()
        self.loads, self.ids, self.stack, self.text = [], [], [], []
        self.images = 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[n] for n in ("src", "href", "xlink:href") if n in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.images += tag == "img"
        assert tag != "img" or attrs["alt"]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory, world, train, heldout, random_decoder):
    folder = tmp_path_factory.mktemp("run")
    curve = Curve(list(range(40)), [5.0 - i / 20 for i in range(40)])
    run = Trained(2_700_000, 40, 81_920, 75.0, 128, {"text": curve}, {"text": Curve([20], [4.5])})
    config = ReportConfig(title="A <title>", remarks=("Mind & look.",), panel=PANELS)
    path = write(folder, config, run, random_decoder, *world, train, heldout)
    page = Seen()
    html = path.read_text()
    page.feed(html)
    return html, page, json.loads((folder / "report.json").read_text())


def test_the_page_stands_alone_and_is_well_formed(written):
    html, page, _ = written
    assert page.stack == []
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in page.loads)
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert len(page.ids) == len(set(page.ids))
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_text_is_escaped(written):
    html, page, _ = written
    assert "A &lt;title&gt;" in html
    assert "With guidance &lt;2&gt;." in html
    assert "A <title>" in "".join(page.text)


def test_it_leads_with_what_was_trained_and_says_what_to_expect(written):
    text = " ".join("".join(written[1].text).split())
    assert "2.7 million parameters read 81.9 thousand tokens in 40 steps and 1 min 15 s" in text
    assert "form and little content" in text
    assert "Mind & look." in text
    assert text.index("form and little content") < text.index("picture -> words")


def test_every_kind_has_its_losses_lines_verdict_and_curve(written):
    html, page, numbers = written
    rows = {m["kind"]: m for m in numbers["measures"]}
    assert set(rows) == {"text", "image"}
    for row in rows.values():
        assert row["verdict"] == "above both"  # the decoder is random
        for value in (row["nats"], row["lines"]["unigram"], row["lines"]["position"]):
            assert f"{value:.3f}" in html
    assert "image: not below either line" in "".join(page.text) or "text, image: not below" in "".join(
        page.text
    )
    assert html.count("<svg") == 2


def test_panels_show_inputs_references_and_what_was_written(written):
    _, page, numbers = written
    text = "".join(page.text)
    assert [f in text for f in ("picture -> words", "words -> picture", "a chat")] == [True] * 3
    assert text.count("What?") == 2
    assert page.images >= 2 + 2  # the pictures asked about, and the references of the drawings
    drawn = numbers["panels"]["words -> picture"]
    assert drawn["documents"] == 4
    assert drawn["valid"]["image"]["written"] == 4
    assert numbers["panels"]["a chat"]["turns"] == 2
    assert numbers["vocabulary"]
    assert numbers["run"]["tokens"] == 81_920


def test_a_panel_takes_one_document_per_record_of_its_template(world, heldout):
    found = panels.task(PANELS[0].model_copy(update={"score": 99}), heldout, world[0])
    assert sorted(d.key for d in found.documents) == [f"r{i}" for i in range(8)]
    assert all(d.turns[0].segments[0].name == "image" for d in found.documents)
    again = panels.task(PANELS[0], heldout, world[0])
    other = panels.task(PANELS[0].model_copy(update={"seed": 3}), heldout, world[0])
    assert [d.key for d in again.documents] == [d.key for d in found.documents][:3]
    assert [d.key for d in other.documents] != [d.key for d in again.documents]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "picture"}, "did you mean 'pictures'"),
        ({"chat": 7}, r"asks for chat.7 of source 'pictures'.*it has chat.0, chat.1"),
        ({"produce": ("imagee",)}, "did you mean 'image'"),
        ({"guidance": {"molecule": 2.0}}, "names the block 'molecule'"),
    ],
)
def test_a_panel_that_cannot_be_made_is_named(world, heldout, change, message):
    with pytest.raises(ValueError, match=message):
        panels.task(PANELS[0].model_copy(update=change), heldout, world[0])


def test_config_is_strict():
    with pytest.raises(ValidationError, match="temprature"):
        PanelConfig.model_validate({"title": "t", "source": "s", "temprature": 1.0})
    with pytest.raises(ValidationError):
        ReportConfig(position_cap=0)


def test_smoothing_starts_at_the_first_value_and_follows():
    found = smoothed(Curve(range(1000), [8.0] + [2.0] * 999))
    assert found.values[0] == 8.0
    assert found.values[-1] == pytest.approx(2.0, abs=1e-3)
    assert smoothed(Curve([], [])).values == []


@pytest.mark.parametrize("held", [Curve([], []), Curve([5.0], [float("nan")])])
def test_a_figure_without_data_still_draws(held):
    svg = loss_figure("empty kind", Curve([], []), held, {})
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>\n")


def test_figures_take_their_ink_from_the_page():
    curve = Curve(np.arange(50), np.linspace(5, 2, 50))
    a, b = (loss_figure(name, curve, curve, {"unigram": 3.0}) for name in ("a", "b"))
    assert "currentColor" in a
    assert "#010203" not in a
    assert not set(re.findall(r'id="([^"]+)"', a)) & set(re.findall(r'id="([^"]+)"', b))
    assert a == loss_figure("a", curve, curve, {"unigram": 3.0})


def test_counts_and_times_in_words():
    assert [large(n) for n in (12, 1234, 2_690_000, 3e9)] == [
        "12",
        "1.23 thousand",
        "2.69 million",
        "3 billion",
    ]
    assert short(2_690_000) == "2.69 M"
    assert [duration(s) for s in (3.21, 75, 7260)] == ["3.2 s", "1 min 15 s", "2 h 1 min"]


def test_a_run_is_read_from_its_metrics(tmp_path):
    def step(number, seconds, nats):
        return {"event": "step", "step": number, "seconds": seconds, "per_s": 100.0, "nats": nats}

    records = [
        {"event": "start", "step": 0, "parameters": 7},
        step(1, 2.0, {"text": 5.0}),
        step(2, 3.0, {"text": 4.0, "image": 6.0}),
        {"event": "heldout", "step": 2, "nats": {"text": 4.5}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    run = Trained.of(tmp_path, 64)
    assert (run.parameters, run.steps, run.tokens, run.seconds) == (7, 2, 500, 5.0)
    assert run.train == {"text": Curve([1, 2], [5.0, 4.0]), "image": Curve([2], [6.0])}
    assert run.held == {"text": Curve([2], [4.5])}
    with pytest.raises(FileNotFoundError, match="train before reporting"):
        Trained.of(tmp_path / "nothing", 64)


def test_the_page_tells_which_blocks_are_opened_unforced(written):
    _, page, numbers = written
    found = numbers["openings"]
    assert found["answers"] == 32
    row = found["blocks"]["image"]
    assert row["recall"]["of"] == row["unasked"]["of"] == 16
    assert row["forced"]["count"] == row["forced"]["of"] == 8
    assert row["forbidden"]["count"] == 8
    text = " ".join("".join(page.text).split())
    assert f"{row['recall']['count']} of 16" in text
    assert "Which modality the model opens by itself" in text
