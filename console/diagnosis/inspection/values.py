"""Builds named fields from bytes: one place for how numbers, times and texts are shown."""

import datetime
from dataclasses import dataclass
from typing import Final

from console.diagnosis.inspection.model import Field
from console.questdb.fields import I64_MAX, I64_MIN
from console.questdb.formats.model import Bits, FieldFormat, RecordFormat, Unit
from console.questdb.reading import DbFile
from console.text import clean_line

_ZEROS: Final = "zero is its normal value"
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def integer(data: bytes) -> int:
    """Return the signed little-endian integer of 1, 2, 4 or 8 bytes."""
    return int.from_bytes(data, "little", signed=True)


def moment(micros: int) -> str:
    """Return microseconds since the epoch as ISO 8601 UTC, or the number where no calendar holds it."""
    try:
        shown = _EPOCH + datetime.timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros:,}"
    return shown.isoformat().replace("+00:00", "Z")


def data_moment(value: int, nanos: bool = False) -> str:
    """Return a data timestamp (microseconds, or nanoseconds) as text; the two extremes mean that there is none."""
    if value in (I64_MAX, I64_MIN):
        return "none"
    return moment(value // 1000 if nanos else value)


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of one value beyond its field table; None leaves what the table gives."""

    meaning: str | None = None
    normal: bool | None = None
    shown: str | None = None
    label: str | None = None


class FieldReader:
    """Reads fields of one file and collects them. A field that the file is too short for is collected as missing."""

    def __init__(self, file: DbFile, nanos: bool = False) -> None:
        self.file = file
        self.nanos = nanos
        self.fields: list[Field] = []

    def values(self, form: RecordFormat, at: int = 0) -> dict[str, int | None]:
        """Return the values of a record without collecting them; None for what is not in the file."""
        data = self.file.read(at, form.size)
        whole = {field.name: field.offset + field.size <= len(data) and not field.padding for field in form.fields}
        return {
            field.name: integer(data[field.offset : field.offset + field.size]) if whole[field.name] else None
            for field in form.fields
        }

    def record(
        self, form: RecordFormat, at: int = 0, notes: dict[str, Note] | None = None, prefix: str = ""
    ) -> dict[str, int | None]:
        """Collect all fields of a record and return their values; `prefix` comes before each name."""
        values = self.values(form, at)
        for field in form.fields:
            note = (notes or {}).get(field.name, Note())
            meaning = field.meaning if note.meaning is None else note.meaning
            value, offset, label = values[field.name], at + field.offset, prefix + (note.label or field.label)
            if field.unit is Unit.ZEROS:
                self.zeros(label, offset, field.size, _ZEROS, "should be zero")
            elif value is None and not field.padding:
                self.missing(label, offset, field.size)
            else:
                shown = note.shown if note.shown is not None else self._shown(field, value, offset)
                normal = _is_normal(field, value) if note.normal is None else note.normal
                self.fields.append(Field(label, offset, field.size, shown, meaning or field.unit, normal))
        return values

    def _shown(self, field: FieldFormat, value: int | None, offset: int) -> str:
        if value is None:
            data = self.file.read(offset, field.size)
            return data.hex(" ") if any(data) else "zeros"
        if field.unit is Unit.MICROS:
            return moment(value) if value else "0"
        if field.unit is Unit.ROW_TIME:
            return data_moment(value, self.nanos)
        if field.codes:
            code = field.code(value)
            return code.name if code else f"{value:,}"
        return _bits_shown(field.bits, value) if field.bits else f"{value:,}"

    def number(
        self, name: str, offset: int, size: int, meaning: str = "", *, normal: bool = True, shown: str | None = None
    ) -> int | None:
        """Collect a signed integer and return it; None where it is not in the file."""
        data = self.file.read(offset, size)
        if len(data) < size:
            self.missing(name, offset, size)
            return None
        value = integer(data)
        self.fields.append(Field(name, offset, size, f"{value:,}" if shown is None else shown, meaning, normal))
        return value

    def peek(self, offset: int, size: int) -> int | None:
        """Return a signed integer without collecting it; None where it is not in the file."""
        data = self.file.read(offset, size)
        return integer(data) if len(data) == size else None

    def add(self, name: str, offset: int, size: int, value: str, meaning: str, *, normal: bool = True) -> None:
        self.fields.append(Field(name, offset, size, clean_line(value, 200), meaning, normal))

    def missing(self, name: str, offset: int, size: int, meaning: str = "") -> None:
        what = meaning or f"the file ends at {self.file.size:,}, before the end of this field"
        self.fields.append(Field(name, offset, size, "", what, is_normal=False, missing=True))

    def zeros(self, name: str, offset: int, size: int, meaning: str, bad: str) -> None:
        """Collect bytes that should be zero; `bad` is the meaning where they are not."""
        data = self.file.read(offset, size)
        if not data:
            return
        normal = not any(data)
        value = "zeros" if normal else data[:16].hex(" ") + (" …" if len(data) > 16 else "")
        self.fields.append(Field(name, offset, len(data), value, meaning if normal else bad, normal))

    def text(self, name: str, offset: int, meaning: str = "", *, limit: int = 1 << 20) -> tuple[str | None, int]:
        """Collect a `str` (i32 count of UTF-16 units, -1 null, then UTF-16LE); return it and the offset after it.

        A count that cannot be is collected as not normal, and the offset after the count itself is returned.
        """
        count = self.peek(offset, 4)
        if count is None:
            self.missing(name, offset, 4)
            return None, offset + 4
        if count == -1:
            self.add(name, offset, 4, "null", meaning or "no text")
            return None, offset + 4
        body = self.file.read(offset + 4, 2 * count) if 0 <= count <= limit else b""
        if not 0 <= count <= limit or len(body) < 2 * count:
            self.add(name, offset, 4, f"{count:,}", "a length that cannot be: the text would not fit", normal=False)
            return None, offset + 4
        value = body.decode("utf-16-le", "replace")
        self.add(name, offset, 4 + 2 * count, value, meaning)
        return value, offset + 4 + 2 * count

    def taken(self) -> tuple[Field, ...]:
        return tuple(sorted(self.fields, key=lambda field: field.offset))


def _is_normal(field: FieldFormat, value: int | None) -> bool:
    return not field.codes or value is None or field.code(value) is not None


def _bits_shown(bits: tuple[Bits, ...], value: int) -> str:
    """Return `1,000 rows, parquet` for a value made of bits: numbers with their names, flags that are set by name."""
    parts = [
        each.name if each.count == 1 else f"{each.of(value):,} {each.name}"
        for each in bits
        if each.of(value) or (each.count > 1 and not each.first)
    ]
    return ", ".join(parts) or "0"
