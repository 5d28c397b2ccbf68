"""Which records of a log are believed, and what they name."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.sequencer.made import inventory, named, record, scanned, written_log

THREE = ((1, 0, 0), (1, 0, 1), (2, 0, 0))


def test_a_whole_log_names_every_event(tmp_path: Path) -> None:
    of = inventory(*THREE)
    folder = written_log(tmp_path / "a", [record((1, 0, 0)), record((2, 0, 0)), record((1, 0, 1))])
    scan = scanned(folder, of, applied=1)
    assert scan.seq.tolist() == [1, 3, 2]
    assert (scan.bad, scan.beyond, scan.covers_applied) == (0, 0, True)
    assert (list(scan.recorded.runs()), scan.named.number.tolist()) == ([(1, 3)], [2, 3])


def test_records_behind_a_stale_header_count_where_they_name_what_is_on_disk(tmp_path: Path) -> None:
    of = inventory(*THREE)
    records = [record((1, 0, 0)), record((2, 0, 0)), record((1, 0, 1)), record((9, 0, 0))]
    scan = scanned(written_log(tmp_path / "a", records, max_txn=1, pad=500), of, applied=0)
    assert scan.seq.tolist() == [1, 3, 2]
    assert scan.beyond == 2  # the fourth names nothing on disk: bytes behind the header prove nothing by themselves


@pytest.mark.parametrize(
    ("versions", "max_txn", "applied", "believed"),
    [
        ((1,), 3, 1, [2, 3, 4]),
        ((1, 2), 3, 1, [2, 3, 4, 5]),
        ((1,), 0, 1, [2, 3, 4]),  # a header below what is applied
        ((1,), 0, 3, [4]),  # nothing but the change is unapplied
        ((2,), 3, 1, [2, 3]),  # it does not go on from version 0
        ((1, 3), 3, 1, [2, 3, 4]),
    ],
)
def test_a_structure_change_behind_the_header_counts_where_it_goes_on(
    tmp_path: Path, versions: tuple[int, ...], max_txn: int, applied: int, believed: list[int]
) -> None:
    """What ALTER did last has no rows behind it: its record follows the one before it, in number and version."""
    of = inventory(*THREE)
    changes = [record(None, structure=version) for version in versions]
    records = [record((1, 0, 0)), record((2, 0, 0)), record((1, 0, 1)), *changes]
    folder = written_log(tmp_path / "a", records, max_txn=max_txn, pad=500)
    scan = scanned(folder, of, applied)
    assert [number for low, high in scan.above.runs() for number in range(low, high + 1)] == believed
    assert scan.changed == sum(number > 3 for number in believed)


def test_a_structure_change_behind_a_hole_is_not_believed(tmp_path: Path) -> None:
    of = inventory(*THREE)
    records = [record((1, 0, 0)), record((2, 0, 0)), np.zeros_like(record(None)), record(None, structure=1)]
    scan = scanned(written_log(tmp_path / "a", records, max_txn=2, pad=500), of, applied=1)
    assert list(scan.above.runs()) == [(2, 2)]


def test_zero_and_garbage_records_are_holes(tmp_path: Path) -> None:
    of = inventory(*THREE)
    garbage = record((1, 0, 1))
    garbage["segment_id"] = 0x7FFFFFFF
    records = [record((1, 0, 0)), np.zeros_like(garbage), garbage]
    scan = scanned(written_log(tmp_path / "a", records), of, applied=1)
    assert (scan.bad, list(scan.recorded.gaps(1, 3))) == (2, [(2, 3)])
    assert scan.seq.tolist() == [1, 0, 0]


def test_a_log_one_page_short_has_a_hole_up_to_its_header(tmp_path: Path) -> None:
    of = inventory(*THREE)
    scan = scanned(written_log(tmp_path / "a", [record((1, 0, 0))], max_txn=3), of, applied=1)
    assert (scan.bad, list(scan.recorded.gaps(1, 3))) == (2, [(2, 3)])


def test_a_record_against_the_order_of_its_wal_is_not_believed(tmp_path: Path) -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (1, 0, 2))
    records = [record((1, 0, 0)), record((1, 0, 2)), record((1, 0, 1)), record((1, 0, 2))]
    scan = scanned(written_log(tmp_path / "a", records), of, applied=0)
    assert scan.seq[0] == 1
    assert len(scan.above) == 3
    assert (np.diff(scan.seq[scan.seq > 0]) > 0).all()


def test_an_event_named_twice_is_named_once(tmp_path: Path) -> None:
    of = inventory(*THREE)
    records = [record((1, 0, 0)), record((1, 0, 0)), record((2, 0, 0))]
    scan = scanned(written_log(tmp_path / "a", records), of, applied=1)
    assert (scan.bad, list(scan.recorded.gaps(1, 3))) == (1, [(2, 2)])


def test_lost_events_are_reported_with_their_rows_in_v2(tmp_path: Path) -> None:
    of = inventory((1, 0, 0))
    records = [record((1, 0, 0)), record((3, 0, 0), rows=77), record((4, 0, 0), rows=5)]
    names = named(of, 1, scanned(written_log(tmp_path / "a", records, part_size=2), of, applied=1))
    assert (list(names.lost.runs()), names.lost_rows()) == ([(2, 3)], 82)
    records[2] = record((4, 0, 0))
    names = named(of, 1, scanned(written_log(tmp_path / "b", records, part_size=2), of, applied=1))
    assert (list(names.lost.runs()), names.lost_rows()) == ([(2, 3)], None)  # one does not say its rows


def test_a_purged_part_leaves_a_hole_below_applied(tmp_path: Path) -> None:
    of = inventory((1, 1, 0))
    folder = written_log(tmp_path / "a", [record((1, 0, 0)), record((1, 0, 1)), record((1, 1, 0))], part_size=2)
    (folder / "_txn_parts" / "0").unlink()
    names = named(of, 3, scanned(folder, of, 3))
    assert (names.holes_after(0), names.holes_after(1), names.holes_after(2)) == (2, 1, 0)
    assert not names.complete


def test_sources_that_contradict_a_stronger_one_are_left_out(tmp_path: Path) -> None:
    of = inventory(*THREE)
    good = scanned(written_log(tmp_path / "a", [record(a) for a in ((1, 0, 0), (2, 0, 0), (1, 0, 1))]), of, 1)
    other = scanned(written_log(tmp_path / "b", [record(a) for a in ((2, 0, 0), (1, 0, 0), (1, 0, 1))]), of, 1)
    names = named(of, 1, good, other)
    assert names.used == ("log 0",)
    assert names.seq.tolist() == [1, 3, 2]
    assert "log 1 contradicts" in names.left_out[0]


def test_two_damaged_copies_fill_each_others_holes(tmp_path: Path) -> None:
    of = inventory(*THREE)
    zero = np.zeros_like(record(None))
    first = scanned(written_log(tmp_path / "a", [record((1, 0, 0)), zero, record((1, 0, 1))]), of, 2)
    second = scanned(written_log(tmp_path / "b", [zero, record((2, 0, 0)), zero]), of, 2)
    names = named(of, 2, first, second)
    assert names.seq.tolist() == [1, 3, 2]
    assert names.complete
