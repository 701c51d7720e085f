from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import time
import zlib

import pytest
from data_toys import Latin, Picture, picture
from toys import Plain, nested

from unitok.data.config import DataConfig, SourceConfig
from unitok.data.store import Store
from unitok.data.tally import BadSource
from unitok.data.template import TemplateError
from unitok.data.tokenize import tokenize
from unitok.segment import Segment
from unitok.vocabulary import Vocabulary, VocabularyMismatch

CAPTION = {
    "fields": {"image": "image", "caption": "text"},
    "chat": [
        {"user": "{image}What?", "assistant": "{caption}"},
        {"user": "Draw {caption}.", "assistant": "{image}"},
    ],
    "plain": ["{caption}{image}"],
}


@pytest.fixture
def run(tmp_path, vocabulary, modalities):
    def go(config: DataConfig, split="train", **options):
        return tokenize(config, tmp_path, vocabulary, modalities, split, quiet=True, **options)

    return go


@pytest.fixture
def pictures(tmp_path):
    for name, values in {"a": (1, 2, 3, 4), "b": (9, 8, 7, 6)}.items():
        (tmp_path / f"{name}.img").write_bytes(picture(*values))
    (tmp_path / "broken.img").write_bytes(b"IMG12")
    (tmp_path / "refused.img").write_bytes(picture(255, 0, 0, 0))


def words(store: Store, modalities, doc: int) -> list[object]:
    """A document in plain values: marks as "<mark>", items decoded."""
    vocabulary = store.vocabulary()
    return [
        modalities[part.name].decode([part.codes])[0] if isinstance(part, Segment) else f"<{part.name}>"
        for part in vocabulary.parse(store.document(doc).ids)
    ]


def test_templates_make_the_documents(source, run, pictures, modalities):
    store = run(source([{"key": "k", "image": {"file": "a.img"}, "caption": "red"}], **CAPTION))["s"]
    image = bytes([1, 2, 3, 4])
    assert [words(store, modalities, d) for d in range(3)] == [
        ["<doc>", "<user>", image, "What?", "<turn>", "<assistant>", "red", "<turn>", "<end>"],
        ["<doc>", "<user>", "Draw red.", "<turn>", "<assistant>", image, "<turn>", "<end>"],
        ["<doc>", "red", image, "<end>"],
    ]
    assert [store.form(d) for d in range(3)] == ["chat.0", "chat.1", "plain.0"]
    assert {store.key(d) for d in range(3)} == {"k"}
    loss = store.document(0).weight
    assert loss.sum() == len("red") + 1
    assert store.document(2).weight.sum() == len("red") + 6 + 1


def test_companions_go_with_the_condition_only(source, run, pictures):
    store = run(source([{"image": {"file": "b.img"}, "caption": "x"}], **CAPTION))["s"]
    at, value = store.document(0).side["image_edge"]
    assert value.tolist() == [[4.5, 4.5]] * 4
    assert store.document(0).ids[at].tolist() == [
        store.vocabulary().blocks["image"].start + i for i in (9, 8, 7, 6)
    ]
    assert store.document(1).side == {}


def test_variants_of_items_and_of_captions(source, run, pictures, modalities):
    rows = [{"key": "k", "image": {"file": "a.img"}, "caption": ["red", "dark red", "a red one"]}]
    table = {**CAPTION, "chat": [], "plain": ["{image}{caption}", "{caption}"]}
    store = run(source(rows, variants=8, **table))["s"]
    documents = [words(store, modalities, d) for d in range(len(store))]
    seen = [d[1] for d in documents if isinstance(d[1], bytes)]
    assert seen == [bytes(v) for v in ([1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3])]
    assert len(documents) == 4 + 3
    assert {d[-2] for d in documents} == set(rows[0]["caption"])
    assert {d[1] for d in documents[4:]} == set(rows[0]["caption"])
    again = run(source(rows, variants=8, data={"seq_len": 65}, **table))["s"]
    assert [words(again, modalities, d) for d in range(len(again))] == documents


def test_an_item_is_encoded_once_however_often_it_is_used(source, run, pictures, modalities):
    rows = [{"image": {"file": "a.img"}, "caption": c} for c in ("red", "blue", "green")] * 100
    store = run(source(rows, variants=2, **CAPTION))["s"]
    assert len(store) == 300 * 6
    assert sum(modalities["image"].calls) == 2


def test_sources_share_what_was_encoded(source, run, pictures, modalities, tmp_path):
    config = source([{"image": {"file": "a.img"}, "caption": "red"}], variants=3, **CAPTION)
    (tmp_path / "pages.jsonl").write_text(json.dumps({"document": [{"image": {"file": "a.img"}}]}))
    sources = {**config.sources, "pages": SourceConfig(path="pages.jsonl")}
    stores = run(config.model_copy(update={"sources": sources}))
    assert modalities["image"].calls == [3]
    assert words(stores["pages"], modalities, 0) == ["<doc>", bytes([1, 2, 3, 4]), "<end>"]


def test_own_documents_and_turns(source, run, pictures, modalities):
    rows = [
        {"document": [{"text": "A "}, {"text": "page: "}, {"image": {"file": "a.img"}}, {"molecule": "CCO"}]},
        {
            "turns": [
                {"role": "user", "content": [{"molecule": "CO"}, {"text": "?"}]},
                {"role": "assistant", "content": "yes"},
            ]
        },
    ]
    store = run(source(rows))["s"]
    assert words(store, modalities, 0) == ["<doc>", "A page: ", bytes([1, 2, 3, 4]), "CCO", "<end>"]
    wanted = ["<doc>", "<user>", "CO", "?", "<turn>", "<assistant>", "yes", "<turn>", "<end>"]
    assert words(store, modalities, 1) == wanted
    assert store.form(0) == store.form(1) == "own"


def test_numbers_are_written_as_text_and_absent_fields_skip_their_form(source, run, modalities):
    table = {"fields": {"name": "text", "melts": "text"}, "plain": ["{name} melts at {melts}", "{name}"]}
    store = run(source([{"name": "ice", "melts": 0.5}, {"name": "air", "melts": None}], **table))["s"]
    assert [words(store, modalities, d)[1] for d in range(3)] == ["ice melts at 0.5", "ice", "air"]
    assert store.manifest["about"]["counts"]["bad"] == 0


# -------------------------------------------------------------------- splits


def test_splits_by_field_and_by_hash(source, run):
    table = {"fields": {"t": "text"}, "plain": ["{t}"]}
    rows = [{"t": "a", "split": "heldout"}, {"t": "b", "split": "train"}, {"t": "c"}]
    config = source(rows, **table)
    assert len(run(config)["s"]) == 2
    assert len(run(config, "heldout")["s"]) == 1
    config = source([{"t": "x", "key": i} for i in range(400)], heldout=0.25, **table)
    train, held = run(config)["s"], run(config, "heldout")["s"]
    keys = [{store.key(d) for d in range(len(store))} for store in (train, held)]
    assert not keys[0] & keys[1]
    assert len(keys[0] | keys[1]) == 400
    assert 70 < len(keys[1]) < 130


def test_held_out_items_have_no_variants_and_sources_without_any_are_left_out(source, run, pictures):
    rows = [
        {"image": {"file": f"{n}.img"}, "caption": "c", "split": s}
        for n, s in (("a", "train"), ("b", "heldout"))
    ]
    config = source(rows, variants=4, **CAPTION)
    assert len(run(config)["s"]) == 12
    assert len(run(config, "heldout")["s"]) == 3
    assert run(source(rows[:1], **CAPTION), "heldout") == {}


def test_text_that_spells_marks_fields_and_roles_stays_text(source, run, pictures, modalities, vocabulary):
    evil = "<image>{image}{{x}}<doc></s>"
    store = run(source([{"image": {"file": "a.img"}, "caption": c} for c in ("red", evil)], **CAPTION))["s"]
    for plain, odd in ((0, 3), (1, 4), (2, 5)):
        kinds = [vocabulary.kind_of(store.document(doc).ids) for doc in (plain, odd)]
        assert (kinds[0] == 0).sum() == (kinds[1] == 0).sum()  # as many marks
        assert (kinds[0] == 2).sum() == (kinds[1] == 2).sum()  # as many image codes
    assert words(store, modalities, 3)[-3] == evil


# -------------------------------------------------------------------- bad records

BAD = [
    ("{not json", "s.jsonl:2: the line is not JSON"),
    ("[1, 2]", "s.jsonl:2: the row is a list"),
    ({"image": {"file": "broken.img"}, "caption": "x"}, "s.jsonl:2: image: .*broken.img: not a picture"),
    ({"image": {"file": "refused.img"}, "caption": "x"}, "s.jsonl:2: image: the first byte is 255"),
    ({"image": {"file": "none.img"}, "caption": "x"}, "s.jsonl:2: there is no file .*none.img"),
    ({"image": {"file": "a.png"}, "caption": "x"}, "s.jsonl:2: image: .*a.png: a image cannot be read"),
    ({"image": {"path": "a.img"}, "caption": "x"}, "s.jsonl:2: .*neither a string nor"),
    ({"image": {"file": "a.img"}, "caption": "Ω"}, "s.jsonl:2: text: .*above 255"),
    ({"caption": "x"}, "s.jsonl:2: the record has no field 'image'"),
    ({"image": {"file": "a.img"}, "caption": ""}, "s.jsonl:2: the field 'caption' is empty"),
    ({"image": {"file": "a.img"}, "caption": None}, "s.jsonl:2: the field 'caption' is empty"),
    ({"image": {"file": "a.img"}, "caption": True}, "s.jsonl:2: value True is neither a string nor"),
    ({"image": {"file": "a.img"}, "caption": math.nan}, "s.jsonl:2: value nan is neither a string nor"),
    ({"image": {"file": "a.img"}, "caption": {"a": {"b": 1}}}, "s.jsonl:2: value .* is neither a string nor"),
    ({"image": {"file": "a.img"}, "caption": [["x"]]}, "s.jsonl:2: value .* is neither a string nor"),
    ({"image": {"file": "../a.img"}, "caption": "x"}, "s.jsonl:2: file '../a.img' lies outside"),
    ({"image": {"file": "/etc/passwd"}, "caption": "x"}, "s.jsonl:2: file '/etc/passwd' lies outside"),
    ({"image": {"file": "a\0.img"}, "caption": "x"}, "s.jsonl:2: file .* lies outside"),
    ({"image": {"file": "a" * 5000 + ".img"}, "caption": "x"}, "s.jsonl:2: image: .*too long"),
    ({"image": {"file": "."}, "caption": "x"}, "s.jsonl:2: image: "),
    ({"key": "\ud800", "image": {"file": "a.img"}, "caption": "x"}, "s.jsonl:2: key .* lone surrogate"),
    ("[" * 100_000, "s.jsonl:2: the line is not JSON"),
    ('{"caption": ' + "9" * 5000 + "}", "s.jsonl:2: the line is not JSON"),
    ({"split": ["train"]}, "s.jsonl:2: unknown split"),
    ({"document": [{"text": None}]}, "s.jsonl:2: part 0 of the record is empty"),
    ({"document": [{"text": "a"}, {"text": []}]}, "s.jsonl:2: part 1 of the record is empty"),
    ({"turns": [{"role": "user", "content": "x"}]}, "s.jsonl:2: the chat has no assistant turn"),
    ({"turns": [{"role": ["user"], "content": "x"}]}, "s.jsonl:2: unknown role"),
    ({"image": {"file": "a.img"}, "caption": "x", "split": "test"}, "s.jsonl:2: unknown split 'test'"),
    ({"document": [{"imag": "x"}]}, "s.jsonl:2: unknown block 'imag': did you mean 'image'"),
    ({"document": "words"}, "s.jsonl:2: 'document' must be a list"),
    ({"document": []}, "s.jsonl:2: the document has no parts"),
    ({"turns": [{"role": "robot", "content": "x"}]}, "s.jsonl:2: unknown role 'robot'"),
    ({"turns": [{"role": "user"}]}, "s.jsonl:2: a turn must be"),
    ({"document": [{"molecule": "CCX"}]}, "s.jsonl:2: molecule: 'CCX' is no formula"),
    (
        {"document": [{"molecule": "C" * 21}]},
        "s.jsonl:2: molecule body has 21 positions: it must have 1 to 20",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_record_is_named_and_the_rest_goes_on(source, run, pictures, capsys, row, message):
    good = {"image": {"file": "a.img"}, "caption": "red"}
    config = source([good, row, {**good, "caption": "blue"}], **CAPTION)
    store = run(config)["s"]
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if line]) == 1
    assert re.search(f"^s: {message}", err), err
    assert store.manifest["about"]["counts"]["bad"] == 1
    assert store.manifest["about"]["counts"]["records"] == 3
    assert len(store) >= 6
    (line,) = (store.path / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["where"] == "s.jsonl:2"


@pytest.mark.parametrize(("row", "message"), BAD, ids=range(len(BAD)))
def test_strict_stops_at_it(source, run, pictures, tmp_path, row, message):
    good = {"image": {"file": "a.img"}, "caption": "red"}
    config = source([good, row, good], data={"strict": True}, **CAPTION)
    with pytest.raises(BadSource, match=f"^source 's', {message}"):
        run(config)
    assert not list((tmp_path / "cache").iterdir())


def test_one_bad_item_costs_one_more_call(source, run, pictures, tmp_path, modalities):
    rows = []
    for i in range(40):
        (tmp_path / f"p{i}.img").write_bytes(picture(255 if i == 17 else i, 0, 0, 0))
        rows.append({"image": {"file": f"p{i}.img"}, "caption": "c"})
    store = run(source(rows, **CAPTION))["s"]
    assert modalities["image"].calls == [40, 39]
    assert len(store) == 39 * 3 + 0
    assert store.manifest["about"]["counts"]["bad"] == 1


def test_a_modality_that_does_not_say_which_item_is_bad(source, run, pictures, modalities, monkeypatch):
    def encode(items):
        if any(item[0] == 255 for item in items):
            raise ValueError("something is wrong")
        return Picture().encode(items)

    monkeypatch.setattr(modalities["image"], "encode", encode)
    rows = [{"image": {"file": f"{n}.img"}, "caption": "c"} for n in ("a", "refused", "b")]
    store = run(source(rows, **CAPTION))["s"]
    assert len(store) == 6
    assert store.manifest["about"]["counts"]["bad"] == 1


@pytest.mark.parametrize("method", ["read", "variants", "encode"])
def test_whatever_a_plug_in_throws_over_an_item_spoils_that_item_only(
    source, run, pictures, modalities, monkeypatch, capsys, method
):
    original = getattr(modalities["image"], method)

    def throw(value, *rest):
        if any(b"\xff" in v for v in (value if isinstance(value, list) else [value])):
            raise zlib.error("invalid stored block lengths")
        return original(value, *rest)

    monkeypatch.setattr(modalities["image"], method, throw)
    rows = [{"image": {"file": f"{n}.img"}, "caption": "c"} for n in ("a", "refused", "b")]
    store = run(source(rows, variants=2, **CAPTION))["s"]
    assert len(store) == 12
    assert "s.jsonl:2: image: error: invalid stored block lengths" in capsys.readouterr().err


def test_a_missing_package_is_not_blamed_on_the_record(source, run, pictures, modalities, monkeypatch):
    def missing(data, suffix):
        raise ModuleNotFoundError("image needs the package 'PIL'")

    monkeypatch.setattr(modalities["image"], "read", missing)
    with pytest.raises(ModuleNotFoundError, match="PIL"):
        run(source([{"image": {"file": "a.img"}, "caption": "c"}], **CAPTION))


def test_many_bad_records_do_not_flood(source, run, capsys):
    rows = ["{"] * 50 + [{"t": "x"}]
    store = run(source(rows, fields={"t": "text"}, plain=["{t}"]))["s"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "bad.jsonl" in lines[-1]
    assert len((store.path / "bad.jsonl").read_text().splitlines()) == 50


def test_a_source_that_gives_nothing_is_an_error_with_the_first_reason(source, run):
    with pytest.raises(BadSource, match=r"no document of 1 records; the first message: .*'t'"):
        run(source([{"u": "x"}], fields={"t": "text"}, plain=["{t}"]))


def test_a_missing_source_and_an_unknown_suffix(tmp_path, run):
    def config(path):
        return DataConfig.model_validate({"sources": {"s": {"path": path}}, "cache": str(tmp_path / "cache")})

    with pytest.raises(FileNotFoundError, match="relative to the config file"):
        run(config("none.jsonl"))
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(ValueError, match="unknown suffix.*jsonl"):
        run(config("x.csv"))


# -------------------------------------------------------------------- lengths


def test_long_text_goes_on_in_further_documents_at_good_borders(tmp_path, run, modalities):
    paragraphs = [f"Paragraph {i}. " + "It goes on a bit. " * (i % 5) for i in range(40)]
    book = "\n\n".join(paragraphs) + "\n"
    (tmp_path / "book.txt").write_text(book)
    config = {"sources": {"book": {"path": "book.txt"}}, "cache": str(tmp_path / "cache"), "seq_len": 100}
    store = run(DataConfig.model_validate(config))["book"]
    texts = [words(store, modalities, d)[1] for d in range(len(store))]
    assert "".join(texts) == book
    assert store.index.length.max() <= 100
    assert store.index.length.mean() > 60
    assert all(text.endswith((" ", "\n")) for text in texts)


def test_a_span_is_never_cut_and_what_does_not_fit_is_counted(source, run, pictures, capsys, modalities):
    rows = [
        {"document": [{"text": "x" * 60}, {"image": {"file": "a.img"}}, {"text": "y"}]},
        {"turns": [{"role": "user", "content": "q" * 80}, {"role": "assistant", "content": "a"}]},
        {
            "turns": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "r" * 80},
                {"role": "assistant", "content": "b"},
            ]
        },
    ]
    store = run(source(rows, data={"seq_len": 63}))["s"]
    counts = store.manifest["about"]["counts"]
    assert (counts["too_long"], counts["shortened"], counts["bad"]) == (1, 1, 1)
    assert "s.jsonl:2: a chat of 87 ids" in capsys.readouterr().err
    assert words(store, modalities, 0)[1] == "x" * 60
    assert words(store, modalities, 1)[1:3] == [bytes([1, 2, 3, 4]), "y"]
    assert words(store, modalities, 2).count("<assistant>") == 1
    assert store.index.length.max() <= 63


# -------------------------------------------------------------------- cache


def stamp(store):
    return store.path, (store.path / "manifest.json").stat().st_mtime_ns


def test_the_second_run_opens_the_store_without_encoding(source, run, pictures, modalities):
    config = source([{"image": {"file": "a.img"}, "caption": "red"}], **CAPTION)
    first = stamp(run(config)["s"])
    modalities["image"].calls.clear()
    assert stamp(run(config)["s"]) == first
    assert modalities["image"].calls == []
    assert stamp(run(config.model_copy(update={"seed": 5, "window": 7}))["s"]) == first


def test_a_name_that_no_file_can_have_spoils_no_later_run(source, run, pictures):
    rows = [{"image": {"file": name + ".img"}, "caption": "red"} for name in ("a", "b" * 5000)]
    config = source(rows, **CAPTION)
    assert stamp(run(config)["s"]) == stamp(run(config)["s"])


def test_a_link_may_lead_out_of_the_source_and_a_reference_may_not(source, run, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.img").write_bytes(picture(1, 2, 3, 4))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    files = ("linked/a.img", "../elsewhere/a.img")
    rows = [json.dumps({"image": {"file": file}, "caption": "red"}) for file in files]
    (tmp_path / "data" / "rows.jsonl").write_text("\n".join(rows))
    store = run(DataConfig(sources={"s": {"path": "data/rows.jsonl", **CAPTION}}, cache=str(tmp_path / "c")))[
        "s"
    ]
    assert store.manifest["about"]["counts"]["bad"] == 1
    assert "rows.jsonl:2: file '../elsewhere/a.img' lies outside" in capsys.readouterr().err


def test_touching_files_changes_nothing(source, run, pictures, tmp_path):
    config = source([{"image": {"file": "a.img"}, "caption": "red"}], **CAPTION)
    first = stamp(run(config)["s"])
    later = time.time() + 100
    for name in ("a.img", "s.jsonl"):
        os.utime(tmp_path / name, (later, later))
    assert stamp(run(config)["s"]) == first


def test_changed_content_templates_or_lengths_build_anew(source, run, pictures, tmp_path, modalities):
    row = {"image": {"file": "a.img"}, "caption": "red"}
    first = run(source([row], **CAPTION))["s"]
    (tmp_path / "a.img").write_bytes(picture(5, 5, 5, 5))
    changed = run(source([row], **CAPTION))["s"]
    assert words(changed, modalities, 2)[2] == bytes([5, 5, 5, 5])
    assert changed.path == first.path
    edited = run(source([{**row, "caption": "blue"}], **CAPTION))["s"]
    assert words(edited, modalities, 2)[1] == "blue"
    fewer = run(source([row], **{**CAPTION, "plain": []}))["s"]
    assert len(fewer) == 2
    assert fewer.path != first.path
    assert run(source([row], data={"max_tokens": 40}, **CAPTION))["s"].path != first.path


def test_a_file_that_was_missing_and_now_is_there_builds_anew(source, run, pictures, tmp_path):
    rows = [{"image": {"file": name}, "caption": "c"} for name in ("a.img", "late.img")]
    assert len(run(source(rows, **CAPTION))["s"]) == 3
    (tmp_path / "late.img").write_bytes(picture(0, 0, 0, 0))
    assert len(run(source(rows, **CAPTION))["s"]) == 6


def test_another_tokenizer_builds_anew_and_a_wrong_one_is_refused(
    source, run, tmp_path, modalities, vocabulary
):
    config = source([{"t": "x"}], fields={"t": "text"}, plain=["{t}"])
    first = run(config)["s"]
    other = Latin()
    other.spec = dataclasses.replace(Latin.spec, fingerprint="latin 2")
    with pytest.raises(VocabularyMismatch, match="latin 2"):
        tokenize(config, tmp_path, vocabulary, {**modalities, "text": other}, quiet=True)
    changed = {**modalities, "text": other}
    second = tokenize(config, tmp_path, Vocabulary.build(changed), changed, quiet=True)["s"]
    assert second.path != first.path


def test_a_damaged_cached_store_is_an_error_not_a_surprise(source, run):
    config = source([{"t": "x"}], fields={"t": "text"}, plain=["{t}"])
    store = run(config)["s"]
    (store.path / "ids.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="delete the store and tokenize again"):
        run(config)


def test_the_same_input_gives_the_same_store(source, run, pictures, tmp_path):
    rows = [{"image": {"file": "a.img"}, "caption": ["x", "y"]}] * 5
    one = run(source(rows, **CAPTION))["s"].index.fingerprint
    two = run(source(rows, data={"cache": str(tmp_path / "other")}, **CAPTION))["s"].index.fingerprint
    assert one == two


def test_unknown_names_in_templates(source, run):
    with pytest.raises(TemplateError, match="did you mean 'image'"):
        run(source([{}], fields={"i": "imgae"}))


def test_items_give_way_only_as_far_as_their_own_piece_needs(source, tmp_path):
    class Same(Plain):
        def encode(self, items):
            return super().encode([list(range(8)) for _ in items])

    modalities = {"text": Latin(), "image": Same("image", 20, (1, 8), nested=tuple(range(1, 9)))}
    vocabulary = Vocabulary.build(modalities)
    image, text = {"image": "x"}, {"text": "t" * 20}
    turns = [{"role": "user", "content": [image]}, {"role": "assistant", "content": [text]}]
    rows = [{"turns": turns * 3}, {"document": [image, text, text, image, image]}]
    config = source(rows, data={"seq_len": 40}, shorten=["image"])
    (store,) = tokenize(config, tmp_path, vocabulary, modalities, quiet=True).values()
    found = []
    for doc in range(len(store)):
        rendered = store.document(doc)
        assert len(rendered.ids) <= 40
        found.append([len(p.codes) for p in rendered.parse(vocabulary) if isinstance(p, Segment)])
    # One exchange of three stays, its picture whole; the page's text is cut, and its last two pictures have room.
    assert found == [[8, 20], [1, 35], [5, 8, 8]]


def test_items_give_way_where_a_document_is_too_long(source, tmp_path):
    """Twelve items of eight codes in sixty positions: shortened evenly with `shorten`, refused without."""

    class Spelled(Plain):
        def encode(self, items):
            return super().encode([[int(digit) for digit in item] for item in items])

    modalities = {**nested(), "image": Spelled("image", 20, (1, 8), nested=(1, 2, 4, 8))}
    vocabulary = Vocabulary.build(modalities)
    rows = [{"document": [{"image": "12345678"} for _ in range(12)]}]
    data = {"seq_len": 60}
    config = source(rows, data=data, shorten=["image"])
    (store,) = tokenize(config, tmp_path, vocabulary, modalities, quiet=True).values()
    found = [part for part in vocabulary.parse(store.document(0).serial) if isinstance(part, Segment)]
    assert len(found) == 12
    assert sorted(len(part.codes) for part in found) == [2] * 7 + [4] * 5
    assert len(store.document(0).ids) == 60
    assert all(part.codes.ids.tolist() == [1, 2, 3, 4][: len(part.codes)] for part in found)
    whole = tokenize(source(rows, data=data), tmp_path, vocabulary, modalities, quiet=True)["s"]
    assert len(whole) > 1  # a plain document goes on in further ones
    with pytest.raises(TemplateError, match=r"shorten: .*cannot be cut"):
        tokenize(source(rows, data=data, shorten=["text"]), tmp_path, vocabulary, modalities, quiet=True)


def test_other_words_to_the_encoder_make_the_store_anew(source, run, pictures, modalities, monkeypatch):
    config = source([{"image": {"file": "a.img"}, "caption": "red"}], **CAPTION)
    first = run(config)["s"].path
    monkeypatch.setattr(modalities["image"], "encoding", lambda: {"budget": 2}, raising=False)
    second = run(config)["s"].path
    monkeypatch.setattr(modalities["image"], "encoding", dict)
    assert first != second
    assert run(config)["s"].path == first
