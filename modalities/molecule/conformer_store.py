"""Conformers on disk: one SQLite file, a row for each canonical SMILES and set of parameters.

Rows are written in transactions: a writer that is killed leaves nothing half done, and several may write at once
(on a disk of this machine; SQLite's locks do not hold on some network disks). Positions are float32, packed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = "conformers.sqlite"
WAIT = 120.0
"""Seconds to wait for another writer."""
IN_MEMORY = 20_000
"""Rows kept where there is no folder; the oldest make room."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS conformers (params TEXT, smiles TEXT, positions BLOB, reason TEXT, seconds INTEGER, "
    "PRIMARY KEY (params, smiles)) WITHOUT ROWID"
)


class Row(NamedTuple):
    """What is known of a molecule: positions float32 [n, 3], or why there are none.

    `seconds` is the limit that a search ran into, 0 where it ended by itself.
    """

    positions: NDArray[np.float32] | None
    reason: str = ""
    seconds: int = 0


class Store:
    """A folder of conformers; without a folder the latest are kept in memory.

    Args:
        folder: made if it is not there.
        params: text that tells conformers of other parameters apart.

    Raises:
        ValueError: a file in the folder's place.
    """

    def __init__(self, folder: str | Path | None, params: str) -> None:
        self.params = params
        self.path = Path(folder) / FILE if folder is not None else None
        if self.path is not None and self.path.parent.is_file():
            raise ValueError(f"{folder} is a file: name a folder to keep conformers in")
        self._kept: dict[str, Row] = {}

    def read(self, smiles: Sequence[str]) -> dict[str, Row]:
        """The rows that are there.

        Raises:
            OSError: a file that cannot be read.
        """
        if self.path is None:
            return {one: self._kept[one] for one in smiles if one in self._kept}
        if not self.path.exists():
            return {}
        query = "SELECT positions, reason, seconds FROM conformers WHERE params = ? AND smiles = ?"
        out = {}
        with self._open() as database:
            for one in smiles if _has_table(database) else ():
                row = database.execute(query, (self.params, one)).fetchone()
                if row is not None:
                    out[one] = Row(_unpacked(row[0]), row[1], row[2])
        return out

    def add(self, rows: Mapping[str, Row]) -> None:
        """All of these, or, where it fails or is killed, none; rows of the same molecules are replaced.

        Raises:
            OSError: a file or folder that cannot be written.
        """
        if self.path is None:
            self._kept.update(rows)
            for oldest in list(self._kept)[:-IN_MEMORY]:
                del self._kept[oldest]
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        packed = [
            (self.params, one, _packed(row.positions), row.reason, row.seconds) for one, row in rows.items()
        ]
        with self._open() as database:
            self._write(database, packed)

    @staticmethod
    def _write(database: sqlite3.Connection, rows: Iterable[tuple[str, str, bytes | None, str, int]]) -> None:
        database.execute("BEGIN IMMEDIATE")  # takes the lock at once, so that two writers wait in turn
        database.execute(_TABLE)
        database.executemany("INSERT OR REPLACE INTO conformers VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")

    def __len__(self) -> int:
        """How many molecules are known with these parameters, failures included."""
        if self.path is None:
            return len(self._kept)
        if not self.path.exists():
            return 0
        with self._open() as database:
            query = "SELECT count(*) FROM conformers WHERE params = ?"
            return int(database.execute(query, (self.params,)).fetchone()[0]) if _has_table(database) else 0

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own each time: none is carried into another process or thread."""
        try:
            with contextlib.closing(
                sqlite3.connect(str(self.path), timeout=WAIT, isolation_level=None)
            ) as database:
                yield database
        except (sqlite3.Error, zlib.error) as error:
            raise OSError(
                f"{self.path} cannot be used ({error}): make it again, or name another folder"
            ) from error


def _has_table(database: sqlite3.Connection) -> bool:
    """False for a file that a first writer is about to fill, or was when it was killed."""
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'conformers'").fetchone() is not None


def _packed(positions: NDArray[np.float32] | None) -> bytes | None:
    return None if positions is None else zlib.compress(np.asarray(positions, "<f4").tobytes())


def _unpacked(data: bytes | None) -> NDArray[np.float32] | None:
    return (
        None
        if data is None
        else np.frombuffer(zlib.decompress(data), "<f4").astype(np.float32).reshape(-1, 3)
    )
