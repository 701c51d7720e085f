"""Questions chosen so that within each group every answer is equally frequent: there is nothing to guess from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from room_qa.questions import Question


def balanced(questions: Sequence[Question], each: int, dice: random.Random) -> list[Question]:
    """At most about `each` questions of every template, in whole rounds.

    A round of a group has one question for each answer that the group keeps: of its answers in order of frequency as
    many as give the most questions when all are cut to the rarest kept one. A group with one answer is left out.
    """
    groups: dict[tuple[str, ...], dict[str, list[Question]]] = defaultdict(lambda: defaultdict(list))
    for question in questions:
        groups[question.group][question.answer].append(question)
    rounds: dict[str, list[list[Question]]] = defaultdict(list)
    for group in sorted(groups):
        kept = _kept(groups[group])
        for line in kept:
            dice.shuffle(line)
        rounds[group[0]] += [list(one) for one in zip(*kept, strict=False)]
    out: list[Question] = []
    for template in sorted(rounds):
        dice.shuffle(rounds[template])
        count = 0
        for one in rounds[template]:
            if count >= each:
                break
            out += one
            count += len(one)
    return out


def chance(questions: Sequence[Question]) -> float:
    """How often a guess among the answers that each question's group has is right."""
    answers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for question in questions:
        answers[question.group].add(question.answer)
    return sum(1 / len(answers[question.group]) for question in questions) / len(questions)


def _kept(answers: dict[str, list[Question]]) -> list[list[Question]]:
    order = sorted(answers.values(), key=len, reverse=True)
    best = max(range(1, len(order) + 1), key=lambda count: count * len(order[count - 1]) if count > 1 else 0)
    return order[:best] if best > 1 else []
