"""What happened at a moment, and many moments of the same kind joined into one."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from console.records import LEFT_OUT

_GAP = 900.0  # seconds between two of a kind that still belong together


class Kind(enum.StrEnum):
    """Where an event is known from."""

    CRASH = "crash"
    SERVICE = "service"
    FINDING = "finding"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, or `count` alike from `at` to `until`; times in epoch seconds.

    `what` is one clause; `detail` adds what is worth knowing of it. `sure` is False where the time is only a file's,
    which a copy or a later change may have moved; `latest` says that it was then or before. `outcome` is the word for
    how an action ended, empty for what is none.
    """

    at: float
    kind: Kind
    what: str
    detail: str = ""
    until: float | None = None
    count: int = 1
    sure: bool = True
    latest: bool = field(default=False, metadata=LEFT_OUT)
    outcome: str = field(default="", metadata=LEFT_OUT)

    @property
    def last(self) -> float:
        return self.at if self.until is None else self.until


def folded(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the events in time order, those of a loop as one each; an action or a finding ends what it came into."""
    folded_events: list[Event] = []
    running: dict[tuple[Kind, str], int] = {}
    for event in sorted(events, key=lambda e: (e.at, e.kind is not Kind.CRASH)):
        if event.kind in (Kind.ACTION, Kind.FINDING):
            running.clear()
            folded_events.append(event)
            continue
        key = (event.kind, event.what)
        before = running.get(key)
        if before is not None and event.at - folded_events[before].last <= _GAP:
            known = folded_events[before]
            detail = known.detail if known.detail == event.detail else ""
            folded_events[before] = replace(known, until=event.last, count=known.count + event.count, detail=detail)
            continue
        running[key] = len(folded_events)
        folded_events.append(event)
    return tuple(folded_events)
