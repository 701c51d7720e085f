"""Files of questions and predictions: the real ones, and one sentence for everything that is wrong."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest
from held import held

from unitok.eval.qa3d import formats, kinds, predictions
from unitok.eval.qa3d.formats import Question

ROW = {"scene_id": "s1", "question_id": "q1", "question": "Where is it?", "answers": ["left", "on the left"]}
SITUATED = {"scene_id": "s1", "situation": "I stand.", "question": "Can I see?", "question_id": 7}
ANSWERED = {"scene_id": "s1", "question_id": 7, "answers": [{"answer": "yes", "answer_confidence": "yes"}]}


def written(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_scanqa(tmp_path):
    questions, problems = formats.read("scanqa", written(tmp_path / "q.json", [ROW]))
    assert questions == [Question("q1", "s1", "Where is it?", ("left", "on the left"), "Place")]
    assert problems == []


def test_sqa3d_takes_answers_from_the_annotations(tmp_path):
    asked = written(tmp_path / "q.json", {"questions": [SITUATED, {**SITUATED, "question_id": 8}]})
    told = written(tmp_path / "a.json", {"annotations": [ANSWERED, {**ANSWERED, "question_id": 9}, ANSWERED]})
    questions, problems = formats.read("sqa3d", asked, told)
    assert questions == [Question("7", "s1", "Can I see?", ("yes",), "Can", "I stand.")]
    assert questions[0].asked == "I stand. Can I see?"
    assert problems == [
        "a.json, record 1: there is no question '9'; left out",
        "a.json, record 2: question '7' has an annotation already; left out",
        "q.json: question '8' has no answer to compare with; left out",
    ]


def test_3dllm_and_mmvet(tmp_path):
    rows = [
        {"question": f"### human: {said} ### assistant:", "answers": ["x,"], "scene_id": scene}
        for said, scene in (("What is it?", "a"), ("Is it?", "b"), ("Describe the room.", "a"))
    ]
    questions, _ = formats.read("3dllm", written(tmp_path / "q.json", rows))
    assert [one.id for one in questions] == ["a-0", "b-0", "a-1"]
    assert [one.text for one in questions] == ["What is it?", "Is it?", "Describe the room."]
    lines = [
        {"question_id": n, "point": "0.npy", "text": f"said {n}", "category": "Knowledge"} for n in (0, 3)
    ]
    path = written(tmp_path / "q.jsonl", "\n".join(map(json.dumps, lines)) + "\nnot json\n")
    questions, problems = formats.read("mmvet", path, path)
    assert [(one.id, one.scene, one.answers, one.kind) for one in questions] == [
        ("0", "0.npy", ("said 0",), "Knowledge"),
        ("3", "0.npy", ("said 3",), "Knowledge"),
    ]
    assert problems == ["q.jsonl, line 3: 'not json' is not an object; left out"] * 2


def test_a_question_of_3dllm_keeps_its_number_beside_one_that_is_left_out(tmp_path):
    rows = [{"question": f"What {n}?", "answers": ["x"], "scene_id": "a"} for n in range(3)]
    rows[1]["answers"] = [5]
    questions, problems = formats.read("3dllm", written(tmp_path / "q.json", rows))
    assert [(one.id, one.text) for one in questions] == [("a-0", "What 0?"), ("a-2", "What 2?")]
    assert problems == ["q.json, record 1: its 'answers' is [5] and not a list of texts; left out"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (5, "record 1: '5' is not an object; left out"),
        ({**ROW, "question_id": None}, "its 'question_id' is None and not a text"),
        ({**ROW, "question_id": "q2", "question": " "}, "its 'question' is ' ' and not a text"),
        ({**ROW, "question_id": "q2", "answers": "left"}, "its 'answers' is 'left' and not a list of texts"),
        ({**ROW, "question_id": "q2", "answers": []}, "question 'q2' has no answer to compare with"),
        (
            {**ROW, "question_id": "q2", "answers": ["left", " "]},
            "an empty text is no answer to compare with",
        ),
        (
            {**ROW, "question_id": "q2", "answers": ["\ud800"]},
            "half a character (a lone surrogate) is no text",
        ),
        (
            {**ROW, "question_id": "q2", "question": "\udc00?"},
            "half a character (a lone surrogate) is no text",
        ),
        (ROW, "question 'q1' is there already; the first is kept"),
    ],
)
def test_a_bad_record_costs_itself_alone(tmp_path, record, said):
    questions, problems = formats.read("scanqa", written(tmp_path / "q.json", [ROW, record]))
    assert [one.id for one in questions] == ["q1"]
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    ("name", "data", "second", "said"),
    [
        ("other", [], False, "format 'other' is unknown: use one of scanqa"),
        ("scanqa", {}, False, "not in scanqa's form, which is a list"),
        ("scanqa", "[", False, "is not a JSON file"),
        ("scanqa", [], False, "has no question with an answer .it is empty"),
        ("scanqa", [ROW], True, "drop --annotations"),
        ("sqa3d", {"questions": []}, False, "give --annotations"),
        ("sqa3d", [ROW], True, "an object with a list 'questions'"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, name, data, second, said):
    path = written(tmp_path / "q.json", data)
    with pytest.raises(ValueError, match=said):
        formats.read(name, path, path if second else None)


def test_packed_files_and_damaged_ones(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    data = json.dumps([ROW]).encode()
    for name, pack in (("q.json.gz", gzip.compress), ("q.json.zst", zstandard.compress)):
        path = tmp_path / name
        path.write_bytes(pack(data))
        assert len(formats.read("scanqa", path)[0]) == 1
        path.write_bytes(b"nothing of that kind")
        with pytest.raises(ValueError, match="is damaged"):
            formats.read("scanqa", path)


def test_the_real_files():
    def path(name):
        return held("pointcloud", f"qa/{name}")

    sqa3d, problems = formats.read(
        "sqa3d",
        path("v1_balanced_questions_test_scannetv2.json"),
        path("v1_balanced_sqa_annotations_test_scannetv2.json"),
    )
    assert (len(sqa3d), problems) == (3519, [])
    assert len({one.scene for one in sqa3d}) == 67
    assert len({answer for one in sqa3d for answer in one.answers}) == 403
    counts = Counter(one.kind for one in sqa3d)
    assert counts == {"What": 1147, "Is": 652, "Others": 566, "How": 465, "Which": 351, "Can": 338}
    mmvet, problems = formats.read("mmvet", path("3dmmvet_question.jsonl"), path("3dmmvet_gt.jsonl"))
    assert (len(mmvet), problems) == (232, [])
    assert len({one.kind for one in mmvet}) == 5
    assert len(formats.read("3dllm", path("3d_llm_embodied_question_answer_val.json"))[0]) == 1938
    assert len(formats.read("3dllm", path("3d_llm_scene_description_val.json"))[0]) == 121


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Where are the two lamps?", "Place"),
        ("How many lamps, and Where?", "Place"),
        ("How many are there?", "Number"),
        ("What is the color of it?", "Color"),
        ("What kind of table is it?", "Object nature"),
        ("What is on it?", "Object"),
        ("what is on it?", "Other"),
        ("Is it red?", "Other"),
    ],
)
def test_types_of_scanqa(question, kind):
    assert kinds.scanqa(question) == kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (" what's it", "What"),
        ("Isn't it", "Is"),
        ("HOW", "How"),
        ("Can", "Can"),
        ("Which", "Which"),
        ("Am I", "Others"),
    ],
)
def test_types_of_sqa3d(question, kind):
    assert kinds.sqa3d(question) == kind


QUESTIONS = [Question("q1", "s1", "a?", ("x",), "Other"), Question("7", "s2", "b?", ("y",), "Other")]


def test_predictions_there_and_back(tmp_path):
    path = tmp_path / "p.json"
    predictions.write(path, QUESTIONS, {"7": ["y", "z"]})
    (row,) = json.loads(path.read_text())
    assert (row["scene_id"], row["question_id"], len(row["bbox"])) == ("s2", "7", 8)
    assert predictions.read(path, QUESTIONS) == ({"7": ["y", "z"]}, [])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([], "'[]' is not an object"),
        ({"answer_top10": ["x"]}, "it has no 'question_id'"),
        ({"question_id": "q2", "answer_top10": ["x"]}, "there is no question 'q2'"),
        ({"question_id": 7, "answer_top10": ["x"]}, "question '7' is answered already"),
        ({"question_id": "q1", "scene_id": "s2", "answer_top10": ["x"]}, "is about scene 's1' and not 's2'"),
        ({"question_id": "q1", "answer_top10": []}, "its 'answer_top10' is [] and not a list of texts"),
        ({"question_id": "q1", "answer_top10": [1]}, "not a list of texts"),
        ({"question_id": "q1"}, "its 'answer_top10' is None"),
        ({"question_id": "q1", "answer_top10": ["x"] * 11}, "it has 11 answers, and at most 10 count"),
    ],
)
def test_a_bad_prediction_costs_itself_alone(tmp_path, record, said):
    path = written(tmp_path / "p.json", [{"question_id": 7, "answer_top10": ["y"]}, record])
    answers, problems = predictions.read(path, QUESTIONS)
    assert answers == {"7": ["y"]}
    assert len(problems) == 1
    assert problems[0].startswith("p.json, record 1: ")
    assert said in problems[0]


@pytest.mark.parametrize(
    ("data", "said"), [({}, "predictions are a list"), ([], "answers none of the questions .it is empty")]
)
def test_predictions_of_another_form_are_refused(tmp_path, data, said):
    with pytest.raises(ValueError, match=said):
        predictions.read(written(tmp_path / "p.json", data), QUESTIONS)


def test_a_question_of_3dllm_that_asks_nothing_is_left_out(tmp_path):
    rows = [
        {"scene_id": "s", "question": "### human: ### assistant:", "answers": ["a"]},
        {"scene_id": "s", "question": "### human: What? ### assistant:", "answers": ["b"]},
    ]
    questions, problems = formats.read("3dllm", written(tmp_path / "q.json", rows))
    assert [question.id for question in questions] == ["s-1"]
    assert problems == [
        "q.json, record 0: its 'question' is '### human: ### assistant:' and asks nothing; left out"
    ]


def test_names_of_no_question_are_cut_in_messages(tmp_path):
    rows = [{"scene_id": "s", "question_id": "a", "question": "What?", "answers": ["b"]}]
    questions, _ = formats.read("scanqa", written(tmp_path / "q.json", rows))
    given = [
        {"question_id": "z" * 9999, "answer_top10": ["b"]},
        {"question_id": "a", "scene_id": "z" * 9999, "answer_top10": ["b"]},
        {"question_id": "a", "answer_top10": ["b"]},
    ]
    answers, problems = predictions.read(written(tmp_path / "p.json", given), questions)
    assert answers == {"a": ["b"]}
    assert len(problems) == 2
    assert all(len(said) < 200 for said in problems)
