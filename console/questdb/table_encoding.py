"""Bytes of a `_txn` and of a `_cv` for a repair, the counterparts of their readers: pure functions, they write nothing.

The area of a `_txn` is A, so the version must be even. What is behind the last partition is zeros up to a whole page.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import I32_MIN
from console.questdb.formats.table import (
    CV_ENTRY,
    CV_HEADER,
    TXN_HEADER,
    TXN_PARTITION,
    TXN_PARTITIONS,
    TXN_RECORD,
    TXN_SYMBOL,
)
from console.questdb.table_txn import TxnArea

_PAGE: Final = 4096
_BASE: Final = TXN_HEADER.size
_SIZE: Final = TXN_PARTITION["rows"]
_STORED: Final = (
    "txn", "transient_rows", "fixed_rows", "min_ts", "max_ts", "metadata_version", "data_version",
    "partition_table_version", "column_version", "truncate_version", "seq_txn", "lag_txn_raw", "lag_rows",
    "lag_min_ts", "lag_max_ts",
)  # fmt: skip


def encode_table_txn(area: TxnArea) -> bytes:
    """Return the bytes of a `_txn` whose only area has the values of `area`; the lag's checksum is computed.

    Raises ValueError if the version is odd: then the header would point at area B, which is not there.
    """
    if area.txn % 2 or area.txn < 0:
        raise ValueError(f"version {area.txn}: an even one points at the area that is written")
    version, coded = area.metadata_version, area.structure_version
    record = bytearray(TXN_RECORD.size)
    TXN_RECORD.put(
        record,
        0,
        **{name: getattr(area, name) for name in _STORED},
        structure_version=0 if coded == version else I32_MIN if coded == 0 else coded,
        lag_checksum=area.lag_checksum_expected(),
        symbol_columns=len(area.symbols),
    )
    symbols = np.zeros(len(area.symbols), TXN_SYMBOL.dtype)
    for name in symbols.dtype.names or ():
        symbols[name] = area.symbols[name]
    partitions = _partitions(area)
    header = TXN_HEADER.pack(
        version=area.txn,
        a_offset=_BASE,
        a_symbol_bytes=len(symbols) * TXN_SYMBOL.size,
        a_partition_bytes=len(partitions),
    )
    content = header + bytes(record) + symbols.tobytes() + TXN_PARTITIONS.pack(bytes=len(partitions)) + partitions
    return content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")


def _partitions(area: TxnArea) -> bytes:
    stored = np.zeros(len(area.partitions), TXN_PARTITION.dtype)
    for name in stored.dtype.names or ():
        stored[name] = area.partitions[name]
    for flag, name in (("parquet", "parquet"), ("read only", "read_only")):
        stored["rows"] |= np.where(area.partitions[name], _SIZE.bit(flag).mask, 0).astype(np.int64)
    return stored.tobytes()


def encode_column_versions(version: int, entries: NDArray[Any]) -> bytes:
    """Return the bytes of a `_cv` with these entries (COLUMN_VERSION), which are put in the order that it needs."""
    stored = np.zeros(len(entries), CV_ENTRY.dtype)
    for name in stored.dtype.names or ():
        stored[name] = entries[name]
    ordered = stored[np.lexsort((stored["column"], stored["partition"]))]
    area = "b" if version % 2 else "a"
    header = CV_HEADER.pack(version=version, **{f"{area}_offset": CV_HEADER.size, f"{area}_size": ordered.nbytes})
    content = header + ordered.tobytes()
    return content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")
