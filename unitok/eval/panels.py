"""Panels of a report: held-out documents of one source and template, as tasks for the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unitok.data.shuffle import keyed
from unitok.data.store import Store
from unitok.data.template import nearest
from unitok.document import Document
from unitok.eval.config import PanelConfig
from unitok.eval.task import Task, conversation
from unitok.generate import Options
from unitok.vocabulary import Vocabulary


def task(panel: PanelConfig, stores: Mapping[str, Store], vocabulary: Vocabulary) -> Task:
    """The task of a panel; `max(count, score)` documents, of different records, drawn by the panel's seed.

    Args:
        panel: what the run's configuration asks for.
        stores: held-out sources by name.
        vocabulary: of the stores.

    Raises:
        ValueError: no such source, or it has no held-out document of that template.
    """
    if panel.source not in stores:
        raise ValueError(
            f"report panel {panel.title!r} asks for source {panel.source!r}, which has nothing held out: "
            f"{nearest(panel.source, stores)}"
        )
    for block in {*(panel.produce or ()), *panel.guidance, *((panel.first,) if panel.first else ())}:
        if block not in vocabulary.blocks:
            raise ValueError(
                f"report panel {panel.title!r} names the block {block!r}, which the vocabulary does not have: "
                f"{nearest(block, vocabulary.blocks)}"
            )
    sampling = Options(
        budget=panel.budget,
        temperature=panel.temperature,
        top_k=panel.top_k,
        top_p=panel.top_p,
        guidance=panel.guidance,
        produce=panel.produce,
        first=panel.first,
        seed=panel.seed,
    )
    documents = _documents(panel, stores[panel.source], vocabulary)
    return Task(panel.title, documents, sampling, every_turn=panel.turns == "all")


def _documents(panel: PanelConfig, store: Store, vocabulary: Vocabulary) -> list[Document]:
    order = np.argsort(keyed(panel.seed, np.arange(len(store))), kind="stable")
    found: dict[str, Document] = {}
    for doc in order.tolist():
        if len(found) == max(panel.count, panel.score):
            break
        if panel.chat is not None and store.form(doc) != f"chat.{panel.chat}":
            continue
        key, rendered = store.key(doc), store.document(doc)
        if key not in found and (rendered.ids == vocabulary.mark("assistant")).any():
            found[key] = conversation(rendered.parse(vocabulary), vocabulary, key)
    if not found:
        forms = sorted({store.form(doc) for doc in range(len(store))})
        wanted = "a chat" if panel.chat is None else f"chat.{panel.chat}"
        raise ValueError(
            f"report panel {panel.title!r} asks for {wanted} of source {panel.source!r}, of which nothing is "
            f"held out: it has {', '.join(forms) or 'no documents'}"
        )
    return list(found.values())
