"""Sampling many rows at once under the grammar: every row ends, parses and decodes.

Order of a step: raw logits -> guidance -> mask -> temperature -> top-k -> top-p -> one id per row. Rows may
be in different states (text, in an image, in a molecule); a row that is done leaves the batch. At a stacked
position the same is done for each further part, on the depth head's logits, before the next position.

    sampler = Sampler(decoder, vocabulary, modalities)
    [answer] = sampler.generate([document], guidance={"image": 4.0}, first="image")
    for event in sampler.stream(document, budget={"image": 64}, previews={"image": (4, 16)}): ...

A prompt that ends within a span (ids, or `Document.prompt(unfinished=True)`) is gone on with: a picture of 4 codes
becomes one of 64 without its first ones being written anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unitok.document import Document, Rendered
from unitok.generate.batch import Batch, survivors
from unitok.generate.begun import Begun, begun_span, check_begun, ids_of
from unitok.generate.choose import Choice, choose, uniforms
from unitok.generate.guidance import check, guide, scales
from unitok.generate.masks import Masks
from unitok.generate.prompt import ANSWER
from unitok.generate.stream import Event, Teller
from unitok.grammar import Grammar
from unitok.modality import Modality
from unitok.model.decoder import Decoder
from unitok.phase import State
from unitok.segment import Mark, Segment
from unitok.vocabulary import Vocabulary

Prompt = Document | Rendered | Tensor
"""What a row goes on from: a document (its `prompt` is taken), or rendered columns, or ids int64 [L] (serial)."""


@dataclass(frozen=True)
class Options:
    """How to sample; see `Sampler.generate`."""

    budget: int | Sequence[int] | Mapping[str, int] = 256
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: Mapping[str, float] = field(default_factory=dict)
    produce: Collection[str] | None = None
    forbid: Collection[str] = ()
    first: str | None = None
    seed: int | Sequence[int] = 0

    @property
    def positions(self) -> int | Sequence[int]:
        """Positions of an answer, or of each."""
        return self.budget.get(ANSWER, 256) if isinstance(self.budget, Mapping) else self.budget

    @property
    def lengths(self) -> dict[str, int]:
        """Positions of an item, by block."""
        budget = self.budget if isinstance(self.budget, Mapping) else {}
        return {name: most for name, most in budget.items() if name != ANSWER}

    @property
    def guided(self) -> bool:
        """Whether any scale differs from 1, which is off."""
        return any(scale != 1 for scale in self.guidance.values())

    @property
    def how(self) -> Choice:
        """The numbers that one choice takes."""
        return Choice(self.temperature, self.top_k, self.top_p).check()


class _Job(NamedTuple):
    """One call: a group of prompts (with guidance [prompt, null]), the span that the prompt ends within (its block and flat
    codes, or None), a budget and uniform numbers per row.
    """

    groups: Sequence[Sequence[Rendered]]
    begun: Sequence[Begun | None]
    budgets: Sequence[int]
    draws: Tensor
    grammar: Grammar
    masks: Masks
    how: Choice
    guidance: Mapping[str, float]
    guided: bool


class Sampler:
    """Writes answers with a decoder.

    Args:
        decoder: the model; put it in eval mode yourself if it has dropout.
        vocabulary: the vocabulary that it was trained with.
        modalities: the tokenizers of the vocabulary's blocks.
        batch: how many rows are decoded together at most.
    """

    def __init__(
        self, decoder: Decoder, vocabulary: Vocabulary, modalities: Mapping[str, Modality], batch: int = 64
    ) -> None:
        vocabulary.check(modalities)
        if decoder.config.vocab_size != len(vocabulary):
            raise ValueError(
                f"the model has {decoder.config.vocab_size} ids and the vocabulary {len(vocabulary)}: "
                "use the unitok.json that lies beside the checkpoint"
            )
        if dict(decoder.config.stacks) != vocabulary.stacks:
            raise ValueError(
                f"the model has stacked blocks {dict(decoder.config.stacks)} and the vocabulary {vocabulary.stacks}: "
                "use the unitok.json that lies beside the checkpoint"
            )
        self.decoder = decoder
        self.vocabulary = vocabulary
        self.modalities = modalities
        self.batch = batch
        self._grammars: dict[object, tuple[Grammar, Masks]] = {}

    def generate(
        self,
        prompts: Sequence[Prompt],
        budget: int | Sequence[int] | Mapping[str, int] = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        guidance: Mapping[str, float] | None = None,
        nulls: Sequence[Prompt] | None = None,
        produce: Collection[str] | None = None,
        forbid: Collection[str] = (),
        first: str | None = None,
        seed: int | Sequence[int] = 0,
    ) -> list[list[Segment | Mark]]:
        """What the model writes after each prompt, the closing mark included.

        Args:
            prompts: one per row, chats that end with `assistant`, or plain documents; not both in one call.
            budget: positions that a row may get, for all or for each; the row is closed in time. Or by block: {"image":
                64, "answer": 300} gives every picture the longest length of at most 64 codes (codes must be nested),
                and the answer as a whole 300 positions.
            temperature: 0 takes the likeliest id.
            top_k: choose among that many likeliest ids; 0 = all.
            top_p: choose among the fewest likeliest ids that hold this much probability.
            guidance: {block: scale}, inside spans of those blocks alone; 1 = off.
            nulls: prompts without their condition, for guidance; by default the null form of each prompt.
            produce: blocks that may be written, None = all; a block outside is never written.
            forbid: blocks that may not be written.
            first: the block that the answer must begin with.
            seed: one for all (row i draws from the stream (seed, i)), or one per row, which then
                becomes what it becomes alone.

        Raises:
            ValueError: an option out of its range, an unknown block, guidance without null prompts, or an option against
                the span that a prompt ends within.
        """
        options = Options(budget, temperature, top_k, top_p, guidance or {}, produce, forbid, first, seed)
        if not prompts:
            return []
        job = self._job(prompts, nulls, options)
        out = [ids_of(self.vocabulary, begun) for begun in job.begun]
        for rows, ids in self._run(job):
            for row, new in zip(rows, ids, strict=True):
                out[row] += new
        return [self.vocabulary.parse(ids) for ids in out]

    def stream(
        self,
        prompt: Prompt,
        null: Prompt | None = None,
        previews: Mapping[str, Collection[int]] | None = None,
        **options: Any,
    ) -> Iterator[Event]:
        """The same for one prompt, told as it comes; takes the options of `generate`.

        `previews` names blocks with nested codes and after how many of them a coarser item is told.
        """
        teller = Teller(self.vocabulary, self.modalities, previews)
        job = self._job([prompt], None if null is None else [null], Options(**options))
        for known in ids_of(self.vocabulary, job.begun[0]):
            for _ in teller.push(known):
                pass
        for _, ids in self._run(job):
            for new in ids[0]:
                yield from teller.push(new)
        yield from teller.close()

    def _run(self, job: _Job) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Step after step: the rows that got a position, and the ids that each got."""
        rows = list(range(len(job.groups)))
        for start in range(0, len(rows), self.batch):
            yield from self._decode(job, rows[start : start + self.batch])

    @torch.no_grad()
    def _decode(self, job: _Job, rows: list[int]) -> Iterator[tuple[list[int], list[list[int]]]]:
        device = self.decoder.lm_head.weight.device
        budgets = [job.budgets[row] for row in rows]
        states = self._states(job, rows)
        draws = job.draws[rows].to(device)
        groups = [job.groups[row] for row in rows]
        batch = Batch(self.decoder, groups, max(budgets), self.vocabulary.mark("pad"))
        parts = 1 + self.vocabulary.more
        for step in range(max(budgets)):
            lines, only = job.masks.of(states)
            if -1 in only:
                logits = batch.logits()  # [B, 1 or 2, V]
                blocks = [state.block for state in states]
                guided = guide(logits, scales(job.guidance, blocks)) if job.guided else logits[:, 0]
                ids = choose(job.masks.apply(guided, lines), draws[:, step * parts], job.how)
                new = ids.tolist()
            else:
                new, ids = only, torch.tensor(only, device=device)
            job.grammar.advance(states, new)
            written = [[one] for one in new]
            more = None
            if parts > 1:
                more = self._further(job, batch, states, written, draws[:, step * parts :])
            yield rows, written
            done = [state.done for state in states]
            if all(done):
                return
            if any(done):
                order = survivors(done)
                batch.keep(order)
                rows, states = [rows[i] for i in order], [states[i] for i in order]
                draws, ids = draws[order], ids[order]
                more = None if more is None else more[order]
            batch.step(ids, more)

    def _states(self, job: _Job, rows: Sequence[int]) -> list[State]:
        """Where the rows stand at first: at the beginning of an answer, or within a span that their prompt left open."""
        states = []
        for row in rows:
            begun = job.begun[row]
            if begun is None:
                states += job.grammar.start(1, job.budgets[row])
            else:
                states.append(State(job.grammar.entry, job.budgets[row]))
                job.grammar.enter(states[-1], *begun)
        return states

    def _further(
        self, job: _Job, batch: Batch, states: list[State], written: list[list[int]], draws: Tensor
    ) -> Tensor:
        """Choose the further parts of the rows that are within a stacked position.

        Args:
            job: the call.
            batch: stands before the position.
            states: of all rows, moved on with every part.
            written: the ids of every row's position, to which parts are appended.
            draws: uniform numbers [B, at least P], the first of which is used up.

        Returns:
            The column `more` of the position, int64 [B, P - 1].
        """
        more = torch.full((len(states), self.vocabulary.more), -1, device=draws.device)
        for part in range(1, self.vocabulary.more + 1):
            due: dict[str, list[int]] = {}
            for row, state in enumerate(states):
                block = job.grammar.unfinished(state)
                if block is not None:
                    due.setdefault(block.name, []).append(row)
            for name, rows in due.items():  # each block has a range, so a table, of its own
                here = [states[row] for row in rows]
                lines, only = job.masks.of(here)
                if -1 in only:
                    start = self.vocabulary.block(name).ranges[part][0]
                    known = torch.tensor([written[row] for row in rows], device=draws.device)
                    logits = batch.part_logits(name, rows, known)  # [R, 1 or 2, n]
                    scale = scales(job.guidance, [name] * len(rows))
                    guided = guide(logits, scale) if job.guided else logits[:, 0]
                    masked = job.masks.apply(guided, lines, start)
                    new = (choose(masked, draws[rows, part], job.how) + start).tolist()
                else:
                    new = only
                job.grammar.advance(here, new)
                for row, one in zip(rows, new, strict=True):
                    written[row].append(one)
                more[rows, part - 1] = torch.tensor(new, device=draws.device)
        return more

    def _job(self, prompts: Sequence[Prompt], nulls: Sequence[Prompt] | None, options: Options) -> _Job:
        how = options.how
        check(options.guidance, self.vocabulary.blocks)
        rendered = [self._rendered(prompt) for prompt in prompts]
        groups = [[prompt] for prompt in rendered]
        if options.guided:
            others = self._nulls(prompts, rendered, nulls)
            groups = [[prompt, null] for prompt, null in zip(rendered, others, strict=True)]
        budget = options.positions
        budgets = [budget] * len(prompts) if isinstance(budget, int) else list(budget)
        if len(budgets) != len(prompts):
            raise ValueError(
                f"{len(budgets)} budgets were given for {len(prompts)} prompts: give one, or one each"
            )
        grammar, masks = self._grammar(rendered, options)
        draws = uniforms(options.seed, len(prompts), max(budgets) * (1 + self.vocabulary.more))
        begun = [begun_span(self.vocabulary, prompt) for prompt in rendered]
        check_begun(self.vocabulary, begun, groups, options.first, grammar)
        job = _Job(groups, begun, budgets, draws, grammar, masks, how, options.guidance, options.guided)
        self._states(job, range(len(prompts)))  # refuses a budget that is too small before any row is written
        return job

    def _rendered(self, prompt: Prompt) -> Rendered:
        if isinstance(prompt, Document):
            prompt = prompt.prompt(self.vocabulary)
        if isinstance(prompt, Tensor):
            self.vocabulary.kind_of(prompt)  # refuses ids that there are not
            ids, more = self.vocabulary.fold(prompt)
            kind = torch.from_numpy(self.vocabulary.kind_of(ids))
            no = torch.zeros(len(ids), dtype=torch.bool)
            prompt = Rendered(ids, torch.zeros(len(ids)), kind, {}, no, more)
        if not len(prompt.ids):
            raise ValueError("a prompt is empty: it needs at least the doc mark to go on from")
        return prompt

    def _nulls(
        self, prompts: Sequence[Prompt], rendered: Sequence[Rendered], nulls: Sequence[Prompt] | None
    ) -> list[Rendered]:
        if nulls is not None:
            if len(nulls) != len(prompts):
                raise ValueError(
                    f"{len(nulls)} null prompts were given for {len(prompts)} prompts: give one each"
                )
            return [self._rendered(null) for null in nulls]
        if any(isinstance(prompt, Tensor) for prompt in prompts):
            raise ValueError(
                "guidance of bare ids needs `nulls`, their prompts without the condition: give documents"
            )
        return [prompt.nulled() for prompt in rendered]

    def _grammar(self, prompts: Sequence[Rendered], options: Options) -> tuple[Grammar, Masks]:
        """The grammar of an answer, kept for the next call: its table of masks grows with use."""
        chats = {bool((prompt.ids == self.vocabulary.mark("assistant")).any()) for prompt in prompts}
        if len(chats) > 1:
            raise ValueError(
                "some prompts are chats and some plain documents, which end differently: use two calls"
            )
        produce = frozenset(self.vocabulary.blocks if options.produce is None else options.produce)
        unknown = sorted((produce | {*options.forbid}) - set(self.vocabulary.blocks))
        if unknown:
            raise ValueError(
                f"there is no block {unknown[0]!r} to produce or forbid: {', '.join(self.vocabulary.blocks)}"
            )
        if options.first in options.forbid:
            raise ValueError(f"{options.first!r} is to come first and is forbidden: drop one of the two")
        stop = "turn" if True in chats else "end"
        key = (produce - {*options.forbid}, options.first, stop, tuple(sorted(options.lengths.items())))
        if key not in self._grammars:
            grammar = Grammar.answer(self.vocabulary, self.modalities, *key[:3], options.lengths)
            self._grammars[key] = grammar, Masks(grammar, self.decoder.lm_head.weight.device)
        return self._grammars[key]
