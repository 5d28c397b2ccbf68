"""The guard is killed, or its disk is full, at each of its writing calls: what it had before is still there, whole."""

import errno
import os
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.txn_log import HEADER_SIZE, read_log
from console.recovery.guard.copies import all_copies, copies_of
from console.recovery.guard.mirror import is_whole
from console.recovery.guard.taking import Guard
from tests.data.samples import Kind, sample_database
from tests.faults.interposed import count, failing, interposed, killed_in_child

_TABLE = "altered"
_ALL = os.environ.get("WALMEDIC_FAULT_KILLS") is not None


def _round(database: DatabaseRoot, copies: Path) -> None:
    with Guard(database, copies, 1 << 30) as guard:
        guard.round()


def _commit(database: DatabaseRoot) -> None:
    """Append the log's last record once more, and touch `_txn`, as a commit does."""
    table = database.table(_TABLE)
    log = read_log(table.sequencer)
    assert log.header is not None
    last = log.header.max_txn
    record = encode_records(log.records(last, last), v2=log.v2)
    path, offset = log.offset_of(last + 1)
    if not path.exists():  # a new part
        path.write_bytes(bytes(log.part_size * log.record_size))
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(record)
    header = encode_log_header(last + 1, log.header.created_us, part_size=log.part_size)
    with (table.sequencer / "_txnlog").open("r+b") as stream:
        stream.write(header[:HEADER_SIZE])
    assert read_log(table.sequencer).whole_records >= last + 1


def _held(database: DatabaseRoot, copies: Path) -> tuple[int, int]:
    """Return the number of the newest copy that is whole, and how far the mirror goes; all that is listed is whole."""
    table = database.guarded(copies).table(_TABLE)
    assert table.guard is not None
    mirrors = table.guard_mirrors()
    assert all(is_whole(mirror) for mirror in mirrors)
    assert all(copy.whole for copy in all_copies(table.guard))
    newest = next(copies_of(table))
    return newest.number, max(read_log(mirror).max_txn or 0 for mirror in mirrors)


@pytest.fixture(params=["v1", "v2"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseRoot:
    """A database with both formats of the log, guarded once, and then written to."""
    kind: Kind = request.param
    found = sample_database(kind, tmp_path / "root")
    _round(found, tmp_path / "copies")
    return found


def _some(calls: int) -> list[int]:
    return list(range(calls)) if _ALL else sorted({*range(0, calls, max(1, calls // 12)), calls - 1})


def test_a_kill_loses_nothing_but_the_newest_copy(database: DatabaseRoot, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    _commit(database)
    calls = count(lambda: _round(database, copies))
    for at in _some(calls):
        for done in (False, True):
            before = _held(database, copies)
            _commit(database)
            assert killed_in_child(lambda: _round(database, copies), at, done=done), at
            after = _held(database, copies)
            assert after[0] in (before[0], before[0] + 1), (at, done)
            assert after[1] in (before[1], before[1] + 1), (at, done)
            _round(database, copies)
            assert _held(database, copies) == (before[0] + 1, before[1] + 1), (at, done)


def test_a_full_disk_loses_nothing_but_the_newest_copy(database: DatabaseRoot, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    with Guard(database, copies, 1 << 30) as guard:
        guard.round()
        _commit(database)
        calls = count(guard.round)
        for at in _some(calls):
            before = _held(database, copies)
            _commit(database)
            with interposed(failing(at, errno.ENOSPC, lasting=True)):
                state = guard.round()
            held = _held(database, copies)
            assert held[0] in (before[0], before[0] + 1), at
            assert held[0] == before[0] + 1 or any(name.startswith(f"{_TABLE}~") for name in state.left_out), at
            assert not guard.round().left_out, at
            assert _held(database, copies) == (before[0] + 1, before[1] + 1), at
