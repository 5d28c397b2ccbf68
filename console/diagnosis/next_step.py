"""The one step to take now for a table, by what was found. What walmedic cannot do is reported, never passed over."""

from typing import Final

from console.diagnosis.model import Code, Harm, NextStep, Severity
from console.diagnosis.server.cause import Cause
from console.diagnosis.situation import (
    INDEXES,
    LOG_REPAIR,
    METADATA,
    NO_LOG,
    OWN_FILES,
    PARTITIONS,
    SYMBOL_MAPS,
    TABLE_METADATA,
    Situation,
)
from console.errors import run_as_owner
from console.questdb.layout import GUARD_MIRROR
from console.text import clean_line

_ASK: Final = "`walmedic bundle` makes the archive for those who know QuestDB"
_NO_REPAIR: Final = (
    f"no action of walmedic repairs this; salvage-table exports its rows, salvage-wal the unapplied ones; {_ASK}"
)
NOT_MOUNTED: Final = (
    "mount the disk that its soft link leads to, and check again: its rows are there. If it is lost for good: "
    "repair-partition --partition NAME"
)
_RESUMED_FOR_NOTHING: Final = "RESUME stopped there again"
_MOVE_OUT: Final = (
    "find out whose the named WAL is. If it was put there by hand, move it and its lock out of the table's directory. "
    "If it is the table's, as after a clock that was set, touch its files (walN/*/*): moved out, its rows are lost"
)
_PUT_BACK: Final = (
    "the log names that WAL: put the table's own back in its place before QuestDB starts; without it, move the other "
    "one out, and repair-log says what is lost"
)
_ROOM: Final = 256 << 20
"""Bytes that must be free before a table is resumed that a full disk had suspended."""
_LIMITS: Final = {
    Cause.OPEN_FILES: "its limit of open files (LimitNOFILE, ulimit -n)",
    Cause.MEMORY: "memory, or its limit of mapped areas (vm.max_map_count)",
}
_FROM_A_COPY: Final = (
    ((Code.PARTITION_MISSING,), "put the partition's directory back from a copy, by the name that _txn has; "),
    ((Code.COLUMN_FILE_MISSING, Code.COLUMN_FILE_SHORT, Code.COLUMN_FILE_INVALID, Code.PARQUET_FILE_INVALID),
     "put the named files back from a copy of the same state; every other column can still be exported; "),
)  # fmt: skip
_STATE: Final = (
    (Code.TABLE_TXN_BEHIND, "_txn is older than the table's files"),
    (Code.TABLE_TXN_INVALID, "_txn is damaged or gone"),
    (Code.TABLE_TXN_MISCOUNTED, "_txn counts other transactions or symbols than the table has"),
    (Code.PARTITION_ROWS_DIFFER, "_txn counts other rows than the columns hold"),
)
"""What is wrong with the state of the table, the first that is damaged."""
_MORE: Final = "more steps may follow"
"""After what makes `_meta` or `_txn` anew: before that nothing says which files the table must have."""
_NOTHING: Final = NextStep(None, "nothing to do")


def next_step(situation: Situation) -> NextStep:
    """Return the one step to take now. Its action is None if a person must decide or act, or nothing is to do."""
    if situation.closed:
        return NextStep(None, f"this user may not read all of the table's files: {run_as_owner()}")
    if situation.linked:
        what = f"{clean_line(situation.linked)} is a symbolic link, and what it leads to was not read"
        return NextStep(None, f"{what}: stop QuestDB, move that into the link's place, and check again")
    if situation.damaged(Code.SOFT_LINK_BROKEN):
        return NextStep(None, NOT_MOUNTED)
    step = _repair(situation) or _by_hand(situation) or _rest(situation)
    return NextStep(step.action, step.reason, step.evidence and not situation.history.evidence)


def _repair(situation: Situation) -> NextStep | None:
    if situation.damaged(*TABLE_METADATA):
        reason = f"_meta or _cv is damaged: do not start QuestDB; rebuilt from copies and the structure log; {_MORE}"
        return NextStep("repair-metadata", reason, evidence=True)
    state = next((what for code, what in _STATE if situation.damaged(code)), "")
    if state:
        reason = f"{state}: do not start QuestDB; rebuilt from the table's files; {_MORE}"
        return NextStep("repair-table-state", reason, evidence=True)
    if situation.damaged(*OWN_FILES) or situation.disagrees:
        return _own_files(situation)
    if situation.damaged(*INDEXES):
        reason = (
            "rebuild the index from its column, or a torn column from its index; with QuestDB up and the column "
            "whole: REINDEX TABLE … LOCK EXCLUSIVE"
        )
        return NextStep("rebuild-index", reason, evidence=True)
    if situation.damaged(Code.CONVERSION_HALF_DONE):
        return NextStep(
            "convert-table", "completes the conversion that was interrupted, and keeps the WAL", evidence=True
        )
    if situation.damaged(Code.WAL_RENAMED):
        reason = "a WAL lies in the table under another name: give it its name back, with QuestDB stopped; check again"
        return NextStep(None, reason, evidence=True)
    if situation.damaged(*NO_LOG, *METADATA, Code.SEQUENCER_FOREIGN) or not situation.log_serves:
        if situation.damaged(Code.WAL_FOREIGN) and not situation.backup:
            return NextStep(None, _MOVE_OUT, evidence=True)
        if situation.backup:
            copy = clean_line(situation.backup)
            where = " of the guard" if copy.startswith(GUARD_MIRROR) else ""
            reason = f"txn_seq from {copy}{where}, its end rebuilt from the WAL"
            return NextStep("restore-sequencer", reason, evidence=True)
        reason = "no usable copy: rebuild txn_seq from the WAL segments"
        return NextStep("rebuild-sequencer", reason, evidence=True)
    if situation.damaged(Code.LAG_OVERFLOW):
        return NextStep(None, "restart QuestDB before anything is written: a start checks the lag and sets it to 0")
    if any(f.code is Code.SEGMENT_MISSING and f.severity is Severity.DAMAGE for f in situation.findings):
        reason = "WAL that the log names is missing: rebuild the log without those transactions"
        return NextStep("repair-log", reason, evidence=True)
    if situation.damaged(*LOG_REPAIR):
        reason = "header and records rebuilt from the files on disk"
        return NextStep("repair-log", reason, evidence=True)
    if situation.damaged(Code.WAL_INDEX_MISSING, Code.WAL_INDEX_LOW):
        return NextStep("raise-wal-index", "the next writer would take a WAL id that is in use")
    return _segments(situation)


def _own_files(situation: Situation) -> NextStep:
    """Return what comes next of the table's own files: partitions before symbol maps, which rest on their keys."""
    others = tuple(code for code in OWN_FILES if code not in (*SYMBOL_MAPS, *PARTITIONS))
    if not situation.damaged(*others) and not situation.disagrees:
        keys_alone = not any(situation.damaged(code) for code in PARTITIONS if code is not Code.SYMBOL_KEYS_UNKNOWN)
        if keys_alone and situation.damaged(Code.SYMBOL_KEYS_UNKNOWN) and situation.damaged(*INDEXES):
            reason = "a symbol column is damaged, and perhaps its index has its keys: do not write before that"
            return NextStep("rebuild-index", reason, evidence=True)
        if situation.damaged(*PARTITIONS):
            reason = "repairs each damaged partition with the fewest rows lost; do not write before that"
            return NextStep("repair-partition", reason, evidence=True)
        if situation.damaged(*SYMBOL_MAPS):
            reason = "symbol maps are damaged: do not write; names are read from the map, the WAL and evidence"
            return NextStep("repair-symbols", reason, evidence=True)
    how = next((advice for codes, advice in _FROM_A_COPY if situation.damaged(*codes)), "")
    reason = "files of the table itself are damaged: do not start QuestDB, and write nothing; "
    return NextStep(None, f"{reason}{how}{_NO_REPAIR}", evidence=True)


def _segments(situation: Situation) -> NextStep | None:
    """Return what to do about unapplied rows that are not whole in their segments."""
    codes = (Code.SEGMENT_EVENT_TRUNCATED, Code.SEGMENT_DATA_TORN)
    if any(f.code in codes and f.severity is Severity.DAMAGE for f in situation.findings):
        reason = "unapplied rows are incomplete in their segment: rebuild the log without those transactions"
        return NextStep("repair-log", reason, evidence=True)
    if situation.damaged(Code.SEGMENT_EVENT_TRUNCATED):
        reason = (
            "the unapplied rows are whole, only an index of events is damaged: QuestDB may apply them all the same; "
            "salvage-wal exports them"
        )
        return NextStep(None, reason, evidence=True)
    if situation.damaged(Code.SEGMENT_DATA_TORN):
        reason = "compare the suspect values with their source, export them (salvage-wal), then let QuestDB apply them"
        return NextStep(None, reason, evidence=True)
    if situation.damaged(Code.SEGMENT_MISSING):
        reason = "put the missing WAL back before QuestDB starts, or have its rows sent again"
        return NextStep(None, reason, evidence=True)
    return None


def _by_hand(situation: Situation) -> NextStep | None:
    if situation.converting and situation.waiting:
        return NextStep(None, "take _convert out of the table (keep a copy) before any start, or what waits is deleted")
    if situation.damaged(Code.TODO_INVALID):
        return NextStep(None, "stop QuestDB, move _todo_ out of the table and start it: it makes the file again")
    if situation.damaged(Code.TODO_PENDING):
        reason = (
            "keep QuestDB stopped, move _todo_ out of the table and start it: it makes the file again; a TRUNCATE that "
            "was cut off was not acknowledged, or is in the log and is applied from there"
        )
        return NextStep(None, reason, evidence=True)
    if situation.damaged(Code.OWNERSHIP_DIFFERS):
        return NextStep("repair-ownership", "give the table's files back to its owner, with the server stopped")
    if situation.damaged(Code.PARTITION_UNREADABLE):
        reason = (
            "QuestDB cannot read the named partitions: export the others by SQL, and restore these from a backup, or "
            f"remove them (ALTER TABLE … FORCE DROP PARTITION LIST); {_ASK}"
        )
        return NextStep(None, reason, evidence=True)
    if situation.damaged(Code.WAL_FOREIGN):
        return NextStep(None, _of_strange_wal(situation), evidence=True)
    if situation.suspended or situation.damaged(Code.TABLE_SUSPENDED):
        return _suspended(situation)
    if situation.damaged(Code.APPLY_DISABLED):
        return NextStep(None, "set cairo.wal.apply.enabled=true in server.conf and restart QuestDB")
    if situation.damaged(Code.APPLY_STANDS_STILL):
        return NextStep(None, "look at the server's log and load; if it does not move on, restart QuestDB")
    return None


def _of_strange_wal(situation: Situation) -> str:
    found = [each for each in situation.findings if each.code is Code.WAL_FOREIGN]
    return _PUT_BACK if any(each.start is Harm.TAKES_FOREIGN_ROWS for each in found) else _MOVE_OUT


def _suspended(situation: Situation) -> NextStep:
    """Return what the server's own words and the journal leave: RESUME is no help if the same thing stops it again."""
    cause, error = situation.cause, clean_line(situation.error, 160)
    if cause is Cause.DISK_FULL and (situation.free or 0) < _ROOM:
        return NextStep(None, f"make room on the disk first, then resume-wal: it was full ({error})")
    if cause in _LIMITS:
        reason = f"QuestDB ran out of {_LIMITS[cause]}: raise it and restart QuestDB, which then applies them"
        return NextStep(None, f"{reason} ({error})")
    if cause is Cause.PERMISSION:
        reason = "QuestDB may not open a file: give it to the user that QuestDB runs as (chown), then resume-wal"
        return NextStep(None, f"{reason} ({error})")
    again = situation.applied is not None and situation.history.stopped_at == situation.applied + 1
    if cause is Cause.OWN_FILES:
        what = "a file of the table itself stops QuestDB, so that resume-wal would stop there again"
        reason = f"{what} ({error}): restore that file from a backup, or let copy-table save what can be read; {_ASK}"
        return NextStep(None, reason, evidence=True)
    if again:
        reason = f"{_RESUMED_FOR_NOTHING} and log and WAL show no cause: copy what is applied to a new table"
        return NextStep("copy-table", f"{reason} ({error})" if error else reason)
    return NextStep("resume-wal", "log and unapplied WAL are undamaged: QuestDB can apply them")


def _rest(situation: Situation) -> NextStep:
    if situation.damaged(Code.SUSPECT_VALUES):
        return NextStep(None, "compare the named values with their source: a page that never reached the disk is zeros")
    if situation.damaged(Code.TRANSACTIONS_SKIPPED):
        reason = "writes the skipped rows as files before the purge; repair-table-state has QuestDB apply them instead"
        return NextStep("salvage-wal", reason)
    if situation.damaged(Code.PARQUET_FORMAT_OLD):
        return NextStep("salvage-table", "export the rows of the partitions in the Parquet format of QuestDB 8")
    if situation.damaged(Code.VIEW_BEHIND):
        return NextStep(None, "refresh the view in full: REFRESH MATERIALIZED VIEW … FULL")
    if situation.damaged(Code.UNREADABLE):
        return NextStep(None, "look again as a user who may read the files")
    if situation.damaged(Code.UNLISTED_BY_SERVER, Code.SERVER_DISAGREES):
        return NextStep(
            None, f"restart QuestDB: it and the disk disagree, and no file shows why; if that does not help, {_ASK}"
        )
    grave = [finding for finding in situation.findings if finding.severity is not Severity.NOTE]
    if grave:
        damaged = any(finding.severity is Severity.DAMAGE for finding in grave)
        return NextStep(None, _NO_REPAIR, evidence=damaged)
    return _NOTHING
