"""Looking again and again: only what is new is read, and what is said is what a look at everything would say."""

import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.live import LiveDiagnosis
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.txn_log import RECORD_V2, read_log
from tests.data.logs import v1_log_chunks
from tests.data.samples import sample_database
from tests.txn_file import put_seq_txn

LONG = 150_000
SIZE = 76 + 28 * LONG


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """The captured tables, one of them with a long log: filler, then its own records, all of them applied."""
    found = sample_database("v1", tmp_path.resolve() / "station")
    table = found.table("altered")
    own = read_log(table.sequencer).records(1, 9)
    filler = np.zeros(LONG - len(own), RECORD_V2)
    (table.sequencer / "_txnlog").write_bytes(b"".join(v1_log_chunks(LONG, 1, iter([filler, own]))))
    _set_applied(table, LONG)
    return found


def _put(path: Path, offset: int, form: str, *values: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def _set_applied(table: TableDirectory, txn: int) -> None:
    """Set the applied transaction as the server would, version last."""
    put_seq_txn(table.path, txn)


class Reads:
    """Bytes read, by file name."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.bytes: dict[str, int] = {}

    def of(self, name: str) -> int:
        """Return the bytes read of all files called `name`."""
        return self.bytes.get(name, 0)

    def add(self, fd: int, count: int) -> None:
        """Count what a read gave."""
        name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115, PTH119
        self.bytes[name] = self.bytes.get(name, 0) + count


@contextmanager
def counted() -> Iterator[Reads]:
    """Count every byte that a reader gets."""
    reads = Reads()
    pread, preadv = os.pread, os.preadv

    def one(fd: int, count: int, offset: int) -> bytes:
        data = pread(fd, count, offset)
        reads.add(fd, len(data))
        return data

    def many(fd: int, buffers: Any, offset: int, *more: Any) -> int:
        got = preadv(fd, buffers, offset, *more)
        reads.add(fd, got)
        return got

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", one)
        patch.setattr(os, "preadv", many)
        yield reads


def _same_as_afresh(live: LiveDiagnosis, database: DatabaseRoot) -> Reads:
    with counted() as reads:
        report = live.look(database)
    assert report.to_json()["tables"] == diagnose(database).to_json()["tables"]
    return reads


def test_a_table_in_which_nothing_moved_is_not_read(database: DatabaseRoot) -> None:
    live = LiveDiagnosis()
    first = _same_as_afresh(live, database)
    assert first.of("_txnlog") > SIZE
    assert first.of("price.d") == 0  # nothing waits there
    again = _same_as_afresh(live, database)
    assert again.of("_txnlog") <= 3 * 128
    few = {"_txn", "_txnlog", "_wal_index.d", "_tab_index.d", "_meta", "_name", "tables.d.0", "_mv", "_mv.s"}
    assert set(again.bytes) <= few
    assert again.of("_txn") <= 3 * 64


def test_of_a_log_that_grew_only_the_end_is_read(database: DatabaseRoot) -> None:
    table = database.table("altered")
    live = LiveDiagnosis()
    live.look(database)
    log = table.sequencer / "_txnlog"
    last = struct.unpack("<qiiiq", log.read_bytes()[76 + 28 * (LONG - 1) :][:28])
    for count in (1, 40, 900):
        top = read_log(table.sequencer).max_txn or 0
        for txn in range(top + 1, top + 1 + count):
            _put(log, 76 + 28 * (txn - 1), "<qiiiq", *last[:3], last[3] + txn, last[4])
        _put(log, 4, "<q", top + count)
        _set_applied(table, top + count - count // 2)
        reads = _same_as_afresh(live, database)
        assert reads.of("_txnlog") < 28 * count + 6 * 4096, count
        _set_applied(table, top + count)


@pytest.mark.parametrize("how", ["cut", "replaced", "older", "zeroed", "emptied", "removed", "below"])
def test_what_happens_to_a_log_is_seen(database: DatabaseRoot, how: str) -> None:
    table = database.table("altered")
    live = LiveDiagnosis()
    before = live.look(database).to_json()
    log = table.sequencer / "_txnlog"
    data = log.read_bytes()
    if how == "cut":
        os.truncate(log, 76 + 28 * (LONG - 3))
    elif how == "replaced":
        log.unlink()
        log.write_bytes(data[: 76 + 28 * (LONG - 9)].ljust(len(data), b"\0"))
    elif how == "older":
        _put(log, 4, "<q", LONG - 5)
    elif how == "zeroed":
        _put(log, 76 + 28 * (LONG - 1), "<28b", *[0] * 28)
    elif how == "emptied":
        os.truncate(log, 0)
    elif how == "removed":
        log.unlink()
    else:
        _set_applied(table, LONG - 7)
    with counted():
        after = live.look(database).to_json()
    assert after["tables"] == diagnose(database).to_json()["tables"]
    assert after["tables"] != before["tables"]


def test_rows_that_were_whole_are_not_read_again_and_torn_ones_are(database: DatabaseRoot) -> None:
    table = database.table("kinds")
    _set_applied(table, 1)
    live = LiveDiagnosis()
    first = _same_as_afresh(live, database)
    assert first.of("price.d") > 0
    _put(table.path / "_txn", 64 - 8, "<q", 1)  # something moved that means nothing
    second = _same_as_afresh(live, database)
    assert second.of("price.d") == second.of("_event") == 0
    os.truncate(table.path / "wal1" / "0" / "price.d", 8)
    _put(table.path / "_txn", 64 - 8, "<q", 2)
    third = _same_as_afresh(live, database)
    assert third.of("price.d") == 0 or third.of("price.d") <= 8
    report = next(each for each in live.look(database).tables if each.table == "kinds")
    assert any("price" in finding.message for finding in report.findings)


def test_after_a_while_all_is_read_afresh(database: DatabaseRoot) -> None:
    live = LiveDiagnosis(again=0.0, afresh=0.0)
    live.look(database)
    with counted() as reads:
        live.look(database)
    assert reads.of("_txnlog") > SIZE


def test_a_random_life_is_reported_as_if_it_were_read_afresh_each_time(database: DatabaseRoot) -> None:
    table = database.table("altered")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    live = LiveDiagnosis()
    log = table.sequencer / "_txnlog"
    whole = log.read_bytes()
    for _ in range(25):
        top = LONG + dice.randrange(50)
        match dice.randrange(6):
            case 0:
                _put(log, 76 + 28 * (top - 1), "<qiiiq", 1, dice.randint(-1, 2), 0, dice.randrange(20), 1)
            case 1:
                _put(log, 4, "<q", top)
            case 2:
                _set_applied(table, LONG - dice.randrange(LONG) if dice.random() < 0.3 else LONG)
            case 3:
                os.truncate(log, dice.choice((len(whole), 76 + 28 * (LONG - 2), 40)))
            case 4:
                log.write_bytes(whole)
            case _:
                (table.sequencer / "new").write_bytes(whole[: dice.randrange(len(whole))])
                (table.sequencer / "new").rename(log)
        _same_as_afresh(live, database)
