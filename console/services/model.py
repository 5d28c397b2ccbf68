"""One way to read and command services, and the state of one, whatever runs them."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.errors import WalmedicError
from console.settings import Unit


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
    health: str = ""  # of a container that has a check: `healthy`, `unhealthy`, `starting`
    restart_policy: str = ""  # of a container, e.g. `always`; `always (suspended)` while it is held

    @property
    def stopped(self) -> bool:
        """Return whether no process of it is left and none is about to start, however the last run ended."""
        return self.state in (UnitState.DOWN, UnitState.FAILED) and self.pid is None


class ServiceControl(ABC):
    """What runs the services. Every method blocks, keeps its own deadline, and raises ServiceError in one sentence.

    A backend that can do no more than state, stop and start inherits the rest.
    """

    backend: str
    can_set_environment = False
    """Whether `set_environment` works."""

    @property
    def can_mask(self) -> bool:
        """Whether `mask_runtime` changes anything."""
        return False

    @abstractmethod
    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        """Return the state of each of `units`, in their order."""

    @abstractmethod
    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Stop `unit` and return once no process of it is left. Nothing happens where it does not run."""

    @abstractmethod
    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Start `unit` and return once it is up. A start limit that was hit before is forgotten first."""

    def mask_runtime(self, unit: str) -> None:  # noqa: B027 - a default, not abstract
        """Keep `unit` from being started by its manager until `unmask`; with systemd by anyone, until the next boot.

        Changes nothing where the backend has no such thing (`can_mask` is False): supervisord never starts by itself
        what was stopped, and Kubernetes no workload of 0 replicas. Of containers the restart policy is suspended.
        """

    def unmask(self, unit: str) -> None:  # noqa: B027 - a default, not abstract
        """Take `mask_runtime` back; nothing happens where it was not in force."""

    def set_environment(self, unit: str, values: Mapping[str, str]) -> None:
        """Give `unit` environment variables from its next start on, until `clear_environment` or the next boot.

        Raises ServiceError where `can_set_environment` is False.
        """
        del values
        raise ServiceError(f"{unit} cannot be given another environment; its server.conf can be changed")

    def clear_environment(self, unit: str) -> None:  # noqa: B027 - a default, not abstract
        """Take `set_environment` back from the next start on; nothing happens where it was not in force."""

    @abstractmethod
    def command_line(self, verb: str, unit: str) -> str:
        """Return the command to type for start, stop, restart, mask or unmask; empty if there is none."""
