"""The whole story as text: what is wrong, each step with its plan and its proof, what is right again.

It drives the same engine as the console and the command line, types the phrases that an operator would type, and then
asks server and queue itself whether everything came back.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis

from console.diagnosis.crashes.groups import examine
from console.diagnosis.crashes.places import crash_logs_of
from console.diagnosis.model import Verdict
from console.recovery.codes import StageState
from console.recovery.engine import Engine
from console.recovery.gate.context import DiskReports
from console.recovery.model import Claim, Outcome, Plan, Progress
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.redis_queue.client import connect
from console.redis_queue.lag import order_of
from console.redis_queue.reader import Queue
from console.settings import RedisSettings, Stream
from console.station import answers
from console.station.build import Station, TableFacts
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, STREAMS, TRADES, Layout
from console.station.power_loss import TORN_COLUMN
from console.station.scenario import Scenario
from console.station.tables import POWER_LOSS, UNAPPLIED_FROM
from console.text import clean_line, plural
from console.waiting import wait_until


def oldest_waiting(layout: Layout) -> float:
    """Return the age in seconds of the oldest entry that QuestDB has not accepted yet, 0 where there is none.

    It needs neither the group's `lag` (unknown to Redis before 7) nor a walk through the stream: entry ids are times.
    Raises redis.RedisError.
    """
    client = connect(RedisSettings(port=layout.redis_port), 5)
    waiting = [entry for stream in STREAMS for entry in _first_waiting(client, stream)]
    return max(0.0, time.time() - min(waiting) / 1000) if waiting else 0.0


def waiting_entries(layout: Layout) -> int:
    """Return how many entries of both streams are not acknowledged. Raises QueueError."""
    with closing(Queue(RedisSettings(port=layout.redis_port, streams=STREAMS))) as queue:
        return sum(each.total for each in queue.waiting())


def _first_waiting(client: redis.Redis, stream: Stream) -> list[int]:
    """Return the times (milliseconds) of the oldest pending and the first undelivered entry."""
    found: Any = client.xpending(stream.name, stream.group)
    ids = [found["min"]] if found["pending"] else []
    ids += _after(client, stream, _group(client, stream), 1)
    return [order_of(each)[0] for each in ids]


def _after(client: redis.Redis, stream: Stream, group: Any, count: int) -> list[str]:
    """Return the ids of the first `count` entries that were not delivered to the group yet."""
    entries: Any = client.xrange(stream.name, min="(" + group["last-delivered-id"], count=count)
    return [entry for entry, _ in entries]


def _group(client: redis.Redis, stream: Stream) -> Any:
    groups: Any = client.xinfo_groups(stream.name)
    return next(group for group in groups if group["name"] == stream.group)


_BEFORE: tuple[tuple[str, str | None], ...] = (
    ("freeze-writer", None), ("stop-server", None), ("capture-evidence", None),
)  # fmt: skip
_AFTER: tuple[tuple[str, str | None], ...] = (("start-server", None), ("thaw-writer", None))
_OWN_FILES: tuple[tuple[str, str | None], ...] = (
    ("repair-table-state", TRADES), ("repair-partition", TRADES), ("repair-symbols", TRADES),
    ("repair-metadata", ORDERBOOK), ("repair-partition", ORDERBOOK), ("repair-log", ORDERBOOK),
)  # fmt: skip
# The order book is made again from its WAL alone, the trades from the responder's backup: both ways are shown.
_REPAIRS: dict[Scenario, tuple[tuple[str, str | None], ...]] = {
    Scenario.HEALTHY: (),
    Scenario.CRASH_LOOP: (("repair-log", ORDERBOOK),),
    Scenario.LOG_REMOVED: (("rebuild-sequencer", ORDERBOOK), ("restore-sequencer", TRADES)),
    Scenario.INCIDENT: (("rebuild-sequencer", ORDERBOOK), ("restore-sequencer", TRADES)),
    Scenario.POWER_LOSS: _OWN_FILES,
}
_DRAINED_WITHIN = 120.0  # seconds
_FRESH = 5.0  # seconds: what waits no longer than this is the market of this moment
_Announced = Counter[tuple[str | None, str]]
"""Rows and values that the plans named as lost, by table and kind."""


def play(built: Station, say: Say) -> bool:
    """Recover the station step by step; return whether every row came back and both tables take writes again.

    Rows and values that the scenario destroyed must be lost as the plans announced it, to the row.
    """
    announced = _Announced()
    engine = Engine(built.settings())
    _crashes(engine, say)
    _verdicts(engine, "before", say)
    _rows(built, "before", say)
    steps = (*_BEFORE, *_REPAIRS[built.scenario], *_AFTER) if _REPAIRS[built.scenario] else ()
    for number, (action, table) in enumerate(steps, 1):
        say(f"--- step {number} of {len(steps)}: {action} {table or ''}".rstrip())
        if not _step(engine, action, table, announced, say):
            say("the recovery stops here; nothing more is done")
            return False
    healthy = _verdicts(engine, "after", say)
    try:
        return _proof(built, announced, say) and healthy
    except psycopg.Error as error:
        say(f"    the server does not answer: {clean_line(str(error))}")
        return False


def _step(engine: Engine, action: str, table: str | None, announced: _Announced, say: Say) -> bool:
    plan = engine.plan(action, table)
    _show(plan, say)
    if plan.refused:
        return False
    if table is not None and not _rehearsal(engine, action, table, say):
        return False
    result = engine.run(plan, plan.confirmation, lambda progress: _progress(progress, say))
    _claims(result.verification, say)
    say(f"    {result.outcome}: {result.message}")
    announced[table, "rows"] += plan.rows_lost.value or 0
    announced[table, "values"] += sum(lost.count or 0 for lost in plan.values_lost)
    return result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED)


def _rehearsal(engine: Engine, action: str, table: str, say: Say) -> bool:
    """Carry the plan out on a clone first; return whether that went well."""
    ended = rehearse(engine, action, table)
    say(f"    rehearsal: {ended.message} ({ended.seconds:.1f} s)")
    _claims([claim for claim in ended.verification if not claim.ok], say)
    return ended.outcome in (RehearsalOutcome.PASSED, RehearsalOutcome.NOT_NEEDED)


def _claims(claims: Iterable[Claim], say: Say) -> None:
    for claim in claims:
        answer = claim.expected if claim.ok else f"expected {claim.expected}, found {claim.found}"
        word = "noted" if claim.noted else "passed" if claim.ok else "FAILED"
        say(f"    {word}: {claim.claim}: {claim.found if claim.noted else answer}")


def _show(plan: Plan, say: Say) -> None:
    say(f"    {plan.why}")
    for refusal in plan.refused:
        say(f"    refused: {refusal.reason}; instead: {refusal.instead}")
    for stage in plan.stages:
        changes = f" ({len(stage.changes)} changes)" if len(stage.changes) > 1 else ""
        say(f"    plan: {stage.title}{changes}")
    if plan.table is not None:
        twice = f", possible duplicates {plan.rows_maybe_twice:,}" if plan.rows_maybe_twice else ""
        say(f"    rows: lost {plan.rows_lost.phrase}, recovered {plan.rows_back:,}{twice}; undo: {plan.undo}")
        for lost in plan.values_lost:
            say(f"    values: lost {lost.count or 'unknown'}, column {lost.column}, partition {lost.partition}")
    if plan.needed and not plan.refused:
        say(f"    typed: {plan.confirmation}")


def _progress(progress: Progress, say: Say) -> None:
    if progress.state in (StageState.DONE, StageState.FAILED):
        say(f"    {progress.state}: {progress.title}{': ' + progress.message if progress.message else ''}")


def _crashes(engine: Engine, say: Say) -> None:
    for group in examine(crash_logs_of(engine.database), engine.database).groups:
        say(f"before: {plural(group.count, 'crash', 'crashes')}, {group.title}: {group.explanation}")


def _verdicts(engine: Engine, when: str, say: Say) -> bool:
    """Say one line for each table; return whether both are healthy."""
    reports = DiskReports(engine.database)
    verdicts = []
    for table in (TRADES, ORDERBOOK):
        report = reports.of_table(engine.database.table(table).directory)
        if report is None:
            say(f"{when}: {table}: no diagnosis could be made")
            verdicts.append(Verdict.UNKNOWN)
            continue
        read, write = (_word(can) for can in (report.can_read, report.can_write))
        at_risk = "unknown" if report.rows_at_risk is None else f"{report.rows_at_risk:,}"
        say(
            f"{when}: {table}: {report.verdict}, reads {read}, writes {write}, rows at risk {at_risk}, "
            f"next: {report.next_step.action or 'nothing'} ({report.next_step.reason})"
        )
        verdicts.append(report.verdict)
    return all(verdict is Verdict.HEALTHY for verdict in verdicts)


def _word(can: bool | None) -> str:
    return "unknown" if can is None else "yes" if can else "no"


def _rows(built: Station, when: str, say: Say) -> None:
    for table in (TRADES, ORDERBOOK):
        try:
            answer = f"{answers.row_count(built.layout, table):,} rows"
        except psycopg.Error:
            answer = "the server does not answer"
        say(f"{when}: {table}: {answer}")
    say(f"{when}: {waiting_entries(built.layout):,} events wait in Redis")


def _proof(built: Station, announced: _Announced, say: Say) -> bool:
    """Ask server and queue, not the engine: the rows of before the power loss, the drained queue, new rows in both."""
    say("--- proof")
    good = True
    for facts in built.tables:
        expected = facts.rows_applied + facts.rows_unapplied
        found = answers.rows_between(built.layout, facts.table, 0, POWER_LOSS)
        good &= found == expected - facts.rows_lost
        say(f"    {facts.table}: {found:,} of {expected:,} rows until the power loss")
        good &= _lost_as_announced(built, facts, announced, expected - found, say)
        if facts.rows_unapplied:
            found = answers.rows_between(built.layout, facts.table, UNAPPLIED_FROM, POWER_LOSS)
            good &= found == facts.rows_unapplied
            since = datetime.fromtimestamp(UNAPPLIED_FROM / 1e6, UTC)
            say(f"    {facts.table}: {found:,} of {facts.rows_unapplied:,} rows of {since:%H:%M} UTC, called lost")
    drained = _wait_for_drain(built)
    say(f"    the backlog is {'drained' if drained else 'NOT drained'}")
    for table, column in ((TRADES, "trade_id"), (ORDERBOOK, "update_id")):
        rows, missing, twice = answers.continuity(built.layout, table, column, POWER_LOSS)
        good &= missing == 0
        say(f"    {table}: {rows:,} rows since the power loss, {missing:,} missing, {twice:,} twice")
    for table in (TRADES, ORDERBOOK):
        before = answers.row_count(built.layout, table)
        takes = _grows(built, table, before)
        good &= takes
        rows = answers.row_count(built.layout, table)
        say(f"    {table} {'takes' if takes else 'does NOT take'} writes: {rows:,} rows")
    return good and drained


def _lost_as_announced(built: Station, facts: TableFacts, announced: _Announced, rows: int, say: Say) -> bool:
    """Say what is lost beside what the plans announced; return whether it is that, and what was destroyed."""
    values = answers.empty_values(built.layout, TRADES, TORN_COLUMN, POWER_LOSS) if facts.table == TRADES else 0
    good = True
    for kind, lost, destroyed in (("rows", rows, facts.rows_lost), ("values", values, facts.values_lost)):
        told = announced[facts.table, kind]
        good &= lost == told == destroyed
        if lost or told or destroyed:
            say(f"    {facts.table}: {lost:,} {kind} lost, {told:,} announced, {destroyed:,} destroyed")
    return good


def _wait_for_drain(built: Station) -> bool:
    def drained() -> bool:
        with contextlib.suppress(redis.RedisError):
            return oldest_waiting(built.layout) < _FRESH
        return False

    return wait_until(drained, _DRAINED_WITHIN, 0.2)


def _grows(built: Station, table: str, before: int) -> bool:
    return wait_until(lambda: answers.row_count(built.layout, table) > before, 60)
