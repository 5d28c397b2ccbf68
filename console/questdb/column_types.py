"""Column types of QuestDB up to 9.3.4 (ColumnType.java): a tag in the low byte, parameters above it.

A geohash has its bits above the tag. A decimal (from 9.2.0) has its precision at bit 8 and its scale at bit 18; it is
an integer of 1 to 32 bytes, in units of 10 to the power of minus its scale.
"""

from enum import IntEnum
from typing import Final

import numpy as np


class ColumnTag(IntEnum):
    """The types that a stored column can have."""

    BOOLEAN = 1
    BYTE = 2
    SHORT = 3
    CHAR = 4
    INT = 5
    LONG = 6
    DATE = 7
    TIMESTAMP = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    SYMBOL = 12
    LONG256 = 13
    GEOBYTE = 14
    GEOSHORT = 15
    GEOINT = 16
    GEOLONG = 17
    BINARY = 18
    UUID = 19
    LONG128 = 24
    IPV4 = 25
    VARCHAR = 26
    ARRAY = 27
    DECIMAL8 = 28
    DECIMAL16 = 29
    DECIMAL32 = 30
    DECIMAL64 = 31
    DECIMAL128 = 32
    DECIMAL256 = 33


TIMESTAMP_NANOS: Final = 1 << 18 | ColumnTag.TIMESTAMP
"""Type code of a nanosecond timestamp; plain TIMESTAMP is microseconds."""

_SIZES: Final = {
    ColumnTag.BOOLEAN: 1,
    ColumnTag.BYTE: 1,
    ColumnTag.SHORT: 2,
    ColumnTag.CHAR: 2,
    ColumnTag.INT: 4,
    ColumnTag.LONG: 8,
    ColumnTag.DATE: 8,
    ColumnTag.TIMESTAMP: 8,
    ColumnTag.FLOAT: 4,
    ColumnTag.DOUBLE: 8,
    ColumnTag.SYMBOL: 4,
    ColumnTag.LONG256: 32,
    ColumnTag.GEOBYTE: 1,
    ColumnTag.GEOSHORT: 2,
    ColumnTag.GEOINT: 4,
    ColumnTag.GEOLONG: 8,
    ColumnTag.UUID: 16,
    ColumnTag.LONG128: 16,
    ColumnTag.IPV4: 4,
    ColumnTag.DECIMAL8: 1,
    ColumnTag.DECIMAL16: 2,
    ColumnTag.DECIMAL32: 4,
    ColumnTag.DECIMAL64: 8,
    ColumnTag.DECIMAL128: 16,
    ColumnTag.DECIMAL256: 32,
}
_DTYPES: Final = {
    ColumnTag.BOOLEAN: "u1",
    ColumnTag.BYTE: "i1",
    ColumnTag.SHORT: "<i2",
    ColumnTag.CHAR: "<u2",
    ColumnTag.INT: "<i4",
    ColumnTag.LONG: "<i8",
    ColumnTag.DATE: "<i8",
    ColumnTag.TIMESTAMP: "<i8",
    ColumnTag.FLOAT: "<f4",
    ColumnTag.DOUBLE: "<f8",
    ColumnTag.SYMBOL: "<i4",
    ColumnTag.GEOBYTE: "i1",
    ColumnTag.GEOSHORT: "<i2",
    ColumnTag.GEOINT: "<i4",
    ColumnTag.GEOLONG: "<i8",
    ColumnTag.IPV4: "<u4",
    ColumnTag.DECIMAL8: "i1",
    ColumnTag.DECIMAL16: "<i2",
    ColumnTag.DECIMAL32: "<i4",
    ColumnTag.DECIMAL64: "<i8",
}
_GEO: Final = (ColumnTag.GEOBYTE, ColumnTag.GEOSHORT, ColumnTag.GEOINT, ColumnTag.GEOLONG)
DECIMALS: Final = (
    ColumnTag.DECIMAL8, ColumnTag.DECIMAL16, ColumnTag.DECIMAL32, ColumnTag.DECIMAL64, ColumnTag.DECIMAL128,
    ColumnTag.DECIMAL256,
)  # fmt: skip


def tag_of(code: int) -> ColumnTag | None:
    """Return the tag of a type code; None for a negative code and for types that no column can have."""
    try:
        return ColumnTag(code & 0xFF) if code > 0 else None
    except ValueError:
        return None


def storage_size(code: int) -> int | None:
    """Return the bytes per row of a fixed-width type, 0 for one with variable size, None for an unknown type."""
    tag = tag_of(code)
    return None if tag is None else _SIZES.get(tag, 0)


def is_variable(code: int) -> bool:
    """Return whether values of the type lie in a data file that an auxiliary file of offsets indexes."""
    return storage_size(code) == 0


def value_dtype(code: int) -> np.dtype[np.generic] | None:
    """Return the dtype of a fixed-width column in its file: raw bytes for 128 and 256 bit types, None for others."""
    tag = tag_of(code)
    size = storage_size(code)
    if tag is None or not size:
        return None
    return np.dtype(_DTYPES.get(tag, f"V{size}"))


def is_nanos(code: int) -> bool:
    """Return whether a timestamp type counts nanoseconds instead of microseconds."""
    return code == TIMESTAMP_NANOS


def decimal_shape(code: int) -> tuple[int, int]:
    return code >> 8 & 0xFF, code >> 18 & 0xFF


def type_name(code: int) -> str:
    """Return the name SQL uses, e.g. `SYMBOL`, `TIMESTAMP_NS`, `GEOHASH(20b)`, `DOUBLE[]`; unknown codes as numbers."""
    tag = tag_of(code)
    if tag is None:
        return f"type {code}"
    if tag is ColumnTag.TIMESTAMP:
        return "TIMESTAMP_NS" if is_nanos(code) else "TIMESTAMP"
    if tag in _GEO:
        return f"GEOHASH({code >> 8 & 0xFF}b)"
    if tag in DECIMALS:
        precision, scale = decimal_shape(code)
        return f"DECIMAL({precision},{scale})"
    if tag is ColumnTag.ARRAY:
        element = tag_of(code >> 8 & 0x3F)
        return f"{element.name if element else 'type'}{'[]' * array_dimensions(code)}"
    return tag.name


def array_dimensions(code: int) -> int:
    """Return how many dimensions the values of an ARRAY column have, 1 to 32."""
    return (code >> 14 & 0x1F) + 1
