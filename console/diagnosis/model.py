"""What a diagnosis says: findings, one report per table, one for the database. Frozen, JSON-able, no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from console.records import LEFT_OUT, renamed, to_json


class Severity(StrEnum):
    """How bad a finding is: `DAMAGE` makes a table broken, `RISK` at-risk; `NOTE` is only reported."""

    DAMAGE = "damage"
    RISK = "risk"
    NOTE = "note"


class Verdict(StrEnum):
    """One word per table (contract of `check --json`)."""

    HEALTHY = "healthy"
    AT_RISK = "at-risk"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class Part(StrEnum):
    """What a table has besides `_txn`, `_meta`, sequencer and WAL (contract: `not_checked` in `check --json`).

    Files are looked at by presence and length, values by content.
    """

    COLUMN_VERSIONS = "column-versions"
    PARTITION_FILES = "partition-files"
    SYMBOL_FILES = "symbol-files"
    COLUMN_VALUES = "column-values"
    SYMBOL_VALUES = "symbol-values"
    INDEX_ENTRIES = "index-entries"

    @property
    def words(self) -> str:
        return self.value.replace("-", " ")


class ServerState(StrEnum):
    """Whether the station's server runs; `UNKNOWN` also where no station is configured, or it gives no answer."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Code(StrEnum):
    """Finding codes (contract: add, never rename)."""

    SEQUENCER_MISSING = "sequencer-missing"
    LOG_MISSING = "log-missing"
    LOG_EMPTY = "log-empty"
    LOG_HEADER_ZEROED = "log-header-zeroed"
    LOG_VERSION_UNKNOWN = "log-version-unknown"
    LOG_MAX_TXN_PAST_END = "log-max-txn-past-end"
    LOG_MAX_TXN_BELOW_APPLIED = "log-max-txn-below-applied"
    LOG_RECORD_ZEROED = "log-record-zeroed"
    LOG_RECORD_INVALID = "log-record-invalid"
    LOG_UNKNOWN_SEGMENT = "log-unknown-segment"
    LOG_STRUCTURE_VERSION_REGRESS = "log-structure-version-regress"
    LOG_TAIL_UNLOGGED = "log-tail-unlogged"
    LOG_PART_MISSING = "log-part-missing"
    WAL_INDEX_MISSING = "wal-index-missing"
    WAL_INDEX_LOW = "wal-index-low"
    SEQUENCER_METADATA_MISSING = "sequencer-metadata-missing"
    SEQUENCER_METADATA_INVALID = "sequencer-metadata-invalid"
    SEGMENT_EVENT_TRUNCATED = "segment-event-truncated"
    SEGMENT_MISSING = "segment-missing"
    SEGMENT_DATA_TORN = "segment-data-torn"
    TABLE_TXN_INVALID = "table-txn-invalid"
    TABLE_TXN_BEHIND = "table-txn-behind"
    TABLE_TXN_MISCOUNTED = "table-txn-miscounted"  # it counts other transactions, or symbols, than the table has
    TRANSACTIONS_SKIPPED = "transactions-skipped"  # by RESUME WAL FROM TXN: counted as applied, and only in the WAL
    OWNERSHIP_DIFFERS = "ownership-differs"
    BACKUP_FOUND = "backup-found"
    SERVER_DISAGREES = "server-disagrees"
    TABLE_SUSPENDED = "table-suspended"
    UNLISTED_BY_SERVER = "unlisted-by-server"
    IN_TABLE_BACKUP_AT_RISK = "in-table-backup-at-risk"
    WAL_AT_RISK_OF_PURGE = "wal-at-risk-of-purge"
    LAG_OVERFLOW = "lag-overflow"
    APPLY_DISABLED = "apply-disabled"  # by the server's configuration
    APPLY_STANDS_STILL = "apply-stands-still"  # not suspended, and nothing of what waits is applied
    VIEW_BEHIND = "view-behind"
    VIEW_FILES_INVALID = "view-files-invalid"
    TODO_INVALID = "todo-invalid"  # `_todo_` is cut: no writer opens the table
    TODO_PENDING = "todo-pending"  # `_todo_` has the next writer end a TRUNCATE, or put an older `_meta` back
    CONVERSION_HALF_DONE = "conversion-half-done"
    TABLE_METADATA_MISSING = "table-metadata-missing"
    TABLE_METADATA_INVALID = "table-metadata-invalid"
    COLUMN_VERSIONS_MISSING = "column-versions-missing"
    COLUMN_VERSIONS_INVALID = "column-versions-invalid"
    TABLE_FILES_DISAGREE = "table-files-disagree"  # `_txn`, `_meta`, `_cv`, sequencer: of different states or columns
    PARTITION_MISSING = "partition-missing"
    SOFT_LINK_BROKEN = "soft-link-broken"  # a partition or table is a soft link to what is not there: not mounted
    SOFT_LINK = "soft-link"  # of a partition or a table: it is read, and never written through
    PARTITION_ROWS_DIFFER = "partition-rows-differ"
    COLUMN_FILE_MISSING = "column-file-missing"
    COLUMN_FILE_SHORT = "column-file-short"
    INDEX_FILE_MISSING = "index-file-missing"
    SYMBOL_MAP_MISSING = "symbol-map-missing"
    SYMBOL_MAP_SHORT = "symbol-map-short"
    SYMBOL_MAP_INVALID = "symbol-map-invalid"
    COLUMN_FILE_INVALID = "column-file-invalid"  # of the right length, with content that no server writes
    INDEX_FILE_INVALID = "index-file-invalid"
    PARQUET_FILE_INVALID = "parquet-file-invalid"
    PARQUET_FORMAT_OLD = "parquet-format-old"
    TIMESTAMPS_INVALID = "timestamps-invalid"  # of a partition: not in order, or outside it
    SYMBOL_KEYS_UNKNOWN = "symbol-keys-unknown"
    REGISTRY_INVALID = "registry-invalid"
    RESTORE_PENDING = "restore-pending"
    CHECKPOINT_LEFT = "checkpoint-left"
    PARTITION_UNREADABLE = "partition-unreadable"  # the server fails on it, or counts other rows than it should have
    SUSPECT_VALUES = "suspect-values"  # zeros in a partition where the others have none
    NO_TABLES = "no-tables"
    TABLE_SET_ASIDE = "table-set-aside"  # by walmedic, until that is undone
    TABLE_IDS_LOW = "table-ids-low"  # new tables get ids that other tables have
    TABLE_DIRECTORY_GONE = "table-directory-gone"  # the registry names it, and it is not in the db directory
    DROPPED_TABLE_BACK = "dropped-table-back"  # the registry says that it was dropped, and its own log does not
    SEQUENCER_FOREIGN = "sequencer-foreign"  # of another table, or of an earlier life of this one
    WAL_FOREIGN = "wal-foreign"
    WAL_RENAMED = "wal-renamed"  # a directory with segments, and the WAL after which it is named is not there
    ENTRY_UNFINISHED = "entry-unfinished"  # an action of walmedic, or an undo, was cut off
    UNREADABLE = "unreadable"  # a file that could not be read: permission, I/O error, no such format
    CRASH_LOG_INVALID = "crash-log-invalid"  # an hs_err log that is empty, cut or not one at all


class Harm(StrEnum):
    """What QuestDB does to the table because of a finding once it starts, or is written to; `NONE`: nothing worse."""

    NONE = "none"
    DELETES_PARTITIONS = "deletes-partitions"
    DELETES_DIRECTORY = "deletes-directory"
    DROPS_PARTITION = "drops-partition"
    REWRITES_TABLE = "rewrites-table"
    LOSES_COLUMNS = "loses-columns"
    FILLS_WITH_ZEROS = "fills-with-zeros"
    SPOILS_SYMBOLS = "spoils-symbols"
    SHOWS_WRONG_ROWS = "shows-wrong-rows"
    FORGETS_TABLE = "forgets-table"
    ERASES_TABLE = "erases-table"
    DELETES_WAL = "deletes-wal"
    MISAPPLIES = "misapplies"
    TAKES_FOREIGN_ROWS = "takes-foreign-rows"
    STOPS_APPLYING = "stops-applying"
    ROLLS_BACK = "rolls-back"
    CRASHES = "crashes"
    HANGS = "hangs"
    DOES_NOT_START = "does-not-start"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation: `message` is one sentence for an operator, `file` relative to the db root, `offset` in bytes.

    `partition` and `column` name what of the table's rows it is about, where it is about one, `rows` how many of them
    (None: not known, or it is not about rows). `start` is what a start
    of the server does because of it, `write` what the next rows in order do.
    """

    code: Code
    severity: Severity
    message: str
    file: str | None = None
    offset: int | None = None
    seq_txn: int | None = None
    evidence: str = ""
    partition: str = ""
    column: str = ""
    start: Harm = Harm.NONE
    write: Harm = Harm.NONE
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class BlockedStep:
    """A step that would destroy data now, and why."""

    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class NextStep:
    """The one step recommended now: an action id (None: no action does it, `reason` says what a person can do).

    `evidence` says that evidence of the table as it is now comes first, and is not there yet as far as is known.
    """

    action: str | None
    reason: str
    evidence: bool = field(default=False, metadata=renamed("evidence_first"))

    @property
    def advice(self) -> str:
        return f"{self.reason}. First: QuestDB stopped, evidence captured" if self.evidence else self.reason

    @property
    def words(self) -> str:
        return f"{self.action}: {self.advice}" if self.action else self.advice


@dataclass(frozen=True, slots=True)
class SegmentRun:
    """Transactions `first`..`last` of a WAL segment, with their rows."""

    wal: int
    segment: int
    first: int
    last: int
    rows: int


def _no_runs() -> tuple[SegmentRun, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class TableHistory:
    """What walmedic's journal says of a table, as far as the advice rests on it.

    `evidence`: there is evidence of the table as it is now. `stopped_at`: the seqTxn at which the server stopped after
    the last resume-wal. `repaired_at`: epoch seconds of the end of the last repair of its sequencer, if the log in
    place comes from it; `left_out`: that repair announced a loss. `gave_up_at`: the end of the last repair of its
    partitions that gave up rows; the log may name them. `settled` reads which transactions are at risk no more:
    salvage-wal has written all their rows as files, or a resume-wal announced their loss.
    """

    evidence: bool = False
    stopped_at: int | None = None
    repaired_at: float | None = None
    left_out: bool = False
    gave_up_at: float | None = None
    settled: Callable[[], tuple[SegmentRun, ...]] = _no_runs


NO_HISTORY: Final = TableHistory()


@dataclass(frozen=True, slots=True)
class WaitingTxn:
    """One transaction that waits to be applied. `seq_txn` None: not known. Timestamps in the designated column's unit.

    `sure` is False where it may be applied already; `whole` tells whether the segment's columns hold what it says.
    """

    seq_txn: int | None
    segment_txn: int
    kind: str
    rows: int
    min_ts: int | None
    max_ts: int | None
    sure: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class WaitingSegment:
    """The transactions of one WAL segment that wait; `listed` are the first (all, unless very many)."""

    wal: int
    segment: int
    transactions: int
    rows: int
    min_ts: int | None
    max_ts: int | None
    whole: bool
    listed: tuple[WaitingTxn, ...] = ()


@dataclass(frozen=True, slots=True)
class TableReport:
    """What is known of one table. A number that cannot be known is None, with a finding that says why.

    `applied_txn` is `_txn` seqTxn plus the lag transactions; `logged_txn` the header's maxTxn. `rows_unapplied` and
    `rows_at_risk` come from the WAL segments, never from SQL: the latter are those that the server, as things are, will
    not apply, would purge, or would apply torn. `waiting` has the unapplied transactions by WAL segment.
    """

    table: str
    directory: str
    wal: bool
    verdict: Verdict
    can_read: bool | None
    can_write: bool | None
    applied_txn: int | None
    logged_txn: int | None
    rows_applied: int | None
    rows_unapplied: int | None
    rows_at_risk: int | None
    findings: tuple[Finding, ...]
    next_step: NextStep
    blocked_steps: tuple[BlockedStep, ...] = ()
    waiting: tuple[WaitingSegment, ...] = ()
    not_checked: tuple[Part, ...] = ()

    @property
    def problem(self) -> bool:
        """Whether anything but `healthy` is known of it."""
        return self.verdict is not Verdict.HEALTHY

    @property
    def unseen(self) -> str:
        """Return in a few words what was not looked at, empty if all was."""
        return ", ".join(part.words for part in self.not_checked)

    def has(self, *codes: Code) -> bool:
        return any(finding.code in codes for finding in self.findings)


_WORST_FIRST = (Verdict.BROKEN, Verdict.UNKNOWN, Verdict.AT_RISK, Verdict.HEALTHY)


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """The whole database: one report per table, findings that belong to none, and what was left out and why.

    `version` is the QuestDB that started here last, None where nothing tells; `versions_seen` are all that ever did.
    `views` are the stored queries of 9.3 and later, which hold no rows.
    """

    db_root: Path
    tables: tuple[TableReport, ...]
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False, metadata=LEFT_OUT)
    version: str | None = field(default=None, metadata=renamed("questdb_version"))
    versions_seen: tuple[str, ...] = field(default=(), metadata=renamed("questdb_versions_seen"))
    server: ServerState = ServerState.UNKNOWN
    views: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Return whether `check` exits 0: every table healthy, no damage elsewhere, the station's server not down."""
        if self.server is ServerState.DOWN:
            return False
        return all(t.verdict is Verdict.HEALTHY for t in self.tables) and not any(
            f.severity is not Severity.NOTE for f in self.findings
        )

    def worst_first(self) -> list[TableReport]:
        return sorted(self.tables, key=lambda table: (_WORST_FIRST.index(table.verdict), table.table))

    def to_json(self) -> dict[str, Any]:
        """Return the document of `check --json`."""
        return {"schema": 1, **to_json(self)}
