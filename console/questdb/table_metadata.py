"""Table `_meta`: columns, partitioning, WAL flag (formats/table.py has the fields)."""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from console.questdb.column_types import ColumnTag, tag_of, type_name
from console.questdb.fields import Fields
from console.questdb.formats.model import FIRST
from console.questdb.formats.table import META_COLUMN, META_HEADER
from console.questdb.reading import DamageError, Problem, ProblemKind, join_problems, later_looks, read_small
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.table_name import SEQUENCER, id_of_directory
from console.text import clean_line

VERSION: Final = 426
"""ColumnType.VERSION of 9.1.0: the only value at offset 12 that it accepts."""

PARTITION_UNITS: Final = tuple(code.name for code in META_HEADER["partition_by"].codes if code.since == FIRST)
MAX_COLUMNS: Final = 100_000
_MOST_CAPACITY: Final = 1 << 30
_PLAIN: Final = (
    "partition_by", "timestamp_index", "version", "table_id", "metadata_version", "max_uncommitted_rows",
    "o3_max_lag_us",
)  # fmt: skip
_FLAGS: Final = META_COLUMN["flags"]


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
    symbol_capacity: int | None  # None: not known, as in a table that 8.2 or before altered
    replaces: int | None
    index_capacity: int = 0  # values of one block of the index

    @property
    def tag(self) -> ColumnTag | None:
        """The type without its parameters; None where 9.1.0 knows no such type."""
        return tag_of(self.type_code)

    @property
    def type_name(self) -> str:
        return type_name(self.type_code)


@dataclass(frozen=True, slots=True)
class TableMetadata:
    """Content of a table `_meta`. `partition_by` is an index into PARTITION_UNITS; `timestamp_index` -1 means none.

    `ttl` is in hours, or minus months; 0 also where the checksum beside it says that it does not count.
    """

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
    problems: tuple[Problem, ...]

    @property
    def timestamp(self) -> TableColumn | None:
        return self.columns[self.timestamp_index] if 0 <= self.timestamp_index < len(self.columns) else None

    @property
    def partition_unit(self) -> str | None:
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
    """Return table id and WAL flag of the table directory `table`."""
    file = read_small(table / "_meta")
    if not file.present:
        for _ in later_looks():
            file = read_small(table / "_meta")
            if file.present:
                break
    fields = Fields(file.data)
    if not file.present or len(file.data) <= META_HEADER.at("wal"):
        short = (
            Problem(ProblemKind.SHORT, f"it is only {len(file.data)} bytes long", file.path) if file.present else None
        )
        return TableIdentity(None, None, join_problems(file.problem, short))
    return TableIdentity(
        META_HEADER.value("table_id", fields), META_HEADER.value("wal", fields) != 0, join_problems(file.problem)
    )


def parse_table_metadata(data: bytes, file: Path) -> TableMetadata:
    """Return the metadata in `data`. Raises DamageError where the header or a column does not fit.

    A version other than 426 and a checksum that does not match are problems of the value, not errors.
    """
    fields = Fields(data)
    count = META_HEADER.value("columns", fields)
    if not 0 <= count <= MAX_COLUMNS:
        raise DamageError(f"column count {count:,}", 0)
    header, stored = META_HEADER.read(fields), META_COLUMN.array(fields, META_HEADER.size, count)
    at = META_HEADER.size + META_COLUMN.size * count
    columns: list[TableColumn] = []
    problems: list[Problem] = []
    for index, each in enumerate(stored):
        base = META_HEADER.size + META_COLUMN.size * index
        code, flags, replaced = int(each["type"]), int(each["flags"]), int(each["replaces"])
        name, at = fields.string(at, limit=4096)
        if tag_of(abs(code)) is None:
            problems.append(Problem(ProblemKind.INVALID, f"column {index} has the unknown type {code}", file, base))
        columns.append(
            TableColumn(
                index=index,
                name=clean_line(name or ""),
                raw_name=name or "",
                type_code=abs(code),
                dropped=code < 0,
                indexed=bool(_FLAGS.bit("indexed").of(flags)),
                cached=bool(_FLAGS.bit("symbol cache").of(flags)),
                dedup_key=bool(_FLAGS.bit("deduplication key").of(flags)),
                symbol_capacity=_capacity(int(each["symbol_capacity"])),
                replaces=replaced - 1 if 0 < replaced <= count else None,
                index_capacity=int(each["index_capacity"]),
            )
        )
    metadata = TableMetadata(
        path=file,
        wal=header["wal"] != 0,
        **{name: header[name] for name in _PLAIN},
        ttl=header["ttl"] if header["minor_checksum"] == minor_checksum(header["metadata_version"], count) else 0,
        columns=tuple(columns),
        problems=(),
    )
    checks = (
        (metadata.version == VERSION, "version", f"version {metadata.version}, where {VERSION} belongs"),
        (metadata.partition_unit is not None, "partition_by", f"partition unit {metadata.partition_by}"),
        (
            -1 <= metadata.timestamp_index < count,
            "timestamp_index",
            f"timestamp column {metadata.timestamp_index} of {count}",
        ),
    )
    problems += [
        Problem(ProblemKind.INVALID, what, file, META_HEADER.at(name)) for fine, name, what in checks if not fine
    ]
    return replace(metadata, problems=tuple(problems))


def _capacity(stored: int) -> int | None:
    """Return a capacity, always a power of 2; an ALTER of 8.2 and before leaves zero or a random number."""
    return stored if 0 < stored <= _MOST_CAPACITY and not stored & (stored - 1) else None


def read_table_metadata(table: Path, name: str = "_meta") -> TableMetadata | Problem:
    """Return `_meta` of the directory `table`, or the problem where it is missing, unreadable or makes no sense.

    `name` is another file with the same content, such as `_meta.prev`.
    """
    result = _read_once(table / name)
    if isinstance(result, Problem):
        for _ in later_looks():  # a server puts a new file in its place by two renames
            result = _read_once(table / name)
            if isinstance(result, TableMetadata):
                break
    return result


def _read_once(path: Path) -> TableMetadata | Problem:
    file = read_small(path)
    if not file.present:
        return file.problem or Problem(ProblemKind.MISSING, "there is no such file", file.path)
    try:
        metadata = parse_table_metadata(file.data, file.path)
    except DamageError as damage:
        return damage.problem(file.path)
    if not metadata.problems and (whose := _of_another(path, metadata.table_id)) is not None:
        return whose
    return replace(metadata, problems=join_problems(file.problem, metadata.problems))


def _of_another(path: Path, table_id: int) -> Problem | None:
    """Return what is wrong where `_meta` alone has another table id than the directory's name and the sequencer.

    Every SELECT from such a table fails, while its WAL is applied by that `_meta` (measured on 9.1.0).
    """
    named = id_of_directory(path.parent.name)
    if named in (0, table_id):
        return None
    for folder in chain([path.parent / SEQUENCER], path.parent.glob("wal[0-9]*/[0-9]*")):
        own = read_sequencer_metadata(folder)
        if not isinstance(own, Problem):
            break
    else:
        return None
    if own.table_id != named:
        return None
    what = f"its table id is {table_id:,}; the directory's name and {folder.relative_to(path.parent)} say {named:,}"
    return Problem(ProblemKind.INVALID, what, path, META_HEADER.at("table_id"))


def minor_checksum(metadata_version: int, columns: int) -> int:
    """Return the i16 that must be there for the fields behind it to count (TableUtils.calculateMetaFormatMinorVersion).

    `metadata_version` is an i64, `columns` the count with dropped ones.
    """
    folded = (metadata_version ^ (metadata_version >> 32)) & 0xFFFFFFFF
    total = (13 * folded + 37 * columns) & 0xFFFFFFFF
    low = (total ^ (total >> 16)) & 0xFFFF
    signed = low - (1 << 16) if low >> 15 else low
    return signed or -1337
