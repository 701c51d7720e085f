"""Questions about scenes from the files of ScanQA, SQA3D, 3D-LLM and 3D MM-Vet.

    questions, problems = read("scanqa", Path("ScanQA_v1.0_val.json"))

- scanqa (Azuma et al., arXiv:2112.10482): a list of {scene_id, question_id, question, answers, ...}.
- sqa3d (Ma et al., arXiv:2210.07474): {"questions": [{scene_id, situation, question, question_id, ...}]}, and beside
  it, as annotations, {"annotations": [{question_id, answers: [{answer, ...}], ...}]}.
- 3dllm (Hong et al., arXiv:2307.12981, in LL3DA's copies): a list of {question, answers, scene_id}; a question
  stands between "### human:" and "### assistant:" and is called "SCENE-NUMBER" here, counting within the scene.
- mmvet (ShapeLLM's 3D MM-Vet, Qi et al., arXiv:2402.17766): lines {question_id, point, text, category}, and the same
  with the answers as annotations.

A record that cannot be used is a problem, one sentence with file and record; the others are read. Files may be .gz or .zst.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from unitok.eval.qa3d import kinds
from unitok.packed import DAMAGE, opened

FORMATS = ("scanqa", "sqa3d", "3dllm", "mmvet")
ANNOTATED = ("sqa3d", "mmvet")
"""Formats whose answers are in a second file."""


class Question(NamedTuple):
    """One question: `scene` is the scene's or object's name, `kind` its type in the format's own division."""

    id: str
    scene: str
    text: str
    answers: tuple[str, ...]
    kind: str
    situation: str = ""

    @property
    def asked(self) -> str:
        """Situation, if any, and question."""
        return f"{self.situation} {self.text}".strip()


class Unusable(ValueError):
    """A record that is no question with answers; says why."""


Placed = tuple[str, Any]
"""Where a record stands, for messages, and the record."""


def load(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: not JSON; names the file.
    """
    content = _content(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file ({error})") from error


def _content(path: Path) -> bytes:
    """All bytes of a file, unpacked.

    Raises:
        ValueError: packed data that are damaged; names the file.
    """
    try:
        with opened(path) as file:
            return file.read()
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error


def read(
    name: str, path: Path, annotations: Path | None = None, *, scored: bool = True
) -> tuple[list[Question], list[str]]:
    """The questions of a file, and what is wrong with the records that are left out.

    Args:
        name: one of FORMATS.
        path: the questions.
        annotations: the answers, for the formats that keep them apart.
        scored: whether questions need answers; test splits that go to a server have none.

    Raises:
        ValueError: an unknown format, a file of another form, annotations missing or not wanted, or no question left.
    """
    if name not in FORMATS:
        raise ValueError(f"format {name!r} is unknown: use one of {', '.join(FORMATS)}")
    if annotations is not None and name not in ANNOTATED:
        raise ValueError(f"format {name!r}: its answers are in the file itself: drop --annotations")
    if annotations is None and name in ANNOTATED and scored:
        raise ValueError(f"format {name!r}: its answers are in a second file: give --annotations")
    found: dict[str, Question] = {}
    problems = []
    seen: Counter[str] = Counter()
    for where, record in _records(name, path):
        try:
            if not isinstance(record, dict):
                raise Unusable(f"{str(record)[:40]!r} is not an object")
            if name == "3dllm":  # what is left out counts, too: no later question may take its number
                place = str(record.get("scene_id"))
                record = {**record, "question_id": f"{place}-{seen[place]}"}
                seen[place] += 1
            question = READERS[name](record)
        except Unusable as error:
            problems.append(f"{where}: {error}; left out")
            continue
        if question.id in found:
            problems.append(f"{where}: question {question.id!r} is there already; the first is kept")
            continue
        found[question.id] = question
    if annotations is not None:
        problems += _answer(name, annotations, found)
    questions = []
    for question in found.values():
        if question.answers or not scored:
            questions.append(question)
        else:
            problems.append(f"{path.name}: question {question.id!r} has no answer to compare with; left out")
    if not questions:
        raise ValueError(
            f"{path} has no question {'with an answer ' if scored else ''}({problems[0] if problems else 'it is empty'})"
        )
    return questions, problems


def _records(name: str, path: Path, key: str = "questions") -> Iterator[Placed]:
    if name == "mmvet":
        yield from json_lines(path)
        return
    data = load(path)
    if name == "sqa3d":
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, list):
        form = f"an object with a list {key!r}" if name == "sqa3d" else "a list"
        raise ValueError(f"{path} is not in {name}'s form, which is {form}: check --format")
    yield from ((f"{path.name}, record {number}", record) for number, record in enumerate(data))


def json_lines(path: Path) -> Iterator[Placed]:
    """The lines of a file as JSON, each with its place; one that is none comes as text, for the reader to refuse."""
    for number, line in enumerate(_content(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path.name}, line {number}", json.loads(line)
        except (ValueError, RecursionError):
            yield f"{path.name}, line {number}", line.decode(errors="replace")


def _text(record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
        raise Unusable(f"its {field!r} is {value!r:.60} and not a text")
    if not whole(str(value)):
        raise Unusable(f"its {field!r} is {value!r:.60}: half a character (a lone surrogate) is no text")
    return str(value)


def whole(text: str) -> bool:
    """Whether a text can be written as UTF-8; JSON's escapes can name half a character, which cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _texts(record: dict[str, Any], field: str) -> tuple[str, ...]:
    value = record.get(field)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unusable(f"its {field!r} is {value!r:.60} and not a list of texts")
    if not all(whole(one) for one in value):
        raise Unusable(f"its {field!r} is {value!r:.60}: half a character (a lone surrogate) is no text")
    if not all(one.strip() for one in value):
        raise Unusable(f"its {field!r} is {value!r:.60}: an empty text is no answer to compare with")
    return tuple(value)


def _scanqa(record: dict[str, Any]) -> Question:
    text = _text(record, "question")
    return Question(
        _text(record, "question_id"),
        _text(record, "scene_id"),
        text,
        _texts(record, "answers") if "answers" in record else (),
        kinds.scanqa(text),
    )


def _sqa3d(record: dict[str, Any]) -> Question:
    text, situation = _text(record, "question"), _text(record, "situation")
    return Question(
        _text(record, "question_id"), _text(record, "scene_id"), text, (), kinds.sqa3d(text), situation
    )


def _3dllm(record: dict[str, Any]) -> Question:
    said = _text(record, "question")
    text = said.replace("### human:", "").replace("### assistant:", "").strip()
    if not text:
        raise Unusable(f"its 'question' is {said!r:.60} and asks nothing")
    scene = _text(record, "scene_id")
    return Question(record["question_id"], scene, text, _texts(record, "answers"), kinds.sqa3d(text))


def _mmvet(record: dict[str, Any]) -> Question:
    return Question(
        _text(record, "question_id"),
        _text(record, "point"),
        _text(record, "text"),
        (),
        _text(record, "category"),
    )


READERS: dict[str, Callable[[dict[str, Any]], Question]] = {
    "scanqa": _scanqa,
    "sqa3d": _sqa3d,
    "3dllm": _3dllm,
    "mmvet": _mmvet,
}


def _answer(name: str, path: Path, found: dict[str, Question]) -> list[str]:
    """Give the questions the answers of the annotations; says which annotations are of no use."""
    problems = []
    seen: set[str] = set()
    for where, record in _records(name, path, "annotations"):
        try:
            if not isinstance(record, dict):
                raise Unusable(f"{str(record)[:40]!r} is not an object")
            key = _text(record, "question_id")
            if key not in found:
                raise Unusable(f"there is no question {key!r:.60}")
            if key in seen:
                raise Unusable(f"question {key!r} has an annotation already")
            answers = (_text(record, "text"),) if name == "mmvet" else _answers(record)
        except Unusable as error:
            problems.append(f"{where}: {error}; left out")
            continue
        seen.add(key)
        found[key] = found[key]._replace(answers=answers)
    return problems


def _answers(record: dict[str, Any]) -> tuple[str, ...]:
    answers = record.get("answers")
    if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
        raise Unusable(f"its 'answers' is {answers!r:.60} and not a list of objects with an 'answer'")
    return tuple(_text(one, "answer") for one in answers)
