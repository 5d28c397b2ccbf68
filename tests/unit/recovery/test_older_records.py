"""A record of `_txn` that is older than the disk, or whose counts the disk does not bear out: captured tables."""

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from console.questdb.layout import TableDirectory
from console.questdb.table_encoding import encode_table_txn
from console.recovery.table_repair.disk import even
from console.recovery.table_repair.state import table_state
from tests.data.samples import KINDS, Kind, sample_database
from tests.txn_file import area_of


@pytest.fixture(params=[(kind, name) for kind in KINDS for name in ("altered", "kinds")], ids="-".join)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> TableDirectory:
    """A table that a real server wrote."""
    kind: Kind
    kind, name = request.param
    return sample_database(kind, tmp_path).table(name)


@pytest.mark.parametrize("purged", [False, True])
def test_rows_behind_an_older_record_are_cut_off_only_if_their_wal_is_there(
    table: TableDirectory, purged: bool
) -> None:
    area = area_of(table.path)
    (partition,) = table.path.glob("2024-*")
    left = area.rows - 5
    newest = int(np.fromfile(partition / "ts.d", "<i8", left)[-1])
    older = replace(area, txn=even(area.txn), seq_txn=area.seq_txn - 1, transient_rows=left, max_ts=newest)
    older = replace(older, lag_checksum=older.lag_checksum_expected())
    (table.path / "_txn").write_bytes(encode_table_txn(older))
    for wal in table.path.glob("wal*") if purged else ():
        shutil.rmtree(wal)
    state = table_state(table)
    assert state.refusals == []
    assert state.area is not None
    assert (state.area.rows + state.rows_waiting, state.doubted) == (area.rows, 0)
    assert not purged or (state.area.rows, state.area.seq_txn) == (area.rows, area.seq_txn)


def test_an_area_that_was_in_force_needs_no_log_if_its_checksum_fits(table: TableDirectory) -> None:
    """The version of `_txn` is that of the commit before, and txn_seq is gone."""
    before, content = area_of(table.path), bytearray((table.path / "_txn").read_bytes())
    struct.pack_into("<q", content, 0, before.txn - 1)
    (table.path / "_txn").write_bytes(content)
    shutil.rmtree(table.sequencer)
    state = table_state(table)
    assert (state.refusals, state.area is not None) == ([], True)
    assert state.area is not None
    assert (state.area.seq_txn, state.area.rows) == (before.seq_txn, before.rows)
    assert np.array_equal(state.area.partitions, before.partitions)


@pytest.mark.parametrize("more", [0, 5])
def test_rows_that_only_the_count_tells_of_may_be_of_an_edge_partition(table: TableDirectory, more: int) -> None:
    """The partition table is zeros, and so is the WAL: the count in the record is all that tells of a lost edge."""
    area = area_of(table.path)
    zeros = np.zeros_like(area.partitions)
    counted = replace(area, txn=even(area.txn), partitions=zeros, transient_rows=area.rows + more)
    (table.path / "_txn").write_bytes(encode_table_txn(counted))
    for wal in table.path.glob("wal*"):
        shutil.rmtree(wal)
    state = table_state(table)
    assert (state.refusals, bool(state.gone)) == ([], more > 0)
