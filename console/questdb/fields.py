"""Bounds-checked access to little-endian fields in bytes of unknown worth."""

import struct
from typing import Final

from console.questdb.reading import DamageError, ProblemKind

I64_MAX: Final = (1 << 63) - 1
I64_MIN: Final = -(1 << 63)
I32_MIN: Final = -(1 << 31)
MAX_STRING: Final = 1 << 20
"""Longest string (UTF-16 units) that is believed where a length field says so."""

_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")


class Fields:
    """Reads fields at offsets of `data`; `base` is added to every offset that an error names (its place in the file).

    Every method raises DamageError (kind SHORT) where the field does not lie wholly inside `data`.
    """

    __slots__ = ("base", "data")

    def __init__(self, data: bytes, base: int = 0) -> None:
        self.data = data
        self.base = base

    def __len__(self) -> int:
        return len(self.data)

    def need(self, at: int, count: int) -> None:
        """Raise DamageError unless `count` bytes at `at` are there."""
        if at < 0 or count < 0 or at + count > len(self.data):
            raise DamageError(
                f"{count:,} bytes at offset {self.base + at:,} lie outside its {self.base + len(self.data):,} bytes",
                self.base + at,
                ProblemKind.SHORT,
            )

    def i32(self, at: int) -> int:
        """Return the i32 at `at`."""
        self.need(at, 4)
        return int(_I32.unpack_from(self.data, at)[0])

    def i64(self, at: int) -> int:
        """Return the i64 at `at`."""
        self.need(at, 8)
        return int(_I64.unpack_from(self.data, at)[0])

    def string(self, at: int, limit: int = MAX_STRING) -> tuple[str | None, int]:
        """Return the `str` at `at` (i32 count of UTF-16 units, -1 = null, then UTF-16LE) and the offset after it.

        The text is raw: lone surrogates and control characters are kept. DamageError for a count below -1 or above
        `limit`.
        """
        count = self.i32(at)
        if count == -1:
            return None, at + 4
        if not 0 <= count <= limit:
            raise DamageError(f"string length {count:,} at offset {self.base + at:,}", self.base + at)
        self.need(at + 4, 2 * count)
        return self.data[at + 4 : at + 4 + 2 * count].decode("utf-16-le", "surrogatepass"), at + 4 + 2 * count


class Walk:
    """Reads fields one after another; `at` is the offset of the next."""

    __slots__ = ("at", "fields")

    def __init__(self, fields: Fields, at: int = 0) -> None:
        self.fields = fields
        self.at = at

    def i32(self) -> int:
        """Return the next i32."""
        value = self.fields.i32(self.at)
        self.at += 4
        return value

    def i64(self) -> int:
        """Return the next i64."""
        value = self.fields.i64(self.at)
        self.at += 8
        return value

    def string(self, limit: int = MAX_STRING) -> str | None:
        value, self.at = self.fields.string(self.at, limit)
        return value

    def skip(self, count: int) -> None:
        """Pass over `count` bytes, which must be there."""
        self.fields.need(self.at, count)
        self.at += count

    def count(self, what: str, item: int) -> int:
        """Return the next i32 as a number of items of at least `item` bytes each that must fit into what is left."""
        value = self.i32()
        if value < 0 or value * item > len(self.fields) - self.at:
            at = self.fields.base + self.at - 4
            raise DamageError(f"{what} count {value:,} at offset {at:,}", at)
        return value
