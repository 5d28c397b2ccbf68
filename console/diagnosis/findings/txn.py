"""Findings about `_txn`: damaged, set back by a power loss, or with a lag that swallows the next transaction."""

from collections.abc import Iterator

from console.diagnosis.findings.conversion import half_done
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.diagnosis.table_facts import TableFacts
from console.questdb.reading import ProblemKind
from console.questdb.table_txn import TableTxn, TxnArea
from console.table.later_traces import later_trace, metadata_newer
from console.table.log_scan import LogScan
from console.table.txn_state import ahead, other_seq_txn, set_back
from console.text import plural


def txn_damage(txn: TableTxn, file: str) -> Iterator[Finding]:
    """Yield what keeps `_txn` from being used, of any table."""
    if txn.current is not None and not txn.problems:
        return
    problem = txn.problems[0] if txn.problems else None
    what = problem.what if problem else "it has no current record"
    offset = problem.offset if problem else None
    message = f"_txn cannot be used, so that nothing says what is applied: {what}"
    if problem is not None and problem.kind is ProblemKind.UNREADABLE:
        yield Finding(Code.UNREADABLE, Severity.RISK, message, file, offset)
    elif problem is not None and problem.kind is ProblemKind.MISSING:
        message = "_txn is gone: to the server this directory is no table, and nothing says what is applied"
        yield Finding(Code.TABLE_TXN_INVALID, Severity.DAMAGE, message, file, offset, start=Harm.FORGETS_TABLE)
    else:
        yield Finding(Code.TABLE_TXN_INVALID, Severity.DAMAGE, message, file, offset, start=Harm.DELETES_PARTITIONS)


def txn_findings(facts: TableFacts, behind: str) -> Iterator[Finding]:
    """Yield what is wrong with the `_txn` of a WAL table; `behind` is how it is set back (txn_set_back)."""
    txn = facts.txn
    file = facts.relative(txn.path)
    if txn.current is None or txn.problems:
        yield from txn_damage(txn, file)
        return
    area = txn.current
    if area.lag_rows == 0 and area.lag_txn_raw != 0:
        message = (
            f"_txn counts {plural(area.lag_txns, 'transaction')} of lag and no lag row (as 9.1.0 converts): "
            "a server that runs now skips the next transaction in silence"
        )
        healed = area.lag_checksum != area.lag_checksum_expected()
        message += "; the next start sees by the checksum that it is wrong and sets it to 0" if healed else ""
        yield Finding(Code.LAG_OVERFLOW, Severity.DAMAGE, message, file, area.offset_lag_txns, area.seq_txn + 1,
                      f"lag transactions {area.lag_txn_raw}, lag rows 0")  # fmt: skip
    if behind:
        yield _behind(facts, area, behind, file)
    elif (fitting := miscounted(facts)) is not None:
        fits = f"seqTxn {fitting[0]:,}" if len(fitting) == 1 else "no other: more is wrong"
        message = f"_txn says seqTxn {area.seq_txn:,}, and its own checksum contradicts that: it fits {fits}"
        yield Finding(
            Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, file, area.offset_seq_txn, area.seq_txn,
            start=Harm.MISAPPLIES,
        )  # fmt: skip
    elif how := ahead(facts.directory.path, facts.metadata, area, _own_scans(facts)):
        message = f"_txn is ahead of the table's directories: {how}, and WAL that it counts as applied"
        yield Finding(
            Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, file, area.offset_seq_txn, area.seq_txn,
            start=Harm.DELETES_WAL,
        )  # fmt: skip


def miscounted(facts: TableFacts) -> tuple[int, ...] | None:
    """Return which seqTxn `_txn` was written with, if that is not what it says now; None where nothing contradicts."""
    area = facts.txn.current
    if area is None or facts.txn.problems or facts.conversion.present:
        return None  # a conversion sets seqTxn to 0 in place
    last = max((each.scan.end for each in facts.own_logs if each.scan is not None), default=0)
    fitting = other_seq_txn(area, last)
    return None if fitting is not None and half_done(facts.directory) else fitting


def txn_set_back(facts: TableFacts) -> str:
    """Return how `_txn` is set back, by its other area, the logs there are and what is of a later state; else empty."""
    return set_back(facts.directory.path, facts.metadata, facts.txn, facts.inventory, _own_scans(facts))


def _own_scans(facts: TableFacts) -> list[LogScan]:
    return [each.scan for each in facts.own_logs if each.scan is not None]


def logs_behind(facts: TableFacts) -> str:
    """Return what on disk is of a later state than `_txn` and than what the table's logs name, as a clause."""
    if facts.txn.current is None:
        return ""
    path, scans = facts.directory.path, _own_scans(facts)
    found = later_trace(path, facts.metadata, facts.txn.current, facts.inventory, scans)
    return found.words if found is not None and found.beyond_logs else ""


def _behind(facts: TableFacts, area: TxnArea, how: str, file: str) -> Finding:
    message = (
        f"_txn is set back: it says seqTxn {area.seq_txn:,} with {area.rows:,} rows, and {how}; "
        "what lies between may be in the table's files already"
    )
    evidence = "WAL of transactions after it is purged" if facts.sequencer.scan is not None else "no log says more"
    if metadata_newer(facts.directory.path, facts.metadata, area):
        evidence = "_meta is of a later state"
    return Finding(
        Code.TABLE_TXN_BEHIND, Severity.DAMAGE, message, file, area.offset_seq_txn, area.seq_txn, evidence,
        start=Harm.DROPS_PARTITION,
    )  # fmt: skip
