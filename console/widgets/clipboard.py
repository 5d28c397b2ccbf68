"""Copies that reach beyond the terminal: OSC 52 is sent by the application, tmux needs its own way."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from console.text import plural

_LARGEST = 100_000  # characters; terminals drop more in silence
_DEADLINE = 2.0  # seconds


def copy(text: str, environment: Mapping[str, str]) -> str:
    """Put `text` into tmux's buffer where there is one, else into a file if it is long; return what was done.

    The application sends OSC 52 itself: whether the terminal took it cannot be known, and that is said.
    """
    size = plural(len(text.splitlines()), "line")
    if environment.get("TMUX"):
        try:
            subprocess.run(
                ["tmux", "load-buffer", "-w", "-"],
                input=text.encode(), timeout=_DEADLINE, check=True, capture_output=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return f"{size} sent to the terminal (OSC 52); tmux did not take them, see {_file(text)}"
        return f"{size} copied into tmux's buffer (prefix ] pastes) and sent to the terminal"
    if len(text) > _LARGEST:
        return f"{size} are too many for the terminal's clipboard; they are in {_file(text)}"
    return f"{size} sent to the terminal's clipboard (OSC 52)"


def _file(text: str) -> Path:
    """Write `text` to a new private file and return its path."""
    descriptor, name = tempfile.mkstemp(prefix="walmedic-copy-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
