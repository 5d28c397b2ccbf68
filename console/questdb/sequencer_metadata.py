"""`_meta` of a sequencer and of a WAL segment (WalUtils.SEQ_META_*, SequencerMetadata): read, check, and write anew.

A header, per column i32 type (negative: dropped) and `str` name; in the sequencer's form optionally a checksum, a count
and as many i32 read positions. formats/sequencer.py has the fields.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from console.questdb.column_types import ColumnTag, tag_of, type_name
from console.questdb.fields import Fields, Walk
from console.questdb.formats.sequencer import SEQUENCER_META, SEQUENCER_ORDER
from console.questdb.reading import DamageError, Problem, ProblemKind, join_problems, later_looks, read_small
from console.text import clean_line

DROPPED: Final = -2
_U64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class SequencerColumn:
    """One column; dropped ones stay in the list, so that the position is the column's index in segments and events."""

    name: str
    raw_name: str
    type_code: int
    dropped: bool

    @property
    def tag(self) -> ColumnTag | None:
        """The type without its parameters; None where 9.1.0 knows no such type."""
        return tag_of(self.type_code)

    @property
    def type_name(self) -> str:
        return type_name(self.type_code)


@dataclass(frozen=True, slots=True)
class SequencerMetadata:
    """Content of a `_meta`. `read_order` is None where there is no tail; `tail_valid` says that its checksum fits.

    The server ignores a tail that does not fit, and then takes the columns in their order.
    """

    path: Path
    length: int
    structure_version: int
    timestamp_index: int
    table_id: int
    suspended: bool
    columns: tuple[SequencerColumn, ...]
    read_order: tuple[int, ...] | None
    tail_valid: bool
    problems: tuple[Problem, ...] = ()

    @property
    def dropped(self) -> bool:
        return self.structure_version == DROPPED

    @property
    def timestamp(self) -> SequencerColumn | None:
        return self.columns[self.timestamp_index] if 0 <= self.timestamp_index < len(self.columns) else None


def columns_checksum(columns: Sequence[SequencerColumn]) -> int:
    """Return the i64 (signed) that guards the read order: over the column count, types and names as stored."""
    total = len(columns)
    for column in columns:
        total = (total * 31 + (-column.type_code if column.dropped else column.type_code)) & _U64
        total = (total * 31 + _java_hash(column.raw_name)) & _U64
    return total - (1 << 64) if total >> 63 else total


def parse_sequencer_metadata(data: bytes, file: Path, *, of_segment: bool = False) -> SequencerMetadata:
    """Return the metadata in `data`, which may be padded to a page.

    Of a segment's, the server does not read the timestamp index as it applies (TableWriter goes by the table's own): a
    wrong one is replaced by the only timestamp column there is.

    Raises DamageError where the server could not load it either: a length, version, timestamp index, column type or
    name that makes no sense (the checks of SequencerMetadata.loadSequencerMetadata).
    """
    fields = Fields(data)
    length = SEQUENCER_META.value("length", fields)
    if length < SEQUENCER_META.size:
        raise DamageError(f"its length field says {length:,}", 0)
    if length > len(data):
        raise DamageError(f"it says {length:,} bytes and has {len(data):,}", 0, ProblemKind.SHORT)
    header, at_index = SEQUENCER_META.read(fields), SEQUENCER_META.at("timestamp_index")
    if header["version"] != 0:
        raise DamageError(f"format version {header['version']}, where 0 belongs", SEQUENCER_META.at("version"))
    count, timestamp_index = header["columns"], header["timestamp_index"]
    if not 0 <= count <= (length - SEQUENCER_META.size) // 8:
        raise DamageError(f"column count {count:,}", SEQUENCER_META.at("columns"))
    if not of_segment and not (-1 <= timestamp_index < count):
        raise DamageError(f"designated timestamp {timestamp_index} of {count} columns", at_index)
    walk = Walk(Fields(data[:length]), SEQUENCER_META.size)
    columns: list[SequencerColumn] = []
    for index in range(count):
        at = walk.at
        stored = walk.i32()
        if tag_of(abs(stored)) is None:
            raise DamageError(f"column {index} has the unknown type {stored}", at)
        name = walk.string(4096)
        if name is None:
            raise DamageError(f"column {index} has no name", at + 4)
        columns.append(SequencerColumn(clean_line(name), name, abs(stored), stored < 0))
    if of_segment:
        timestamp_index = _only_timestamp(columns, timestamp_index, at_index)
    elif timestamp_index >= 0 and columns[timestamp_index].tag is not ColumnTag.TIMESTAMP:
        raise DamageError(f"the designated timestamp is of type {columns[timestamp_index].type_name}", at_index)
    read_order, valid = _tail(walk, columns)
    return SequencerMetadata(
        path=file,
        length=length,
        structure_version=header["structure_version"],
        timestamp_index=timestamp_index,
        table_id=header["table_id"],
        suspended=header["suspended"] != 0,
        columns=tuple(columns),
        read_order=read_order,
        tail_valid=valid,
    )


def _only_timestamp(columns: list[SequencerColumn], stored: int, at: int) -> int:
    """Return `stored` if it names a timestamp column, else the only one. Raises DamageError if there are several."""
    tags = [None if each.dropped else each.tag for each in columns]
    if 0 <= stored < len(tags) and tags[stored] is ColumnTag.TIMESTAMP:
        return stored
    if tags.count(ColumnTag.TIMESTAMP) != 1:
        raise DamageError(f"designated timestamp {stored} of {len(columns)} columns", at)
    return tags.index(ColumnTag.TIMESTAMP)


def _tail(walk: Walk, columns: list[SequencerColumn]) -> tuple[tuple[int, ...] | None, bool]:
    if len(walk.fields) - walk.at < SEQUENCER_ORDER.size:
        return None, False
    checksum = walk.i64()
    try:
        count = walk.count("read order", 4)
    except DamageError:
        return None, False
    return tuple(walk.i32() for _ in range(count)), checksum == columns_checksum(columns)


def read_sequencer_metadata(directory: Path, *, of_segment: bool = False) -> SequencerMetadata | Problem:
    """Return `_meta` of a sequencer or a segment, or the problem where it is missing or cannot be loaded.

    What cannot be loaded is read again a little later: a server rewrites the file in place, its length field last.
    """
    result = _read_once(directory, of_segment)
    if isinstance(result, Problem) and result.kind not in (ProblemKind.MISSING, ProblemKind.UNREADABLE):
        for _ in later_looks():
            result = _read_once(directory, of_segment)
            if isinstance(result, SequencerMetadata):
                break
    return result


def _read_once(directory: Path, of_segment: bool) -> SequencerMetadata | Problem:
    file = read_small(directory / "_meta")
    if not file.present:
        return file.problem or Problem(ProblemKind.MISSING, "there is no such file", file.path)
    if not any(file.data):
        what = f"its {len(file.data):,} bytes are all zero" if file.data else "it is empty"
        return Problem(ProblemKind.INVALID, what, file.path, 0)
    try:
        metadata = parse_sequencer_metadata(file.data, file.path, of_segment=of_segment)
    except DamageError as damage:
        return damage.problem(file.path)
    return replace(metadata, problems=join_problems(file.problem))


def encode_sequencer_metadata(
    columns: Sequence[SequencerColumn],
    *,
    structure_version: int,
    timestamp_index: int,
    table_id: int,
    read_order: Sequence[int] | None = None,
) -> bytes:
    """Return the bytes of a `_meta` (without padding); with `read_order` the checksum tail is written too.

    Raises ValueError where the timestamp index or the read order does not fit the columns.
    """
    if not -1 <= timestamp_index < len(columns):
        raise ValueError(f"timestamp index {timestamp_index} of {len(columns)} columns")
    body = bytearray()
    for column in columns:
        name = column.raw_name.encode("utf-16-le", "surrogatepass")
        body += struct.pack("<ii", -column.type_code if column.dropped else column.type_code, len(name) // 2) + name
    if read_order is not None:
        if len(read_order) != len(columns):
            raise ValueError(f"read order of {len(read_order)} for {len(columns)} columns")
        body += SEQUENCER_ORDER.pack(checksum=columns_checksum(columns), count=len(read_order))
        body += struct.pack(f"<{len(read_order)}i", *read_order)
    header = SEQUENCER_META.pack(
        length=SEQUENCER_META.size + len(body),
        structure_version=structure_version,
        columns=len(columns),
        timestamp_index=timestamp_index,
        table_id=table_id,
    )
    return header + bytes(body)


def _java_hash(text: str) -> int:
    """Return Java's String.hashCode, sign-extended to 64 bits."""
    total = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for at in range(0, len(units), 2):
        total = (total * 31 + units[at] + (units[at + 1] << 8)) & 0xFFFFFFFF
    return total - (1 << 32) if total >> 31 else total
