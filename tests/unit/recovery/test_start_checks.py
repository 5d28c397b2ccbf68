"""A start where it does no harm itself and the first row would: refused as long as a writer may send one."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose, diagnose_table
from console.diagnosis.model import Code, Harm, Severity
from console.questdb import layout
from console.questdb.registry import encode_registry
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import TABLE_DROPPED, read_log
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from tests.data.samples import sample_database
from tests.faults.broken_database import settings_of

_STRIKES: dict[str, tuple[Callable[[Path], object], RefusalCode]] = {
    "offsets gone": (lambda table: (table / "sym.o").unlink(), RefusalCode.SYMBOL_MAP_MISSING),
    "values cut": (lambda table: (table / "sym.c").write_bytes(b"\1\0"), RefusalCode.SYMBOL_MAP_SHORT),
    "keys zeros": (lambda table: (table / "sym.k").write_bytes(bytes(4096)), RefusalCode.SYMBOL_MAP_INVALID),
}


@pytest.mark.parametrize("how", _STRIKES)
def test_a_start_before_symbols_are_repaired_is_refused_while_a_writer_may_write(how: str, tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    strike, code = _STRIKES[how]

    def refused() -> dict[RefusalCode, str | None]:
        plan = Engine(settings_of(database.root, tmp_path / "state")).plan("start-server")
        return {each.code: each.action for each in plan.refused if each.table is not None}

    assert refused() == {}
    strike(database.table("altered").path)
    assert refused() == {code: "repair-symbols"}


def test_a_start_that_purges_the_wal_with_lost_names_is_refused_whoever_writes(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "root")
    table = database.table("altered")
    assert table.wals()
    (table.path / "sym.c").write_bytes(b"\1\0")
    (finding,) = (each for each in diagnose_table(database, table).findings if each.code is Code.SYMBOL_MAP_SHORT)
    assert (finding.start, finding.write) == (Harm.DELETES_WAL, Harm.SPOILS_SYMBOLS)


@pytest.mark.parametrize("code", [1, 3])
def test_a_start_with_a_truncate_pending_is_refused(code: int, tmp_path: Path) -> None:
    """Another code in `_todo_` is ignored by the server."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    table = database.table("altered").path
    current = read_table_txn(table).current
    assert current is not None
    (table / "_todo_").write_bytes(struct.pack("<6q", current.txn, 0, 0, current.txn, 1, code))
    refused = {
        each.code for each in Engine(settings_of(database.root, tmp_path / "state")).plan("start-server").refused
    }
    assert (RefusalCode.TODO_PENDING in refused) is (code == 1)


def test_a_start_that_deletes_a_table_whose_log_does_not_say_that_it_was_dropped_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DROP TABLE changes the registry, then the log; without a log, or where it has the drop, nothing is said."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    path, registry = database.table("altered").path, database.registry()
    entry, log = registry.live()[path.name], read_log(path / "txn_seq")
    assert registry.path is not None
    assert log.max_txn is not None
    registry.path.write_bytes(encode_registry([*registry.entries, replace(entry, removed=True)]))

    def seen() -> list[tuple[Severity, Harm]]:
        found = [each for each in diagnose(database).findings if each.code is Code.DROPPED_TABLE_BACK]
        refused = Engine(settings_of(database.root, tmp_path / "state")).plan("start-server").refused
        assert (RefusalCode.DROPPED_TABLE_BACK in {each.code for each in refused}) is bool(found)
        txn = read_table_txn(path).current
        assert all(txn is not None and f"({txn.rows:,} rows)" in each.message for each in found)
        return [(each.severity, each.start) for each in found]

    def drop() -> Iterator[None]:
        records = log.records(log.max_txn or 0, log.max_txn or 0).copy()
        records["wal_id"], records["segment_id"], records["segment_txn"] = TABLE_DROPPED, 0, 0
        file, offset = log.offset_of(log.max_txn or 0)
        with file.open("r+b") as opened:
            opened.seek(offset)
            opened.write(records.tobytes())
        yield

    assert seen() == [(Severity.DAMAGE, Harm.ERASES_TABLE)]
    content = log.path.read_bytes()
    for damage in (bytes(len(content)), content[:80]):
        log.path.write_bytes(damage)
        assert seen() == []
    log.path.write_bytes(content)
    monkeypatch.setattr(layout, "later_looks", drop)
    assert seen() == []
    assert database.not_dropped() == ()
    log.path.unlink()
    assert seen() == []
