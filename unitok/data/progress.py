"""The progress line of tokenizing, on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from unitok.data.tally import Tally


class Progress:
    """Shows the counts of the source at hand; a context manager. Messages come through even when it is off."""

    def __init__(self, off: bool) -> None:
        self.off = off
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console, transient=True, disable=off or not console.is_terminal)
        self._task = self._bar.add_task("tokenize", total=None)

    def show(self, tally: Tally) -> None:
        """The state of a source."""
        self._bar.update(self._task, description=str(tally))

    def say(self, message: str | None) -> None:
        """A line of its own."""
        if message:
            self._bar.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def done(self, tally: Tally, cached: bool) -> None:
        """The summary of a source."""
        if not self.off:
            self.say(f"{tally} (cached)" if cached else str(tally))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
