"""Where the data stands still on its way from the feeds to the database, and what that will cost. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from console.diagnosis.model import Code, DatabaseReport, TableReport
from console.probes.contents import BacklogSample, StreamSample, UnitSample, UnitState
from console.probes.sample import Status
from console.probes.state import StationState
from console.settings import Role, Settings
from console.text import plural

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.next_steps.way import Way

AHEAD = 600.0  # seconds that the outlook looks ahead
_RAISE = "Raise the feeds' MAXLEN first."
_THAW = "Take the next step now: thaw-writer drains the backlog."
_BAD_STATES = (UnitState.FAILED, UnitState.DOWN, UnitState.STOPPING)


class HopState(enum.StrEnum):
    """How one hop does: `OK`, `SLOW` (falls behind), `STUCK` (lives, moves nothing), `DOWN`, `UNKNOWN`."""

    OK = "ok"
    SLOW = "slow"
    STUCK = "stuck"
    DOWN = "down"
    UNKNOWN = "unknown"


class ByHand(enum.StrEnum):
    """What a person has to do first, since no action of walmedic does it: `MAXLEN` and `MEMORY` are to be raised."""

    MAXLEN = "maxlen"
    MEMORY = "memory"
    REDIS = "redis"
    FEEDS = "feeds"


@dataclass(frozen=True, slots=True)
class Hop:
    """One station on the way; `detail` is a few words, empty where all is well."""

    role: Role
    name: str
    state: HopState
    detail: str = ""

    @property
    def bad(self) -> bool:
        return self.state in (HopState.STUCK, HopState.DOWN)


@dataclass(frozen=True, slots=True)
class Flow:
    """The verdict: four hops, the one where it is stuck, and the outlook in one sentence.

    `since` is epoch seconds; `waiting` counts entries not yet acknowledged, all streams together (None: unknown);
    `lost_soon` estimates the entries that the next ten minutes cost if nothing is done (None: not known).
    `by_hand` comes before every step of the recovery: without it entries are lost, now or within ten minutes.
    """

    hops: tuple[Hop, ...]
    stuck_at: Hop | None
    since: float | None
    waiting: int | None
    losing: bool
    lost_soon: int | None
    outlook: str
    names_loss: bool = False  # the outlook names what is lost soon
    rate_in: float | None = None  # entries a second that the feeds add, all streams together
    rate_out: float | None = None  # entries a second that the writer acknowledges
    by_hand: ByHand | None = None
    held: frozenset[str] = frozenset()  # roles that a step of the way has stopped, and a later one starts again


def flow(state: StationState, settings: Settings, now: float, way: Way | None = None) -> Flow:
    """Return the verdict on the samples in `state` at `now` (epoch seconds), for a station that is on `way`."""
    units = state.services.data.units if state.services.data else ()
    backlog = state.backlog.data
    database = _database(state, settings)
    hops = (
        _feed(units, backlog, counted=bool(settings.redis.streams)),
        _queue(state),
        _writer(units, backlog, database, now, counted=bool(settings.redis.streams)),
        database,
    )
    stuck = next((hop for hop in reversed(hops) if hop.bad), None)
    if stuck is None:
        stuck = next((hop for hop in reversed(hops) if hop.state is HopState.SLOW), None)
    ahead = _thawing(_outlook(state, settings, hops), way)
    return Flow(
        hops,
        stuck,
        _since(state, stuck),
        _waiting(backlog),
        ahead.losing,
        ahead.lost_soon,
        ahead.message,
        ahead.names_loss,
        _together([stream.rate_in for stream in backlog.streams] if backlog else []),
        _together([stream.rate_out for stream in backlog.streams] if backlog else []),
        ahead.by_hand,
    )


def _together(rates: list[float | None]) -> float | None:
    """Return the sum of rates; None if there are none, or one is not known."""
    return None if not rates or None in rates else sum(rate or 0.0 for rate in rates)


def _of_role(units: Iterable[UnitSample], role: Role) -> list[UnitSample]:
    return [unit for unit in units if unit.role == role.value]


def _feed(units: Iterable[UnitSample], backlog: BacklogSample | None, *, counted: bool) -> Hop:
    """Return the first hop. Where the streams are `counted`, a unit that is up is no proof: its entries are."""
    feeds = _of_role(units, Role.FEED)
    name = "feeds" if len(feeds) != 1 else feeds[0].name
    down = [unit for unit in feeds if unit.state in _BAD_STATES]
    if feeds and len(down) == len(feeds):
        return Hop(Role.FEED, name, HopState.DOWN, "" if len(feeds) == 1 else "all down")
    if down:
        return Hop(Role.FEED, name, HopState.SLOW, f"{', '.join(unit.name for unit in down)} down")
    rates = [stream.rate_in for stream in backlog.streams if stream.rate_in is not None] if backlog else []
    if rates and not any(rates):
        return Hop(Role.FEED, name, HopState.STUCK if feeds else HopState.UNKNOWN, "nothing comes in")
    if not rates and (counted or not feeds):
        return Hop(Role.FEED, name, HopState.UNKNOWN)
    return Hop(Role.FEED, name, HopState.OK)


def _queue(state: StationState) -> Hop:
    reading = state.backlog
    if reading.status is Status.DOWN:
        return Hop(Role.QUEUE, "redis", HopState.DOWN)
    if reading.latest is None or reading.status in (Status.REFUSED, Status.UNKNOWN):
        return Hop(Role.QUEUE, "redis", HopState.UNKNOWN)
    backlog = reading.latest.data
    if backlog is None:
        return Hop(Role.QUEUE, "redis", HopState.STUCK, "loading")
    if any(stream.losing for stream in backlog.streams):
        return Hop(Role.QUEUE, "redis", HopState.STUCK, "LOSES unread entries")
    if _full(backlog):
        return Hop(Role.QUEUE, "redis", HopState.STUCK, "memory full")
    return Hop(Role.QUEUE, "redis", HopState.OK)


def _writer(
    units: Iterable[UnitSample], backlog: BacklogSample | None, database: Hop, now: float, *, counted: bool
) -> Hop:
    """Return the hop of the writer: what its unit says, else whether it acknowledges what waits."""
    writers = _of_role(units, Role.WRITER)
    name = writers[0].name if len(writers) == 1 else "writer"
    down = next((unit for unit in writers if unit.state in _BAD_STATES), None)
    if down is not None:
        how = f"{down.state}, {down.result}" if down.result else str(down.state)
        return Hop(Role.WRITER, name, HopState.DOWN, how)
    looping = next((unit for unit in writers if unit.loop), None)
    if looping is not None:
        return Hop(Role.WRITER, name, HopState.STUCK, f"crash loop{_result(looping)}")
    streams = [stream for stream in backlog.streams if not stream.error] if backlog else []
    waiting = [stream for stream in streams if stream.waiting]
    if behind := _behind(waiting, database, now):
        return Hop(Role.WRITER, name, *behind)
    unwatched = any(stream.rate_out is None for stream in waiting)
    unseen = not streams and (counted or not writers)
    return Hop(Role.WRITER, name, HopState.UNKNOWN if unwatched or unseen else HopState.OK)


def _behind(waiting: list[StreamSample], database: Hop, now: float) -> tuple[HopState, str] | None:
    """Return how the writer of streams with entries that wait falls behind, None if it does not."""
    if waiting and all(stream.rate_out is not None and stream.rate_out < 0.05 for stream in waiting):
        cause = f": {database.name} does not take its writes" if database.bad else ""
        return HopState.STUCK, f"acknowledges nothing{_for(waiting, now)}{cause}"
    if not any(_growth(stream) > 0.5 and (stream.waiting or 0) > 1_000 for stream in waiting):
        return None
    if database.state is HopState.DOWN:  # what it acknowledged a moment ago was before that
        return HopState.STUCK, f"falls behind: {database.name} is down"
    return HopState.SLOW, "falls behind"


def _result(unit: UnitSample) -> str:
    return f" ({unit.result})" if unit.result else ""


def _for(streams: list[StreamSample], now: float) -> str:
    held = [stream.held_since for stream in streams if stream.held_since is not None]
    return f" for {_span(now - min(held))}" if held and now - min(held) >= 5 else ""


def _database(state: StationState, settings: Settings) -> Hop:
    """Return the last hop: what the server says, and what the disk says of the tables that the streams end in."""
    name = "questdb"
    units = state.services.data.units if state.services.data else ()
    unit = next(iter(_of_role(units, Role.DATABASE)), None)
    if unit is not None:
        name = unit.name
    if state.server.status is Status.DOWN:
        looping = unit is not None and (unit.loop or unit.state is UnitState.STARTING)
        return Hop(Role.DATABASE, name, HopState.DOWN, "does not stay up" if looping else "")
    refusing = [table.table for table in _targets(state.tables.data, settings) if table.can_write is False]
    if refusing:
        return Hop(Role.DATABASE, name, HopState.STUCK, f"reads only, no writes into {', '.join(refusing)}")
    if silent := _silent(state, settings):
        return Hop(Role.DATABASE, name, HopState.STUCK, f"acknowledges and does not apply: {', '.join(silent)}")
    unread = bool(settings.questdb.db_root) and state.tables.data is None
    if unread or state.server.latest is None or state.server.status in (Status.REFUSED, Status.UNKNOWN):
        return Hop(Role.DATABASE, name, HopState.UNKNOWN)
    return Hop(Role.DATABASE, name, HopState.OK)


def _targets(report: DatabaseReport | None, settings: Settings) -> list[TableReport]:
    """Return the tables that the streams end in, all where the settings do not say."""
    if report is None:
        return []
    wanted = {stream.table for stream in settings.redis.streams if stream.table}
    return [table for table in report.tables if not wanted or table.table in wanted]


def _silent(state: StationState, settings: Settings) -> list[str]:
    """Return the tables whose writes a running server acknowledges and does not apply."""
    if state.server.status is Status.DOWN:
        return []
    signs = (Code.TABLE_SUSPENDED, Code.LOG_MAX_TXN_BELOW_APPLIED, Code.LOG_HEADER_ZEROED)
    return [table.table for table in _targets(state.tables.data, settings) if table.has(*signs)]


def _full(backlog: BacklogSample) -> bool:
    return bool(backlog.memory_limit) and backlog.memory_used >= backlog.memory_limit


def _waiting(backlog: BacklogSample | None) -> int | None:
    if backlog is None or not backlog.streams:
        return None
    counts = [stream.waiting if stream.lag_known else None for stream in backlog.streams]
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def _growth(stream: StreamSample) -> float:
    return (stream.rate_in or 0.0) - (stream.rate_out or 0.0)


def _since(state: StationState, stuck: Hop | None) -> float | None:
    """Return since when it is stuck, as far back as the samples prove: a source down, or the oldest entry held."""
    if stuck is None:
        return None
    proofs = [state.server.down_since, state.backlog.down_since]
    if stuck.role is Role.QUEUE:
        return state.backlog.down_since
    backlog = state.backlog.data
    if backlog and stuck.role in (Role.WRITER, Role.DATABASE):
        proofs += [stream.held_since for stream in backlog.streams]
    return min((proof for proof in proofs if proof is not None), default=None)


class _Outlook(NamedTuple):
    """Whether something is lost now, entries lost in ten minutes, the sentence, and whether that names them."""

    losing: bool
    lost_soon: int | None
    message: str
    names_loss: bool = False
    by_hand: ByHand | None = None


def _outlook(state: StationState, settings: Settings, hops: tuple[Hop, ...]) -> _Outlook:
    feed, queue, _, _ = hops
    backlog = state.backlog.data
    rate_in = sum(stream.rate_in or 0.0 for stream in backlog.streams) if backlog else 0.0
    soon = round(rate_in * AHEAD)
    if _silent(state, settings):
        return _Outlook(
            True, soon, "Rows are acknowledged now and never applied: stop the writer, keep the feeds running."
        )
    if feed.state is HopState.DOWN:
        missed = "Nothing is collected while the feeds are down: market data is being missed. Start the feeds first."
        return _Outlook(True, None, missed, by_hand=ByHand.FEEDS)
    if queue.state is HopState.DOWN:
        return _Outlook(
            True,
            soon or None,
            "Redis is down: what the feeds receive now goes nowhere. Bring Redis back first.",
            by_hand=ByHand.REDIS,
        )
    if backlog is None:
        return _Outlook(False, None, f"Waiting entries unknown: {state.backlog.error or 'Redis was not read yet'}.")
    losing = [stream for stream in backlog.streams if stream.losing]
    if losing:
        names = ", ".join(stream.stream for stream in losing)
        lost = round(sum(max(0.0, _growth(stream)) for stream in losing) * AHEAD)
        gone = f"{_lost(losing):,} LOST" if _lost(losing) else "being LOST now"
        message = f"MAXLEN trims unread entries of {names}: {gone}, {lost:,} more in ten minutes."
        return _Outlook(True, lost, f"{message} {_RAISE}", names_loss=True, by_hand=ByHand.MAXLEN)
    if _full(backlog):
        return _Outlook(
            True,
            soon,
            "Redis is full: what the feeds add is refused. Raise maxmemory first (CONFIG SET maxmemory).",
            by_hand=ByHand.MEMORY,
        )
    if settings.questdb.db_root and state.tables.data is None:
        return _Outlook(False, None, "Not known yet whether rows are being lost: the tables are being read.")
    return _ahead(backlog, rate_in)


def _thawing(found: _Outlook, way: Way | None) -> _Outlook:
    """Return it without what a person would do first where the next step of the way does it: a writer drains it."""
    step = way.next if way is not None else None
    if found.by_hand is not ByHand.MAXLEN or step is None or step.action != "thaw-writer":
        return found
    return found._replace(message=found.message.replace(_RAISE, _THAW), by_hand=None)


def _ahead(backlog: BacklogSample, rate_in: float) -> _Outlook:
    """Return what the next ten minutes cost where nothing is lost yet."""
    trims = [stream for stream in backlog.streams if (stream.seconds_to_loss or AHEAD) < AHEAD]
    lost = sum((AHEAD - (stream.seconds_to_loss or 0.0)) * _growth(stream) for stream in trims)
    if trims:
        first = min(trims, key=lambda stream: stream.seconds_to_loss or 0.0)
        when = _span(first.seconds_to_loss or 0.0)
        message = f"In {when} MAXLEN begins to remove unread entries of {first.stream}. {_RAISE}"
        return _Outlook(False, round(lost), message, by_hand=ByHand.MAXLEN)
    full = backlog.seconds_to_full
    if full is not None and full < AHEAD:
        cost = round((AHEAD - full) * rate_in)
        evicts = backlog.policy not in ("", "noeviction")
        what = "whole streams may be evicted" if evicts else "the feeds are refused"
        message = f"In {_span(full)} Redis is full and {what}. Raise maxmemory first (CONFIG SET maxmemory)."
        return _Outlook(False, cost, message, by_hand=ByHand.MEMORY)
    if any(not stream.lag_known and not stream.error for stream in backlog.streams):
        return _Outlook(False, None, "No loss is known; the waiting entries are still being counted.")
    waiting = _waiting(backlog) or 0
    gone = _lost(backlog.streams)
    before = f" Before that {plural(gone, 'entry was', 'entries were')} trimmed unread: LOST." if gone else ""
    if waiting:
        held = f"{plural(waiting, 'entry', 'entries')} {'is' if waiting == 1 else 'are'} safe in Redis"
        return _Outlook(False, 0, f"Nothing is being lost: {held}.{before}")
    return _Outlook(False, 0, f"Nothing is being lost: no entries are waiting.{before}")


def _lost(streams: Iterable[StreamSample]) -> int:
    """Return how many entries were trimmed before the writer read or acknowledged them, as far as Redis tells."""
    return sum((stream.lost or 0) + stream.lost_pending for stream in streams)


def _span(seconds: float) -> str:
    """Return e.g. `40 s`, `4 min`, `3 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.0f} h"
