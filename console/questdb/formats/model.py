"""What a field table is made of. Readers, the inspector, the gate, the demo and docs/formats.md all use the same ones.

A version is data: `since` is the first version whose files have a field, a code or a bit. All integers are
little-endian.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields

Since = tuple[int, int, int]
FIRST: Final[Since] = (7, 3, 10)
"""The oldest version that was measured: what it has, every supported version has."""
_CODES: Final = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q"}


class Unit(StrEnum):
    """How the value of a field is to be taken."""

    NUMBER = ""
    MICROS = "µs since 1970, UTC"
    ROW_TIME = "in the unit of the designated timestamp"
    ZEROS = "zero"
    UNWRITTEN = "never written: an older record's bytes may stay"


@dataclass(frozen=True, slots=True)
class Code:
    """One value of a field that has few, and its name."""

    value: int
    name: str
    since: Since = FIRST


@dataclass(frozen=True, slots=True)
class Bits:
    """`count` bits of a field from bit `first` (0 is the lowest)."""

    name: str
    first: int
    count: int = 1
    since: Since = FIRST

    @property
    def mask(self) -> int:
        """The bits, where they are in the field."""
        return (1 << self.count) - 1 << self.first

    def of(self, value: Any) -> Any:
        """Return the bits of `value` as a number; `value` is an integer or an array of them."""
        return value >> self.first & (1 << self.count) - 1


@dataclass(frozen=True, slots=True)
class FieldFormat:
    """A field: `offset` in bytes from the start of its record, `dtype` as numpy has it, `meaning` a sentence part.

    `shown` is the name for people, where it is not `name` with spaces.
    """

    name: str
    offset: int
    dtype: str
    meaning: str = ""
    unit: Unit = Unit.NUMBER
    shown: str = ""
    since: Since = FIRST
    codes: tuple[Code, ...] = ()
    bits: tuple[Bits, ...] = ()

    @property
    def size(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def label(self) -> str:
        return self.shown or self.name.replace("_", " ")

    @property
    def padding(self) -> bool:
        """Whether it has no value: reserved bytes."""
        return self.unit in (Unit.ZEROS, Unit.UNWRITTEN)

    def bit(self, name: str) -> Bits:
        """Return the bits of that name. Raises KeyError where there are none."""
        return {each.name: each for each in self.bits}[name]

    def code(self, value: int) -> Code | None:
        return next((each for each in self.codes if each.value == value), None)


@dataclass(frozen=True)
class RecordFormat:
    """A header or record of a file: `fields` by offset, without gaps; `source` is the class of QuestDB."""

    title: str
    source: str
    fields: tuple[FieldFormat, ...]
    since: Since = FIRST

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        return np.dtype([(field.name, field.dtype) for field in self.fields])

    @cached_property
    def packed(self) -> struct.Struct:
        """The record for single ones, which numpy reads slower; what is no number is bytes."""
        kinds = (np.dtype(field.dtype) for field in self.fields)
        return struct.Struct("<" + "".join(_CODES.get(kind.str[1:], f"{kind.itemsize}s") for kind in kinds))

    @cached_property
    def size(self) -> int:
        return self.fields[-1].offset + self.fields[-1].size

    @cached_property
    def _by_name(self) -> dict[str, FieldFormat]:
        return {field.name: field for field in self.fields}

    def __getitem__(self, name: str) -> FieldFormat:
        return self._by_name[name]

    def at(self, name: str) -> int:
        return self._by_name[name].offset

    def read(self, data: Fields, at: int = 0) -> dict[str, Any]:
        """Return the values of the record at `at` by name: integers, bytes for what is no number.

        Raises DamageError (SHORT) where the record does not lie wholly inside `data`.
        """
        data.need(at, self.size)
        return dict(zip(self._by_name, self.packed.unpack_from(data.data, at), strict=True))

    def value(self, name: str, data: Fields, at: int = 0) -> int:
        """Return one field of the record at `at`. Raises DamageError (SHORT) where it is not inside `data`."""
        field = self._by_name[name]
        data.need(at + field.offset, field.size)
        place = slice(at + field.offset, at + field.offset + field.size)
        return int.from_bytes(data.data[place], "little", signed=field.dtype[-2] == "i")

    def array(self, data: Fields, at: int, count: int) -> NDArray[np.void]:
        """Return `count` records from `at` on. Raises DamageError (SHORT) where they are not inside `data`."""
        data.need(at, count * self.size)
        return np.frombuffer(data.data, self.dtype, count, at)

    def pack(self, **values: int) -> bytes:
        """Return the bytes of a record with these values, zero elsewhere. Raises ValueError for an unknown name."""
        record = np.zeros(1, self.dtype)
        for name, value in values.items():
            record[name] = value
        return record.tobytes()

    def put(self, data: bytearray, at: int, **values: int) -> None:
        for name, value in values.items():
            field = self._by_name[name]
            start = at + field.offset
            data[start : start + field.size] = np.array(value, field.dtype).tobytes()
