"""A start that would destroy is refused and changes nothing; started by hand, the same state shows what is lost."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, ServerError
from console.settings import QuestDBSettings, Settings
from tests.real.healthy_shapes import make_shapes
from tests.real.start_damage import (
    ALONE,
    CRASHES,
    DAMAGES,
    SMALL,
    Damage,
    alone,
    build,
    cut,
    partition,
    table_of,
    tree,
    zero,
)
from tests.real.versions import binary_of
from tests.real.waiting import until

_TOGETHER = tuple(damage for damage in DAMAGES if damage.name not in CRASHES)
_PURGE = {"cairo.wal.purge.interval": "1000", **SMALL}


@pytest.fixture(scope="module")
def prepared(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table for each damage, whole."""
    root: Path = tmp_path_factory.mktemp("start").resolve() / "root"
    build(root, questdb)
    return root


def _engine(root: Path, state: Path) -> Engine:
    return Engine(Settings(questdb=QuestDBSettings(db_root=str(root)), bare=True, state_dir=str(state)))


def _refused(root: Path, state: Path) -> dict[str, str]:
    """Return the refusals of start-server that are not about a station being configured, by code."""
    found = _engine(root, state).plan("start-server").refused
    return {str(each.code): each.reason for each in found if each.code not in ("no-station", "server-unknown")}


@pytest.mark.parametrize("damage", [*DAMAGES, *ALONE], ids=lambda damage: damage.name)
def test_a_start_on_damaged_files_is_refused_and_changes_nothing(
    prepared: Path, tmp_path: Path, damage: Damage
) -> None:
    root = tmp_path.resolve() / "root"
    table = alone(prepared, damage.name, root)
    (root / "db" / "tables.d.lock").touch()
    assert _refused(root, tmp_path / "state") == {}
    damage.strike(table)
    before = tree(root)
    refused = _refused(root, tmp_path / "state")
    assert damage.code in refused
    assert refused[damage.code].startswith(f"{damage.name}: ")
    report = diagnose(DatabaseRoot.locate(root), [damage.name]).tables[0]
    assert report.verdict is Verdict.BROKEN or damage.name == "to_plain"
    assert any(step.action == "start-server" for step in report.blocked_steps)
    assert tree(root) == before


@pytest.mark.parametrize("name", ["_restore", "tables.d", "telemetry", "plain"])
def test_every_table_and_the_root_itself_count(
    prepared: Path, tmp_path: Path, questdb: ServerBinary, name: str
) -> None:
    root = tmp_path.resolve() / "root"
    alone(prepared, "twin", root)
    (root / "db" / "tables.d.lock").touch()
    match name:
        case "_restore":
            (root / "_restore").touch()
            code = "restore-pending"
        case "tables.d":
            registry = next((root / "db").glob("tables.d.[0-9]*"))
            data = bytearray(registry.read_bytes())
            end = int.from_bytes(data[:8], "little")
            data[end // 2 : end] = b"\xee" * (end - end // 2)
            registry.write_bytes(data)
            code = "registry-invalid"
        case "telemetry":
            cut(root / "db" / "telemetry_config" / "_txn", 0)
            code = "table-txn-invalid"
        case _:
            with PrivateServer(root, questdb, settings={"cairo.wal.apply.enabled": "false", **SMALL}) as server:
                server.query("CREATE TABLE plain (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL")
                server.query(
                    "INSERT INTO plain SELECT timestamp_sequence('2024-01-01', 86400000000L), x FROM long_sequence(3)"
                )
            zero(table_of(root, "plain") / "_txn")
            code = "table-txn-invalid"
    assert code in _refused(root, tmp_path / "state")


def test_healthy_tables_of_every_shape_may_start(
    questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("shapes").resolve() / "root"
    made = make_shapes(root, questdb)
    report = diagnose(DatabaseRoot.locate(root))
    assert {table.table: [f.message for f in table.findings] for table in report.tables if table.findings} == {}
    assert {table.table for table in report.tables} == made
    assert _refused(root, root.parent / "state") == {}
    assert report.version == "9.1.0"


class Started:
    """The damaged tables after a start by hand: what of each is on disk, and what SQL says of it."""

    def __init__(self, root: Path, before: dict[str, dict[str, tuple[int, str]]], server: PrivateServer) -> None:
        self.root, self.before, self._server = root, before, server

    def answer(self, table: str) -> list[tuple[Any, ...]] | str:
        """Return count and sums of a table, or why there are none; a query may hang for good."""
        found: list[list[tuple[Any, ...]] | str] = []

        def ask() -> None:
            try:
                found.append(self._server.query(f"SELECT count(), count(px), sum(px), sum(fee) FROM {table}"))
            except psycopg.Error as error:
                found.append(str(error))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(5)
        return found[0] if found else "no answer"

    def destroyed(self, table: str) -> list[str]:
        """Return what is lost: files that no waiting row touches, rows that are not the twin's, or what was written on
        top of a table that cannot be read."""
        before, after = self.before[table], tree(table_of(self.root, table))
        lost = [name for name in before if name not in after and name[:10] in ("2024-01-01", "2024-01-04")]
        lost += [name for name in before if name not in after and ".77/" in name]
        lost += [name for name in after if name.startswith(("_meta.v0", "_txn.v")) and name not in before]
        if lost:
            return lost
        answer = self.answer(table)
        if isinstance(answer, str):
            return [name for name in ("_txn", "_cv") if after.get(name) != before.get(name)]
        return [] if answer == self.answer("twin") else [str(answer)]


@pytest.fixture(scope="module")
def started(prepared: Path, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """One server, started by hand on all damages that it survives."""
    root = tmp_path_factory.mktemp("by-hand").resolve() / "root"
    shutil.copytree(prepared, root)
    for damage in (*ALONE, *(each for each in DAMAGES if each.name in CRASHES)):
        shutil.rmtree(table_of(root, damage.name))
    for damage in _TOGETHER:
        damage.strike(table_of(root, damage.name))
    before = {damage.name: tree(table_of(root, damage.name)) for damage in _TOGETHER}
    with PrivateServer(root, questdb, settings=_PURGE) as server:
        time.sleep(4)
        yield Started(root, before, server)
        server.kill()


@pytest.mark.parametrize("damage", [each for each in _TOGETHER if each.proof], ids=lambda damage: damage.name)
def test_started_by_hand_the_same_state_loses_rows(started: Started, damage: Damage) -> None:
    assert started.destroyed(damage.name) != []


@pytest.mark.faults
@pytest.mark.parametrize("damage", ALONE, ids=lambda damage: damage.name)
def test_some_states_stop_the_server_or_are_rewritten_by_it(
    prepared: Path, questdb: ServerBinary, tmp_path: Path, damage: Damage
) -> None:
    root = tmp_path.resolve() / "root"
    table = alone(prepared, damage.name, root)
    damage.strike(table)
    before = tree(table)
    server = PrivateServer(root, questdb, settings=_PURGE)
    try:
        server.start(60)
        time.sleep(3)
        with pytest.raises((psycopg.Error, ServerError)):
            server.query(f"SELECT count() FROM {damage.name}")
        if damage.proof:
            after = tree(table)
            assert any(after.get(name) != said for name, said in before.items() if name in ("_txn", "_meta", "_cv"))
    except ServerError:
        assert damage.name in ("txn_empty", "meta_empty")
    finally:
        server.kill()


@pytest.mark.parametrize("name", ["txn_zero", "first_gone", "cv_gone"])
def test_evidence_of_a_damaged_table_holds_its_partitions(prepared: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path.resolve() / "root"
    table = alone(prepared, name, root)
    (root / "db" / "tables.d.lock").touch()
    next(damage for damage in DAMAGES if damage.name == name).strike(table)
    engine = _engine(root, tmp_path / "state")
    plan = engine.plan("capture-evidence", name)
    assert plan.disk_needed >= sum(size for size, _ in tree(table).values())
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    (copy,) = (tmp_path / "state" / "evidence").glob(f"*/db/{table.name}")
    assert tree(copy) == tree(table)


def test_what_a_start_does_to_a_lost_sequencer_depends_on_the_version(prepared: Path, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    table = alone(prepared, "twin", root)
    (root / "db" / "tables.d.lock").touch()
    shutil.rmtree(table / "txn_seq")
    assert "sequencer-missing" not in _refused(root, tmp_path / "state")  # 9.1.0, as its own files say
    shutil.rmtree(root / "db" / "telemetry_config")
    assert "sequencer-missing" in _refused(root, tmp_path / "state")  # not known, so it may be one that erases


@pytest.mark.faults
def test_an_older_version_erases_a_table_whose_sequencer_is_lost(tmp_path: Path) -> None:
    root, older = tmp_path.resolve() / "root", binary_of("8.2.0")
    build(root, older, names=())
    table = table_of(root, "twin")
    shutil.rmtree(table / "txn_seq")
    (root / "db" / "tables.d.lock").touch()
    settings = Settings(
        questdb=QuestDBSettings(db_root=str(root), jar=str(older.jar)), bare=True, state_dir=str(tmp_path / "state")
    )
    refused = {str(each.code): each.reason for each in Engine(settings).plan("start-server").refused}
    assert "QuestDB 8.2.0" in refused["sequencer-missing"]
    assert partition(table, 1).is_dir()
    with PrivateServer(root, older, settings=_PURGE) as server:
        until(lambda: not (table / "_txn").exists(), "it is erased")
        server.kill()


@pytest.mark.faults
def test_a_checkpoint_rolls_back_on_order_alone(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    root.mkdir()
    with PrivateServer(root, questdb, settings=SMALL) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query("INSERT INTO t SELECT timestamp_sequence('2024-01-01', 1000000L), x FROM long_sequence(20)")
        until(lambda: server.query("SELECT count() FROM t") == [(20,)])
        server.query("CHECKPOINT CREATE")
        server.query("INSERT INTO t SELECT timestamp_sequence('2024-01-02', 1000000L), x FROM long_sequence(5)")
        until(lambda: server.query("SELECT count() FROM t") == [(25,)])
        server.kill()
    assert _refused(root, tmp_path / "state") == {}
    with PrivateServer(root, questdb, settings=SMALL) as server:
        assert server.query("SELECT count() FROM t") == [(25,)]
        server.kill()
    (root / "_restore").touch()
    assert "restore-pending" in _refused(root, tmp_path / "state")
    with PrivateServer(root, questdb, settings=SMALL) as server:
        assert server.query("SELECT count() FROM t") == [(20,)]
        server.kill()
