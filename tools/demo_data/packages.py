"""Package files, from a folder or through the registries' own clients, and what is inside them."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

CLIENTS: dict[str, Callable[[str], list[str]]] = {
    "npm": lambda spec: ["npm", "pack", "--silent", spec],
    "pypi": lambda spec: ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", spec],
    "debian": lambda spec: ["apt-get", "download", spec],
}


class Packages:
    """A folder of package files (.tgz, .whl, .deb); a missing one is fetched into it.

    Args:
        folder: where the files are, and where fetched ones go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, registry: str, spec: str) -> Path:
        """The file of a package: ("npm", "emojibase-data@17.0.0"), ("pypi", "x==1"), ("debian", "x").

        Raises:
            FileNotFoundError: it is not in the folder and the client could not fetch it.
        """
        stem = spec.replace("==", "-").removeprefix("@").replace("/", "-").replace("@", "-")
        pattern = {"npm": f"{stem}.tgz", "pypi": f"{stem.replace('-', '?')}-*.whl", "debian": f"{stem}_*.deb"}
        self.folder.mkdir(parents=True, exist_ok=True)
        for again in (False, True):
            found = sorted(self.folder.glob(pattern[registry]))
            if found:
                return found[-1]
            if not again:
                try:
                    subprocess.run(CLIENTS[registry](spec), cwd=self.folder, check=True)
                except (OSError, subprocess.CalledProcessError) as error:
                    raise FileNotFoundError(
                        f"{registry} package {spec} is not in {self.folder} and could not be fetched "
                        f"({error}): put {pattern[registry]} there and give --from {self.folder}"
                    ) from error
        raise FileNotFoundError(f"{registry} package {spec} left no {pattern[registry]} in {self.folder}")


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the files in a .tgz, .whl or .deb whose name is wanted, in the archive's order."""
    if path.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if wanted(name):
                    yield name, archive.read(name)
        return
    stream = io.BytesIO(_data_member(path.read_bytes())) if path.suffix == ".deb" else path.open("rb")
    with stream, tarfile.open(fileobj=stream) as archive:
        for entry in archive:
            handle = archive.extractfile(entry) if entry.isfile() and wanted(entry.name) else None
            if handle is not None:
                yield entry.name, handle.read()


def member(path: Path, name: str) -> bytes:
    """The bytes of the one file called `name` (or ending in "/name").

    Raises:
        FileNotFoundError: there is none.
    """
    for _, data in members(path, lambda found: found == name or found.endswith("/" + name)):
        return data
    raise FileNotFoundError(f"{path} has no {name}: is it the version that the tool names?")


def _data_member(deb: bytes) -> bytes:
    """The data.tar.* of a Debian package (an `ar` archive: 60-byte heads, even lengths)."""
    at = 8
    while at + 60 <= len(deb):
        name, size = deb[at : at + 16].decode().strip().rstrip("/"), int(deb[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return deb[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise FileNotFoundError("the Debian package has no data.tar: it is damaged")
