"""Steps of thaw-writer: start the writer, see its first batch applied in every table, watch the backlog drain."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from console.errors import WalmedicError
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.records import of_json
from console.recovery.actions.thaw_writer.duplicates import Doubles, counted
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage
from console.recovery.server.sql import Server, SqlError, literal, quoted
from console.recovery.steps import services
from console.recovery.steps.services import control, units_named
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.redis_queue.reader import Queue, Waiting
from console.text import clean_line, plural
from console.waiting import Standstill, looks

_PAUSE = 0.5
_FIRST_BATCH = 60.0  # seconds until the first batch must be applied
_STALLED = 120.0  # seconds without the backlog getting smaller after which the drain is given up
_HELD = 20.0  # seconds after which old entries that stay pending count as those of a consumer that is gone
_NEAR = 3.0  # the backlog counts as drained where it holds no more than these seconds of incoming entries
_FRESH = 15.0  # seconds that the newest row may be behind the newest entry of its stream


TWICE = "rows there twice before"
_BATCHES = "tables with a first batch"


class StartWriter(Step):
    """Start the writer. Reversed: stop it."""

    name = "start-writer"
    repeat = True  # after a power loss it is down

    def perform(self, stage: Stage, run: RunContext) -> None:
        if run.recall("waited") is None:
            with contextlib.closing(Queue(run.settings.redis)) as queue:
                run.remember("waited", {each.stream: [each.last_id, each.total] for each in queue.waiting()})
        if run.recall("before") is None:
            run.remember(
                "before", {table: _sequencer_txn(Server(run.settings.questdb), table) for table in _tables(run)}
            )
        if run.recall(TWICE) is None:
            stages = [each for each in run.plan.stages if each.step == CountDoubles.name]
            every = [of_json(Doubles, document) for each in stages for document in each.parameters["doubles"]]
            server = Server(run.settings.questdb)
            run.remember(TWICE, {each.stream: _counted(run, server, each) for each in every})
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
    held: Standstill = field(default_factory=Standstill)  # of old entries: a living consumer begins with its own

    def note(self, waiting: tuple[Waiting, ...]) -> None:
        total, now = sum(each.total for each in waiting), time.monotonic()
        if self.first is None:
            self.first, self.length_first = total, sum(each.length for each in waiting)
        if self.least is None or total < self.least:
            self.least, self.least_at = total, now

    def rate(self, total: int) -> float:
        return ((self.first or 0) - total) / max(0.5, time.monotonic() - self.started)

    def progress_text(self, total: int) -> str:
        """Return how many entries wait, how fast they become fewer or more, and how long that takes."""
        rate = self.rate(total)
        left = f", about {total / rate:.0f} s left" if rate > 0 else ""
        which = "more" if rate < 0 else "fewer"
        return f"{plural(total, 'entry', 'entries')} wait, {abs(rate):,.0f} {which} per second{left}"

    def incoming(self, waiting: tuple[Waiting, ...]) -> float:
        """Entries per second that come in, where the streams are not trimmed meanwhile."""
        grown = sum(each.length for each in waiting) - self.length_first
        return max(0.0, grown / max(0.5, time.monotonic() - self.length_at))


class WatchBacklog(CheckStep):
    """Watch until the backlog is drained and the tables are fresh. The first error ends it, and stops the writer."""

    name = "watch-backlog"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Raises StepError where the writer ends, a table is suspended, or nothing moves any more."""
        with contextlib.closing(Queue(run.settings.redis)) as queue:
            drain = _Drain()
            drain.note(queue.waiting())  # before the first batch: a fast writer is through before it is applied
            self._first_batches(stage, run, queue)
            drain.least_at = time.monotonic()  # that one was applied is a move
            while True:
                waiting = queue.waiting()
                drain.note(waiting)
                self._alive(stage, run)
                self._tables_well(run)
                total = sum(each.total for each in waiting)
                unread, held = self._left(run, queue)
                near = total - sum(held.values()) <= max(10.0, _NEAR * drain.incoming(waiting))
                taken = not any(held.values()) or drain.held.seconds(held) > _HELD
                run.progress(drain.progress_text(total), None, None)
                if near and not any(unread.values()) and taken and all(_fresh(run, each) for each in waiting):
                    break
                if time.monotonic() - drain.least_at > _STALLED:
                    raise StepError(
                        f"the backlog of {plural(total, 'entry', 'entries')} has not shrunk for {_STALLED:.0f} s"
                    )
                time.sleep(_PAUSE)
            run.claims.extend(self._proof(run, queue, waiting))

    def _proof(self, run: RunContext, queue: Queue, waiting: tuple[Waiting, ...]) -> Iterator[Claim]:
        """Yield what is claimed once the backlog is drained: measured anew, not what the loop above saw."""
        waited: dict[str, list[Any]] = run.recall("waited", {})
        before: dict[str, int] = run.recall("before", {})
        unread, held = self._left(run, queue)
        for table in run.recall(_BATCHES, []):
            row = Server(run.settings.questdb).wal_table(table)
            applied, name = int(row["writerTxn"]) if row is not None else 0, clean_line(table)
            claim, found = f"{name}: the writer's first batch is applied", f"transaction {applied:,}"
            earlier = before.get(table, 0)
            yield Claim(ClaimKey.FIRST_BATCH, claim, f"beyond {earlier:,}", found, applied > earlier, table=name)
        for each in waiting:
            name, table = clean_line(each.stream), clean_line(each.table) or None
            if each.stream in unread:
                claim = f"{name}: unread of the {waited[each.stream][1]:,} entries that waited at the start"
                left = unread[each.stream]
                yield Claim.same(ClaimKey.ACKNOWLEDGED, claim, 0, left, table)
            if count := held[each.stream]:
                progress_text = f"{count:,}, pending with a consumer that is gone: XAUTOCLAIM"
                claim = f"{name}: entries that waited at the start, not acknowledged"
                yield Claim.note(ClaimKey.PENDING, claim, progress_text, table=table)
            now = f"{each.lag:,} unread, {each.pending:,} pending"
            yield Claim.note(ClaimKey.DRAINED, f"{name}: what came just now", now, table=table)
            if (behind := _behind(run, each)) is not None:
                claim = f"{table}: seconds from its newest row to the newest entry"
                found = f"{max(0.0, behind):.1f}"
                yield Claim(ClaimKey.FRESH, claim, f"below {_FRESH:.0f}", found, behind < _FRESH, table=table)

    def _left(self, run: RunContext, queue: Queue) -> tuple[dict[str, int], dict[str, int]]:
        """Return by stream how many entries that waited at the start are unread still, and how many are pending."""
        waited: dict[str, list[Any]] = run.recall("waited", {})
        unread: dict[str, int] = {}
        held = dict.fromkeys((stream.name for stream in run.settings.redis.streams), 0)
        for stream in run.settings.redis.streams:
            if stream.name in waited:
                unread[stream.name], held[stream.name] = queue.unread_to(stream, str(waited[stream.name][0]))
        return unread, held

    def _first_batches(self, stage: Stage, run: RunContext, queue: Queue) -> None:
        server = Server(run.settings.questdb)
        before: dict[str, int] = run.recall("before", {})
        missing = {each.table for each in queue.waiting() if each.table and each.total}
        run.remember(_BATCHES, sorted({*missing, *run.recall(_BATCHES, [])}))
        for late in looks(_FIRST_BATCH, _PAUSE):
            self._alive(stage, run)
            self._tables_well(run)
            for table in sorted(missing):
                row = server.wal_table(table)
                # Applied, not only accepted: a suspended table accepts everything and shows nothing.
                if row is not None and int(row["writerTxn"]) > before.get(table, 0):
                    missing.discard(table)
            if not missing:
                return
            if late:
                names = ", ".join(clean_line(table) for table in sorted(missing))
                raise StepError(f"no batch of the writer was applied to {names} within {_FIRST_BATCH:.0f} s")
            run.progress(f"waiting for the first batch in {plural(len(missing), 'table')}")

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


class CountDoubles(CheckStep):
    """Count the rows that came twice; what was there twice before does not count."""

    name = "count-doubles"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Add a claim for each table. A count that takes too long is no error of the thaw."""
        server = Server(run.settings.questdb)
        before: dict[str, int | None] = run.recall(TWICE, {})
        for document in stage.parameters["doubles"]:
            doubles = of_json(Doubles, document)
            run.progress(f"counting rows of {clean_line(doubles.table)} that came twice")
            now, then = _counted(run, server, doubles), before.get(doubles.stream)
            found = "not counted" if now is None or then is None else f"{max(0, now - then):,}"
            name = clean_line(doubles.table)
            progress_text = f"{found} (at most {doubles.most:,} from what was pending)"
            run.claims.append(
                Claim.note(ClaimKey.DUPLICATES, f"{name}: rows that came twice", progress_text, table=name)
            )


def _counted(run: RunContext, server: Server, doubles: Doubles) -> int | None:
    try:
        table = run.database.table(doubles.table)
        metadata = read_table_metadata(table.path)
        return counted(server, metadata, table.raw_name, doubles) if isinstance(metadata, TableMetadata) else None
    except WalmedicError:
        return None


def _fresh(run: RunContext, waiting: Waiting) -> bool:
    """Return whether the newest row of the stream's table is about as new as the stream's newest entry."""
    behind = _behind(run, waiting)
    return waiting.total == 0 if not waiting.table or waiting.newest is None else behind is not None and behind < _FRESH


def _behind(run: RunContext, waiting: Waiting) -> float | None:
    """Return by how many seconds the newest row is behind the newest entry, None where that is not known."""
    if not waiting.table or waiting.newest is None:
        return None
    server = Server(run.settings.questdb)
    try:
        named = literal(waiting.table)
        columns = server.rows(f'SELECT "column" FROM table_columns({named}) WHERE designated')  # noqa: S608 - quoted
        at = quoted(str(columns[0]["column"]))
        found = server.rows(f"SELECT cast(max({at}) AS long) AS newest FROM {quoted(waiting.table)}")[0]["newest"]  # noqa: S608
    except (SqlError, IndexError, KeyError):
        return None
    if found is None:
        return None
    per_second = 1_000_000_000 if found > 10**17 else 1_000_000
    return waiting.newest - float(found) / per_second


STEPS: tuple[Step, ...] = (*services.STEPS, StartWriter(), WatchBacklog(), CountDoubles())
