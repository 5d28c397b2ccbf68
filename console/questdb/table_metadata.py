"""Table `_meta`: columns, partitioning, WAL flag (docs/formats.md, columns; TableUtils.META_OFFSET_*)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from console.questdb.column_types import ColumnTag, tag_of, type_name
from console.questdb.fields import Fields
from console.questdb.reading import DamageError, FileStamp, Problem, ProblemKind, join_problems, later_looks, read_small
from console.text import clean_line

VERSION: Final = 426
"""ColumnType.VERSION of 9.1.0: the only value at offset 12 that it accepts."""

PARTITION_UNITS: Final = ("DAY", "MONTH", "YEAR", "NONE", "HOUR", "WEEK")
MAX_COLUMNS: Final = 100_000
HEADER_SIZE: Final = 128
_COLUMN_SIZE: Final = 32
_FLAG_INDEXED, _FLAG_CACHED, _FLAG_DEDUP_KEY = 1, 4, 8


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column as the table `_meta` has it; dropped ones stay in the list (their type is stored negative)."""

    index: int
    name: str
    raw_name: str
    type_code: int
    dropped: bool
    indexed: bool
    cached: bool
    dedup_key: bool
    symbol_capacity: int
    replaces: int | None
    index_capacity: int = 0  # values of one block of the index

    @property
    def tag(self) -> ColumnTag | None:
        """The type without its parameters; None where 9.1.0 knows no such type."""
        return tag_of(self.type_code)

    @property
    def type_name(self) -> str:
        """The type's name for showing."""
        return type_name(self.type_code)


@dataclass(frozen=True, slots=True)
class TableMetadata:
    """Content of a table `_meta`. `partition_by` is an index into PARTITION_UNITS; `timestamp_index` -1 means none."""

    path: Path
    partition_by: int
    timestamp_index: int
    version: int
    table_id: int
    metadata_version: int
    wal: bool
    max_uncommitted_rows: int
    o3_max_lag_us: int
    ttl: int
    columns: tuple[TableColumn, ...]
    stamp: FileStamp | None
    problems: tuple[Problem, ...]

    @property
    def timestamp(self) -> TableColumn | None:
        """The designated timestamp column."""
        return self.columns[self.timestamp_index] if 0 <= self.timestamp_index < len(self.columns) else None

    @property
    def partition_unit(self) -> str | None:
        """The unit's name, None where the stored value is none of them."""
        return PARTITION_UNITS[self.partition_by] if 0 <= self.partition_by < len(PARTITION_UNITS) else None

    @property
    def has_dedup(self) -> bool:
        """Whether deduplication is on: some live column is a dedup key."""
        return any(column.dedup_key and not column.dropped for column in self.columns)

    @property
    def unusable(self) -> str:
        """Return why no row can be read by it, empty where rows can: no columns, or one whose type is not known."""
        if not self.columns:
            return "it names no columns"
        if not -1 <= self.timestamp_index < len(self.columns):
            return f"its designated timestamp is column {self.timestamp_index} of {len(self.columns)}"
        unknown = next((column for column in self.columns if not column.dropped and column.tag is None), None)
        if unknown is None:
            return ""
        return (
            f"column {unknown.name} has the unknown {unknown.type_name}: damage, or a later QuestDB than this walmedic "
            "knows"
        )

    @property
    def symbols(self) -> tuple[TableColumn, ...]:
        """The live symbol columns in order: `_txn` counts exactly these."""
        return tuple(column for column in self.columns if not column.dropped and column.tag is ColumnTag.SYMBOL)


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """The two facts that the registry needs of a `_meta`; None where they cannot be read."""

    table_id: int | None
    wal: bool | None
    problems: tuple[Problem, ...]


def read_table_identity(table: Path) -> TableIdentity:
    """Return table id (offset 16) and WAL flag (offset 40) of the table directory `table`."""
    file = read_small(table / "_meta")
    if not file.present:
        for _ in later_looks():
            file = read_small(table / "_meta")
            if file.present:
                break
    fields = Fields(file.data)
    if not file.present or len(file.data) < 41:
        short = (
            Problem(ProblemKind.SHORT, f"it is only {len(file.data)} bytes long", file.path) if file.present else None
        )
        return TableIdentity(None, None, join_problems(file.problem, short))
    return TableIdentity(fields.i32(16), fields.i8(40) != 0, join_problems(file.problem))


def parse_table_metadata(data: bytes, file: Path) -> TableMetadata:
    """Return the metadata in `data`. Raises DamageError where the header or a column does not fit.

    A version other than 426 and a checksum that does not match are problems of the value, not errors.
    """
    fields = Fields(data)
    count = fields.i32(0)
    if not 0 <= count <= MAX_COLUMNS:
        raise DamageError(f"column count {count:,}", 0)
    fields.need(0, HEADER_SIZE + _COLUMN_SIZE * count)
    at = HEADER_SIZE + _COLUMN_SIZE * count
    columns: list[TableColumn] = []
    problems: list[Problem] = []
    for index in range(count):
        base = HEADER_SIZE + _COLUMN_SIZE * index
        stored = fields.i32(base)
        flags = fields.i64(base + 4)
        name, at = fields.string(at, limit=4096)
        replaced = fields.i32(base + 24)
        if tag_of(abs(stored)) is None:
            problems.append(Problem(ProblemKind.INVALID, f"column {index} has the unknown type {stored}", file, base))
        columns.append(
            TableColumn(
                index=index,
                name=clean_line(name or ""),
                raw_name=name or "",
                type_code=abs(stored),
                dropped=stored < 0,
                indexed=bool(flags & _FLAG_INDEXED),
                cached=bool(flags & _FLAG_CACHED),
                dedup_key=bool(flags & _FLAG_DEDUP_KEY),
                symbol_capacity=fields.i32(base + 16),
                replaces=replaced - 1 if 0 < replaced <= count else None,
                index_capacity=fields.i32(base + 12),
            )
        )
    metadata = TableMetadata(
        path=file,
        partition_by=fields.i32(4),
        timestamp_index=fields.i32(8),
        version=fields.i32(12),
        table_id=fields.i32(16),
        metadata_version=fields.i64(32),
        wal=fields.i8(40) != 0,
        max_uncommitted_rows=fields.i32(20),
        o3_max_lag_us=fields.i64(24),
        ttl=fields.i32(45),
        columns=tuple(columns),
        stamp=None,
        problems=(),
    )
    if metadata.version != VERSION:
        problems.append(Problem(ProblemKind.INVALID, f"version {metadata.version}, where {VERSION} belongs", file, 12))
    if metadata.partition_unit is None:
        problems.append(Problem(ProblemKind.INVALID, f"partition unit {metadata.partition_by}", file, 4))
    if not -1 <= metadata.timestamp_index < count:
        problems.append(
            Problem(ProblemKind.INVALID, f"timestamp column {metadata.timestamp_index} of {count}", file, 8)
        )
    return replace(metadata, problems=tuple(problems))


def read_table_metadata(table: Path) -> TableMetadata | Problem:
    """Return `_meta` of the directory `table`, or the problem where it is missing, unreadable or makes no sense."""
    result = _read_once(table)
    if isinstance(result, Problem):
        for _ in later_looks():  # a server puts a new file in its place by two renames
            result = _read_once(table)
            if isinstance(result, TableMetadata):
                break
    return result


def _read_once(table: Path) -> TableMetadata | Problem:
    file = read_small(table / "_meta")
    if not file.present:
        return file.problem or Problem(ProblemKind.MISSING, "there is no such file", file.path)
    try:
        metadata = parse_table_metadata(file.data, file.path)
    except DamageError as damage:
        return damage.problem(file.path)
    return replace(metadata, stamp=file.stamp, problems=join_problems(file.problem, metadata.problems))
