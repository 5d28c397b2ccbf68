"""Findings about what lies in a table's directory and is another table's, or of an earlier life of it."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from console.diagnosis.model import Code, Finding, Harm, Severity
from console.diagnosis.table_facts import TableFacts
from console.table.belonging import Kinship
from console.table.inventory import read_inventory
from console.table.recorded_rows import contradicted
from console.table.segment_times import Address
from console.table.unapplied import State, Unapplied, by_segment
from console.table.wal_origin import never_own
from console.text import plural

_MOST: Final = 1 << 20
"""Records behind the applied ones that are looked at."""


def origin_findings(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Yield the sequencer in place if it is not the table's own, and each WAL and segment that is not."""
    live = facts.origins.log(facts.sequencer.name)
    if not live.own:
        message = f"the sequencer in place is not this table's, it {live.why}: QuestDB would apply what its log names"
        yield Finding(Code.SEQUENCER_FOREIGN, Severity.DAMAGE, message, facts.relative(facts.sequencer.path))
    named = _named_unapplied(facts) if facts.origins.wals else frozenset()
    for wal, verdict in sorted(facts.origins.wals.items()):
        message, place = f"wal{wal} {verdict.why}", facts.relative(facts.directory.path / f"wal{wal}")
        held = read_inventory([each for each in facts.directory.wals() if each.id == wal])
        rows = int(held.rows.sum())
        if verdict.kinship is not Kinship.UNPROVEN:
            message += ": its rows are not counted"
        else:
            message += f"; it holds {plural(rows, 'row')}, applied or not"
        if wal in named:
            message += ", and unapplied records of the log name it"
            yield Finding(Code.WAL_FOREIGN, Severity.DAMAGE, message, place, seq_txn=_next(facts),
                          start=Harm.TAKES_FOREIGN_ROWS, rows=rows)  # fmt: skip
        else:
            yield Finding(Code.WAL_FOREIGN, Severity.RISK, message, place, rows=rows)
    for wal, why in sorted(_unproven(facts).items()):
        message = f"nothing proves that wal{wal} is this table's: {why}; a repair brings its rows in, and says so"
        yield Finding(Code.WAL_FOREIGN, Severity.NOTE, message, facts.relative(facts.directory.path / f"wal{wal}"))
    yield from _misplaced(facts, unapplied)


def _misplaced(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Yield the segments that are not proven to be the table's, and hold what is not applied."""
    for (wal, number), why in sorted(strange_segments(facts, unapplied).items()):
        path = facts.directory.path / f"wal{wal}/{number}"
        mine = (facts.inventory.events["wal"] == wal) & (facts.inventory.events["segment"] == number)
        message = f"nothing proves that wal{wal}/{number} is this table's: it {why}"
        if bool((mine & (unapplied.seq_txn > 0)).any()):
            message += "; QuestDB would apply its rows"
            if (wal, number) in facts.origins.misplaced:
                message += f". If they are the table's, touch -r wal{wal}/{number}.lock wal{wal}/{number} says so"
            yield Finding(Code.WAL_FOREIGN, Severity.DAMAGE, message, facts.relative(path), seq_txn=_next(facts),
                          start=Harm.TAKES_FOREIGN_ROWS)  # fmt: skip
        else:
            yield Finding(Code.WAL_FOREIGN, Severity.RISK, f"{message}; no repair uses it", facts.relative(path))


def strange_segments(facts: TableFacts, unapplied: Unapplied) -> dict[Address, str]:
    """Return why segments with transactions that are not applied are not proven to be the table's."""
    why = dict(facts.origins.misplaced)
    for each in facts.own_logs:
        why |= contradicted(facts.inventory, each.scan) if each.scan is not None else {}
    found = by_segment(facts.inventory, unapplied.state != State.APPLIED) if why else []
    return {(wal, number): why[wal, number] for wal, number, _ in found if (wal, number) in why}


def _next(facts: TableFacts) -> int:
    return (facts.applied or 0) + 1


def _named_unapplied(facts: TableFacts) -> frozenset[int]:
    """Return the WALs that records of the log in place name behind the applied ones: what QuestDB would apply."""
    scan = facts.sequencer.scan
    if scan is None:
        return frozenset()
    records = facts.sequencer.log.records(scan.applied + 1, min(scan.end, scan.applied + _MOST))
    return frozenset(np.unique(records["wal_id"]).tolist())


def _unproven(facts: TableFacts) -> dict[int, str]:
    """Return the WALs that no log of the table names, and that may have been put in by hand."""
    scans = [each.scan for each in facts.own_logs if each.scan is not None]
    named = np.unique(np.concatenate([np.empty(0, np.int64), *(scan.named.event for scan in scans)])).astype(np.int64)
    return facts.origins.unproven(np.unique(facts.inventory.events["wal"][named]).tolist())


def in_doubt(facts: TableFacts, unapplied: Unapplied) -> bool:
    """Return whether nobody knows what is unapplied: a WAL is unproven, or is another's and no log tells of ours."""
    origins, applied = facts.origins, facts.applied or 0
    if any(verdict.kinship is Kinship.UNPROVEN for verdict in origins.wals.values()) or _unproven(facts):
        return True
    if strange_segments(facts, unapplied):
        return True
    scans = [each.scan for each in facts.own_logs]
    covered = any(scan is not None and scan.max_txn > applied and scan.whole_above for scan in scans)
    handed_out = facts.sequencer.wal_index.highest if origins.log(facts.sequencer.name).own else None
    free = never_own(origins, max(facts.inventory.wals, default=0), handed_out)
    return bool(origins.wals.keys() - free) and not covered
