"""How a recipe or tool ends when its user made a mistake: one sentence and status 2, no traceback.

    if __name__ == "__main__":
        command(main)

A mistake is an error that says its sentence: a wrong value, file or package (ValueError, OSError, ImportError), or
an error of this project's own, such as a checkpoint that does not fit or a loss that diverged. Anything else
is a bug and keeps its traceback; UNITOK_TRACEBACK=1 shows it for all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from unitok.registry import EXTRAS

OURS = ("unitok", "modalities")  # packages whose own error classes are mistakes of the user
STATUS = 2
INTERRUPTED = 130  # what shells give a process that Ctrl-C ended


def command(main: Callable[[], object]) -> None:
    """Run `main`; a mistake ends the process with its sentence on standard error.

    Raises:
        SystemExit: status 2 after a mistake, 130 after Ctrl-C.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        own = type(error).__module__.partition(".")[0] in OURS
        if os.environ.get("UNITOK_TRACEBACK") or not (
            own or isinstance(error, (ValueError, OSError, ImportError))
        ):
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        raise SystemExit(STATUS) from None


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ModuleNotFoundError) and "pip install" not in text:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        text += f": pip install 'unitok-lm[{extra}]'" if extra else ""
    return text
