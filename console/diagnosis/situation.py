"""What verdict and advice rest on: the findings of a table, and what is known besides them."""

from collections.abc import Sequence
from dataclasses import dataclass

from console.diagnosis.model import NO_HISTORY, Code, Finding, Harm, Severity, TableHistory
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.server.cause import Cause

NO_LOG = (Code.SEQUENCER_MISSING, Code.LOG_MISSING, Code.LOG_EMPTY)
LOG_REPAIR = (
    Code.LOG_MAX_TXN_PAST_END, Code.LOG_HEADER_ZEROED, Code.LOG_VERSION_UNKNOWN, Code.LOG_MAX_TXN_BELOW_APPLIED,
    Code.LOG_RECORD_ZEROED, Code.LOG_RECORD_INVALID, Code.LOG_PART_MISSING, Code.LOG_TAIL_UNLOGGED,
    Code.LOG_STRUCTURE_VERSION_REGRESS, Code.LOG_UNKNOWN_SEGMENT,
)  # fmt: skip
METADATA = (Code.SEQUENCER_METADATA_MISSING, Code.SEQUENCER_METADATA_INVALID)
OWN_FILES = (
    Code.TABLE_METADATA_MISSING, Code.TABLE_METADATA_INVALID, Code.COLUMN_VERSIONS_MISSING,
    Code.COLUMN_VERSIONS_INVALID, Code.PARTITION_MISSING, Code.PARTITION_ROWS_DIFFER, Code.COLUMN_FILE_MISSING,
    Code.COLUMN_FILE_SHORT, Code.SYMBOL_MAP_MISSING, Code.SYMBOL_MAP_SHORT, Code.SYMBOL_MAP_INVALID,
    Code.COLUMN_FILE_INVALID, Code.PARQUET_FILE_INVALID, Code.TIMESTAMPS_INVALID, Code.SYMBOL_KEYS_UNKNOWN,
)  # fmt: skip
STOPS_WRITES = (
    *NO_LOG, Code.SEQUENCER_FOREIGN, *OWN_FILES, *METADATA, *LOG_REPAIR, Code.SEGMENT_MISSING,
    Code.SEGMENT_EVENT_TRUNCATED, Code.TABLE_TXN_INVALID, Code.LAG_OVERFLOW, Code.TABLE_SUSPENDED,
    Code.TODO_INVALID, Code.TODO_PENDING, Code.TABLE_TXN_MISCOUNTED,
)  # fmt: skip
TABLE_METADATA = (
    Code.TABLE_METADATA_MISSING, Code.TABLE_METADATA_INVALID, Code.COLUMN_VERSIONS_MISSING,
    Code.COLUMN_VERSIONS_INVALID,
)  # fmt: skip
TABLE_STATE = (
    Code.TABLE_TXN_INVALID, Code.TABLE_TXN_BEHIND, Code.TABLE_TXN_MISCOUNTED, Code.PARTITION_ROWS_DIFFER,
)  # fmt: skip
PARTITIONS = (
    Code.PARTITION_MISSING, Code.COLUMN_FILE_MISSING, Code.COLUMN_FILE_SHORT, Code.COLUMN_FILE_INVALID,
    Code.PARQUET_FILE_INVALID, Code.TIMESTAMPS_INVALID, Code.SYMBOL_KEYS_UNKNOWN,
)  # fmt: skip
SHOWN_WRONG = (Code.TIMESTAMPS_INVALID, Code.SYMBOL_KEYS_UNKNOWN)
"""Damage that the server mostly reads and writes on without an error."""
SYMBOL_MAPS = (Code.SYMBOL_MAP_MISSING, Code.SYMBOL_MAP_SHORT, Code.SYMBOL_MAP_INVALID)
INDEXES = (Code.INDEX_FILE_MISSING, Code.INDEX_FILE_INVALID)
LADDER = (
    ("repair-metadata", TABLE_METADATA),
    ("repair-table-state", TABLE_STATE),
    ("repair-partition", PARTITIONS),
    ("repair-symbols", SYMBOL_MAPS),
    ("rebuild-index", INDEXES),
)
"""What repairs which findings about a table's own files, in this order: each rests on what is repaired before it."""


@dataclass(frozen=True, slots=True)
class Situation:
    findings: Sequence[Finding]
    clock: PurgeClock
    waiting: int  # transactions that wait or may wait
    backup: str  # name of the copy to restore from, empty where none can be used
    log_serves: bool = True  # the log in place can be the base of its own repair
    crashes: bool = False  # opening the log can crash the server
    suspended: bool = False
    converting: bool = False  # the next start makes it a table without WAL
    stops: bool = False  # what waits cannot be applied: a column of its segment is missing or too short
    applied: int | None = None  # transactions that are in the table
    cause: Cause = Cause.UNKNOWN  # why it is suspended, by the server's own words
    error: str = ""  # these words
    free: int | None = None  # bytes free on the table's disk, where that matters
    history: TableHistory = NO_HISTORY
    closed: bool = False  # this user may not read all of it
    linked: str = ""  # a symbolic link in the place of one of its own files

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
