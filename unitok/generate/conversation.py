"""A conversation of many turns: what either side said or drew stays in context, to the code.

    talk = Conversation(sampler, limit=512)
    for event in talk.say("Draw a cat. {image:sketch.png}", first="image"): ...
    for event in talk.say("What did you draw?"): ...
    talk.save("cat.json")

Turns are those of a chat document, so that a model is asked in the form it was trained on. A picture that the model
wrote stays as its own codes; text stays as text and is encoded anew, as in training. The oldest turns give way,
whole, when the context would be longer than the model was trained for, and an event says so.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch

from unitok.document import ROLES, Document, Segment
from unitok.document import segment as encoded
from unitok.generate.guidance import check
from unitok.generate.prompt import segments
from unitok.generate.sampler import Options, Sampler
from unitok.generate.stream import Event
from unitok.grammar import Grammar
from unitok.modality import Codes
from unitok.vocabulary import Vocabulary

FORMAT = 1
NAMES = tuple(option.name for option in fields(Options) if option.name != "seed")
Said = tuple[str, list[Segment]]
"""One turn: role and segments."""
Told = Event | tuple[Literal["dropped"], int]
"""What `Sampler.stream` tells, and ("dropped", n) before it where the oldest n turns had to go."""


class Conversation:
    """Turns so far, and how the next is asked.

    Args:
        sampler: writes the answers.
        limit: most positions of context and answer together; a run's `data.seq_len`.
        system: what is said before; it is never dropped. It may hold items by reference, as every turn may.
        seed: answer number n is drawn from the stream (seed + n).
        options: those of `Sampler.generate` that hold for all turns, `seed` apart.

    Raises:
        ValueError: an option that there is not, or a reference in `system` that cannot be read.
    """

    def __init__(self, sampler: Sampler, limit: int, system: str = "", seed: int = 0, **options: Any) -> None:
        self.sampler, self.limit, self.seed = sampler, limit, seed
        self.options: dict[str, Any] = {}
        self.set(**options)
        self.given = dict(self.options)
        self.asked = 0
        self.turns: list[Said] = (
            [("system", segments(system, sampler.modalities, self._lengths()))] if system else []
        )

    def set(self, **options: Any) -> None:
        """Change options for all turns to come; None takes one back.

        Raises:
            ValueError: an option that there is not or that no answer could have; what held before then holds on.
        """
        self.options = self._with(options)

    def _with(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The conversation's options and these over them, checked."""
        blocks = self.sampler.vocabulary.blocks
        for name, value in options.items():
            if name not in NAMES:
                raise ValueError(
                    f"there is no option {name!r} of a conversation: there are {', '.join(NAMES)}"
                )
            named = (
                [value] if isinstance(value, str) else (value or ()) if name in ("forbid", "produce") else ()
            )
            for block in named:
                if block not in blocks:
                    raise ValueError(f"there is no block {block!r}: there are {', '.join(blocks)}")
        kept = {name: value for name, value in {**self.options, **options}.items() if value is not None}
        asked = Options(**kept)
        asked.how  # noqa: B018 - refuses a temperature or a share out of its range
        check(asked.guidance, blocks)
        if asked.first in asked.forbid:
            raise ValueError(f"{asked.first!r} is to come first and is forbidden: drop one of the two")
        grammar = Grammar.answer(
            self.sampler.vocabulary,
            self.sampler.modalities,
            asked.produce,
            asked.first,
            lengths=asked.lengths,
        )
        grammar.start(1, asked.positions)
        return kept

    def reset(self) -> None:
        """Forget all turns but the system's."""
        self.turns = [turn for turn in self.turns if turn[0] == "system"]
        self.asked = 0

    def say(
        self, words: str, previews: Mapping[str, Collection[int]] | None = None, **options: Any
    ) -> Iterator[Told]:
        """Say something and tell the answer as it comes; both are kept once the answer has ended.

        Args:
            words: with items by reference, as `unitok.generate.prompt` reads them.
            previews: as in `Sampler.stream`.
            options: for this turn alone, over those of the conversation.

        Raises:
            ValueError: nothing is said, an option or reference that there is not, or no room for an answer.
        """
        options = self._with(options)
        question = segments(words, self.sampler.modalities, self._lengths(options))
        if not question:
            raise ValueError("nothing was said: write a question")
        turns, dropped = self._within([*self.turns, ("user", question)], Options(**options))
        if dropped:
            yield "dropped", dropped
        answer = _Answer(self.sampler)
        asked = Document.chat(turns)
        for event in self.sampler.stream(asked, previews=previews, **options, seed=self.seed + self.asked):
            answer.add(event)
            yield event
        self.turns = [*turns, ("assistant", answer.segments())]
        self.asked += 1

    def document(self) -> Document:
        """All turns that are in context, as a chat."""
        return Document.chat(self.turns)

    def _lengths(self, options: Mapping[str, Any] | None = None) -> dict[str, int]:
        return Options(**(self.options if options is None else options)).lengths

    def _within(self, turns: list[Said], options: Options) -> tuple[list[Said], int]:
        """The turns without the oldest ones that leave no room for an answer, and how many those are."""
        positions = options.positions
        room = self.limit - (positions if isinstance(positions, int) else max(positions))
        kept = list(turns)
        first = int(kept[0][0] == "system")
        while self._size(kept) > room:
            if len(kept) - first == 1:
                raise ValueError(
                    f"the question takes {self._size(kept)} positions and the answer up to {self.limit - room}, the "
                    f"model has {self.limit}: shorten the question, or give the answer a smaller budget"
                )
            del kept[first]
            while kept[first][0] != "user":  # an answer does not stay without its question
                del kept[first]
        return kept, len(turns) - len(kept)

    def _size(self, turns: list[Said]) -> int:
        return len(Document.chat(turns).prompt(self.sampler.vocabulary).ids)

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write turns and options as JSON: text as text, items as codes with their companions."""
        vocabulary = self.sampler.vocabulary
        turns = [
            {"role": role, "content": [self._told(part) for part in parts]} for role, parts in self.turns
        ]
        options = {
            name: value if isinstance(value, (int, float, str, Mapping)) else list(value)
            for name, value in self.options.items()
        }
        facts = {
            "format": FORMAT,
            "vocabulary": vocabulary.fingerprint,
            "seed": self.seed,
            "asked": self.asked,
        }
        text = json.dumps({**facts, "options": options, "turns": turns}, ensure_ascii=False, indent=1)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def load(self, path: str | Path) -> None:
        """Take up a saved conversation, its options and its place in the stream of seeds; it goes on alike.

        Raises:
            ValueError: no saved conversation, or one of another vocabulary. What was said so far then stays.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise ValueError(f"its format is {found['format']}, this version reads {FORMAT}")
            if found["vocabulary"] != self.sampler.vocabulary.fingerprint:
                raise ValueError(
                    f"it is of vocabulary {found['vocabulary']}, the model has {self.sampler.vocabulary.fingerprint}"
                )
            turns = [
                (_role(turn["role"]), [self._read(part) for part in turn["content"]])
                for turn in found["turns"]
            ]
            asked, seed = int(found["asked"]), int(found["seed"])
            other = Conversation(self.sampler, self.limit, "", seed, **found["options"])
        except (KeyError, TypeError, AttributeError, RuntimeError, OverflowError, ValueError) as error:
            said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path} is no conversation that can be taken up: {said}") from error
        self.turns, self.asked, self.seed, self.options = turns, asked, seed, other.options

    def _told(self, part: Segment) -> dict[str, Any]:
        if part.name == self.sampler.vocabulary.text:
            return {part.name: self.sampler.modalities[part.name].decode([part.codes])[0]}
        side = {name: values.tolist() for name, values in part.codes.side.items()}
        return {part.name: {"codes": part.codes.ids.tolist(), **({"side": side} if side else {})}}

    def _read(self, part: dict[str, Any]) -> Segment:
        vocabulary: Vocabulary = self.sampler.vocabulary
        ((name, value),) = part.items()
        block = vocabulary.block(name)
        if name == vocabulary.text:
            return encoded(self.sampler.modalities[name], value)
        ids = _whole(name, value["codes"])
        side = {}
        for channel, values in value.get("side", {}).items():
            about = block.side[channel]
            if about.kind == "ids":
                each = _whole(f"{name} {channel}", values)
                if ((each < -1) | (each >= about.size)).any():
                    raise ValueError(
                        f"a companion {channel} of {name} is out of range: -1 to {about.size - 1}"
                    )
            else:
                each = torch.tensor(values, dtype=torch.float32)
            side[channel] = each.reshape(len(ids), about.width)
        codes = Codes(ids, side)
        vocabulary.flat(name, codes)  # refuses codes that the block does not have
        return Segment(name, codes)


class _Answer:
    """Collects the segments of an answer from its events."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._parts: list[Segment] = []
        self._text = ""
        self._flat: list[torch.Tensor] = []

    def add(self, event: Event) -> None:
        if event[0] == "text":
            self._text += event[1]
        elif event[0] == "begin":
            self._keep_text()
            self._flat = []
        elif event[0] == "codes":
            self._flat.append(event[2])
        elif event[0] == "end":
            self._parts.append(
                Segment(event[1], self._sampler.vocabulary.unflat(event[1], torch.cat(self._flat)))
            )

    def segments(self) -> list[Segment]:
        self._keep_text()
        return self._parts

    def _keep_text(self) -> None:
        name = self._sampler.vocabulary.text
        if self._text and name is not None:
            self._parts.append(encoded(self._sampler.modalities[name], self._text))
        self._text = ""


def _whole(name: str, numbers: Any) -> torch.Tensor:
    found = torch.tensor(numbers)
    if found.numel() and found.dtype != torch.int64:
        raise ValueError(f"{name} codes are {found.dtype}: they must be whole numbers")
    return found.long()


def _role(role: Any) -> str:
    if role not in ROLES:
        raise ValueError(f"role {role!r} is unknown: use one of {', '.join(ROLES)}")
    return str(role)
