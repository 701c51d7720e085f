"""Progress of long loops: off by default, on standard error in recipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


class Track(Protocol):
    """Gives the items back one by one and shows under `what` how many are done."""

    def __call__(self, items: Sequence[T], what: str) -> Iterable[T]:
        """The same items, in order."""
        ...


def quiet(items: Sequence[T], what: str) -> Iterable[T]:
    """Shows nothing."""
    return items


@contextmanager
def shown() -> Iterator[Track]:
    """A bar for each loop, gone when it is done; nothing where standard error is no terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def track(items: Sequence[T], what: str) -> Iterable[T]:
            task = bar.add_task(what, total=len(items))
            for item in items:
                yield item
                bar.advance(task)
            bar.remove_task(task)

        yield track
