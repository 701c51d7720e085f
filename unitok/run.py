"""A run put together from its configuration: the parts that every recipe needs, and a finished run opened again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unitok import distributed, registry
from unitok.config import ConfigError, ModalityConfig, RunConfig, dump, load
from unitok.data.cuts import Cuts
from unitok.data.loader import Loader
from unitok.data.plan import Plan
from unitok.data.row import Row
from unitok.data.store import Store
from unitok.data.tokenize import tokenize
from unitok.eval.heldout import references, split
from unitok.eval.panels import task
from unitok.modality import Modality
from unitok.model import weights
from unitok.model.decoder import Decoder
from unitok.train.derive import shape
from unitok.train.loss import LanguageModel
from unitok.vocabulary import Vocabulary, VocabularyMismatch

if TYPE_CHECKING:
    from unitok.train.trainer import Trainer

CONFIG = "config.toml"
MODEL = "model"
LINE_TOKENS = 2_000_000  # per split, for the lines that a run reports beside its losses
WATCHED_ROWS = 160  # held-out rows that are looked at during training


@dataclass(frozen=True)
class Run:
    """A configuration with its tokenizers and the vocabulary that they share."""

    config: RunConfig
    modalities: Mapping[str, Modality]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, config: RunConfig) -> Run:
        """Create the modalities and lay out their vocabulary.

        Raises:
            ConfigError: no such modality, options that it does not take, or a block that cannot be stacked.
            ImportError: a package is missing; the extra that brings it is named.
        """
        modalities = {name: _created(name, block) for name, block in config.vocabulary.items()}
        stacked = [name for name, block in config.vocabulary.items() if block.stacked]
        try:
            return cls(config, modalities, Vocabulary.build(modalities, stacked))
        except ValueError as error:
            raise ConfigError(f"[vocabulary]: {error}") from error

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.config.run)

    def stores(self, split: str = "train") -> dict[str, Store]:
        """The token stores of all sources, built where they are not yet."""
        return tokenize(self.config.data, self.config.root, self.vocabulary, self.modalities, split)

    def weights(self, stores: Mapping[str, Store]) -> dict[str, float]:
        """Each source's share of tokens, in any unit."""
        data = self.config.data
        power = 1 / data.temperature if data.temperature else 0.0
        return {name: data.sources[name].weight * len(store) ** power for name, store in stores.items()}

    def plan(self, stores: Mapping[str, Store], p_null: float | None = None) -> Plan:
        """Which documents stand in which row; `p_null` overrides the configuration's."""
        data = self.config.data
        p_null = data.p_null if p_null is None else p_null
        return Plan(
            stores, self.weights(stores), data.seq_len, data.seed, data.window, p_null, self.cuts(stores)
        )

    def cuts(self, stores: Mapping[str, Store]) -> dict[str, Cuts]:
        """How nested items are cut in the sources that say so.

        Raises:
            ConfigError: a budget for a block that has none.
        """
        found = {}
        for name, store in stores.items():
            if budget := self.config.data.sources[name].budget:
                try:
                    found[name] = Cuts(store, budget, self.vocabulary, self.modalities)
                except ValueError as error:
                    raise ConfigError(f"[data.sources.{name}] budget: {error}") from error
        return found

    def decoder(self) -> Decoder:
        """The model at its start: random by the run's seed, or a pretrained folder's weights."""
        torch.manual_seed(self.config.train.seed)
        section = self.config.model
        if section.backend == "flex" and not torch.cuda.is_available():
            raise ConfigError("model.backend = 'flex' trains on CUDA alone, and there is none: use 'sdpa'")
        if section.pretrained is not None:
            return weights.load(
                section.pretrained,
                len(self.vocabulary),
                self.vocabulary.channels,
                self.vocabulary.stacks,
                backend=section.backend,
                recompute=section.recompute,
            )
        vocabulary = self.vocabulary
        return Decoder(section.build(len(vocabulary), vocabulary.channels, vocabulary.stacks))

    def trainer(self, train: Mapping[str, Store], heldout: Mapping[str, Store]) -> Trainer:
        """A trainer on this rank's share of the training stores, with held-out rows and honest lines beside it."""
        from unitok.train.trainer import Trainer  # brings DeepSpeed, which tokenizing and sampling do without

        config, vocabulary = self.config, self.vocabulary
        if config.report is not None:
            for panel in config.report.panel:
                task(panel, heldout, vocabulary)  # a panel that cannot be is better refused before training
        seen, asked = split(train, LINE_TOKENS), split(heldout, LINE_TOKENS)
        lines, per_item = references(asked, seen, vocabulary)
        parts = shape(config.train, distributed.world())
        plan = self.plan(train)
        loader = Loader(
            train,
            plan,
            vocabulary,
            parts.micro,
            distributed.rank(),
            parts.world,
            config.data.workers,
            config.data.prefetch,
        )
        module = LanguageModel(self.decoder(), len(vocabulary.kinds), config.train.z_loss, config.train.chunk)
        return Trainer(
            module,
            loader,
            config.train,
            self.folder,
            extra=config.deepspeed,
            kinds=vocabulary.kinds,
            vocabulary=vocabulary,
            lines=lines,
            per_item=per_item,
            heldout=self._watched(heldout, parts.micro),
            hooks=[self._record],
        )

    def _record(self, trainer: Trainer, event: str) -> None:
        """Keep the configuration once a checkpoint of the folder, if any, has turned out to be of this run."""
        if event == "start":
            self.record()

    def _watched(self, heldout: Mapping[str, Store], batch: int) -> list[Row]:
        """Some held-out rows, mixed as in training, to be looked at during training."""
        if not heldout:
            return []
        plan = self.plan(heldout, p_null=0.0)
        return list(islice(Loader(heldout, plan, self.vocabulary, batch), max(1, WATCHED_ROWS // batch)))

    def record(self) -> None:
        """Keep the resolved configuration and the vocabulary with the run."""
        if not distributed.is_main():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / CONFIG).write_text(dump(self.config), encoding="utf-8")
        self.vocabulary.save(self.folder)


def _created(name: str, block: ModalityConfig) -> Modality:
    try:
        return registry.create(block.use, **block.options)
    except (registry.UnknownModality, TypeError, ValueError, OSError) as error:
        given = ", ".join(f"{option} = {value!r}" for option, value in block.options.items())
        raise ConfigError(f"vocabulary.{name}: {error}" + (f" (given {given})" if given else "")) from error


def reopen(folder: str | Path) -> tuple[Run, Decoder]:
    """A finished run: its configuration, tokenizers and trained model.

    Raises:
        FileNotFoundError: the folder holds no run, or none that has ended.
        VocabularyMismatch: a tokenizer has changed since.
    """
    folder = Path(folder)
    for name in (CONFIG, "unitok.json", MODEL):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder} has no {name}: it is no finished run; train one with recipes/pretrain.py"
            )
    run = Run.of(load(folder / CONFIG))
    vocabulary = Vocabulary.load(folder)
    vocabulary.check(run.modalities)
    if vocabulary != run.vocabulary:
        raise VocabularyMismatch(
            f"{folder / CONFIG} gives vocabulary {run.vocabulary.fingerprint}, the model was trained with "
            f"{vocabulary.fingerprint}: put [vocabulary] back to what it was"
        )
    return run, weights.load(folder / MODEL, len(vocabulary), vocabulary.channels, vocabulary.stacks)
