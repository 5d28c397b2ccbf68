"""Table `_txn`: what of the table is applied (TxReader, TxWriter, TableUtils.TX_*). All integers little-endian.

The file holds two areas: the version's lowest bit says which is current, the other one is the state before. A writer
fills the other area and then moves the version, so that a reader takes a snapshot by reading the version twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields
from console.questdb.reading import (
    DamageError,
    DbFile,
    FileStamp,
    Problem,
    ProblemKind,
    join_problems,
    opened,
    problem_of,
)

HEADER_SIZE: Final = 64
RECORD_FIXED: Final = 132
_ATTEMPTS: Final = 8
_MAX_SECTION: Final = 64 << 20
_SIZE_MASK: Final = (1 << 44) - 1
_PARQUET_BIT, _READ_ONLY_BIT = 61, 62

PARTITION: Final = np.dtype(
    [
        ("timestamp", "<i8"),
        ("rows", "<i8"),
        ("parquet", "?"),
        ("read_only", "?"),
        ("name_txn", "<i8"),
        ("parquet_size", "<i8"),
    ]
)
"""One attached partition: floor timestamp in the designated column's unit; `name_txn` -1: directory without suffix."""
SYMBOL_COUNT: Final = np.dtype([("count", "<i4"), ("transient", "<i4")])
"""One symbol column, in the order of the live symbol columns of `_meta`."""


@dataclass(frozen=True, slots=True)
class TxnHeader:
    """The 64 bytes at the start: version, and offset, symbol bytes and partition bytes of areas A and B."""

    version: int
    areas: tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class TxnArea:
    """One of the two records. Row counts in rows, timestamps in the unit of the designated column.

    An empty table has min_ts = i64 max and max_ts = i64 min; one without partitions never stores a min_ts. `symbols` is
    SYMBOL_COUNT, `partitions` is PARTITION with the last partition's rows corrected (its stored size is stale).
    """

    base: int
    txn: int
    transient_rows: int
    fixed_rows: int
    min_ts: int
    max_ts: int
    metadata_version: int
    structure_version: int
    data_version: int
    partition_table_version: int
    column_version: int
    truncate_version: int
    seq_txn: int
    lag_checksum: int
    lag_txn_raw: int
    lag_rows: int
    lag_min_ts: int
    lag_max_ts: int
    symbols: NDArray[np.void]
    partitions: NDArray[np.void]

    @property
    def rows(self) -> int:
        """Rows that a reader of the table sees."""
        return self.transient_rows + self.fixed_rows

    @property
    def lag_txns(self) -> int:
        """Transactions applied to the lag: committed, in the last partition's files, not yet visible."""
        return abs(self.lag_txn_raw)

    @property
    def lag_ordered(self) -> bool:
        """Whether the lag rows are in timestamp order."""
        return self.lag_txn_raw >= 0

    @property
    def applied_txn(self) -> int:
        """Where applying resumes after: `seq_txn` plus the lag's transactions (TableWriter.getAppliedSeqTxn)."""
        return self.seq_txn + self.lag_txns

    @property
    def offset_seq_txn(self) -> int:
        """The byte of the file where seqTxn is."""
        return self.base + 80

    @property
    def offset_lag_txns(self) -> int:
        """The byte of the file where the lag's transaction count is."""
        return self.base + 92

    def lag_checksum_expected(self) -> int:
        """Return the i32 that the server would store for these lag fields (TableUtils.calculateTxnLagChecksum)."""
        total = self.lag_min_ts
        for value in (self.lag_max_ts, self.txn, self.seq_txn, self.lag_rows, self.lag_txn_raw):
            total = (total * 31 + value) & _U64
        low = (total ^ (total >> 32)) & 0xFFFFFFFF
        return low - (1 << 32) if low >> 31 else low


_U64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TableTxn:
    """A consistent snapshot of `_txn`. `current` is None where its area is damaged, then `problems` says how.

    `other` is the state before, None where that area is empty, not there or damaged (no problem: a new table has none).
    """

    path: Path
    header: TxnHeader | None
    current: TxnArea | None
    other: TxnArea | None
    file_size: int
    stamp: FileStamp | None
    problems: tuple[Problem, ...]


def parse_txn_header(data: bytes) -> TxnHeader:
    """Return the header in the first 64 bytes. Raises DamageError where they are fewer."""
    fields = Fields(data)
    fields.need(0, HEADER_SIZE)
    area_a = (fields.i32(8), fields.i32(12), fields.i32(16))
    area_b = (fields.i32(32), fields.i32(36), fields.i32(40))
    return TxnHeader(fields.i64(0), (area_a, area_b))


def parse_txn_area(data: bytes, base: int) -> TxnArea:
    """Return the record in `data`, which begins at offset `base` of the file. Raises DamageError where it is no record.

    The section sizes come from the record itself; the caller compares them with the header's.
    """
    fields = Fields(data, base)
    fields.need(0, RECORD_FIXED)
    versions = fields.i64(40)
    metadata_version = _signed32(versions & 0xFFFFFFFF)
    coded = versions >> 32 & 0xFFFFFFFF
    structure = {0: metadata_version, 0x80000000: 0}.get(coded, _signed32(coded))
    for at, what in ((8, "rows in its last partition"), (16, "rows in its other partitions"), (80, "transactions")):
        if fields.i64(at) < 0:
            raise DamageError(f"{fields.i64(at):,} {what}", base + at)
    if fields.i32(96) < 0:
        raise DamageError(f"{fields.i32(96):,} rows of lag", base + 96)
    symbol_count = fields.i32(128)
    if not 0 <= symbol_count <= _MAX_SECTION // 8:
        raise DamageError(f"symbol column count {symbol_count:,}", base + 128)
    symbols = np.frombuffer(_slice(fields, RECORD_FIXED, 8 * symbol_count), SYMBOL_COUNT)
    at = RECORD_FIXED + 8 * symbol_count
    partition_bytes = fields.i32(at)
    if partition_bytes < 0 or partition_bytes % 32 or partition_bytes > _MAX_SECTION:
        raise DamageError(f"partition section of {partition_bytes:,} bytes", base + at)
    stored = np.frombuffer(_slice(fields, at + 4, partition_bytes), "<i8").reshape(-1, 4)
    transient = fields.i64(8)
    return TxnArea(
        base=base,
        txn=fields.i64(0),
        transient_rows=transient,
        fixed_rows=fields.i64(16),
        min_ts=fields.i64(24),
        max_ts=fields.i64(32),
        metadata_version=metadata_version,
        structure_version=structure,
        data_version=fields.i64(48),
        partition_table_version=fields.i64(56),
        column_version=fields.i64(64),
        truncate_version=fields.i64(72),
        seq_txn=fields.i64(80),
        lag_checksum=fields.i32(88),
        lag_txn_raw=fields.i32(92),
        lag_rows=fields.i32(96),
        lag_min_ts=fields.i64(100),
        lag_max_ts=fields.i64(108),
        symbols=symbols,
        partitions=_partitions(stored, transient),
    )


def _partitions(stored: NDArray[np.int64], transient_rows: int) -> NDArray[Any]:
    partitions = np.zeros(len(stored), PARTITION)
    partitions["timestamp"] = stored[:, 0]
    partitions["rows"] = stored[:, 1] & _SIZE_MASK
    partitions["parquet"] = (stored[:, 1] >> _PARQUET_BIT) & 1
    partitions["read_only"] = (stored[:, 1] >> _READ_ONLY_BIT) & 1
    partitions["name_txn"] = stored[:, 2]
    partitions["parquet_size"] = stored[:, 3]
    if len(partitions):
        partitions["rows"][-1] = transient_rows & _SIZE_MASK
    return partitions


def read_table_txn(table: Path) -> TableTxn:
    """Return `_txn` of the directory `table`, read again until its version stands still (a server may write it)."""
    path = table / "_txn"
    result, settled = _snapshot(path)
    for _ in range(_ATTEMPTS - 1):
        if settled:
            break
        result, settled = _snapshot(path)
    return result


def _snapshot(path: Path) -> tuple[TableTxn, bool]:
    """Return what one reading found, and whether another would find the same (False: the version moved meanwhile)."""
    with opened(path) as file:
        if isinstance(file, Problem):
            return TableTxn(path, None, None, None, 0, None, (file,)), True
        try:
            header = parse_txn_header(file.read(0, HEADER_SIZE))
            current, problem = _area(file, header, header.version & 1)
            other, _ = _area(file, header, 1 - (header.version & 1))
            settled = file.read(0, 8) == header.version.to_bytes(8, "little", signed=True)
        except DamageError as damage:
            return TableTxn(path, None, None, None, file.size, file.stamp, (damage.problem(path),)), True
        except OSError as error:
            return TableTxn(path, None, None, None, file.size, file.stamp, (problem_of(error, path),)), True
        if current is not None and current.txn != header.version:
            what = f"its current record is of transaction {current.txn:,}, its header says {header.version:,}"
            problem = Problem(ProblemKind.INVALID, what, path, current.base)
        return TableTxn(path, header, current, other, file.size, file.stamp, join_problems(problem)), settled


def _area(file: DbFile, header: TxnHeader, which: int) -> tuple[TxnArea | None, Problem | None]:
    base, symbol_bytes, partition_bytes = header.areas[which]
    at = 8 if which == 0 else 32
    try:
        if base < HEADER_SIZE:
            raise DamageError(f"its area {'AB'[which]} begins at {base}, inside the header", at)
        if not (0 <= symbol_bytes <= _MAX_SECTION and 0 <= partition_bytes <= _MAX_SECTION):
            raise DamageError(f"sections of {symbol_bytes:,} and {partition_bytes:,} bytes", at + 4)
        size = RECORD_FIXED + symbol_bytes + 4 + partition_bytes
        area = parse_txn_area(file.read(base, size), base)
        if 8 * len(area.symbols) != symbol_bytes or 32 * len(area.partitions) != partition_bytes:
            raise DamageError(
                f"{len(area.symbols)} symbol columns and {len(area.partitions)} partitions, where its header has "
                f"{symbol_bytes // 8} and {partition_bytes // 32}",
                base + 128,
            )
    except DamageError as damage:
        return None, damage.problem(file.path)
    return area, None


def _slice(fields: Fields, at: int, count: int) -> bytes:
    fields.need(at, count)
    return fields.data[at : at + count]


def _signed32(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
