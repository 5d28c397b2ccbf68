"""Torn rows: each column of a captured segment, damaged as a power loss does it, is told with its rows."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from console.questdb.column_files import column_path, segment_timestamps
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import DamageError, DbFile
from console.questdb.segment import Segment, read_segment
from console.questdb.segment_data import Tear, check_segment_data
from console.questdb.zero_pages import PAGE, suspect_zero_pages


@pytest.fixture
def kinds(v1: DatabaseRoot) -> Path:
    """A segment of 100 rows in two events with every kind of variable width, and a double."""
    return v1.table("kinds").path / "wal1" / "0"


def _patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _tears(folder: Path, txns: list[int] | None = None) -> set[tuple[Tear, str, int, int, int]]:
    return {
        (torn.tear, torn.column, torn.event, torn.first_row, torn.rows)
        for torn in check_segment_data(read_segment(folder), txns)
    }


def test_a_whole_segment_is_not_torn(v1: DatabaseRoot) -> None:
    """None of the captured ones is."""
    for table in v1.tables():
        for wal in table.wals():
            for each in wal.segments:
                assert check_segment_data(read_segment(wal.segment(each))) == ()


def test_timestamps_are_held_to_their_event(kinds: Path) -> None:
    """Zeros are outside its span, and their row id is not theirs; the other event is not accused."""
    _patch(kinds / "ts.d", 16 * 90, bytes(32))
    assert _tears(kinds) == {(Tear.TIMESTAMP, "ts", 2, 90, 2), (Tear.ROW_ID, "ts", 2, 90, 2)}
    assert _tears(kinds, [0]) == set()
    timestamps = next(rows for _, rows in segment_timestamps(read_segment(kinds), 0, 100))
    _patch(kinds / "ts.d", 16 * 10, struct.pack("<q", int(timestamps["timestamp"][95])))
    assert (Tear.TIMESTAMP, "ts", 0, 10, 1) in _tears(kinds)


@pytest.mark.parametrize(("field", "moved"), [(29, -72), (37, 72)])
def test_a_span_is_held_to_its_rows(kinds: Path, field: int, moved: int) -> None:
    """A server would name a partition that has no row, and no statement could read the table."""
    at = int(read_segment(kinds).events["offset"][0]) + field
    (time,) = struct.unpack("<q", (kinds / "_event").read_bytes()[at : at + 8])
    _patch(kinds / "_event", at, struct.pack("<q", time + moved * 3_600_000_000))
    assert {each[:3] for each in _tears(kinds)} == {(Tear.TIMESTAMP, "ts", 0)}


@pytest.mark.parametrize("name", ["st.i", "bin.i", "vc.i", "ar.i", "price.d", "ts.d"])
def test_a_short_file_is_reported_from_the_first_missing_row(kinds: Path, name: str) -> None:
    """For each event that needs more than there is."""
    size = {"price.d": 8, "ts.d": 16, "st.i": 8, "bin.i": 8}.get(name, 16)
    rows = 70 + (name in ("st.i", "bin.i"))
    os.truncate(kinds / name, rows * size + 3)
    assert (Tear.SHORT, name.partition(".")[0], 2, 70, 30) in _tears(kinds)
    os.truncate(kinds / name, (rows - 50) * size)
    assert {one[2:] for one in _tears(kinds) if one[0] is Tear.SHORT} == {(0, 20, 40), (2, 60, 40)}


@pytest.mark.parametrize("name", ["st", "bin", "vc"])
def test_zeros_in_variable_width_files_are_found(kinds: Path, name: str) -> None:
    """In the offsets and in the values themselves."""
    aux, data = (kinds / f"{name}.i").read_bytes(), (kinds / f"{name}.d").read_bytes()
    (kinds / f"{name}.i").write_bytes(aux[:800] + bytes(len(aux) - 800))
    assert {one[:3] for one in _tears(kinds)} >= {(Tear.VARIABLE, name, 2)}
    (kinds / f"{name}.i").write_bytes(aux)
    (kinds / f"{name}.d").write_bytes(bytes(len(data)))
    assert {one[:3] for one in _tears(kinds)} == {(Tear.VARIABLE, name, 0), (Tear.VARIABLE, name, 2)}


def test_arrays_are_held_to_their_offsets_and_shapes(kinds: Path) -> None:
    """An array of no bytes is null, so that zeros are told where they step back, or where values stand for no row."""
    aux, data = (kinds / "ar.i").read_bytes(), (kinds / "ar.d").read_bytes()
    for zeroed, torn in ((slice(800, 960), {0}), (slice(0, 160), {0}), (slice(0, len(aux)), {0, 2})):
        changed = bytearray(aux)
        changed[zeroed] = bytes(len(changed[zeroed]))
        (kinds / "ar.i").write_bytes(bytes(changed))
        assert {one[:3] for one in _tears(kinds)} == {(Tear.VARIABLE, "ar", event) for event in torn}, zeroed
    (kinds / "ar.i").write_bytes(aux)
    (kinds / "ar.d").write_bytes(bytes(len(data)))
    assert {one[:3] for one in _tears(kinds)} == {(Tear.VARIABLE, "ar", 0), (Tear.VARIABLE, "ar", 2)}


def test_symbol_keys_must_be_in_the_event_s_dictionary(v1: DatabaseRoot) -> None:
    """Null is a key; one past the last is not."""
    folder = v1.table("altered").path / "wal1" / "0"
    keys = np.fromfile(folder / "sym.d", "<i4", 9)
    _patch(folder / "sym.d", 4 * 3, struct.pack("<i", -(1 << 31)))
    assert _tears(folder) == set()
    _patch(folder / "sym.d", 4 * 3, struct.pack("<i", int(keys.max()) + 1))
    assert _tears(folder) == {(Tear.SYMBOL, "sym", 0, 3, 1)}
    _patch(folder / "sym.d", 4 * 8, struct.pack("<i", -1))
    assert (Tear.SYMBOL, "sym", 1, 8, 1) in _tears(folder)


def test_a_missing_column_costs_every_row(kinds: Path) -> None:
    """Removed; a symlink hides them: nobody looked."""
    (kinds / "price.d").unlink()
    assert _tears(kinds) == {(Tear.UNREADABLE, "price", 0, 0, 60), (Tear.UNREADABLE, "price", 2, 60, 40)}
    (kinds / "price.d").symlink_to("/dev/zero")
    assert {one[0] for one in _tears(kinds)} == {Tear.HIDDEN}


def test_column_names_cannot_lead_elsewhere(kinds: Path) -> None:
    """A metadata file may hold any name."""
    for name in ("../../x", "", "a\0b", "..", ".", "a\ud800"):
        with pytest.raises(DamageError):
            column_path(kinds, name, "d")
    assert column_path(kinds, "price", "d", 4) == kinds / "price.d.4"


def _zero_runs(path: Path, values: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[tuple[int, int]]:
    path.write_bytes(values.tobytes())
    with DbFile(path) as file:
        return suspect_zero_pages(file, 8, len(values) * 8)


def test_only_whole_lost_pages_are_suspect(tmp_path: Path) -> None:
    """Zeros that begin or end inside a page were written; a column of zeros says so; the last page may be short."""
    path, rows = tmp_path.resolve() / "v.d", PAGE // 8
    values = np.arange(1, 5 * rows + 100, dtype=np.int64)
    assert _zero_runs(path, values) == []
    lost = values.copy()
    lost[rows : 3 * rows] = 0
    assert _zero_runs(path, lost) == [(rows, 3 * rows)]
    written = lost.copy()
    written[rows - 1] = 0
    assert _zero_runs(path, written) == []
    written = lost.copy()
    written[3 * rows] = 0
    assert _zero_runs(path, written) == []
    tail = values.copy()
    tail[5 * rows :] = 0
    assert _zero_runs(path, tail) == [(5 * rows, 5 * rows + 99)]
    assert _zero_runs(path, tail[: 5 * rows + 40]) == [(5 * rows, 5 * rows + 40)]
    assert _zero_runs(path, tail[: 5 * rows + 7]) == []
    assert _zero_runs(path, np.zeros(5 * rows, np.int64)) == []


def test_a_lost_page_of_flags_is_found_beside_flags_that_are_not_set(tmp_path: Path) -> None:
    """Half of them are zero anyway; where nearly all are, a page of zeros says nothing."""
    path, rng = tmp_path.resolve() / "flag.d", np.random.default_rng(7)
    for seed, (share, found) in enumerate([(0.5, True), (0.2, True), (0.0005, False)]):
        flags = (rng.random(5 * PAGE) < share).astype(np.int8)
        flags[2 * PAGE : 3 * PAGE] = 0
        flags[2 * PAGE - 2 : 2 * PAGE] = flags[3 * PAGE : 3 * PAGE + 2] = 0
        path.write_bytes(flags.tobytes())
        with DbFile(path) as file:
            runs = suspect_zero_pages(file, 1, len(flags))
        assert ((2 * PAGE, 3 * PAGE) in runs) == found, (seed, runs)


def test_events_with_wild_rows_cost_nothing(kinds: Path) -> None:
    """An end row of 2^62 is bounded by the files."""
    _patch(kinds / "_event", 8 + 13 + 8, struct.pack("<q", 1 << 62))
    segment: Segment = read_segment(kinds)
    assert segment.problems
    assert {torn.tear for torn in check_segment_data(segment)} >= {Tear.SHORT}
