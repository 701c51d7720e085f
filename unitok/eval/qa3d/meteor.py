"""METEOR 1.5 (Denkowski & Lavie 2014) by its own program, the jar that pycocoevalcap brings; it needs Java.

    meteor([["a", "chair"]], [[["chair"], ["one", "chair"]]]) -> (0.36, None)      # or (None, why not)

METEOR has paraphrase tables and tuned weights of its own, so nothing else gives this number: where the jar or Java is
missing there is none, and the reason is given instead. Both steps have a time limit.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

LIMIT = 600
"""Seconds that a step may take."""

Words = Sequence[str]


def meteor(given: Sequence[Words], wanted: Sequence[Sequence[Words]]) -> tuple[float | None, str | None]:
    """The score of a set, 0 to 1, or None and the reason.

    Args:
        given: words of one answer for each question.
        wanted: words of each reference for each question.
    """
    java, jar = shutil.which("java"), _jar()
    if java is None:
        return None, "METEOR 1.5 is a Java program and there is no java: install a Java runtime"
    if jar is None:
        return None, "METEOR 1.5 comes with pycocoevalcap, which is not installed: pip install pycocoevalcap"
    command = [java, "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    try:
        statistics = _run(command, [_line(a, b) for a, b in zip(given, wanted, strict=True)])
        scores = _run(command, [" ||| ".join(("EVAL", *statistics))])
        return float(scores[-1]), None
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return None, f"METEOR 1.5 failed ({str(error)[:200]})"


def _jar() -> Path | None:
    """The jar in the installed package, which itself need not be importable."""
    found = importlib.util.find_spec("pycocoevalcap")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "meteor" / "meteor-1.5.jar"
        if path.is_file():
            return path
    return None


def _line(given: Words, wanted: Sequence[Words]) -> str:
    texts = [" ".join(words).replace("|||", "") for words in (*wanted, given)]
    return " ||| ".join(("SCORE", *texts))


def _run(command: Sequence[str], lines: Sequence[str]) -> list[str]:
    """What the program writes to these lines.

    Raises:
        ValueError: not at least one line for each.
    """
    done = subprocess.run(
        command,
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=LIMIT,
        encoding="utf-8",
    )
    written = done.stdout.splitlines()
    if len(written) < len(lines):
        raise ValueError(done.stderr.strip() or f"{len(written)} answers to {len(lines)} lines")
    return written
