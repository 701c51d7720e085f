"""Made rooms: answers computed again from what the records say, unseen models held out, nothing to guess from."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from held import held

from modalities.pointcloud.scene import placed
from unitok.command import command

ROOT = Path(__file__).parents[2]
DESCRIBE = "What is in the room?"
NAMES = ("Oak chair", "Round table", "Wardrobe", "Desk lamp", "Sofa 2 seats", "Bookcase")


@pytest.fixture(scope="module")
def tool():
    """The tool and its parts, which import one another as scripts do."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_room_qa

        yield make_room_qa
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def made(tool, tmp_path_factory):
    """Rooms of six kinds with five boxes each, all sizes different."""
    folder = tmp_path_factory.mktemp("rooms")
    draw = np.random.default_rng(0)
    names = [f"{name}" for name in NAMES for _ in range(5)]
    sizes = draw.uniform(40, 160, size=(len(names), 3)).round()
    points = draw.uniform(-1, 1, size=(len(names), 64, 3)) * sizes[:, None] / sizes.max(1)[:, None, None]
    source = folder / "furniture.npz"
    np.savez(source, points=points.astype(np.float16), name=np.array(names), size_cm=sizes)
    out = folder / "out"
    arguments = ["--furniture", str(source), "--rooms", "200", "100", "--each", "60", "30", "--plans", "1"]
    found = tool.main([str(out), *arguments])
    kinds = {f"clouds/{n:03d}.npz": tool.furniture.kind_of(name) for n, name in enumerate(names)}
    return out, found, kinds, arguments


def records(out, name="rooms.jsonl"):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def read(record, kinds):
    """Kinds and places of a record's pieces, and its questions with their answers, descriptions apart."""
    parts, turns = record["turns"][0]["content"], record["turns"]
    places = placed("".join(part["text"] for part in parts if "text" in part))
    things = [kinds[part["cloud"]["file"]] for part in parts if "cloud" in part]
    assert len(places) == len(things)
    texts = [turn["content"][-1]["text"] for turn in turns[::2]]
    pairs = list(zip(texts, [turn["content"] for turn in turns[1::2]], strict=True))
    asked = [(text, answer) for text, answer in pairs if text.strip() != DESCRIBE]
    return list(zip(things, places, strict=True)), asked


def where(things, kind):
    ((x, y, _), size) = next(place for one, place in things if one == kind)
    return x, y, size


def solve(things, text):
    """An answer, found anew from the record, or None where this does not know the form of the question."""
    if match := re.search(r"stands at ([\d.]+) ([\d.]+)\?", text):
        spot = tuple(map(float, match.groups()))
        return next(kind for kind, place in things if place.position[:2] == spot)
    if "How many objects are in the room" in text:
        return str(len(things))
    if match := re.search(r"How many (\w+?)s are there", text):
        return str(sum(kind == match[1] for kind, _ in things))
    if match := re.search(r"Is there an? (\w+) in", text):
        return "yes" if any(kind == match[1] for kind, _ in things) else "no"
    if "tallest" in text:
        return max(things, key=lambda thing: thing[1].size[2])[0]
    if "lowest" in text:
        return min(things, key=lambda thing: thing[1].size[2])[0]
    if "leftmost" in text:
        return min(things, key=lambda thing: thing[1].position[0])[0]
    if "back wall?" in text:
        return max(things, key=lambda thing: thing[1].position[1])[0]
    if match := re.search(r"taller, the (\w+) or the (\w+)", text):
        return max(match.groups(), key=lambda kind: where(things, kind)[2][2])
    if match := re.search(r"Is the (\w+) left of the (\w+)", text):
        return "yes" if where(things, match[1])[0] < where(things, match[2])[0] else "no"
    if match := re.search(r"How far is the (\w+) from the (\w+)", text):
        metres = math.dist(where(things, match[1])[:2], where(things, match[2])[:2])
        return f"{round(metres * 2) / 2:.1f} m"
    if match := re.search(r"nearer to the (\w+), the (\w+) or the (\w+)", text):
        spot = where(things, match[1])[:2]
        return min(match.groups()[1:], key=lambda kind: math.dist(spot, where(things, kind)[:2]))
    if match := re.search(r"What is nearest to the (\w+)\?", text):
        spot = where(things, match[1])[:2]
        others = [thing for thing in things if thing[0] != match[1]]
        return min(others, key=lambda thing: math.dist(spot, thing[1].position[:2]))[0]
    return solve_situated(things, text)


def solve_situated(things, text):
    """The same for somebody who stands in the room: right-hand vectors instead of angles."""
    match = re.search(r"standing at ([\d.]+) ([\d.]+) and facing the (\w+) wall\.", text)
    if match is None:
        return None
    x, y = float(match[1]), float(match[2])
    ahead = {"right": (1, 0), "back": (0, 1), "left": (-1, 0), "front": (0, -1)}[match[3]]

    def seen(place):
        dx, dy = place.position[0] - x, place.position[1] - y
        return dx * ahead[0] + dy * ahead[1], dx * ahead[1] - dy * ahead[0]  # forward, to the right

    def side(place):
        forward, right = seen(place)
        if abs(forward) > abs(right):
            return "front" if forward > 0 else "behind"
        return "right" if right > 0 else "left"

    said = {"in front of me": "front", "on my left": "left", "on my right": "right", "behind me": "behind"}
    if match := re.search(r"Which side of me is the (\w+) on", text):
        return side(next(place for kind, place in things if kind == match[1]))
    if match := re.search(r"Is the (\w+) (in front of me|on my left|on my right|behind me)\?", text):
        place = next(place for kind, place in things if kind == match[1])
        return "yes" if side(place) == said[match[2]] else "no"
    if match := re.search(r"How many objects are (.+)\?", text):
        return str(sum(side(place) == said[match[1]] for _, place in things))
    if match := re.search(r"What is (in front of me|on my left|on my right|behind me)\?", text):
        (found,) = (kind for kind, place in things if side(place) == said[match[1]])
        return found
    if match := re.search(r"Can I see the (\w+) without", text):
        return "yes" if seen(next(place for kind, place in things if kind == match[1]))[0] > 0 else "no"
    if "What is nearest to me?" in text:
        return min(things, key=lambda thing: math.dist((x, y), thing[1].position[:2]))[0]
    if match := re.search(r"Am I nearer to the (\w+) than to the (\w+)", text):
        a, b = (math.dist((x, y), where(things, kind)[:2]) for kind in match.groups())
        return "yes" if a < b else "no"
    return None


def test_answers_are_what_the_records_say(made):
    out, _, kinds, _ = made
    solved, left = Counter(), Counter()
    for record in records(out):
        things, pairs = read(record, kinds)
        for text, answer in pairs:
            found = solve(things, text)
            if found is None:
                left[text.strip().split()[0]] += 1
            else:
                assert found == answer, (record["key"], text)
                solved[record["kind"]] += 1
    assert set(left) == {"Where"}
    assert set(solved) == {record["kind"] for record in records(out)} - {"where"}
    assert min(solved.values()) > 10


def test_held_out_models_are_in_no_training_room(made):
    out, _, kinds, _ = made
    sides = defaultdict(set)
    for name in ("rooms.jsonl", "objects.jsonl"):
        for record in records(out, name):
            for part in record["turns"][0]["content"]:
                if "cloud" in part:
                    sides[record["split"]].add(part["cloud"]["file"])
    assert not sides["train"] & sides["heldout"]
    assert {kinds[file] for file in sides["heldout"]} == set(kinds.values())
    assert all((out / file).is_file() for file in sides["train"] | sides["heldout"])


def test_answers_are_equally_frequent_and_the_blind_gain_nothing(made):
    out, found, _, _ = made
    counts = defaultdict(Counter)
    for record in records(out):
        if record["kind"] in ("what at", "how many", "how far", "what side", "nearest me"):
            counts[record["kind"]][record["turns"][1]["content"]] += 1
    assert len(counts) == 5
    for answers in counts.values():
        assert len(answers) > 1
        assert len(set(answers.values())) == 1
    for name, ways in found["blind"].items():
        assert max(ways.values()) < found["chance"][f"{name} heldout"] + 0.06


def files(out, split):
    plain = json.loads((out / f"scanqa_{split}.json").read_text())
    asked = json.loads((out / f"sqa3d_questions_{split}.json").read_text())["questions"]
    told = json.loads((out / f"sqa3d_annotations_{split}.json").read_text())["annotations"]
    assert [row["question_id"] for row in asked] == [row["question_id"] for row in told]
    return plain, list(zip(asked, told, strict=True))


def test_the_papers_forms_and_the_held_out_records_are_one(made):
    out, _, kinds, _ = made
    plain, situated = files(out, "heldout")
    mine = {record["key"]: record for record in records(out) if record["split"] == "heldout"}
    assert len(plain) + len(situated) == len(mine)
    for row in plain:
        things, [(text, answer)] = read(mine[row["question_id"]], kinds)
        assert (row["scene_id"], [answer]) == (mine[row["question_id"]]["scene_id"], row["answers"])
        assert text == f" {row['question']}"
        assert [things[at][0] for at in row["object_ids"]] == row["object_names"]
    for row, told in situated:
        _, [(text, answer)] = read(mine[str(row["question_id"])], kinds)
        assert text == f" {row['situation']} {row['question']}"
        assert answer == told["answers"][0]["answer"]
        x, y = re.search(r"at ([\d.]+) ([\d.]+) ", row["situation"]).groups()
        assert (told["position"]["x"], told["position"]["y"]) == (float(x), float(y))
        heading = math.degrees(2 * math.atan2(told["rotation"]["_z"], told["rotation"]["_w"]))
        wall = ("right", "back", "left", "front")[round(heading / 90) % 4]
        assert all(f"the {wall} wall" in said for said in (row["situation"], *row["alternative_situation"]))


def test_chats_about_training_rooms_hold_every_training_question_once(made):
    out, _, kinds, _ = made
    plain, situated = files(out, "train")
    wanted = Counter((row["scene_id"], row["question"], row["answers"][0]) for row in plain)
    for row, told in situated:
        wanted[row["scene_id"], f"{row['situation']} {row['question']}", told["answers"][0]["answer"]] += 1
    chats = [record for record in records(out) if record["split"] == "train"]
    found = Counter(
        (chat["scene_id"], text.strip(), answer) for chat in chats for text, answer in read(chat, kinds)[1]
    )
    assert found == wanted
    assert {len(chat["turns"]) for chat in chats} >= {
        16,
        18,
    }  # eight questions, with a description and without
    assert sum(len(chat["turns"]) > 2 for chat in chats) > len(chats) / 2


def test_half_of_the_chats_begin_with_a_description_of_the_room(made):
    out, _, kinds, _ = made
    chats = [record for record in records(out) if record["split"] == "train"]
    told = [chat for chat in chats if chat["turns"][0]["content"][-1]["text"].strip() == DESCRIBE]
    assert 0.4 < len(told) / len(chats) < 0.6
    for chat in told:
        things, _ = read(chat, kinds)
        said = chat["turns"][1]["content"]
        assert placed(said.replace(";", ":") + ":") == [place for _, place in things]
        assert [part.split(" at ")[0] for part in said.split("; ")] == [name for name, _ in things]
    assert all(record["turns"][0]["content"][-1]["text"].strip() != DESCRIBE for record in records(out)[-50:])


def test_clouds_have_their_true_size_and_flat_records_have_none(made):
    out, _, kinds, _ = made
    record = records(out)[0]
    things, _ = read(record, kinds)
    files = [part["cloud"]["file"] for part in record["turns"][0]["content"] if "cloud" in part]
    for (_, place), file in zip(things, files, strict=True):
        points = np.load(out / file)["points"].astype(float)
        assert np.ptp(points, axis=0) == pytest.approx(place.size, abs=0.06)
        assert points[:, 2].min() == pytest.approx(0, abs=0.01)
    flat = records(out, "flat.jsonl")
    assert [one["key"] for one in flat] == [one["key"] for one in records(out)]
    assert not any("cloud" in part for one in flat for part in one["turns"][0]["content"])


def test_objects_are_asked_about_in_pointllms_words(made):
    out, _, kinds, _ = made
    asked = defaultdict(dict)
    for record in records(out, "objects.jsonl"):
        cloud, text = record["turns"][0]["content"]
        asked[cloud["cloud"]["file"]][text["text"].strip()] = record["turns"][1]["content"]
    assert set(asked) == set(kinds)
    for file, answers in asked.items():
        caption = answers.pop("Caption this 3D model in detail.")
        assert answers == {"What is this?": kinds[file], "This is an object of": kinds[file]}
        assert re.fullmatch(r"[A-Z][a-z0-9 ]+, [a-z ]+\.", caption)


def test_each_model_is_wished_for_by_name_and_by_kind(made):
    out, _, kinds, _ = made
    wished = defaultdict(dict)
    for record in records(out, "shapes.jsonl"):
        (cloud,) = record["turns"][1]["content"]
        wished[cloud["cloud"]["file"]][record["kind"]] = (record["turns"][0]["content"], record["split"])
    asked = {one["turns"][0]["content"][0]["cloud"]["file"]: one for one in records(out, "objects.jsonl")}
    assert set(wished) == set(asked)
    for file, ways in wished.items():
        named, plain = ways["named"], ways["kind"]
        assert re.fullmatch(rf"Make a model of an? {kinds[file]}\.", plain[0])
        assert re.fullmatch(r"Make a model of (an? )?[a-z0-9 ]+\.", named[0])
        assert named[1] == plain[1] == asked[file]["split"]
    assert len({ways["named"][0] for ways in wished.values()}) == len(NAMES)


def test_the_same_seed_gives_the_same_rooms(made, tool, tmp_path):
    out, _, _, arguments = made
    tool.main([str(tmp_path), *arguments])
    for name in (
        "rooms.jsonl",
        "scanqa_train.json",
        "sqa3d_annotations_heldout.json",
        "objects.jsonl",
        "shapes.jsonl",
    ):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()
    tool.main([str(tmp_path), *arguments, "--seed", "1"])
    assert (tmp_path / "rooms.jsonl").read_bytes() != (out / "rooms.jsonl").read_bytes()


def test_plans_show_the_walls_and_the_pieces(made):
    from PIL import Image

    out, _, _, _ = made
    (first,) = (out / "plans").glob("train*.png")
    colours = np.asarray(Image.open(first)).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 10
    assert (colours == (0x22, 0x22, 0x22)).all(1).mean() > 0.01


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Oak chair", "chair"),
        ("Chair with cushion", "chair"),
        ("Table fan", "fan"),
        ("TV stand", None),
        ("Television cabinet", "cabinet"),
        ("Wall lamp artwork", None),
        ("Lying down male", None),
        ("Sitting male", "person"),
        ("Clothes washing machine", "washing machine"),
        ("Wheelchair", None),
        ("Hedge", None),
    ],
)
def test_kinds_by_name(tool, name, kind):
    assert tool.furniture.kind_of(name) == kind


def test_the_furniture_that_is_held(tool):
    models, problems = tool.furniture.read(held("pointcloud", "sweethome3d_furniture_2048_f16.npz"))
    assert not problems
    sides = tool.furniture.split(models, 0.25)
    assert len(models) == len(sides["train"]) + len(sides["heldout"]) > 250
    assert {model.kind for model in sides["train"]} == {model.kind for model in sides["heldout"]}
    assert len({model.kind for model in models}) >= 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--furniture", "none.npz"], "none.npz does not exist"),
        (["--furniture", "bad.npz"], "bad.npz has no array 'name'"),
        (["--furniture", "few.npz"], "few.npz has 0 models of 0 kinds of furniture: need two kinds"),
        (["--objects", "5", "3"], "--objects 5 3: give 2 to 12"),
        (["--heldout", "1"], "--heldout 1.0: give a share between 0 and 1"),
        (["--rooms", "0", "5"], "--rooms 0 5: give 1 or more"),
        (["--plans", "-1"], "--plans -1: give 0 or more"),
        (["--furniture", "uneven.npz"], "uneven.npz has points, name and size_cm of shapes"),
        (["--furniture", "torn.npz"], "torn.npz is not a readable .npz"),
        (["--furniture", "one_size.npz"], "no model is left for the heldout rooms"),
        (["--rooms", "1", "1"], "1 train rooms give no question whose answer varies"),
    ],
)
def test_mistakes_are_said(tool, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    points = np.zeros((2, 4, 3))
    np.savez("bad.npz", points=points)
    np.savez("few.npz", points=points, name=np.array(["Chair", "Desk"]), size_cm=np.ones((2, 3)))
    np.savez("uneven.npz", points=points, name=np.array(["Chair"]), size_cm=np.ones((2, 3)))
    Path("torn.npz").write_bytes(Path("few.npz").read_bytes()[:-40])
    names = np.array(["Chair", "Desk"] * 4)
    np.savez(
        "one_size.npz",
        points=np.random.default_rng(0).uniform(size=(8, 4, 3)),
        name=names,
        size_cm=np.full((8, 3), 60),
    )
    with pytest.raises(SystemExit):
        command(lambda: tool.main(["out", *arguments]))
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {said}")
