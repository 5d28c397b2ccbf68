"""What a decoded file is made of, for the browser and for `walmedic inspect`: kinds, fields, a file's description."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from console.diagnosis.model import Finding
from console.records import LEFT_OUT, renamed


class FileKind(StrEnum):
    """Every file of the family that can be decoded; `OTHER` is anything else."""

    LOG_V1 = "transaction log V1"
    LOG_V2 = "transaction log V2, header only"
    LOG_PART = "part of a V2 transaction log"
    LOG_DAMAGED = "transaction log, version unknown"
    STRUCTURE_INDEX = "index of structure changes"
    STRUCTURE_CHANGES = "structure changes"
    WAL_INDEX = "highest wal id"
    TABLE_INDEX = "highest table id"
    SEQUENCER_METADATA = "sequencer metadata"
    SEGMENT_METADATA = "segment metadata"
    TABLE_METADATA = "table metadata"
    SEGMENT_EVENTS = "segment events"
    SEGMENT_EVENT_INDEX = "index of segment events"
    TABLE_TXN = "table transaction file"
    COLUMN_VERSIONS = "column versions"
    REGISTRY = "registry of WAL tables"
    UPGRADE = "versions of the files"
    TODO = "unfinished file operations"
    CONVERSION = "conversion at the next start"
    TABLE_NAME = "name of a table"
    RESTORE = "order to go back to the checkpoint at the next start"
    CHECKPOINT = "instance that made a checkpoint"
    CRASH_LOG = "crash log of the Java machine"
    SYMBOL_OFFSETS = "offsets of the symbols of a column"
    SYMBOL_VALUES = "symbols of a column"
    INDEX_KEYS = "keys of an index"
    INDEX_ROWS = "row numbers of an index"
    VIEW_DEFINITION = "definition of a view"
    VIEW_STATE = "state of a materialised view"
    COLUMN_VALUES = "values of a column"
    COLUMN_OFFSETS = "offsets of the values of a column"
    PARQUET = "partition in Parquet"
    OTHER = "not one of the files that walmedic decodes"


@dataclass(frozen=True, slots=True)
class Field:
    """One named run of bytes: `offset` from the start of the file and `size` in bytes, `value` as text.

    `meaning` is one sentence about this very value; `is_normal` says whether a healthy server leaves such a value here.
    `missing` marks a field that the header promises and the file is too short to hold.
    """

    name: str
    offset: int
    size: int
    value: str
    meaning: str
    is_normal: bool = True
    missing: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class RecordView:
    """The record, or header, that an offset lies in. `seq_txn` where a record belongs to a transaction."""

    title: str  # e.g. `record of seqTxn 7,607,751`
    offset: int
    size: int
    fields: tuple[Field, ...]
    seq_txn: int | None = None

    def field_at(self, offset: int) -> Field | None:
        return next((field for field in self.fields if field.offset <= offset < field.end), None)


@dataclass(frozen=True, slots=True)
class FileDescription:
    """A whole file: what it is, one line about it, its records where it is made of records, its findings.

    Records are `record_size` bytes each, the first at `record_base`, `record_count` of them inside the file and inside
    what its header says. `seq_txn_base` is the seqTxn of the first record, None where records are no transactions.
    """

    path: Path = field(metadata=renamed("file"))
    kind: FileKind
    summary: str
    size: int
    record_base: int | None = None
    record_size: int | None = None
    record_count: int | None = None
    seq_txn_base: int | None = field(default=None, metadata=LEFT_OUT)
    findings: tuple[Finding, ...] = ()
