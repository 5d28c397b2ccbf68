"""Table `_txn`: what of the table is applied (TxReader, TxWriter, TableUtils.TX_*). All integers little-endian.

The file holds two areas: the version's lowest bit says which is current, the other one is the state before. A writer
fills the other area and then moves the version, so that a reader takes a snapshot by reading the version twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import I32_MIN, Fields
from console.questdb.formats.table import TXN_HEADER, TXN_PARTITION, TXN_PARTITIONS, TXN_RECORD, TXN_SYMBOL
from console.questdb.reading import (
    DamageError,
    DbFile,
    Problem,
    ProblemKind,
    join_problems,
    opened,
    problem_of,
)

_ATTEMPTS: Final = 8
_MAX_SECTION: Final = 64 << 20
_SIZE: Final = TXN_PARTITION["rows"]

PARTITION: Final = np.dtype([*TXN_PARTITION.dtype.descr, ("parquet", "?"), ("read_only", "?")])
"""One attached partition: floor timestamp in the designated column's unit; `name_txn` -1: directory without suffix."""
SYMBOL_COUNT: Final = TXN_SYMBOL.dtype
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
    def applied_txn(self) -> int:
        """Where applying resumes after: `seq_txn` plus the lag's transactions (TableWriter.getAppliedSeqTxn)."""
        return self.seq_txn + self.lag_txns

    @property
    def applied_at_start(self) -> int:
        """Where a server that starts resumes after: it takes a lag whose checksum is wrong for none (TxReader)."""
        return self.applied_txn if self.lag_checksum == self.lag_checksum_expected() else self.seq_txn

    @property
    def offset_seq_txn(self) -> int:
        return self.base + TXN_RECORD.at("seq_txn")

    @property
    def offset_lag_txns(self) -> int:
        return self.base + TXN_RECORD.at("lag_txn_raw")

    def lag_checksum_expected(self) -> int:
        """Return the i32 that the server would store for these lag fields (TableUtils.calculateTxnLagChecksum)."""
        return int(self._checksums(np.array([self.seq_txn]).astype("u8"))[0])

    def seq_txns_by_checksum(self, last: int) -> list[int]:
        """Return the seqTxn from 0 to `last` that the stored checksum fits, with the other fields as they are.

        A wrong one fits by chance in one of 2^32.
        """
        found: list[int] = []
        for first in range(0, last + 1, _CHUNK):
            tried = np.arange(first, min(first + _CHUNK, last + 1), dtype="u8")
            found += tried[self._checksums(tried) == self.lag_checksum].tolist()
        return found

    def _checksums(self, seq_txn: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the i32 for each u64 of `seq_txn`; sums and products are those of i64, modulo 2^64."""
        total = (self.lag_min_ts * 31 + self.lag_max_ts) * 31 + self.txn
        after = (seq_txn + np.uint64(total * 31 & _U64)) * np.uint64(31 * 31)
        after += np.uint64(self.lag_rows * 31 + self.lag_txn_raw & _U64)
        return (after ^ (after >> np.uint64(32))).astype("u4").view("i4")


_U64: Final = (1 << 64) - 1
_CHUNK: Final = 1 << 18
_COUNTS: Final = {
    "transient_rows": "rows in its last partition",
    "fixed_rows": "rows in its other partitions",
    "seq_txn": "transactions",
    "lag_rows": "rows of lag",
}


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
    problems: tuple[Problem, ...]


def parse_txn_header(data: bytes) -> TxnHeader:
    """Return the header in the first 64 bytes. Raises DamageError where they are fewer."""
    header = TXN_HEADER.read(Fields(data))
    a, b = ((header[f"{x}_offset"], header[f"{x}_symbol_bytes"], header[f"{x}_partition_bytes"]) for x in "ab")
    return TxnHeader(header["version"], (a, b))


def parse_txn_area(data: bytes, base: int) -> TxnArea:
    """Return the record in `data`, which begins at offset `base` of the file. Raises DamageError where it is no record.

    The section sizes come from the record itself; the caller compares them with the header's.
    """
    fields = Fields(data, base)
    record = TXN_RECORD.read(fields)
    for name, what in _COUNTS.items():
        if record[name] < 0:
            raise DamageError(f"{record[name]:,} {what}", base + TXN_RECORD.at(name))
    symbol_count = record.pop("symbol_columns")
    if not 0 <= symbol_count <= _MAX_SECTION // TXN_SYMBOL.size:
        raise DamageError(f"symbol column count {symbol_count:,}", base + TXN_RECORD.at("symbol_columns"))
    at = TXN_RECORD.size + TXN_SYMBOL.size * symbol_count
    partition_bytes = TXN_PARTITIONS.value("bytes", fields, at)
    if partition_bytes < 0 or partition_bytes % TXN_PARTITION.size or partition_bytes > _MAX_SECTION:
        raise DamageError(f"partition section of {partition_bytes:,} bytes", base + at)
    stored = TXN_PARTITION.array(fields, at + TXN_PARTITIONS.size, partition_bytes // TXN_PARTITION.size)
    coded = record["structure_version"]
    record["structure_version"] = {0: record["metadata_version"], I32_MIN: 0}.get(coded, coded)
    del record["reserved"]
    return TxnArea(
        base=base,
        symbols=TXN_SYMBOL.array(fields, TXN_RECORD.size, symbol_count),
        partitions=_partitions(stored, record["transient_rows"]),
        **record,
    )


def _partitions(stored: NDArray[np.void], transient_rows: int) -> NDArray[Any]:
    partitions = np.zeros(len(stored), PARTITION)
    for name in stored.dtype.names or ():
        partitions[name] = stored[name]
    rows = _SIZE.bit("rows")
    partitions["rows"] = rows.of(stored["rows"])
    partitions["parquet"] = _SIZE.bit("parquet").of(stored["rows"])
    partitions["read_only"] = _SIZE.bit("read only").of(stored["rows"])
    if len(partitions):
        partitions["rows"][-1] = rows.of(transient_rows)
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
            return TableTxn(path, None, None, None, 0, (file,)), True
        try:
            header = parse_txn_header(file.read(0, TXN_HEADER.size))
            current, problem = _area(file, header, header.version & 1)
            other, _ = _area(file, header, 1 - (header.version & 1))
            settled = TXN_HEADER.value("version", Fields(file.read(0, 8))) == header.version
        except (DamageError, OSError) as error:
            return TableTxn(path, None, None, None, file.size, (problem_of(error, path),)), True
        if current is not None and current.txn != header.version:
            what = f"its current record is of transaction {current.txn:,}, its header says {header.version:,}"
            problem = Problem(ProblemKind.INVALID, what, path, current.base)
        return TableTxn(path, header, current, other, file.size, join_problems(problem)), settled


def _area(file: DbFile, header: TxnHeader, which: int) -> tuple[TxnArea | None, Problem | None]:
    base, symbol_bytes, partition_bytes = header.areas[which]
    at = TXN_HEADER.at("ab"[which] + "_offset")
    try:
        if base < TXN_HEADER.size:
            raise DamageError(f"its area {'AB'[which]} begins at {base}, inside the header", at)
        if not (0 <= symbol_bytes <= _MAX_SECTION and 0 <= partition_bytes <= _MAX_SECTION):
            raise DamageError(f"sections of {symbol_bytes:,} and {partition_bytes:,} bytes", at + 4)
        size = TXN_RECORD.size + symbol_bytes + TXN_PARTITIONS.size + partition_bytes
        area = parse_txn_area(file.read(base, size), base)
        symbols, partitions = symbol_bytes / TXN_SYMBOL.size, partition_bytes / TXN_PARTITION.size
        if len(area.symbols) != symbols or len(area.partitions) != partitions:
            raise DamageError(
                f"{len(area.symbols)} symbol columns and {len(area.partitions)} partitions, where its header has "
                f"{int(symbols)} and {int(partitions)}",
                base + TXN_RECORD.at("symbol_columns"),
            )
    except DamageError as damage:
        return None, damage.problem(file.path)
    return area, None
