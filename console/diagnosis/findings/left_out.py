"""What a repair left out on purpose, as its plan announced, of log or table: a note afterwards, no new damage."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from console.diagnosis.model import Code, Finding, Harm, Severity, TableHistory
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.table_facts import TableFacts
from console.questdb.segment import EventType
from console.table.inventory import Mask, segment_key

_CODES: Final = (
    Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE, Code.IN_TABLE_BACKUP_AT_RISK, Code.SEGMENT_EVENT_TRUNCATED,
)  # fmt: skip
_AS_PLANNED: Final = (
    "; the repair skipped this, as its plan announced: salvage-wal --rows all exports its undamaged part"
)

_NOT_IN_TABLE: Final = (Code.TABLE_TXN_MISCOUNTED, Code.TRANSACTIONS_SKIPPED)
_SETTLED: Final = "; salvage-wal has written these rows as files, or resume-wal announced that they are lost"
_GIVEN_UP: Final = "; a repair of partitions has given up rows: salvage-wal --rows all exports those that the WAL has"


def without_left_out(
    facts: TableFacts, findings: Sequence[Finding], clock: PurgeClock, history: TableHistory, absent: Mask
) -> tuple[tuple[Finding, ...], PurgeClock]:
    """Return the findings and the purge clock without what the last repair decided and nothing has changed since.

    A WAL segment that was last written before the repair was seen by it: a server that starts afterwards writes into
    new ones. Where the log itself has damage again, nothing is passed over. What repair-partition gave up may be in the
    WAL still, and so may be what was skipped: `absent` transactions count as applied and are not in the table.
    """
    if absent.any() and _written_before(facts, absent, history.gave_up_at):
        findings = [_known(each, _GIVEN_UP) for each in findings]
    elif absent.any() and _settled(facts, history, absent):
        findings = [_known(each, _SETTLED) for each in findings]
    if history.repaired_at is None or any(_grave(each) and each.code not in _CODES for each in findings):
        return tuple(findings), clock
    codes = _CODES if history.left_out else (Code.IN_TABLE_BACKUP_AT_RISK,)
    counted = (each for each in findings if each.code in codes and (_grave(each) or each.rows))
    old = [each for each in counted if _before(facts, each, clock, history.repaired_at)]
    if not old:
        return tuple(findings), clock
    kept = tuple(
        replace(each, severity=Severity.NOTE, message=f"{each.message}{_AS_PLANNED}", rows=None)
        if each in old
        else each
        for each in findings
    )
    purged = any(each.code is Code.WAL_AT_RISK_OF_PURGE for each in old)
    return kept, PurgeClock("what the repair skipped is reported") if purged else clock


def _known(finding: Finding, why: str) -> Finding:
    if finding.code not in _NOT_IN_TABLE or finding.severity is not Severity.RISK:
        return finding
    message = f"{finding.message}{why}"
    return replace(finding, severity=Severity.NOTE, message=message, start=Harm.NONE, rows=None)


def _settled(facts: TableFacts, history: TableHistory, absent: Mask) -> bool:
    """Return whether the journal settles all `absent` transactions, each run of which has the rows that it says."""
    events, left = facts.inventory.events, absent.copy()
    for run in history.settled():
        mine = (events["wal"] == run.wal) & (events["segment"] == run.segment)
        mine &= (events["txn"] >= run.first) & (events["txn"] <= run.last)
        if int(facts.inventory.rows[mine].sum()) == run.rows:
            left &= ~mine
    return not bool(left.any())


def _written_before(facts: TableFacts, absent: Mask, time: float | None) -> bool:
    """Return whether the segments of all `absent` transactions were last written before `time`, None: never."""
    segments = {(int(wal), int(number)) for wal, number in facts.inventory.events[absent][["wal", "segment"]].tolist()}
    paths = (facts.directory.path / f"wal{wal}" / str(number) / "_event" for wal, number in segments)
    return time is not None and all(_written(path) <= time for path in paths)


def _grave(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE


def _before(facts: TableFacts, finding: Finding, clock: PurgeClock, repaired_at: float) -> bool:
    """Return whether all WAL that `finding` is about was last written before `repaired_at`."""
    if finding.code is Code.IN_TABLE_BACKUP_AT_RISK:
        return True
    table = facts.directory.path
    if finding.code is Code.SEGMENT_EVENT_TRUNCATED and _needed(facts, table.parent / (finding.file or "")):
        return False
    if finding.code is Code.WAL_AT_RISK_OF_PURGE:
        segments = [place for wal in clock.wals for place in (table / f"wal{wal}").glob("*/_event")]
        segments += [table / f"wal{wal}" / str(segment) / "_event" for wal, segment in clock.segments]
    else:
        segments = [table.parent / (finding.file or "")]
    return bool(segments) and all(_written(place) <= repaired_at for place in segments)


def _needed(facts: TableFacts, events: Path) -> bool:
    """Return whether a record of the log names a transaction of that event file that cannot be read."""
    scan = facts.sequencer.scan
    if scan is None:
        return True
    inventory, table = facts.inventory, facts.directory.path
    named = inventory.events[scan.named.event]
    undecoded = named[named["type"] == EventType.UNREADABLE]
    unread = scan.unread | np.isin(inventory.keys, segment_key(undecoded["wal"], undecoded["segment"]))
    slices = [each for each, needed in zip(inventory.slices(), unread.tolist(), strict=True) if needed]
    return any(table / f"wal{wal}" / str(segment) == events.parent for wal, segment, _, _ in slices)


def _written(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")
