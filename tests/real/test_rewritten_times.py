"""Healthy tables whose files have other times than the server gave them: copies, restores, clocks. None is damaged.

Two databases of one server: killed with unapplied transactions, and with everything applied and the WAL purged. One
table in each was converted to a plain table and back, so that the registry proves no table's first life.
"""

import os
import random
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Severity
from console.questdb.layout import DatabaseRoot
from console.recovery.sequencer.disk import read_table
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.table_lives import Past, World, again, build, copy_linked
from tests.real.test_sequencer_repairs import captured, engine_of

PASTS = (Past("plain"), Past("altered", altered=2), Past("turned", "converted"), Past("late", "converted", alone=4))
SEED = int(os.environ.get("WALMEDIC_SEED", "1129"))
_DAY = 86_400
_PURGING = {**SERVER, "cairo.wal.purge.interval": "200"}


@dataclass(frozen=True)
class Databases:
    """Three roots, with the times that the server gave the files; `restored` by the server from a checkpoint."""

    killed: Path
    applied: Path
    restored: Path


@pytest.fixture(scope="module")
def databases(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Build once; one copy is applied, purged, and taken as a checkpoint, which a third start restores."""
    work = tmp_path_factory.mktemp("times")
    world: World = build(work / "killed", PASTS, questdb)
    applied, restored = work / "applied", work / "restored"
    copy_linked(world.root, applied)
    server = PrivateServer(applied, questdb, settings=_PURGING)
    server.start()
    try:
        server.query("CREATE TABLE empty (ts TIMESTAMP, id LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        for past in PASTS:
            server.query(f"ALTER TABLE {past.name} RESUME WAL")
        wait_until_applied(server)
        server.query("CHECKPOINT CREATE")
        shutil.copytree(applied, restored, copy_function=shutil.copyfile)
        server.query("CHECKPOINT RELEASE")
        time.sleep(1.5)  # the purge, and more than the second that file times may be off
    finally:
        server.kill()
    (restored / "_restore").touch()
    with PrivateServer(restored, questdb, settings=SERVER) as server:
        wait_until_applied(server)
    yield Databases(world.root, applied, restored)
    shutil.rmtree(work)


def _tables(root: Path) -> list[Path]:
    return [table.path for table in DatabaseRoot.locate(root).tables() if not table.system]


def _files(table: Path) -> list[Path]:
    return [path for path in sorted(table.rglob("*")) if path.is_file()]


def _top(table: Path) -> list[Path]:
    return [path for path in sorted(table.iterdir()) if path.is_file() and not path.name.endswith(".lock")]


def _set(paths: list[Path], seconds: float) -> None:
    for path in paths:
        os.utime(path, (seconds, seconds))


def _moved(paths: list[Path], seconds: float) -> None:
    for path in paths:
        _set([path], path.stat().st_mtime + seconds)


def _table_copied(root: Path) -> None:
    for table in _tables(root):
        again(table, shutil.copyfile)


def _root_copied(root: Path) -> None:
    again(root, shutil.copyfile)


def _late_copy(root: Path) -> None:
    """A copy without times that wrote the top-level files an hour after the WAL and the log."""
    _root_copied(root)
    for table in _tables(root):
        _set(_top(table), time.time() + 3600)


def _touched(root: Path) -> None:
    """Every file gets a time of its own, in random order, seconds apart."""
    rng = random.Random(SEED)
    for table in _tables(root):
        paths = [*_files(table), *(path for path in table.rglob("*") if path.is_dir())]
        rng.shuffle(paths)
        for number, path in enumerate(paths):
            _set([path], time.time() + 3 * number)


def _top_level(root: Path) -> None:
    for table in _tables(root):
        _set(_top(table), time.time() + 60)


def _three_files(root: Path) -> None:
    for table in _tables(root):
        _set([table / name for name in ("_name", "_meta", "_cv") if (table / name).exists()], time.time() + 60)


def _wal_copied(root: Path) -> None:
    """Only the WAL directories were restored, without times; all else is older."""
    for table in _tables(root):
        for wal in table.glob("wal*"):
            if wal.is_dir():
                again(wal, shutil.copyfile)
                _moved([path for path in wal.rglob("*") if path.is_file()], 60)


def _created_ahead(root: Path) -> None:
    """The clock was a day ahead as the table was created, and was set back before anything was written."""
    for table in _tables(root):
        _moved(_top(table), _DAY)
        with (table / "txn_seq" / "_txnlog").open("r+b") as log:
            log.seek(12)
            (made,) = struct.unpack("<q", log.read(8))
            log.seek(12)
            log.write(struct.pack("<q", made + _DAY * 1_000_000 - 60_000_000))


def _written_behind(root: Path) -> None:
    """The clock was set back a day between CREATE TABLE and the first transaction: the WAL is older than the log."""
    for table in _tables(root):
        _moved([path for path in table.rglob("wal*/**/*") if path.is_file()], -_DAY)


REWRITES: dict[str, Callable[[Path], None]] = {
    "as it is": lambda root: None,
    "table cp -r": _table_copied,
    "root cp -r": _root_copied,
    "top level last": _late_copy,
    "random order": _touched,
    "top level": _top_level,
    "three files": _three_files,
    "wal only": _wal_copied,
    "created a day ahead": _created_ahead,
    "written a day behind": _written_behind,
}


def _grave(root: Path) -> set[tuple[str, str, str]]:
    """Return every finding that is more than a note, by table and code, and each log or WAL that is not the table's."""
    found = {
        (table.table, str(finding.code), finding.message)
        for table in diagnose(DatabaseRoot.locate(root)).tables
        for finding in table.findings
        if finding.severity is not Severity.NOTE
    }
    for table in DatabaseRoot.locate(root).tables():
        if not table.system:
            origins = read_table(table).origins
            found |= {(table.name, name, verdict.why) for name, verdict in origins.logs.items() if not verdict.own}
            found |= {(table.name, f"wal{wal}", verdict.why) for wal, verdict in origins.wals.items()}
    return found


@pytest.mark.parametrize("how", REWRITES)
@pytest.mark.parametrize("state", ["killed", "applied", "restored"])
def test_times_alone_damage_no_healthy_table(state: str, how: str, databases: Databases, tmp_path: Path) -> None:
    root = tmp_path / "root"
    copy_linked(getattr(databases, state), root)
    assert not _grave(root), "before"
    REWRITES[how](root)
    assert not _grave(root), f"seed {SEED}"


def _in_doubt(root: Path) -> dict[str, Path]:
    """Return the WAL directories that are not known to be their table's, by table and id."""
    tables = [table for table in DatabaseRoot.locate(root).tables() if not table.system]
    return {
        f"{table.name} wal{wal}": table.path / f"wal{wal}" for table in tables for wal in read_table(table).origins.wals
    }


def test_touching_the_files_of_a_wal_in_doubt_says_that_it_is_the_tables(databases: Databases, tmp_path: Path) -> None:
    """The clock was two days ahead while the first WAL was written, and all logs are gone."""
    root = tmp_path / "root"
    copy_linked(databases.killed, root)
    for table in _tables(root):
        for log in table.glob("txn_seq*"):
            shutil.rmtree(log)
        first = min((path for path in table.glob("wal*") if path.is_dir()), key=lambda path: int(path.name[3:]))
        _moved([*first.rglob("*"), first, first.with_name(f"{first.name}.lock")], 2 * _DAY)
    doubted = _in_doubt(root)
    assert doubted
    reports = {table.table: table for table in diagnose(DatabaseRoot.locate(root)).tables}
    for name, wal in doubted.items():
        report = reports[name.split()[0]]
        assert any((f.file or "").endswith(wal.name) and f.rows for f in report.findings), report.findings
        assert "moved out, its rows are lost" in report.next_step.reason
        for path in wal.glob("*/*"):
            os.utime(path, (time.time() + 3 * _DAY,) * 2)  # the clock goes on meanwhile
    assert not _in_doubt(root)


def test_wal_that_was_moved_away_after_evidence_is_not_taken_for_no_rows(databases: Databases, tmp_path: Path) -> None:
    root = tmp_path / "root"
    copy_linked(databases.killed, root)
    table = DatabaseRoot.locate(root).table(PASTS[0].name)
    shutil.rmtree(table.sequencer)
    engine = engine_of(root, tmp_path / "state")
    assert captured(engine).plan("rebuild-sequencer", table.name).rows_lost.kind != "unknown"
    moved = [path for path in table.path.glob("wal*") if path.name.startswith(f"wal{table.wals()[-1].id}")]
    for path in moved:
        path.rename(tmp_path / path.name)
    plan = captured(engine).plan("rebuild-sequencer", table.name)
    assert plan.rows_lost.kind == "unknown", plan
    assert any("has it no more" in warning for warning in plan.warnings)
    for path in moved:
        (tmp_path / path.name).rename(path)
    assert captured(engine).plan("rebuild-sequencer", table.name).rows_lost.kind != "unknown"
