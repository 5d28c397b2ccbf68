"""What a probe brings back: one immutable sample, taken at a time, good or not, never an exception."""

import enum
import time
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Status(enum.StrEnum):
    """How the source answered.

    `OK`, `DEGRADED` (in part), `DOWN` (not at all), `REFUSED` (it lives and does not let us look: others it may serve),
    `UNKNOWN` (not configured or asked).
    """

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    REFUSED = "refused"
    UNKNOWN = "unknown"

    @property
    def failed(self) -> bool:
        return self in (Status.DOWN, Status.REFUSED)


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """One reading of one probe. `taken_at` is seconds since the epoch (UTC), `monotonic` the clock for ages."""

    probe: str
    status: Status
    data: T | None
    error: str = ""  # one sentence for the operator: what, where, what to do
    taken_at: float = field(default_factory=time.time)
    monotonic: float = field(default_factory=time.monotonic)
    again_at: float | None = None  # of time.monotonic(): when the source is read next, as the scheduler plans it


class Probe(Protocol[T]):
    """A source that is read again and again. `read` returns within its own deadline and never raises."""

    name: str
    interval: float  # seconds between the end of one reading and the start of the next
    deadline: float  # seconds after which the scheduler gives a reading up

    async def read(self) -> Sample[T]:
        """Take one sample."""

    async def close(self) -> None:
        """Release connections and processes."""
