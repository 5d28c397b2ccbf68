"""How the guard's last round went: written by it after each, read by doctor, console and watch."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console import records

_FILE: Final = "round.json"


@dataclass(frozen=True, slots=True)
class GuardState:
    """One round: `at` in seconds since the epoch, `copied` of so many `tables`; bytes `written` now, and `used` by all.

    `left_out` says of tables (and `.registry`) why nothing newer was taken.
    """

    at: float
    tables: int
    copied: int
    written: int
    used: int
    left_out: Mapping[str, str] = field(default_factory=dict)


def put_state(folder: Path, state: GuardState) -> None:
    """Note a round. Not synced: after a power loss its age is what counts, and that is in the copies too."""
    beside = folder / f".{_FILE}.tmp"
    beside.write_text(json.dumps(records.to_json(state)))
    os.replace(beside, folder / _FILE)  # noqa: PTH105


def read_state(folder: Path) -> GuardState | None:
    """Return the last round, None where no guard ever ran or it cannot be read."""
    try:
        return records.of_json(GuardState, json.loads((folder / _FILE).read_bytes()))
    except (OSError, ValueError, records.RecordError):
        return None
