"""Findings about rows in the table that belong to transactions which `_txn` does not count as applied."""

from collections.abc import Iterator

import numpy as np

from console.diagnosis.findings.conversion import half_done
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.diagnosis.table_facts import TableFacts
from console.questdb.reading import Problem
from console.table.inventory import Mask
from console.table.row_count import rows_not_there, rows_too_many, skipped, structure_behind
from console.text import plural


def row_count_findings(facts: TableFacts, absent: Mask) -> Iterator[Finding]:
    """Yield that `_txn` counts more rows, or fewer, than the transactions brought that it calls applied.

    `absent` are those of them without a row in the table (transactions_not_there).
    """
    yield from _not_there(facts, absent)
    yield from _structure_behind(facts)
    more, area = rows_uncounted(facts), facts.txn.current
    if not more or area is None:
        return
    message = (
        f"_txn says seqTxn {area.seq_txn:,} and counts {plural(more, 'row')} more than these transactions brought: "
        "later ones are in the table already, and QuestDB would apply them again"
    )
    file = facts.relative(facts.txn.path)
    yield Finding(Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, file, area.offset_seq_txn, area.seq_txn,
                  start=Harm.MISAPPLIES)  # fmt: skip


def transactions_not_there(facts: TableFacts, newest: int | None) -> Mask:
    """Return which transactions count as applied and have no row in the table, whose newest timestamp is `newest`."""
    area, scan = facts.txn.current, facts.sequencer.scan
    none = np.zeros(len(facts.inventory), np.bool_)
    if area is None or scan is None or facts.txn.problems or facts.conversion.present:
        return none
    if isinstance(facts.metadata, Problem) or not facts.origins.log(facts.sequencer.name).own:
        return none
    return rows_not_there(facts.directory, facts.metadata, area, facts.inventory, scan, newest)


def _not_there(facts: TableFacts, absent: Mask) -> Iterator[Finding]:
    area, scan, rows = facts.txn.current, facts.sequencer.scan, int(facts.inventory.rows[absent].sum())
    if area is None or scan is None or not rows:
        return
    last = int(scan.seq[absent].max())
    message = f"transactions up to {last:,} with {plural(rows, 'row')} count as applied, and "
    if skipped(area, facts.txn.other, facts.inventory, scan, absent):
        code, harm = Code.TRANSACTIONS_SKIPPED, Harm.DELETES_WAL
        message += (
            "QuestDB skipped them (RESUME WAL FROM TXN): their rows are only in the WAL, and its purge deletes it"
        )
    else:
        code, harm = Code.TABLE_TXN_MISCOUNTED, Harm.MISAPPLIES
        message += (
            "rows of each are not in the table: they were skipped (RESUME WAL FROM), or _txn counts too many; "
            "the purge deletes them"
        )
    file = facts.relative(facts.txn.path)
    yield Finding(code, Severity.RISK, message, file, area.offset_seq_txn, area.seq_txn, start=harm, rows=rows)


def _structure_behind(facts: TableFacts) -> Iterator[Finding]:
    area, scan = facts.txn.current, facts.sequencer.scan
    if area is None or scan is None or facts.txn.problems or facts.conversion.present:
        return
    if not structure_behind(area, scan) or half_done(facts.directory):
        return
    if facts.origins.log(facts.sequencer.name).own:
        message = (
            f"_txn counts transaction {area.applied_txn:,} as applied, and {scan.structure_below:,} ALTERs among them, "
            f"and the table's structure version is {area.structure_version:,}: one of them is not in the table"
        )
        file = facts.relative(facts.txn.path)
        yield Finding(Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, file, area.offset_seq_txn, area.seq_txn,
                      start=Harm.MISAPPLIES)  # fmt: skip


def rows_uncounted(facts: TableFacts) -> int:
    """Return how many rows too many `_txn` counts for its seqTxn; 0 where nothing tells."""
    area, scan = facts.txn.current, facts.sequencer.scan
    if area is None or scan is None or facts.txn.problems or isinstance(facts.metadata, Problem):
        return 0
    if facts.conversion.present or not facts.origins.log(facts.sequencer.name).own:
        return 0
    rows = rows_too_many(facts.directory, facts.metadata, area, facts.inventory, facts.sequencer.log, scan)
    return 0 if rows and half_done(facts.directory) else rows  # a conversion sets seqTxn to 0 in place
