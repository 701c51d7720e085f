"""The search for conformers in several processes: every molecule comes back with positions or a reason.

A process that dies (RDKit is C++, and memory ends) takes a few molecules with it: these are tried again one by
one, and that one which ends a process once more is named.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .conformer_store import Row
from .etkdg import NoConformer, Params, search

CHUNK = 8
"""Molecules handed to a process at once, and written at once."""


def searched(smiles: Sequence[str], params: Params, workers: int, progress: bool) -> Iterator[dict[str, Row]]:
    """Rows of canonical SMILES, some at a time, in no certain order.

    Raises:
        ValueError: no workers.
    """
    if workers < 1:
        raise ValueError(f"workers={workers} is out of range: 1 and up")
    chunks = [list(smiles[at : at + CHUNK]) for at in range(0, len(smiles), CHUNK)]
    columns = (TextColumn("conformers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not progress or not chunks) as bar:
        task = bar.add_task("", total=len(smiles))
        parts = map(_chunk, chunks, [params] * len(chunks))
        for part in parts if workers == 1 or len(chunks) < 2 else _parallel(chunks, params, workers):
            bar.advance(task, len(part))
            yield part


def _chunk(smiles: Iterable[str], params: Params) -> dict[str, Row]:
    """The search for a few molecules."""
    rows = {}
    for one in smiles:
        try:
            rows[one] = Row(search(one, 1, params)[0])
        except NoConformer as error:
            rows[one] = Row(None, str(error), error.seconds)
    return rows


def _parallel(chunks: list[list[str]], params: Params, workers: int) -> Iterator[dict[str, Row]]:
    lost: list[list[str]] = []
    pool = _pool(min(workers, len(chunks)))
    try:
        waiting: dict[Future[dict[str, Row]], list[str]] = {}
        for chunk in chunks:
            try:
                waiting[pool.submit(_chunk, chunk, params)] = chunk
            except BrokenProcessPool:
                lost.append(chunk)
        for future in as_completed(waiting):
            try:
                yield future.result()
            except BrokenProcessPool:
                lost.append(waiting[future])
    finally:
        pool.shutdown(cancel_futures=True)
    if lost:
        yield from _alone([one for chunk in lost for one in chunk], params)


def _alone(smiles: list[str], params: Params) -> Iterator[dict[str, Row]]:
    """One molecule at a time in one process, a new one after each that dies."""
    pool = _fresh()
    try:
        for one in smiles:
            try:
                yield pool.submit(_chunk, [one], params).result()
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                yield {
                    one: Row(None, f"{one} ended the process that searched for its conformer: leave it out")
                }
                pool = _fresh()
    finally:
        pool.shutdown(cancel_futures=True)


def _fresh() -> ProcessPoolExecutor:
    """One process that has been seen to run, so that what ends it is a molecule."""
    pool = _pool(1)
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "no process can be started: call from a file, under if __name__ == '__main__', or take workers=1"
        ) from error
    return pool


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_follow)


def _follow() -> None:
    """End with the parent, even where that is killed: a pool's processes would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
