"""What a command ends with: the detailed codes, and the three that every shell script knows."""

import enum
from typing import Final

DETAILED: Final = "--detailed-exitcode"
"""The option of every command that asks for the detailed codes."""


class ExitCode(enum.IntEnum):
    """Detailed exit codes (contract: add, never rename)."""

    OK = 0
    PROBLEMS = 1
    DONE = 2
    FAILED = 4
    REFUSED = 8
    USAGE = 16

    @property
    def plain(self) -> int:
        """Return the code without `--detailed-exitcode`: 0 done or healthy, 1 a problem, 2 wrong usage."""
        if self is ExitCode.USAGE:
            return 2
        return 0 if self in (ExitCode.OK, ExitCode.DONE) else 1
