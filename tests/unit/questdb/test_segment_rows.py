"""Rows of a segment whose own `_meta` is damaged."""

import struct
from pathlib import Path

from console.questdb.layout import wal_directories
from console.questdb.row_values import BytesValues
from console.questdb.segment import read_segment
from console.questdb.segment_rows import SegmentRows
from tests.data.samples import sample_database


def test_a_symbol_with_stray_bits_in_its_type_is_a_symbol_with_and_without_holes(tmp_path: Path) -> None:
    """Rows that are read and rows left out must come as one kind of values: they are joined."""
    table = sample_database("v1", tmp_path / "station").table("altered").path
    wal = wal_directories(table)[0]
    meta = wal.segment(wal.segments[0]) / "_meta"
    plain = read_segment(meta.parent)
    assert plain.metadata is not None
    index, column = next((n, c) for n, c in enumerate(plain.metadata.columns) if c.type_code == 12)
    name = struct.pack("<i", len(column.raw_name)) + column.raw_name.encode("utf-16-le")
    data = meta.read_bytes()
    at = data.index(struct.pack("<i", 12) + name)
    meta.write_bytes(data[:at] + struct.pack("<i", 12 | 1 << 8) + data[at + 4 :])
    changed = read_segment(meta.parent)
    rows = int(changed.events["end_row"].max())
    for holes in ({}, {index: [(0, 1)]}):
        with SegmentRows(changed, table, holes) as opened:
            (chunk,) = opened.chunks([(0, rows)])
            place = [each.index for each in opened.columns].index(index)
            values = chunk.values[place]
            assert isinstance(values, BytesValues)
            assert len(values.offsets) == rows + 1
