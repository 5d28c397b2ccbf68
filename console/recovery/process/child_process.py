"""A walmedic command as a process of its own: started in its own session, watched through the files that it writes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.model import Progress
from console.recovery.store.locks import terminal
from console.text import clean_line


class ProgressFile:
    """Reads progress lines (JSON, one a line) as a file grows; other lines are left out."""

    def __init__(self) -> None:
        self._read = 0

    def read(self, path: Path) -> list[Progress]:
        try:
            with path.open("rb") as stream:
                stream.seek(self._read)
                content = stream.read()
        except OSError:
            return []
        whole = content.rfind(b"\n") + 1
        self._read += whole
        return [progress for line in content[:whole].splitlines() if (progress := _progress(line)) is not None]


class Child:
    """A walmedic command in a session of its own; its words are in `folder`, its document in `folder/stdout`."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.pid = process.pid
        self._process = process

    @classmethod
    def start(cls, folder: Path, arguments: Sequence[str], *, prefix: Sequence[str] = ()) -> "Child":
        """Start `walmedic` with `arguments`. Raises WalmedicError where it cannot be started."""
        command = [*prefix, sys.executable, "-m", "console", *arguments]
        environment = {**os.environ, "WALMEDIC_TERMINAL": terminal()}
        try:
            with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, cwd="/",
                    env=environment,
                )  # fmt: skip
        except OSError as error:
            raise WalmedicError(f"{sys.executable} cannot be started ({error.strerror}); nothing was done") from error
        return cls(folder, process)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def document(self) -> dict[str, Any]:
        return document_in(self.folder)

    def words(self) -> str:
        return words_in(self.folder)


def document_in(folder: Path) -> dict[str, Any]:
    """Return the JSON document that a child wrote to its standard output, empty where there is none."""
    try:
        parsed = json.loads((folder / "stdout").read_bytes())
    except (OSError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def words_in(folder: Path) -> str:
    """Return what a child reported last, as one sentence."""
    message = document_in(folder).get("message")
    if message:
        return clean_line(str(message))
    try:
        lines = (folder / "stderr").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    lines = [line for line in lines if not line.startswith("{")]
    return clean_line(lines[-1].removeprefix("walmedic: ")) if lines else "it ended without a word"


def place_of(engine: Engine) -> list[str]:
    """Return the options that name the engine's database, state directory and settings file to a child."""
    file = engine.settings.file
    return [
        "--db-root", str(engine.database.db), "--state-dir", str(engine.state.root),
        *(["--config", file] if file else []),
    ]  # fmt: skip


def _progress(line: bytes) -> Progress | None:
    try:
        parsed: dict[str, Any] = json.loads(line)
        return Progress(
            parsed["entry"], parsed["stage"], parsed["title"], parsed["state"], parsed["message"],
            parsed["done"], parsed["total"], parsed.get("at"),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None
