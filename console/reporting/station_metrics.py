"""What the probes know of a station, as metrics: those of a check, and what only a watched station has.

What was not read, or could not be, is NaN or has no sample; it is never 0.
"""

import time
from collections.abc import Iterable

from console.diagnosis.model import DatabaseReport
from console.probes.contents import UnitState
from console.probes.headline import Alarm, Headline
from console.probes.sample import Status
from console.probes.state import StationState
from console.reporting.prometheus import Sample, exposition, gauge


def station_exposition(state: StationState, headline: Headline, ages: dict[str, float | None]) -> str:
    """Return the text of what is known now; `ages` are seconds since the newest evidence and guard copy."""
    report: DatabaseReport | None = state.tables.data
    read_at = state.tables.good.taken_at if state.tables.good is not None else None
    return "".join(
        (
            exposition(report, read_at) if report is not None else "",
            gauge(
                "station_alarm",
                "1 for how the whole station stands, 0 for the others.",
                (({"alarm": alarm.value}, headline.alarm is alarm) for alarm in Alarm),
            ),
            gauge("station_losing_data", "Whether what is received now is lost.", [({}, headline.losing)]),
            gauge(
                "source_up",
                "Whether a source answered; NaN where none is configured.",
                (({"source": name}, _answers(each.status)) for name, each in sorted(state.readings.items())),
            ),
            gauge("table_transactions_unapplied", "Transactions that are logged and not applied.", _behind(state)),
            gauge("service_up", "Whether a service runs and is not in a crash loop.", _units(state)),
            gauge("crashes", "Crash logs in the data root, by cause.", _crashes(state)),
            gauge("last_crash_timestamp_seconds", "When the server crashed last.", _last_crash(state)),
            gauge("stream_waiting", "Redis entries that are not acknowledged.", _streams(state, "waiting")),
            gauge("stream_seconds_to_loss", "Seconds until MAXLEN trims unread entries.",
                  _streams(state, "seconds_to_loss")),
            gauge("redis_seconds_to_full", "Seconds until Redis reaches its memory limit; +Inf where it does not fill.",
                  _to_full(state)),
            gauge(
                "age_seconds",
                "Seconds since the newest evidence was captured, since the guard's last round; NaN: never.",
                (({"of": name}, age) for name, age in ages.items()),
            ),
            gauge("watch_timestamp_seconds", "When these metrics were written.", [({}, round(time.time(), 3))]),
        )
    )  # fmt: skip


def _answers(status: Status) -> bool | None:
    return None if status is Status.UNKNOWN else not status.failed


def _behind(state: StationState) -> Iterable[Sample]:
    return (({"table": t.table}, t.behind) for t in state.wal.data.tables) if state.wal.data is not None else ()


def _units(state: StationState) -> Iterable[Sample]:
    for unit in state.services.data.units if state.services.data is not None else ():
        up = None if unit.state is UnitState.UNKNOWN else unit.state is UnitState.UP and not unit.loop
        yield {"service": unit.name, "role": unit.role}, up


def _crashes(state: StationState) -> Iterable[Sample]:
    if state.crashes.data is None:
        return ()
    return [({"cause": each.title}, each.count) for each in state.crashes.data.causes] or [({"cause": ""}, 0)]


def _last_crash(state: StationState) -> Iterable[Sample]:
    last = state.crashes.data.last_at if state.crashes.data is not None else None
    return [({}, last)] if last is not None else ()


def _streams(state: StationState, field: str) -> Iterable[Sample]:
    streams = state.backlog.data.streams if state.backlog.data is not None else ()
    return (({"stream": each.stream}, getattr(each, field)) for each in streams)


def _to_full(state: StationState) -> Iterable[Sample]:
    if state.backlog.data is None:
        return ()
    left = state.backlog.data.seconds_to_full
    return [({}, "+Inf" if left is None else round(left, 1))]
