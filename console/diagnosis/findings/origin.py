"""Findings about what lies in a table's directory and is another table's, or of an earlier life of it."""

from collections.abc import Iterator

import numpy as np

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.table_facts import TableFacts
from console.table.belonging import Kinship
from console.table.wal_origin import never_own


def origin_findings(facts: TableFacts) -> Iterator[Finding]:
    """Yield the sequencer in place if it is not the table's own, and each WAL that is not."""
    live = facts.origins.log(facts.sequencer.name)
    if not live.own:
        message = f"the sequencer in place is not this table's, it {live.why}: QuestDB would apply what its log names"
        yield Finding(Code.SEQUENCER_FOREIGN, Severity.DAMAGE, message, facts.relative(facts.sequencer.path))
    for wal, verdict in sorted(facts.origins.wals.items()):
        message = f"wal{wal} {verdict.why}"
        if verdict.kinship is not Kinship.UNPROVEN:
            message += ": its rows are not counted"
        yield Finding(Code.WAL_FOREIGN, Severity.RISK, message, facts.relative(facts.directory.path / f"wal{wal}"))
    for wal, why in sorted(_unproven(facts).items()):
        message = f"nothing proves that wal{wal} is this table's: {why}; a repair brings its rows in, and says so"
        yield Finding(Code.WAL_FOREIGN, Severity.NOTE, message, facts.relative(facts.directory.path / f"wal{wal}"))


def _unproven(facts: TableFacts) -> dict[int, str]:
    """Return the WALs that no log of the table names, and that may have been put in by hand."""
    scans = [each.scan for each in facts.own_logs if each.scan is not None]
    named = np.unique(np.concatenate([np.empty(0, np.int64), *(scan.named.event for scan in scans)])).astype(np.int64)
    return facts.origins.unproven(np.unique(facts.inventory.events["wal"][named]).tolist())


def in_doubt(facts: TableFacts) -> bool:
    """Return whether nobody knows what is unapplied: a WAL is unproven, or is another's and no log tells of ours."""
    origins, applied = facts.origins, facts.applied or 0
    if any(verdict.kinship is Kinship.UNPROVEN for verdict in origins.wals.values()) or _unproven(facts):
        return True
    scans = [each.scan for each in facts.own_logs]
    covered = any(scan is not None and scan.max_txn > applied and scan.whole_above for scan in scans)
    handed_out = facts.sequencer.wal_index.highest if origins.log(facts.sequencer.name).own else None
    free = never_own(origins, max(facts.inventory.wals, default=0), handed_out)
    return bool(origins.wals.keys() - free) and not covered
