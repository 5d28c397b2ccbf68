"""Copies and calls that reach beyond the terminal: OSC 52 and OSC 9, by the way that what stands between lets through.

A bare terminal takes OSC 52 itself. tmux swallows it in its default setting, so that tmux's own client is asked to pass
it on (`load-buffer -w`), and where that fails the sequence goes through wrapped (`allow-passthrough`). GNU screen takes
short wrapped pieces only. Whether the terminal took the text cannot be known, and the message says so.
"""

import base64
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from console.text import clean_line, plural

_LARGEST = 100_000  # characters; terminals drop more in silence
_SCREEN_PIECE = 700  # bytes in one wrapped piece that GNU screen lets through
_DEADLINE = 2.0  # seconds


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """Return the control sequence that copies `text`, wrapped for what stands between here and the terminal."""
    payload = base64.b64encode(text.encode()).decode()
    return _wrapped(f"\x1b]52;c;{payload}\x07", environment)


def notification(text: str, environment: Mapping[str, str]) -> str:
    """Return the control sequence that has the terminal show `text` to somebody who looks elsewhere (OSC 9)."""
    return _wrapped(f"\x1b]9;{clean_line(text)}\x07", environment)


def _wrapped(plain: str, environment: Mapping[str, str]) -> str:
    if environment.get("TMUX"):
        return "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environment.get("STY"):
        pieces = [plain[at : at + _SCREEN_PIECE] for at in range(0, len(plain), _SCREEN_PIECE)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain


def copy(text: str, environment: Mapping[str, str], write: Callable[[str], None]) -> str:
    """Copy `text` by tmux's buffer where there is tmux, else through `write` to the terminal; return what was done.

    What is too long for a clipboard goes into a private file.
    """
    size = plural(len(text.splitlines()), "line")
    if len(text) > _LARGEST:
        return f"{size} are too many for the terminal's clipboard; they are in {_file(text)}"
    if not environment.get("TMUX"):
        write(sequence(text, environment))
        return f"{size} sent to the terminal's clipboard (OSC 52)"
    try:
        subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode(), timeout=_DEADLINE, check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        write(sequence(text, environment))
        return f"{size} sent through tmux to the terminal (OSC 52); tmux's buffer did not take them, see {_file(text)}"
    return f"{size} copied into tmux's buffer (prefix ] pastes) and sent on to the terminal"


def _file(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="walmedic-copy-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
