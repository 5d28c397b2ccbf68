"""State of one service, the same whatever runs it."""

import enum
from dataclasses import dataclass

from console.errors import WalmedicError


class ServiceError(WalmedicError):
    """A service, or what runs it, that could not be read or commanded; one sentence for the operator."""


class UnitState(enum.StrEnum):
    """State of one service, the same for systemd and supervisor."""

    UP = "up"
    STARTING = "starting"
    STOPPING = "stopping"
    DOWN = "down"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class UnitSample:
    """One service. Times are seconds; `restarts` counts automatic restarts where the backend tells (else None).

    `loop` is empty, or one clause that names a failing restart loop and what limits it. `masked` says that nothing can
    start the service until it is unmasked; it is about the present boot only. `held` says that it is down and that its
    manager will not start it again: a unit in a restart loop is down between two starts and not held.
    """

    name: str
    role: str
    state: UnitState
    pid: int | None = None
    uptime: float | None = None
    restarts: int | None = None
    result: str = ""  # how the last run ended, e.g. `exit 1`, `SIGABRT`
    memory: int | None = None  # bytes
    unit_file: str = ""
    sub_state: str = ""  # the backend's own word, e.g. `auto-restart`, `BACKOFF`
    loop: str = ""
    masked: bool = False
    held: bool = False
    restart_rate: float | None = None  # per minute, where it was watched long enough
    pid_before: int | None = None  # of the run before, where that was watched
    restart_policy: str = ""  # of a container, e.g. `always`; `always (suspended)` while it is held

    @property
    def stopped(self) -> bool:
        """Return whether no process of it is left and none is about to start, however the last run ended."""
        return self.state in (UnitState.DOWN, UnitState.FAILED) and self.pid is None
