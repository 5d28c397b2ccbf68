"""What is kept of a screen: a picture, its text, the samples behind it, in files that only the operator can read."""

import json
import os
import time
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.probes.state import StationState
from console.records import to_json
from console.redaction import Redactor

_FOLDER = "exports"
_MOST_PER_SECOND = 100


def export(state_path: Path, at: float, svg: str, text: str, state: StationState) -> Path:
    """Write screen.svg, screen.txt and samples.json into a new folder below `state_path` and return the folder.

    `at` is the time in epoch seconds. Folder and files are the operator's alone (0700, 0600); secrets are taken out.
    Raises WalmedicError where they cannot be written.
    """
    samples = json.dumps(Redactor(private=False).value(samples_of(state, at)), ensure_ascii=False, indent=2)
    try:
        folder = _new_folder(state_path / _FOLDER, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at)))
        for name, content in (("screen.svg", svg), ("screen.txt", text), ("samples.json", samples + "\n")):
            _write(folder / name, content)
    except OSError as error:
        raise WalmedicError(
            f"{state_path / _FOLDER}: the export cannot be written there ({error.strerror}); is state_dir yours?"
        ) from error
    return folder


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(_MOST_PER_SECOND):
        folder = parent / (f"{name}-{number}" if number else name)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(17, "too many exports in one second")


def _write(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)


def samples_of(state: StationState, at: float) -> dict[str, Any]:
    """Return the newest sample of each probe, and the last good one where the newest brought nothing."""
    found: dict[str, Any] = {}
    for name, reading in sorted(state.readings.items()):
        newest, good = reading.latest, reading.good
        found[name] = {
            "status": newest.status.value if newest else "unknown",
            "error": reading.error,
            "taken_at": good.taken_at if good else None,
            "data": to_json(good.data) if good else None,
        }
    return {"exported_at": at, "samples": found}
