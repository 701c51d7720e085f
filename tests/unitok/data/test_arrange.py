from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from data_toys import Formula, Latin, Picture, picture

from unitok.data.arrange import arranged, drawn
from unitok.data.config import DataConfig
from unitok.data.template import Draft, Part
from unitok.data.tokenize import tokenize
from unitok.segment import Segment
from unitok.vocabulary import Vocabulary

MODALITIES = {"text": Latin(), "image": Picture(), "molecule": Formula()}
VOCABULARY = Vocabulary.build(MODALITIES)


def draft(*words: str, form: str = "own") -> Draft:
    """Parts of one letter: capitals are pictures."""
    parts = tuple(Part("image" if word.isupper() else "text", word) for word in words)
    return Draft(form, ((None, parts),))


def said(made: list[Draft]) -> list[str]:
    return ["|".join(str(part.value) for part in one.parts) for one in made]


def test_shares_draw_one_template_for_each_document() -> None:
    made = [(3.0, [draft("a", form="plain.0")]), (1.0, [draft("b", form="plain.1")])]
    counts = Counter(drawn(made, f"key/{i}")[0].form for i in range(4000))
    assert counts["plain.1"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert [drawn(made, "k") for _ in range(3)] == [drawn(made, "k")] * 3
    assert drawn([(0.0, [draft("a")])], "k") == []


def test_every_variant_draws_for_itself_and_absent_templates_leave_their_share() -> None:
    forms = [(1.0, [draft("a", form="plain.0")] * 64), (1.0, [draft("b", form="plain.1")] * 64)]
    found = Counter(one.form for one in drawn(forms, "k"))
    assert sum(found.values()) == 64
    assert 20 < found["plain.0"] < 44
    assert {one.form for one in drawn([(1.0, forms[0][1]), (5.0, [])], "k")} == {"plain.0"}


def test_items_trade_places_with_their_text_in_whole_documents() -> None:
    page = draft("t", "A", "a", "B", "b", "C")
    ways = Counter(said(arranged(page, f"k{i}", 0, "text", None, 0.5))[0] for i in range(2000))
    assert set(ways) == {"t|A|a|B|b|C", "ta|A|b|B|C"}  # neighbouring text is one
    assert ways["ta|A|b|B|C"] / 2000 == pytest.approx(0.5, abs=0.05)
    assert said(arranged(page, "k", 0, "text", None, 0.0)) == ["t|A|a|B|b|C"]
    assert said(arranged(page, "k", 0, "text", None, 1.0)) == ["ta|A|b|B|C"]


def test_more_items_go_on_in_further_documents() -> None:
    page = draft("t", "A", "a", "B", "b", "C", "c")
    assert said(arranged(page, "k", 0, "text", 2, 0.0)) == ["t|A|a|B|b", "C|c"]
    assert said(arranged(page, "k", 0, "text", 1, 1.0)) == ["ta|A", "b|B", "c|C"]
    chat = Draft("chat.0", (("user", page.parts), ("assistant", page.parts)))
    assert arranged(chat, "k", 0, "text", 1, 1.0) == [chat]


def built(tmp_path: Path, records: list[dict[str, object]], **source: object):
    for name, values in {"a.img": (1, 2, 3, 4), "b.img": (5, 6, 7, 8), "c.img": (9, 8, 7, 6)}.items():
        (tmp_path / name).write_bytes(picture(*values))
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    config = DataConfig.model_validate(
        {"sources": {"x": {"path": "x.jsonl", **source}}, "seq_len": 64, "cache": str(tmp_path / "cache")}
    )
    return tokenize(config, tmp_path, VOCABULARY, MODALITIES, "train", quiet=True)["x"]


def test_frames_stand_in_order_and_an_edit_has_its_loss_on_the_target(tmp_path: Path) -> None:
    frames = [{"file": f"{name}.img"} for name in "abc"]
    store = built(
        tmp_path,
        [{"key": "1", "frames": frames, "caption": "go"}],
        fields={"frames": "image", "caption": "text"},
        plain=["{frames:all}{caption}"],
    )
    parts = [part for part in store.document(0).parse(VOCABULARY) if isinstance(part, Segment)]
    assert [part.codes.ids.tolist()[0] for part in parts] == [1, 5, 9, ord("g")]
    edit = {"key": "1", "from": frames[0], "how": "red", "to": frames[1]}
    store = built(
        tmp_path,
        [edit],
        fields={"from": "image", "how": "text", "to": "image"},
        plain=["{from:given}{how:given}{to}"],
    )
    rendered = store.document(0)
    supervised = rendered.ids[rendered.weight > 0]
    target = VOCABULARY.frame("image", MODALITIES["image"].encode([bytes((5, 6, 7, 8))])[0])
    assert supervised.tolist() == [*target.tolist(), VOCABULARY.mark("end")]
    assert rendered.nulled().ids.tolist() == [VOCABULARY.mark("doc"), *supervised.tolist()]


def test_a_long_edit_is_refused_and_never_parted_from_its_condition(tmp_path: Path) -> None:
    records = [
        {"key": "1", "document": [{"text": "x" * 80, "given": True}, {"image": {"file": "a.img"}}]},
        {"key": "2", "document": [{"text": "x", "given": True}, {"image": {"file": "a.img"}}]},
    ]
    store = built(tmp_path, records)
    assert [store.key(doc) for doc in range(len(store))] == ["2"]
    bad = (
        Path(store.path) if hasattr(store, "path") else next((tmp_path / "cache").glob("x.*"))
    ) / "bad.jsonl"
    assert "parts without loss" in bad.read_text()


def test_options_at_rest_leave_the_names_of_stores_as_they_were(tmp_path: Path) -> None:
    records = [{"key": "1", "document": [{"image": {"file": "a.img"}}, {"text": "a"}]}]
    built(tmp_path, records)
    built(tmp_path, records, swap=0.0)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    built(tmp_path, records, swap=1.0)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_is_asked_for_stays_behind_what_is_given() -> None:
    made = Draft("own", ((None, (Part("image", "A", given=True), Part("image", "B"), Part("text", "b"))),))
    assert said(arranged(made, "k", 0, "text", 1, 1.0)) == ["A|B|b"]


def test_a_record_that_only_templates_of_no_share_take_is_named(tmp_path: Path) -> None:
    rows = [{"a": "x"}, {"b": "y"}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {
        "path": "s.jsonl",
        "fields": {"a": "text", "b": "text"},
        "plain": ["{a}", "{b}"],
        "shares": [1, 0],
    }
    config = DataConfig.model_validate({"sources": {"s": table}, "cache": str(tmp_path / "cache")})
    counts = tokenize(config, tmp_path, VOCABULARY, MODALITIES, quiet=True)["s"].manifest["about"]["counts"]
    assert (counts["documents"], counts["bad"]) == (1, 1)
