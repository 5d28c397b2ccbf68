"""One line of the check-up behind `walmedic doctor`."""

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """What a check found: `OK`, `NOTE` (left out, or worth knowing), `PROBLEM` (what was configured cannot be done)."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the check-up; `said` is one sentence, and a field of `doctor --json`."""

    subject: str
    level: Level
    said: str
