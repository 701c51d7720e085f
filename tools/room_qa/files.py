"""Rooms and questions as files: clouds, ScanQA's and SQA3D's own JSON, and records that a run trains on and answers.

A rotation is a quaternion about z that turns the x axis to where the asker looks. Object ids are the places in
the record's order, from 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from demo_data.clouds import proportions
from demo_data.common import article, digest, sentence

from room_qa.furniture import Model
from room_qa.questions import Question
from room_qa.rooms import Room

LICENCE = {"url": "", "name": "that of the furniture models"}
WHAT, COMPLETE, CAPTION = "What is this?", "This is an object of ", "Caption this 3D model in detail."
"""PointLLM's prompts (Xu et al., arXiv:2308.16911)."""
MAKE = "Make a model of {}."
DESCRIBE = "What is in the room?"
"""Opens half of the chats; its answer names the pieces in the record's order, each with its place and size."""


def clouds(models: Sequence[Model], out: Path) -> None:
    """OUT/clouds/NNN.npz: points in metres, the middle of the base at the origin."""
    folder = out / "clouds"
    folder.mkdir(parents=True, exist_ok=True)
    for model in models:
        np.savez_compressed(
            folder / cloud(model).rpartition("/")[2], points=model.standing.astype(np.float16)
        )


def cloud(model: Model) -> str:
    """A model's file, relative to OUT."""
    return f"clouds/{model.number:03d}.npz"


def questions(found: Sequence[Question], split: str, out: Path) -> list[tuple[str, Question]]:
    """Write one split's questions in both forms; gives each with its id."""
    plain = [one for one in found if one.stand is None]
    situated = [one for one in found if one.stand is not None]
    named = [(f"{one.room.name}-{number}", one) for number, one in enumerate(plain)]
    first = 1 if split == "train" else 1_000_001
    placed = [(str(first + number), one) for number, one in enumerate(situated)]
    _dump(out / f"scanqa_{split}.json", [_scanqa(key, one) for key, one in named])
    head = {
        "info": {"description": "made rooms in SQA3D's form", "version": "1.0"},
        "license": LICENCE,
        "data_type": "rooms",
        "data_subtype": split,
    }
    task = {"task_type": "Situated question answering"}
    _dump(
        out / f"sqa3d_questions_{split}.json",
        {**head, **task, "questions": [_sqa3d(key, one) for key, one in placed]},
    )
    _dump(
        out / f"sqa3d_annotations_{split}.json",
        {**head, "annotations": [_annotation(key, one) for key, one in placed]},
    )
    return named + placed


def _scanqa(key: str, one: Question) -> dict[str, Any]:
    return {
        "scene_id": one.room.name,
        "question_id": key,
        "question": one.text,
        "answers": [one.answer],
        "object_ids": list(one.about),
        "object_names": [one.room.pieces[at].kind for at in one.about],
    }


def _sqa3d(key: str, one: Question) -> dict[str, Any]:
    assert one.stand is not None
    x, y, heading = one.stand
    wall = one.situation.rpartition("facing the ")[2].removesuffix(".")
    others = [
        f"I stand at {x:.1f} {y:.1f} and look at the {wall}.",
        f"My place is {x:.1f} {y:.1f}, with the {wall} in front of me.",
    ]
    return {
        "scene_id": one.room.name,
        "situation": one.situation,
        "alternative_situation": others,
        "question": one.text,
        "question_id": int(key),
    }


def _annotation(key: str, one: Question) -> dict[str, Any]:
    assert one.stand is not None
    x, y, heading = one.stand
    half = math.radians(heading) / 2
    return {
        "scene_id": one.room.name,
        "question_type": "N/A",
        "answer_type": "other",
        "question_id": int(key),
        "answers": [{"answer": one.answer, "answer_confidence": "yes", "answer_id": 1}],
        "rotation": {"_x": 0, "_y": 0, "_z": math.sin(half), "_w": math.cos(half)},
        "position": {"x": x, "y": y, "z": 0},
    }


def records(
    named: Sequence[tuple[str, Question]], parts: dict[str, list[dict[str, Any]]], turns: int
) -> list[dict[str, Any]]:
    """Chats about a room: its parts and the first question, the answer, then further questions and answers.

    Most of a record is the room, and loss is on answers alone, so several questions a chat teach several times as much. Every
    other chat begins with a description of the room.

    Args:
        named: id and question.
        parts: the parts of each room by its name.
        turns: most questions of a chat; 1: a record for each question, whose key is the question's id.
    """
    rooms: dict[str, list[tuple[str, Question]]] = {}
    for key, one in named:
        rooms.setdefault(one.room.name, []).append((key, one))
    found = []
    for name, some in rooms.items():
        some = sorted(some, key=lambda pair: digest(pair[0])) if turns > 1 else some
        for start in range(0, len(some), turns):
            chat = some[start : start + turns]
            room, alone = chat[0][1].room, len(chat) == turns == 1
            said = [(_said(one), one.answer) for _, one in chat]
            if turns > 1 and digest(f"{name}/{start}") % 2 == 0:
                said.insert(0, (DESCRIBE, description(room)))
            head = {
                "key": chat[0][0] if alone else f"{name}/{start}",
                "split": room.split,
                "kind": chat[0][1].template if alone else "chat",
                "scene_id": name,
            }
            found.append(
                {
                    **head,
                    "turns": [
                        turn
                        for at, (question, answer) in enumerate(said)
                        for turn in _turns(question, answer, parts[name] if at == 0 else [])
                    ],
                }
            )
    return found


def _said(one: Question) -> str:
    return f"{one.situation} {one.text}".strip()


def _turns(question: str, answer: str, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Question and answer, with the parts that come before the question."""
    asked = [*before, {"text": f" {question}" if before else question}]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def description(room: Room) -> str:
    """Such as "lamp at 1.2 0.4 0.0, size 0.3 0.3 1.6; chair at ..."."""
    return "; ".join(f"{piece.kind} {piece.place.text.removesuffix(':')}" for piece in room.pieces)


def room_parts(room: Room, seen: bool = True) -> list[dict[str, Any]]:
    """Places and cloud files of a room; without clouds if it is not to be seen."""
    parts = room.scene.parts([{"file": cloud(piece.model)} for piece in room.pieces])
    return parts if seen else [part for part in parts if "text" in part]


def objects(models: Sequence[Model], split: str) -> list[dict[str, Any]]:
    """Records that ask what a model is and what it looks like; a caption has its name and its proportions."""
    found = []
    for model in models:
        said = sentence(f"{article(_name(model))}, {proportions([100 * value for value in model.size])}")
        for kind, prompt, answer in (
            ("class", WHAT, model.kind),
            ("completion", COMPLETE, model.kind),
            ("caption", CAPTION, said),
        ):
            content = [{"cloud": {"file": cloud(model)}}, {"text": f" {prompt}"}]
            turns = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
            found.append({"key": f"{kind}/{model.number}", "split": split, "kind": kind, "turns": turns})
    return found


def shapes(models: Sequence[Model], split: str) -> list[dict[str, Any]]:
    """Records that ask for a model, by its name and by its kind alone; the answer is its cloud."""
    found = []
    for model in models:
        for kind, called in (("named", _name(model)), ("kind", model.kind)):
            turns = [
                {"role": "user", "content": MAKE.format(article(called))},
                {"role": "assistant", "content": [{"cloud": {"file": cloud(model)}}]},
            ]
            found.append({"key": f"{kind}/{model.number}", "split": split, "kind": kind, "turns": turns})
    return found


def _name(model: Model) -> str:
    """In small letters, unless it is an abbreviation."""
    return model.name.lower() if model.name[1:].islower() else model.name


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write records a line each; how many."""
    text = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(text), encoding="utf-8")
    return len(text)


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")
