"""Steps of thaw-writer: start the writer, see its first batch applied in every table, watch the backlog drain."""

import contextlib
import time
from dataclasses import dataclass, field

from console.recovery.model import Claim, Stage
from console.recovery.queue import Queue, Waiting
from console.recovery.server_sql import Server, SqlError, literal, quoted
from console.recovery.service_steps import control, units_named
from console.recovery.steps import RunContext, StepError, register
from console.text import clean_line, plural

_PAUSE = 0.5
_FIRST_BATCH = 60.0  # seconds until the first batch must be applied
_STALLED = 120.0  # seconds without the backlog getting smaller after which the drain is given up
_NEAR = 3.0  # the backlog counts as drained where it holds no more than these seconds of incoming entries
_FRESH = 15.0  # seconds that the newest row may be behind the newest entry of its stream


class StartWriter:
    """Start the writer. Reversed: stop it."""

    name = "start-writer"
    repeat = False

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Note where the tables stand, then start."""
        if run.recall("before") is None:
            run.remember(
                "before", {table: _sequencer_txn(Server(run.settings.questdb), table) for table in _tables(run)}
            )
        for unit in units_named(run, stage):
            run.progress(f"starting {unit.name}")
            control(run).start(unit.name)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Stop it again: the queue keeps what it would have sent."""
        for unit in units_named(run, stage):
            control(run).stop(unit.name)


@dataclass(slots=True)
class _Drain:
    """How the backlog moved since the watch began."""

    started: float = field(default_factory=time.monotonic)
    least: int | None = None
    least_at: float = field(default_factory=time.monotonic)
    first: int | None = None
    length_first: int = 0
    length_at: float = field(default_factory=time.monotonic)

    def note(self, waiting: tuple[Waiting, ...]) -> None:
        total, now = sum(each.total for each in waiting), time.monotonic()
        if self.first is None:
            self.first, self.length_first = total, sum(each.length for each in waiting)
        if self.least is None or total < self.least:
            self.least, self.least_at = total, now

    def rate(self, total: int) -> float:
        """Entries per second by which the backlog shrinks."""
        return ((self.first or 0) - total) / max(0.5, time.monotonic() - self.started)

    def incoming(self, waiting: tuple[Waiting, ...]) -> float:
        """Entries per second that come in, where the streams are not trimmed meanwhile."""
        grown = sum(each.length for each in waiting) - self.length_first
        return max(0.0, grown / max(0.5, time.monotonic() - self.length_at))


class WatchBacklog:
    """Watch until the backlog is drained and the tables are fresh. The first error ends it, and stops the writer."""

    name = "watch-backlog"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Raises StepError where the writer ends, a table is suspended, or nothing moves any more."""
        with contextlib.closing(Queue(run.settings.redis)) as queue:
            self._first_batches(stage, run, queue)
            drain = _Drain()
            while True:
                waiting = queue.waiting()
                drain.note(waiting)
                self._alive(stage, run)
                self._tables_well(run)
                total = sum(each.total for each in waiting)
                near = total <= max(10.0, _NEAR * drain.incoming(waiting))
                if near and all(_fresh(run, each) for each in waiting):
                    break
                rate = drain.rate(total)
                left = f", about {total / rate:.0f} s left" if rate > 0 else ""
                run.progress(
                    f"{plural(total, 'entry', 'entries')} wait, {rate:,.0f} fewer per second{left}", None, None
                )
                if time.monotonic() - drain.least_at > _STALLED:
                    raise StepError(
                        f"the backlog of {plural(total, 'entry', 'entries')} has not shrunk for {_STALLED:.0f} s"
                    )
                time.sleep(_PAUSE)
            for each in waiting:
                run.claims.append(
                    Claim(
                        f"{clean_line(each.stream)}: backlog drained", "near zero", f"{each.total:,} waiting", ok=True
                    )
                )

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing of its own to take back."""

    def _first_batches(self, stage: Stage, run: RunContext, queue: Queue) -> None:
        server = Server(run.settings.questdb)
        before: dict[str, int] = run.recall("before", {})
        missing = {each.table for each in queue.waiting() if each.table and each.total}
        deadline = time.monotonic() + _FIRST_BATCH
        while missing:
            self._alive(stage, run)
            self._tables_well(run)
            for table in sorted(missing):
                row = server.wal_table(table)
                # Applied, not only accepted: a suspended table accepts everything and shows nothing.
                if row is not None and int(row["writerTxn"]) > before.get(table, 0):
                    missing.discard(table)
                    claim = f"{clean_line(table)}: the writer's first batch is applied"
                    found = f"transaction {int(row['writerTxn']):,}"
                    run.claims.append(Claim(claim, f"beyond {before.get(table, 0):,}", found, ok=True))
            if missing and time.monotonic() > deadline:
                names = ", ".join(clean_line(table) for table in sorted(missing))
                raise StepError(f"no batch of the writer was applied to {names} within {_FIRST_BATCH:.0f} s")
            run.progress(f"waiting for the first batch in {plural(len(missing), 'table')}")
            time.sleep(_PAUSE if missing else 0)

    def _alive(self, stage: Stage, run: RunContext) -> None:
        for sample in control(run).states(units_named(run, stage)):
            if sample.stopped:
                raise StepError(f"{sample.name} ended ({sample.result or sample.state}); its log says why")

    def _tables_well(self, run: RunContext) -> None:
        server = Server(run.settings.questdb)
        for table in _tables(run):
            row = server.wal_table(table)
            if row is None or row["suspended"]:
                raise StepError(f"{clean_line(table)} is {'suspended' if row else 'no longer listed by the server'}")


def _tables(run: RunContext) -> list[str]:
    return sorted({stream.table for stream in run.settings.redis.streams if stream.table})


def _sequencer_txn(server: Server, table: str) -> int:
    row = server.wal_table(table)
    return int(row["sequencerTxn"]) if row is not None else 0


def _fresh(run: RunContext, waiting: Waiting) -> bool:
    """Return whether the newest row of the stream's table is about as new as the stream's newest entry."""
    if not waiting.table or waiting.newest is None:
        return waiting.total == 0
    server = Server(run.settings.questdb)
    try:
        named = literal(waiting.table)
        columns = server.rows(f'SELECT "column" FROM table_columns({named}) WHERE designated')  # noqa: S608 - quoted
        at = quoted(str(columns[0]["column"]))
        found = server.rows(f"SELECT cast(max({at}) AS long) AS newest FROM {quoted(waiting.table)}")[0]["newest"]  # noqa: S608
    except (SqlError, IndexError, KeyError):
        return False
    if found is None:
        return False
    per_second = 1_000_000_000 if found > 10**17 else 1_000_000
    return bool(waiting.newest - found / per_second < _FRESH)


register(StartWriter())
register(WatchBacklog())
