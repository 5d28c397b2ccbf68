"""A table's `_meta` brought forward by structure changes, as bytes: what TableWriter does to it at each ALTER.

What no change touches stays byte for byte, known or not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.table import META_COLUMN, META_HEADER
from console.questdb.reading import DamageError
from console.questdb.structure_log import Command, StructureChange
from console.questdb.table_metadata import TableMetadata, minor_checksum, parse_table_metadata

_FLAGS: Final = META_COLUMN["flags"]
_INDEXED, _CACHED, _KEY = (_FLAGS.bit(name).mask for name in ("indexed", "symbol cache", "deduplication key"))
_NUMBERS: Final = 6
"""Numbers of an added column: type, symbol capacity, cache, index, values of an index block, position in the SQL."""
_SAME_TABLE: Final = (Command.RENAME_TABLE,)


@dataclass(slots=True)
class MetadataImage:
    """The parts of a `_meta`: the header's bytes, an entry and a name for each column (dropped ones too)."""

    header: bytearray
    entries: list[bytearray]
    names: list[str]

    @classmethod
    def of(cls, data: bytes) -> "MetadataImage":
        """Return the parts of the bytes of a `_meta`. Raises DamageError where they are none."""
        metadata = parse_table_metadata(data, Path())
        if metadata.problems:
            raise DamageError(metadata.problems[0].what, metadata.problems[0].offset)
        first, size, count = META_HEADER.size, META_COLUMN.size, len(metadata.columns)
        entries = [bytearray(data[first + size * at : first + size * (at + 1)]) for at in range(count)]
        return cls(bytearray(data[:first]), entries, [column.raw_name for column in metadata.columns])

    def apply(self, change: StructureChange) -> None:
        """Make a structure change. Raises DamageError for one that does not fit the columns."""
        match change.command:
            case Command.ADD_COLUMN if len(change.numbers) == _NUMBERS * len(change.strings):
                for at, name in enumerate(change.strings):
                    self._add(name, change.numbers[_NUMBERS * at : _NUMBERS * (at + 1)])
            case Command.CHANGE_COLUMN_TYPE if len(change.numbers) >= _NUMBERS and change.strings:
                old = self._index(change.strings[0])
                key = self._flags(old) & _KEY
                self._drop(old, keeps=_INDEXED)
                self._add(change.strings[0], change.numbers[:_NUMBERS], replaces=old + 1, more=key)
            case Command.DROP_COLUMN:
                for name in change.strings:
                    self._drop(self._index(name))
            case Command.RENAME_COLUMN if len(change.strings) % 2 == 0:
                for old_name, new_name in zip(change.strings[0::2], change.strings[1::2], strict=True):
                    self.names[self._index(old_name)] = new_name
            case Command.ENABLE_DEDUP:
                for at in range(len(self.entries)):
                    self._set_flags(at, self._flags(at) | _KEY if at in change.numbers else self._flags(at) & ~_KEY)
            case Command.DISABLE_DEDUP:
                for at in range(len(self.entries)):
                    self._set_flags(at, self._flags(at) & ~_KEY)
            case command if command not in _SAME_TABLE:
                raise DamageError(f"the change {change.summary!r} cannot be made")

    def encode(self, metadata_version: int) -> bytes:
        """Return the bytes of a `_meta` of that version, with the checksum that lets the TTL count."""
        count = len(self.entries)
        header = bytearray(self.header)
        META_HEADER.put(
            header, 0, columns=count, metadata_version=metadata_version,
            minor_checksum=minor_checksum(metadata_version, count),
        )  # fmt: skip
        names = b"".join(
            (len(units) // 2).to_bytes(4, "little") + units
            for units in (name.encode("utf-16-le", "surrogatepass") for name in self.names)
        )
        return bytes(header) + b"".join(bytes(each) for each in self.entries) + names

    def metadata(self, metadata_version: int) -> TableMetadata:
        """Return what a reader finds in the bytes of that version."""
        return parse_table_metadata(self.encode(metadata_version), Path())

    def put_symbol(self, column: int, *, capacity: int | None = None, cached: bool | None = None) -> None:
        """Set what the symbol map itself says."""
        if capacity is not None:
            META_COLUMN.put(self.entries[column], 0, symbol_capacity=capacity)
        if cached is not None:
            flags = self._flags(column)
            self._set_flags(column, flags | _CACHED if cached else flags & ~_CACHED)

    def put_index(self, column: int, block_values: int | None) -> None:
        """Set whether a column has an index, and the row numbers of a block of it; None: it has none."""
        flags = self._flags(column)
        self._set_flags(column, flags & ~_INDEXED if block_values is None else flags | _INDEXED)
        if block_values is not None:
            META_COLUMN.put(self.entries[column], 0, index_capacity=block_values)

    def _add(self, name: str, numbers: tuple[int, ...], replaces: int = 0, more: int = 0) -> None:
        code, capacity, cache, index, block = numbers[:5]
        entry = bytearray(META_COLUMN.size)
        flags = more | (_CACHED if cache else 0) | (_INDEXED if index & 1 else 0)
        try:
            META_COLUMN.put(entry, 0, type=code, flags=flags, index_capacity=block, symbol_capacity=capacity,
                            replaces=replaces)  # fmt: skip
        except OverflowError:
            raise DamageError(f"the change of column {name!r} has a number that no _meta can hold") from None
        self.entries.append(entry)
        self.names.append(name)

    def _drop(self, at: int, keeps: int = 0) -> None:
        code = META_COLUMN.value("type", Fields(bytes(self.entries[at])))
        META_COLUMN.put(self.entries[at], 0, type=-abs(code))
        self._set_flags(at, self._flags(at) & ~((_INDEXED | _KEY) & ~keeps))

    def _index(self, name: str) -> int:
        for at in range(len(self.names) - 1, -1, -1):
            live = META_COLUMN.value("type", Fields(bytes(self.entries[at]))) > 0
            if live and self.names[at].lower() == name.lower():
                return at
        raise DamageError(f"there is no column {name!r} to be changed")

    def _flags(self, at: int) -> int:
        return META_COLUMN.value("flags", Fields(bytes(self.entries[at])))

    def _set_flags(self, at: int, flags: int) -> None:
        META_COLUMN.put(self.entries[at], 0, flags=flags)
