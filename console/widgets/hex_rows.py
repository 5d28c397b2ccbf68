"""Which bytes stand in which row: a header first, then records, or plain rows of sixteen. Pure arithmetic."""

from dataclasses import dataclass

_PLAIN = 16


@dataclass(frozen=True, slots=True)
class HexRows:
    """`size` bytes in rows of `per_row`; the first `base` bytes are a header with rows of its own.

    A record of `record` bytes takes `record // per_row` rows; `record` 0 means plain rows.
    """

    size: int
    per_row: int
    base: int = 0
    record: int = 0

    @classmethod
    def fitting(cls, size: int, cells: int, base: int | None = None, record: int | None = None) -> "HexRows":
        """Return the rows for `cells` terminal cells of hexadecimal digits: whole records, else a part of one a row."""
        if base is None or not record:
            return cls(size, _PLAIN if cells >= _PLAIN * 3 else 8)
        fitting = [count for count in range(1, record + 1) if record % count == 0 and count * 3 <= cells]
        return cls(size, max(fitting, default=4), base, record)

    @property
    def header_rows(self) -> int:
        return -(-min(self.base, self.size) // self.per_row)

    @property
    def count(self) -> int:
        return self.header_rows + -(-max(0, self.size - self.base) // self.per_row)

    def bytes_of(self, row: int) -> tuple[int, int]:
        """Return offset and count of the bytes in `row`."""
        if row < self.header_rows:
            start = row * self.per_row
            return start, min(self.per_row, min(self.base, self.size) - start)
        start = self.base + (row - self.header_rows) * self.per_row
        return start, max(0, min(self.per_row, self.size - start))

    def row_of(self, offset: int) -> int:
        if offset < self.base:
            return offset // self.per_row
        return self.header_rows + (offset - self.base) // self.per_row

    def starts_record(self, row: int) -> bool:
        if not self.record or row < self.header_rows:
            return False
        return (row - self.header_rows) * self.per_row % self.record == 0
