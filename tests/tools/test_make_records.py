"""Public layouts as records: small files of each layout, with bad records among them."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
Tool = Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    """The tool, which finds its parts as scripts do."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        yield importlib.import_module("make_records")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture
def tool(module: ModuleType, tmp_path: Path) -> Tool:
    """Runs the tool; gives its records and what it left out."""

    def run(layout: str, path: Path, *words: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        out = tmp_path / "out" / "x.jsonl"
        good, bad = module.main([layout, str(path), "--out", str(out), *map(str, words)])
        noted = out.with_suffix(".bad.jsonl")
        found = [json.loads(line) for line in out.read_text().splitlines()]
        left = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
        assert (len(found), len(left)) == (good, bad)
        return found, left

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "b.png", "deep/c.png"):
        Image.new("L", (2, 2), 9).save(folder / name)
    return folder


def write(path: Path, value: Any) -> Path:
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(v) + "\n" for v in value) if lines else json.dumps(value))
    return path


def file(name: str) -> dict[str, str]:
    """A reference through the link beside the records."""
    return {"file": f"x_files/{name}"}


def test_all_captions_of_a_picture_stand_in_its_record(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    layout = {
        "images": [
            {"id": 1, "file_name": "a.png"},
            {"id": 2, "file_name": "no.png"},
            {"id": 3, "file_name": "b.png"},
        ],
        "annotations": [
            {"image_id": 1, "caption": "A  cat.\n"},
            {"image_id": 1, "caption": "A pet."},
            {"image_id": 2, "caption": "x"},
            {"image_id": 3, "caption": " "},
        ],
    }
    found, left = tool("captions", write(tmp_path / "coco.json", layout), "--files", pictures)
    assert found == [{"key": "coco/1", "image": file("a.png"), "caption": ["A cat.", "A pet."]}]
    assert ["annotations[3]" in left[0]["where"], "'no.png'" in left[1]["reason"]] == [True, True]
    assert "has no caption" in left[2]["reason"]
    assert (tmp_path / "out" / "x_files" / "a.png").is_file()


def test_nearest_captions_stand_before_and_never_the_same(tool: Tool, tmp_path: Path) -> None:
    said = ["a red cat", "a red cat sleeps", "a red dog", "a blue boat", "a red cat"]
    rows = [{"key": str(i), "image": {"file": f"{i}.png"}, "caption": [s]} for i, s in enumerate(said)]
    rows[3]["split"] = "heldout"
    (tmp_path / "out").mkdir()
    path = write(tmp_path / "out" / "c.jsonl", [*rows, {"key": "bad", "caption": ["x"]}])
    found, left = tool("retrieved", path, "--pairs", 2)
    assert len(left) == 1
    assert found[0]["key"] == "retrieved/0"
    assert [part.get("image", {}).get("file") for part in found[0]["document"][::2]] == [
        "2.png",
        "1.png",
        "0.png",
    ]
    assert found[0]["document"][5] == {"text": " a red cat\n"}
    assert [one.get("split") for one in found] == [None, None, None, "heldout", None]
    shown = {part["image"]["file"] for one in found for part in one["document"][:-2] if "image" in part}
    assert "3.png" not in shown  # it is held out
    with pytest.raises(ValueError, match="must lie beside"):
        tool("retrieved", write(tmp_path / "c.jsonl", rows), "--pairs", 2)
    with pytest.raises(ValueError, match="4 captioned training records: 9 in context need more"):
        tool("retrieved", path, "--pairs", 9)


def test_pictures_of_a_conversation_stand_where_its_turns_say(
    tool: Tool, tmp_path: Path, pictures: Path
) -> None:
    def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"from": role, "value": words} for role, words in pairs]

    asked = ("human", "<image>\nWhat?")
    rows = [
        {"id": "1", "image": "a.png", "conversations": said(asked, ("gpt", "A cat."), ("human", "Sure?"))},
        {"id": "2", "image": ["a.png"], "conversations": said(("system", "S"), ("human", "What?"), ("gpt", "B"))},
        {"id": "3", "images": ["a.png", "deep/c.png"], "messages": [
            {"role": "user", "content": "<image> bigger"}, {"role": "assistant", "content": "Here. <image>"}]},
        {"id": "4", "image": "a.png", "conversations": said(("human", "<image><image>"), ("gpt", "?"))},
        {"id": "5", "conversations": said(("human", "?"), ("robot", "!"))},
        {"id": "6", "image": "../a.png", "conversations": said(asked, ("gpt", "A"))},
        {"id": "7", "conversations": said(("human", "alone"))},
        "no object",
        {"id": "8", "conversations": said(("human", "Hi"), ("gpt", "Ho"))},
    ]  # fmt: skip
    found, left = tool("conversations", write(tmp_path / "llava.json", rows), "--files", pictures)
    assert [one["key"] for one in found] == ["1", "2", "3", "8"]
    assert found[0]["turns"] == [
        {"role": "user", "content": [{"image": file("a.png")}, {"text": "What?"}]},
        {"role": "assistant", "content": [{"text": "A cat."}]},
    ]
    assert found[1]["turns"][1]["content"] == [{"image": file("a.png")}, {"text": "What?"}]
    assert found[2]["turns"][1] == {
        "role": "assistant", "content": [{"text": "Here. "}, {"image": file("deep/c.png")}]
    }  # fmt: skip
    reasons = [one["reason"] for one in left]
    wanted = (
        "2 places for files and it names 1",
        "'robot' is no speaker",
        "outside",
        "nobody answers",
        "a str",
    )
    assert all(word in reason for word, reason in zip(wanted, reasons, strict=True)), reasons


def test_edits_are_pairs_or_the_turns_of_a_session(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    row = {
        "source_img": "a.png",
        "instruction": "Make it red.",
        "target_img": "b.png",
        "img_id": 7,
        "turn_index": 1,
    }
    rows = [
        {**row, "turn_index": 2, "source_img": "b.png", "target_img": "deep/c.png", "instruction": "Bigger."},
        row,
        {**row, "img_id": 8},
        {**row, "target_img": "no.png"},
        {"colour": 1},
    ]
    path = write(tmp_path / "brush.jsonl", rows)
    found, left = tool("edits", path, "--files", pictures)
    assert found[1] == {
        "key": "brush:2", "source": file("a.png"), "instruction": "Make it red.", "target": file("b.png")
    }  # fmt: skip
    assert [len(found), "name them with --columns" in left[1]["reason"]] == [3, True]
    found, _ = tool("edits", path, "--files", pictures, "--session", "img_id")
    assert [one["key"] for one in found] == ["7", "8"]
    contents = [turn["content"] for turn in found[0]["turns"]]
    assert contents == [
        [{"image": file("a.png")}, {"text": "Make it red."}],
        [{"image": file("b.png")}],
        [{"text": "Bigger."}],
        [{"image": file("deep/c.png")}],
    ]


def test_pictures_within_a_table_are_written_out(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = (pictures / "a.png").read_bytes()
    held = {"bytes": data, "path": "a.png"}
    rows = [{"original_image": held, "edit_prompt": "red", "edited_image": held}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "pix.parquet")
    found, _ = tool("edits", tmp_path / "pix.parquet")
    assert found[0]["instruction"] == "red"
    assert (tmp_path / "out" / found[0]["target"]["file"]).read_bytes() == data


def test_stories_are_pages_or_are_drawn_in_turn(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    def told(story: str, photo: str, place: int, words: str) -> list[dict[str, Any]]:
        return [
            {"story_id": story, "photo_flickr_id": photo, "worker_arranged_photo_order": place, "text": words}
        ]

    layout = {
        "annotations": [told("1", "b", 1, "then b"), told("1", "c", 0, "c"), told("2", "no", 0, "x"), [{}]]
    }
    path = write(tmp_path / "vist.json", layout)
    found, left = tool("albums", path, "--files", pictures)
    assert found == [
        {"key": "story/1", "document": [
            {"image": file("deep/c.png")}, {"text": " c\n"}, {"image": file("b.png")}, {"text": " then b\n"}]}
    ]  # fmt: skip
    assert len(left) == 2
    found, _ = tool("albums", path, "--files", pictures, "--chat", "--ask", "Draw: ")
    assert [turn["content"] for turn in found[0]["turns"]] == [
        [{"text": "Draw: c"}], [{"image": file("deep/c.png")}], [{"text": "then b"}], [{"image": file("b.png")}]
    ]  # fmt: skip


def test_pages_keep_the_pictures_that_were_downloaded(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    url = "http://example.org/x/photo"
    (pictures / f"{hashlib.sha256(url.encode()).hexdigest()}.png").write_bytes(
        (pictures / "a.png").read_bytes()
    )
    matched = [
        {"image_name": "a.png", "matched_text_index": 1, "matched_sim": 0.3},
        {"image_name": "b.png", "matched_text_index": 0, "matched_sim": 0.1},
        {"image_name": "no.png", "matched_text_index": 0, "matched_sim": 0.9},
    ]
    rows = [
        {"text_list": ["One.", "Two."], "image_info": matched},
        {"images": [url, None, "http://example.org/b.png?w=9"], "texts": [None, "said", None]},
        {"text_list": ["One."], "image_info": [{**matched[0], "matched_text_index": 4}]},
        {"text_list": ["One."], "image_info": [{**matched[2]}]},
        {"images": [], "texts": ["a"]},
        {"words": 1},
    ]
    path = write(tmp_path / "pages.jsonl", rows)
    found, left = tool("interleaved", path, "--files", pictures, "--likeness", 0.2)
    assert found[0]["document"] == [{"text": "One.\n"}, {"image": file("a.png")}, {"text": "Two.\n"}]
    hashed = file(f"{hashlib.sha256(url.encode()).hexdigest()}.png")
    assert found[1]["document"] == [{"image": hashed}, {"text": "said\n"}, {"image": file("b.png")}]
    assert [len(found), len(left)] == [2, 4]
    assert "sentence 4 of 1" in left[0]["reason"]
    assert "none of its pictures is there" in left[1]["reason"]


def test_frames_are_evenly_spaced_and_captioned(tool: Tool, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    for name, count in (("1", 9), ("2", 2), ("3", 0), ("4", 1)):
        (clips / name).mkdir(parents=True)
        for i in range(count):
            (clips / name / f"{i:03d}.png").write_bytes(b"x")
    with (tmp_path / "web.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["videoid", "name"], ["1", "a  walk"], ["2", "a run"], ["3", "nothing"]])
    found, left = tool("frames", clips, "--captions", tmp_path / "web.csv", "--count", 3)
    assert found[0]["frames"] == [file(f"1/{i:03d}.png") for i in (0, 4, 8)]
    assert found[0]["caption"] == "a walk"
    assert [len(one["frames"]) for one in found] == [3, 2]
    assert [one["reason"] for one in left] == ["the clip has no frames", "the clip has no caption"]
    (clips / "4.txt").write_text("alone")
    found, _ = tool("frames", clips, "--count", 3)
    assert [one["key"] for one in found] == ["4"]


def test_what_is_wrong_as_a_whole_is_one_sentence(
    module: ModuleType, tool: Tool, tmp_path: Path, pictures: Path
) -> None:
    path = write(tmp_path / "no.json", {})
    with pytest.raises(ValueError, match="is no captions file"):
        tool("captions", path, "--files", pictures)
    with pytest.raises(ValueError, match=r"gives no record, 1 could not be used"):
        tool("conversations", write(tmp_path / "none.json", ["x"]))
    assert not (tmp_path / "out" / "x.jsonl").exists()
    with pytest.raises(ValueError, match="is no folder"):
        tool("captions", path, "--files", tmp_path / "nothing")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        tool("conversations", tmp_path / "bad.json")
    with pytest.raises(ValueError, match="--pairs is 0"):
        tool("retrieved", path, "--pairs", 0)
    lines = write(tmp_path / "same.jsonl", [])
    with pytest.raises(ValueError, match="is the file that is read"):
        module.main(["retrieved", str(lines), "--out", str(lines)])


def test_records_of_another_form_are_left_out_one_by_one(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    asked = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "A."}]}
    odd = [
        {"conversations": ["words"]},
        {"image": "a.png", "conversations": [{"from": "gpt", "value": "A."}]},
        {"conversations": [{"from": "human", "value": "\ud800"}, {"from": "gpt", "value": "A."}]},
    ]
    found, left = tool("conversations", write(tmp_path / "c.json", [*odd, asked]), "--files", pictures)
    assert len(found) == 1
    assert all(
        reason in one["reason"] for one, reason in zip(left, ("'get'", "nobody asks", "surrog"), strict=True)
    )
    long = "http://x.org/" + "a" * 400
    pages = [
        {"image_info": ["a.png"], "text_list": ["x"]},
        {"image_info": [{"image_name": "a.png", "matched_text_index": 1e999}], "text_list": ["x"]},
        {"images": [long, None], "texts": [None, "x"]},
        {"images": [long, "http://x.org/a.png"], "texts": [None, None]},
    ]
    found, left = tool("interleaved", write(tmp_path / "p.jsonl", pages), "--files", pictures)
    assert [one["document"] for one in found] == [[{"image": {"file": "x_files/a.png"}}]]
    assert len(left) == 3


def test_a_session_ends_before_an_edit_that_is_left_out(tool: Tool, tmp_path: Path, pictures: Path) -> None:
    def edit(session: str, place: Any, target: str = "b.png") -> dict[str, Any]:
        return {
            "s": session,
            "turn_index": place,
            "source": "a.png",
            "instruction": f"{place}",
            "target": target,
        }

    rows = [edit("1", 1), edit("1", "3"), edit("1", 2, "none.png"), edit("2", 1, "none.png"), edit("2", 2)]
    found, left = tool("edits", write(tmp_path / "e.jsonl", rows), "--files", pictures, "--session", "s")
    assert [(one["key"], len(one["turns"])) for one in found] == [("1", 2)]
    assert len(left) == 2


def test_a_clip_whose_row_is_short_has_no_caption(tool: Tool, tmp_path: Path) -> None:
    for clip in ("one", "two"):
        (tmp_path / "clips" / clip).mkdir(parents=True)
        Image.new("L", (2, 2)).save(tmp_path / "clips" / clip / "0.png")
    (tmp_path / "t.csv").write_text("videoid,name\none\ntwo,a dog\n")
    found, left = tool("frames", tmp_path / "clips", "--captions", tmp_path / "t.csv")
    assert [one["caption"] for one in found] == ["a dog"]
    assert "no caption" in left[0]["reason"]
