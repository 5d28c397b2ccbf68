"""Symbol maps and bitmap indexes, entry by entry: `.o`, `.c`, `.k`, `.v` (SymbolMapWriter, BitmapIndexUtils)."""

import re
from pathlib import Path
from typing import Final

from console.diagnosis.inspection.model import FileKind, RecordView
from console.diagnosis.inspection.sequencer_files import slack_view
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.bitmap_index import IndexHeader, read_index_header
from console.questdb.formats.table import INDEX_BLOCK_END, INDEX_HEADER, INDEX_KEY, SYMBOL_OFFSETS
from console.questdb.reading import DamageError, DbFile
from console.text import clean_line

_NAME: Final = re.compile(r"(.+\.)([ockv])((?:\.\d+)?)", re.DOTALL)
_KINDS: Final = {
    "o": FileKind.SYMBOL_OFFSETS,
    "c": FileKind.SYMBOL_VALUES,
    "k": FileKind.INDEX_KEYS,
    "v": FileKind.INDEX_ROWS,
}
_MOST_UNITS: Final = 1 << 16
_NUMBER: Final = 8


def symbol_file_kind(path: Path) -> FileKind | None:
    """Return which file of a symbol map or an index `path` is by its name, None if it is none."""
    found = _NAME.fullmatch(path.name)
    return _KINDS[found[2]] if found else None


def symbol_file_view(kind: FileKind, file: DbFile, offset: int) -> RecordView | None:
    """Return the header or the entry that holds `offset`; None if the files beside it do not say where entries are."""
    match kind:
        case FileKind.SYMBOL_OFFSETS:
            return _offset_view(file, offset)
        case FileKind.SYMBOL_VALUES:
            return _value_view(file, offset)
        case FileKind.INDEX_KEYS:
            return _key_view(file, offset)
        case _:
            return _row_view(file, offset)


def _beside(file: DbFile, suffix: str) -> Path:
    found = _NAME.fullmatch(file.path.name)
    return file.path.with_name(f"{found[1]}{suffix}{found[3]}" if found else "")


def _slack(file: DbFile, offset: int, low: int, what: str) -> RecordView:
    """Return a page of what is not in use, counted from `low`."""
    return slack_view(file, low + (offset - low) // 4096 * 4096, file.size, what)


def _offset_view(file: DbFile, offset: int) -> RecordView:
    read = FieldReader(file)
    if offset < SYMBOL_OFFSETS.size:
        capacity = read.values(SYMBOL_OFFSETS)["capacity"] or 0
        meaning = "symbols that the map is made for; its index has half as many keys, to the next power of 2"
        read.record(SYMBOL_OFFSETS, 0, {"capacity": Note(meaning, capacity > 0)})
        return RecordView("header", 0, SYMBOL_OFFSETS.size, read.taken())
    key = (offset - SYMBOL_OFFSETS.size) // _NUMBER
    at = SYMBOL_OFFSETS.size + _NUMBER * key
    value, before = read.peek(at, _NUMBER), read.peek(at - _NUMBER, _NUMBER) if key else 0
    if key and value == 0:
        return _slack(file, offset, at, "no symbol has this key")
    rises = value is not None and before is not None and (value >= before + 4 if key else value == 0)
    text = _symbol_at(file, value or 0) if rises else ""
    meaning = (
        f"where the symbol begins in .c, and the one before it ends{text}" if rises else "not behind the one before"
    )
    read.number(f"offset of symbol {key:,}", at, _NUMBER, meaning, normal=rises)
    return RecordView(f"symbol {key:,}", at, _NUMBER, read.taken())


def _symbol_at(file: DbFile, at: int) -> str:
    """Return what stands at an offset of the `.c` beside a `.o`, empty if that cannot be read."""
    try:
        with DbFile(_beside(file, "c")) as values:
            count = values.array(at, "<i4", 1)
            if not len(count) or not 0 < int(count[0]) <= _MOST_UNITS:
                return ""
            data = values.read(at + 4, 2 * int(count[0]))
    except OSError:
        return ""
    return f': "{clean_line(data.decode("utf-16-le", "replace"), 80)}"'


def _value_view(file: DbFile, offset: int) -> RecordView | None:
    try:
        with DbFile(_beside(file, "o")) as offsets:
            key, at, end = _key_of(offsets, offset)
    except OSError:
        return None
    if not at <= offset < end:
        return _slack(file, offset, min(end, offset), "no symbol is kept here")
    read = FieldReader(file)
    _, after = read.text(f"symbol {key:,}", at, "an i32 count of UTF-16 units, and the units", limit=_MOST_UNITS)
    if after != end:
        read.number("length", at, 4, f"its offsets in .o say {end - at:,} bytes", normal=False)
        return RecordView(f"symbol {key:,}", at, end - at, read.taken()[-1:])
    return RecordView(f"symbol {key:,}", at, end - at, read.taken())


def _key_of(offsets: DbFile, wanted: int) -> tuple[int, int, int]:
    """Return the last symbol that begins at `wanted` or before, where it begins, and where it ends.

    Zeros behind the first entry stand for no symbol. A symbol with no end is told with the end 0.
    """
    low, high = 0, max(0, (offsets.size - SYMBOL_OFFSETS.size) // _NUMBER - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if 0 < _entry(offsets, middle) <= wanted:
            low = middle
        else:
            high = middle - 1
    return low, _entry(offsets, low), max(_entry(offsets, low + 1), 0) or _entry(offsets, low)


def _entry(offsets: DbFile, key: int) -> int:
    found = offsets.array(SYMBOL_OFFSETS.size + _NUMBER * key, "<i8", 1)
    return int(found[0]) if len(found) else 0


def _key_view(file: DbFile, offset: int) -> RecordView:
    read = FieldReader(file)
    values = read.values(INDEX_HEADER)
    if offset < INDEX_HEADER.size:
        same = values["sequence"] == values["sequence_check"]
        block = values["block_values"] or 0
        notes = {
            "signature": Note(normal=file.read(0, 1) == b"\xfa", shown=f"0x{file.read(0, 1).hex()}"),
            "block_values": Note(normal=block > 0 and not block & (block - 1)),
            "sequence_check": Note(
                None if same else "differs from the sequence: a writer stopped between the two", same
            ),
        }
        read.record(INDEX_HEADER, 0, notes)
        return RecordView("header", 0, INDEX_HEADER.size, read.taken())
    key = (offset - INDEX_HEADER.size) // INDEX_KEY.size
    at = INDEX_HEADER.size + INDEX_KEY.size * key
    if key >= (values["keys"] or 0):
        return _slack(file, offset, at, "the header counts no key here")
    entry = read.values(INDEX_KEY, at)
    same = entry["count"] == entry["check"]
    meaning = None if same else "differs from the count: a writer stopped between the two"
    read.record(INDEX_KEY, at, {"check": Note(meaning, same)})
    if _beside(file, "o").is_file():
        return RecordView(f"hash {key:,}", at, INDEX_KEY.size, read.taken())
    of = f"symbol {key - 1:,}" if key else "NULL"
    return RecordView(f"rows of {of}", at, INDEX_KEY.size, read.taken())


def _row_view(file: DbFile, offset: int) -> RecordView | None:
    header = _header_beside(file)
    if header is None:
        return None
    if offset >= header.value_bytes:
        return _slack(file, offset, header.value_bytes, "no row numbers lie here")
    size = _NUMBER * header.block_values + INDEX_BLOCK_END.size
    block, inside = divmod(offset, size)
    place = inside // _NUMBER
    read = FieldReader(file)
    title = f"block {block:,}"
    if place >= header.block_values:
        at = size * block + _NUMBER * header.block_values
        read.record(INDEX_BLOCK_END, at)
        return RecordView(f"{title}, its end", at, INDEX_BLOCK_END.size, read.taken())
    of_map = _beside(file, "o").is_file()
    meaning = "where the offset of a symbol lies in .o: 64 + 8 * symbol" if of_map else "a row of the partition"
    at = size * block + _NUMBER * place
    read.number("offset in .o" if of_map else "row number", at, _NUMBER, meaning)
    return RecordView(f"{title}, number {place:,} of {header.block_values:,}", at, _NUMBER, read.taken())


def _header_beside(file: DbFile) -> IndexHeader | None:
    try:
        with DbFile(_beside(file, "k")) as keys:
            return read_index_header(keys)
    except (DamageError, OSError):
        return None


def symbol_file_summary(kind: FileKind, file: DbFile) -> str:
    """Return one line about a file of a symbol map or an index."""
    if kind is FileKind.SYMBOL_OFFSETS:
        return f"capacity {FieldReader(file).values(SYMBOL_OFFSETS)['capacity'] or 0:,} symbols"
    if kind is FileKind.INDEX_KEYS:
        return f"{FieldReader(file).values(INDEX_HEADER)['keys'] or 0:,} keys"
    header = _header_beside(file) if kind is FileKind.INDEX_ROWS else None
    return f"{header.value_bytes:,} bytes in use" if header else f"{file.size:,} bytes"
