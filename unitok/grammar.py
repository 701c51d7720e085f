"""Which ids may come next. One automaton, entered as a document or as an answer, batched over rows in any state.

The grammar knows the order of things; what may stand inside a body is asked of the modality (`legal`,
`shortest_end`). A **budget** goes with each row: a block opens only if it can still close, and the shortest
way out is forced in time, so that every row sampled under the mask ends, parses and decodes.

Each distinct set of legal ids is a row of one boolean table, built once; a step is a dictionary look-up
per row and one gather.

An item of nested codes (`Spec.nested`) may be given a length of its own, which it then has exactly.

Codes come one by one in either layout (the *serial* form of `unitok.stacking`). The budget counts positions of
the sequence: the further parts of a stacked position cost nothing.

>>> states = grammar.start(batch=2, budget=64)
>>> allowed = grammar.allowed(states)      # bool [2, V]
>>> grammar.advance(states, ids)           # ids int64 [2], in place
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from unitok.block import Block
from unitok.budget import longest
from unitok.modality import JUMP, BadCodes, Modality, nested_lengths
from unitok.phase import PHASES, UNBOUNDED, Phase, State
from unitok.vocabulary import Vocabulary


class Grammar:
    """What may follow, for one vocabulary. Build one with `Grammar.document` or `Grammar.answer`."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        modalities: Mapping[str, Modality],
        entry: str,
        produce: Collection[str] | None = None,
        first: str | None = None,
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        vocabulary.check(modalities)
        unknown = (set(produce or ()) | {first} - {None}) - set(vocabulary.blocks)
        if unknown:
            raise ValueError(
                f"cannot produce {sorted(map(str, unknown))}: blocks are {', '.join(vocabulary.blocks)}"
            )
        self.vocabulary = vocabulary
        self.modalities = {name: modalities[name] for name in vocabulary.blocks}
        self.entry = entry
        self.first = first
        self.lengths = {
            name: longest(nested_lengths(name, self.modalities), most)
            for name, most in (lengths or {}).items()
        }
        names = [n for n in vocabulary.blocks if produce is None or n in produce or n == first]
        self.produce = frozenset(names)
        self._framed = [vocabulary.blocks[n] for n in names if vocabulary.blocks[n].framed]
        self._text = vocabulary.blocks[vocabulary.text] if vocabulary.text in self.produce else None
        self._shortest = {b.name: max(1, self._needs(b, [])) for b in self._framed}
        self._blocks: dict[str | None, Block] = dict(vocabulary.blocks.items())
        self._by_begin = {b.begin: b for b in self._framed}
        self._mark_names = {vocabulary.mark(name): name for name in Vocabulary.MARKS}
        self._slack = max([16, *self._shortest.values()]) + 16
        self._rows: dict[object, int] = {}
        self._numbers: dict[tuple[range, ...], int] = {}
        self._last: dict[str, tuple[tuple[range, ...], int]] = {}
        self._table = torch.zeros(16, len(vocabulary), dtype=torch.bool)
        self._bits = self._table.numpy()  # the same memory, for looking at one bit

    @classmethod
    def document(cls, vocabulary: Vocabulary, modalities: Mapping[str, Modality]) -> Grammar:
        """Accepts every rendered document: `doc`, plain content or chat turns, `end`."""
        return cls(vocabulary, modalities, "start")

    @classmethod
    def answer(
        cls,
        vocabulary: Vocabulary,
        modalities: Mapping[str, Modality],
        produce: Collection[str] | None = None,
        first: str | None = None,
        stop: str = "turn",
        lengths: Mapping[str, int] | None = None,
    ) -> Grammar:
        """What follows an `assistant` mark, or (stop="end") the beginning of a plain document.

        Args:
            vocabulary: the shared vocabulary.
            modalities: the tokenizers of its blocks.
            produce: blocks that may be written; None = all.
            first: the block that the answer must begin with.
            stop: the mark that ends it, "turn" or "end".
            lengths: most positions of an item, by block with nested codes; each item then has as many as that allows.

        Raises:
            ValueError: an unknown block or mark, or a length that no item of the block has.
        """
        if stop not in ("turn", "end"):
            raise ValueError(f"stop {stop!r} is no way to end an answer: use 'turn' or 'end'")
        return cls(vocabulary, modalities, "answer" if stop == "turn" else "plain", produce, first, lengths)

    # ---------------------------------------------------------------- stepping

    def start(self, batch: int, budget: int | Sequence[int] = UNBOUNDED) -> list[State]:
        """One state per row. `budget` counts the positions that may come, the closing marks included.

        Raises:
            ValueError: the budget is too small to end at all.
        """
        budgets = [budget] * batch if isinstance(budget, int) else list(budget)
        need = PHASES[self.entry].tail
        if self.first is not None:
            framed = self.vocabulary.blocks[self.first].framed
            need += self._shortest[self.first] + 2 if framed else 1
        for left in budgets:
            if left < need:
                raise ValueError(f"a budget of {left} ids cannot hold an answer: it needs at least {need}")
        return [State(self.entry, left) for left in budgets]

    def enter(self, state: State, name: str, prefix: Sequence[int]) -> None:
        """Put a fresh row into a body of which the flat local ids `prefix` are there already, to go on with it.

        Raises:
            BadCodes: no body of the block begins so, or its budget cannot end it.
        """
        block = self.vocabulary.block(name)
        state.block, state.prefix = name, []
        for one in prefix:
            ranges = self.modalities[name].legal(state.prefix).ranges
            if not any(one in each for each in ranges) or len(state.prefix) >= self._most(block):
                raise BadCodes(
                    f"no {name} begins with {list(prefix)[:8]}…: code {len(state.prefix)} does not fit"
                )
            state.prefix.append(one)
        need = self._needs(block, state.prefix) + 1 + PHASES[state.phase].tail
        if state.left < need:
            raise BadCodes(f"a budget of {state.left} ids cannot end this {name}: it needs at least {need}")

    @staticmethod
    def _most(block: Block) -> int:
        """Flat ids of the longest body."""
        return UNBOUNDED if block.length[1] is None else block.length[1] * block.width

    def allowed(self, states: Sequence[State]) -> Tensor:
        """bool [B, V]: the ids that may come next; a row that is done allows `pad` alone."""
        rows = self.rows(states)  # may grow the table
        return self._table[rows]

    def rows(self, states: Sequence[State]) -> list[int]:
        """Each row's line of `table`."""
        return [self._row(state) for state in states]

    @property
    def table(self) -> Tensor:
        """bool [lines, V]: the distinct masks met so far; lines never change, more are added."""
        return self._table

    def advance(self, states: Sequence[State], ids: Tensor | Iterable[int]) -> None:
        """Move every row on by one id, in place; rows that are done stay.

        Raises:
            BadCodes: an id that is not allowed.
        """
        listed = ids.tolist() if isinstance(ids, Tensor) else ids
        for state, new in zip(states, listed, strict=True):
            if not state.done:
                self._step(state, new)

    def accepts(self, ids: Tensor | Iterable[int]) -> bool:
        """Whether the ids, in serial form, are one whole document or answer."""
        state = State(self.entry, UNBOUNDED)
        try:
            for new in ids:
                if state.done:
                    return False
                self._step(state, int(new))
        except BadCodes:
            return False
        return state.done

    def unfinished(self, state: State) -> Block | None:
        """The stacked block within one of whose positions the row stands, some of its parts still to come."""
        block = self._blocks.get(state.block)
        return block if block is not None and not self._cost(block, state) else None

    @staticmethod
    def _cost(block: Block, state: State) -> int:
        """Positions that one more id takes: none for a further part of a stacked position."""
        return int(not block.stacked or len(state.prefix) % block.width == 0)

    def _needs(self, block: Block, prefix: Sequence[int]) -> int:
        """Positions that a body still needs, at the least, before it may end."""
        ids = self._shortest_end(block, prefix)
        # What is left of the position that has begun costs nothing.
        return -(-(ids - -len(prefix) % block.width) // block.width) if block.stacked else ids

    def _shortest_end(self, block: Block, prefix: Sequence[int]) -> int:
        """Flat ids that a body still needs, at the least, before it may end."""
        ids = self.modalities[block.name].shortest_end(prefix)
        return max(ids, self.lengths.get(block.name, 0) * block.width - len(prefix))

    def _step(self, state: State, new: int) -> None:
        # Before the table is read: a new line may replace it.
        line = state.line if state.line >= 0 else self._row(state)
        if not 0 <= new < len(self.vocabulary) or not self._bits[line, new]:
            where = f"inside {state.block}" if state.block else f"in phase {state.phase!r}"
            raise BadCodes(f"id {new} at step {state.count} is not allowed {where}")
        open_block = self._blocks.get(state.block)
        state.line = -1
        state.left -= 1 if open_block is None or not open_block.stacked else self._cost(open_block, state)
        state.count += 1
        if open_block is not None and open_block.start <= new < open_block.start + open_block.size:
            state.prefix.append(new - open_block.start)
            return
        state.block, state.prefix = None, []
        if open_block is not None and new == open_block.end:
            return
        if new in self._by_begin:
            state.block = self._by_begin[new].name
        elif new in self._mark_names:
            state.phase = PHASES[state.phase].marks[self._mark_names[new]]
            return
        else:
            assert self._text is not None
            state.block, state.prefix = self._text.name, [new - self._text.start]
        if state.phase == "head":
            state.phase = "plain"

    # ---------------------------------------------------------------- masks

    def _row(self, state: State) -> int:
        """The line of the table with what `state` allows; built when first met, looked for once per step."""
        if state.line < 0:
            block = self._blocks.get(state.block)
            if block is not None and block.framed:
                state.line = self._inside(state, block)
            elif state.phase == "done":
                state.line = self._line("done", [_one(self.vocabulary.mark("pad"))])
            else:
                state.line = self._between(state)
        return state.line

    def _inside(self, state: State, block: Block) -> int:
        legal, may_end = self._body(state, block, PHASES[state.phase].tail + 1)
        key = (block.name, self._number(block.name, legal), may_end)
        line = self._rows.get(key)
        if line is not None:
            return line
        ranges = [range(r.start + block.start, r.stop + block.start) for r in legal]
        return self._line(key, [*ranges, *([_one(block.end)] if may_end else [])])

    def _body(self, state: State, block: Block, tail: int) -> tuple[tuple[range, ...], bool]:
        """Legal local ranges within an open body, and whether it may end here; `tail` ids must fit after it."""
        modality = self.modalities[block.name]
        ranges, may_end = modality.legal(state.prefix)
        if block.framed:
            n, width, (lo, hi) = len(state.prefix), block.width, block.length
            lo = self.lengths.get(block.name, lo)
            may_end = may_end and n >= lo * width and n % width == 0
            if (hi is not None and n >= hi * width) or (block.name in self.lengths and may_end):
                ranges = ()
        else:
            may_end = may_end or not state.prefix
        left = state.left - (self._cost(block, state) if block.stacked else 1) - tail
        # Counted in ids, of which there are at least as many as positions.
        if left < UNBOUNDED >> 1 and self._shortest_end(block, state.prefix) + JUMP > left:
            ranges = self._affordable(state, block, ranges, left)
        if not ranges and not may_end:
            raise BadCodes(
                f"{block.name} has no way on after {len(state.prefix)} codes: its legal() and shortest_end() "
                "contradict each other"
            )
        return ranges, may_end

    def _affordable(
        self, state: State, block: Block, ranges: tuple[range, ...], left: int
    ) -> tuple[range, ...]:
        """Those of `ranges` after which the body can still close within `left` positions."""
        return tuple(r for r in ranges if len(r) and self._needs(block, [*state.prefix, r.start]) <= left)

    def _between(self, state: State) -> int:
        phase = PHASES[state.phase]
        forced = self.first is not None and state.count == 0
        legal: tuple[range, ...] = ()
        may_end = True
        if self._text is not None and phase.content and (not forced or self.first == self._text.name):
            legal, may_end = self._body(state, self._text, self._tail(phase))
        tight = state.left <= self._slack + phase.tail
        # With room for everything the ways on follow from the rest; else they are named, not what is left,
        # which would make a line of the table for each number.
        ways = tuple(self._ways(state, phase, forced)) if tight and may_end else None
        key = (phase.name, self._number(phase.name, legal), may_end, forced, ways)
        line = self._rows.get(key)
        if line is not None:
            return line
        if may_end and ways is None:
            ways = tuple(self._ways(state, phase, forced))
        return self._line(key, [*legal, *(ways or ())])

    def _number(self, place: str, ranges: tuple[range, ...]) -> int:
        """A number for a set of ranges. To hash ranges costs as much as the rest of a step, so the tuple that
        came last in a place is known by its identity: modalities give the same one again and again.
        """
        last = self._last.get(place)
        if last is not None and last[0] is ranges:
            return last[1]
        number = self._numbers.setdefault(ranges, len(self._numbers))
        self._last[place] = ranges, number
        return number

    @staticmethod
    def _tail(phase: Phase) -> int:
        # Content after `doc` makes the document a plain one.
        return PHASES["plain"].tail if phase.name == "head" else phase.tail

    def _ways(self, state: State, phase: Phase, forced: bool) -> list[range]:
        """Begin marks and other marks that may come, and that leave room to end."""
        return self._openings(state, phase, forced) + ([] if forced else self._marks(state, phase))

    def _openings(self, state: State, phase: Phase, forced: bool) -> list[range]:
        if not phase.content:
            return []
        left = state.left - 2 - self._tail(phase)
        return [
            _one(block.begin)
            for block in self._framed
            if (not forced or block.name == self.first) and self._shortest[block.name] <= left
        ]

    def _marks(self, state: State, phase: Phase) -> list[range]:
        return [
            _one(self.vocabulary.mark(name))
            for name, after in phase.marks.items()
            if PHASES[after].tail <= state.left - 1
        ]

    def _line(self, key: object, ranges: list[range]) -> int:
        if key in self._rows:
            return self._rows[key]
        line = len(self._rows)
        if line == len(self._table):
            self._table = torch.cat([self._table, torch.zeros_like(self._table)])
            self._bits = self._table.numpy()
        for r in ranges:
            self._table[line, r.start : r.stop] = True
        self._rows[key] = line
        return line


def _one(i: int) -> range:
    return range(i, i + 1)
