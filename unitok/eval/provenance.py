"""Where figures come from: package versions, commit, machine. Every JSON with figures has them."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "deepspeed", "sentencepiece", "rdkit", "selfies", "open3d", "pillow")


def provenance() -> dict[str, Any]:
    """Date (UTC), versions of what is installed, commit and machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, this package and those that figures depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in ("unitok-lm", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit that this file is at, with "+" if the tree has changes; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changes or not tracked else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Processor, how many of its cores this process may use, threads of torch, accelerators, load average."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
