"""From findings to one verdict, one next step, and the steps that would destroy data now."""

from collections.abc import Sequence
from dataclasses import dataclass

from console.diagnosis.harm import harm_in_words
from console.diagnosis.model import BlockedStep, Code, Finding, Harm, NextStep, Severity, Verdict
from console.diagnosis.purge_clock import PurgeClock
from console.text import clean_line

_NO_LOG = (Code.SEQUENCER_MISSING, Code.LOG_MISSING, Code.LOG_EMPTY)
_LOG_REPAIR = (
    Code.LOG_MAX_TXN_PAST_END, Code.LOG_HEADER_ZEROED, Code.LOG_VERSION_UNKNOWN, Code.LOG_MAX_TXN_BELOW_APPLIED,
    Code.LOG_RECORD_ZEROED, Code.LOG_RECORD_INVALID, Code.LOG_PART_MISSING, Code.LOG_TAIL_UNLOGGED,
    Code.LOG_STRUCTURE_VERSION_REGRESS, Code.LOG_UNKNOWN_SEGMENT,
)  # fmt: skip
_METADATA = (Code.SEQUENCER_METADATA_MISSING, Code.SEQUENCER_METADATA_INVALID)
_OWN_FILES = (
    Code.TABLE_METADATA_MISSING, Code.TABLE_METADATA_INVALID, Code.COLUMN_VERSIONS_MISSING,
    Code.COLUMN_VERSIONS_INVALID, Code.PARTITION_MISSING, Code.PARTITION_ROWS_DIFFER, Code.COLUMN_FILE_MISSING,
    Code.COLUMN_FILE_SHORT, Code.SYMBOL_MAP_MISSING, Code.SYMBOL_MAP_SHORT,
)  # fmt: skip
_STOPS_WRITES = (*_NO_LOG, *_OWN_FILES, *_METADATA, *_LOG_REPAIR, Code.SEGMENT_MISSING, Code.SEGMENT_EVENT_TRUNCATED,
                 Code.TABLE_TXN_INVALID, Code.LAG_OVERFLOW, Code.TABLE_SUSPENDED)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Situation:
    """What the advice rests on besides the findings."""

    findings: Sequence[Finding]
    clock: PurgeClock
    waiting: int  # transactions that wait or may wait
    backup: str  # name of the copy to restore from, empty where none can be used
    crashes: bool = False  # opening the log can crash the server
    suspended: bool = False
    converting: bool = False  # the next start makes it a table without WAL
    stops: bool = False  # what waits cannot be applied: a column of its segment is missing or too short

    def damaged(self, *codes: Code) -> bool:
        """Return whether one of `codes` was found as more than a note."""
        return any(f.code in codes and f.severity is not Severity.NOTE for f in self.findings)

    @property
    def disagrees(self) -> bool:
        """Whether `_txn` belongs to another state of the table than the files beside it."""
        return any(f.code is Code.TABLE_FILES_DISAGREE and f.severity is Severity.DAMAGE for f in self.findings)

    @property
    def harm(self) -> Harm:
        """What a start does to the table's own files."""
        return next((f.start for f in self.findings if f.start is not Harm.NONE), Harm.NONE)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Return the worst that the findings say: damage is broken, a risk at-risk, a file that cannot be read unknown."""
    if any(finding.severity is Severity.DAMAGE for finding in findings):
        return Verdict.BROKEN
    if any(finding.code is Code.UNREADABLE and finding.severity is not Severity.NOTE for finding in findings):
        return Verdict.UNKNOWN
    if any(finding.severity is Severity.RISK for finding in findings):
        return Verdict.AT_RISK
    return Verdict.HEALTHY


def can_read(situation: Situation) -> bool | None:
    """Return whether a SELECT works: not where `_txn` is damaged, nor where the server crashes as it starts."""
    if situation.damaged(Code.TABLE_TXN_INVALID):
        return False
    if situation.crashes or situation.damaged(*_OWN_FILES) or situation.disagrees:
        return False
    return None if situation.damaged(Code.UNREADABLE) else True


def can_write(situation: Situation) -> bool | None:
    """Return whether what is written arrives in the table; acknowledged and never applied is no."""
    damage = [finding.code for finding in situation.findings if finding.severity is Severity.DAMAGE]
    if any(code in _STOPS_WRITES for code in damage) or situation.disagrees or situation.suspended or situation.stops:
        return False
    return None if situation.damaged(Code.UNREADABLE) else True


def _after_evidence(action: str, why: str) -> NextStep:
    return NextStep(action, f"{why}; capture evidence first, with the server stopped", why)


def next_step(situation: Situation) -> NextStep:
    """Return the one step to take now; None as its action where a person must decide, or nothing is to do."""
    if situation.damaged(Code.TABLE_TXN_BEHIND):
        return NextStep(
            "capture-evidence",
            "_txn is set back: what of the log is applied is not certain, so copy everything before anything else",
        )
    if situation.damaged(Code.TABLE_TXN_INVALID):
        return NextStep(
            "capture-evidence", "_txn is damaged or gone, nothing says what is applied: copy everything first"
        )
    if situation.damaged(*_OWN_FILES) or situation.disagrees:
        return NextStep(
            "capture-evidence",
            "files of the table itself are damaged: copy all of it before a start or a write changes it",
        )
    if situation.damaged(Code.CONVERSION_HALF_DONE):
        return _after_evidence("convert-table", "it ends what was begun, and keeps the WAL")
    if situation.damaged(*_NO_LOG, *_METADATA):
        if situation.backup:
            return _after_evidence(
                "restore-sequencer",
                f"{clean_line(situation.backup)} in the table can be put back, its tail repaired from the WAL segments",
            )
        return _after_evidence("rebuild-sequencer", "no usable copy: make txn_seq again from the WAL segments")
    if situation.damaged(Code.LAG_OVERFLOW):
        return NextStep(None, "restart the server before anything is written: a start checks the lag and sets it to 0")
    if situation.damaged(Code.SEGMENT_MISSING):
        return NextStep(
            "capture-evidence", "WAL that the log still needs is gone: copy everything, then skip it knowingly"
        )
    if situation.damaged(*_LOG_REPAIR):
        return _after_evidence("repair-log", "header and records can be made right from what is on disk")
    if situation.damaged(Code.WAL_INDEX_MISSING, Code.WAL_INDEX_LOW):
        return NextStep("raise-wal-index", "the next writer would take a WAL id that is in use")
    if situation.damaged(Code.SEGMENT_EVENT_TRUNCATED, Code.SEGMENT_DATA_TORN):
        return NextStep(
            "capture-evidence", "rows that wait are not whole in their segment: copy them before they are applied"
        )
    if situation.converting and situation.waiting:
        return NextStep(None, "take _convert out of the table (keep a copy) before any start, or what waits is deleted")
    if situation.damaged(Code.OWNERSHIP_DIFFERS):
        return NextStep(
            None, "give the named files back to the owner of _txn (chown, chmod u+w), with the server stopped"
        )
    if situation.suspended or situation.damaged(Code.TABLE_SUSPENDED):
        return NextStep("resume-wal", "the files are whole: let the server apply what waits")
    if situation.damaged(Code.INDEX_FILE_MISSING):
        return NextStep(None, "make the index again, with the server up: REINDEX TABLE … LOCK EXCLUSIVE")
    if situation.damaged(Code.VIEW_BEHIND):
        return NextStep(None, "refresh the view in full: REFRESH MATERIALIZED VIEW … FULL")
    if situation.damaged(Code.UNREADABLE):
        return NextStep(None, "look again as a user who may read the files")
    return NextStep(None, "nothing to do")


def blocked_steps(situation: Situation) -> tuple[BlockedStep, ...]:
    """Return the steps that would destroy data now, and why; none for a table that is well."""
    if verdict_of(situation.findings) is not Verdict.BROKEN and not situation.clock.runs:
        return ()
    blocked = [
        BlockedStep(
            "drop-table",
            "it can say that there is no such table and still erase the directory: data, unapplied WAL and the copies",
        ),
        BlockedStep(
            "fresh-log",
            "an empty log is below what the table has applied: later writes vanish and the purge deletes the WAL",
        ),
    ]
    if situation.waiting:
        blocked.append(BlockedStep("remove-wal", "the walN directories hold what is not applied"))
        if not situation.damaged(Code.CONVERSION_HALF_DONE):
            blocked.append(
                BlockedStep("convert-table", "a conversion by hand deletes every walN with what is not applied in it")
            )
    if situation.harm is not Harm.NONE:
        blocked.append(BlockedStep("start-server", harm_in_words(situation.harm)))
    elif situation.damaged(Code.CONVERSION_HALF_DONE):
        blocked.append(BlockedStep("start-server", "it would delete what is not applied, or apply every row once more"))
    elif situation.clock.runs:
        wals = _named(situation.clock)
        blocked.append(
            BlockedStep("start-server", f"its purge would delete {wals} with {situation.clock.rows:,} unapplied rows")
        )
    elif situation.converting and situation.waiting:
        reason = "it converts the table first, and deletes every walN with what is not applied in it"
        blocked.append(BlockedStep("start-server", reason))
    elif situation.crashes:
        blocked.append(BlockedStep("start-server", "it can crash as it opens the log, and changes files as it does"))
    if situation.damaged(Code.LOG_RECORD_ZEROED, Code.LOG_RECORD_INVALID, Code.LOG_UNKNOWN_SEGMENT):
        blocked.append(BlockedStep("resume-wal", "skipping a transaction loses its rows while they are still on disk"))
    return tuple(blocked)


def _named(clock: PurgeClock) -> str:
    names = [f"wal{wal}" for wal in clock.wals] + [f"wal{wal}/{segment}" for wal, segment in clock.segments]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
