"""What a version shows: its database is made, looked at, damaged, repaired, and started by its own server."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import DatabaseReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.purge_guard import SETTING
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import copy_tree, wait_until_applied
from tests.real.versions import binary_of
from tests.unhurried import unhurried
from tests.versions.damages import CASES, CONVERTED, Case
from tests.versions.world import SETTINGS, World, make, numbers_of

Rows = Counter[str]


@dataclass
class Ended:
    """What one repair announced, how it ended, and the rows that a server of that version then showed."""

    case: Case
    plan: Plan
    outcome: Outcome
    found: Rows = field(default_factory=Counter)


@dataclass
class Seen:
    """One version: its database as killed, what walmedic said of it, what its server shows, and every repair."""

    world: World
    report: DatabaseReport
    truth: dict[str, Rows]
    repaired: Path
    struck: dict[str, Verdict] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    after: DatabaseReport | None = None
    written: dict[str, int] = field(default_factory=dict)
    ttl: list[object] = field(default_factory=list)
    rehearsed: str = ""  # what a rehearsal failed by, empty if it passed


def engine_of(root: Path, state: Path, version: str) -> Engine:
    """Return the engine on a directory of no station, with the jar of `version`."""
    binary = binary_of(version)
    questdb = QuestDBSettings(db_root=str(root), jar=str(binary.jar), java=str(binary.java))
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(repr(row) for row in server.query(f"SELECT * FROM {name}"))


def _repair(engine: Engine, seen: Seen, cases: tuple[Case, ...]) -> None:
    """Damage the tables, look at them, capture evidence, and repair one after the other."""
    cases = tuple(case for case in cases if case.since <= seen.world.numbers < case.until)
    for case in cases:
        case.strike(engine.database.table(case.table).path)
    for report in diagnose(engine.database, [case.table for case in cases]).tables:
        seen.struck[report.table] = report.verdict
    capture = engine.plan("capture-evidence")
    assert engine.run(capture, capture.confirmation).outcome is Outcome.DONE
    for case in cases:
        plan = engine.plan(case.action, case.table)
        seen.ended[case.table] = Ended(case, plan, engine.run(plan, plan.confirmation).outcome)


def look(version: str, work: Path) -> Seen:
    """Make, look, show the truth on a copy, damage, repair, start that version on the result, write."""
    world = make(work / "root", version)
    report = diagnose(DatabaseRoot.locate(world.root))
    for name in ("truth", "repaired", "rehearsed"):
        copy_tree(world.root, work / name / "root")
    truth = _truth(work / "truth" / "root", version)
    found = Seen(world, report, truth, work / "repaired" / "root")
    engine = engine_of(found.repaired, work / "state", version)
    with pytest.MonkeyPatch.context() as monkeypatch:
        unhurried(monkeypatch)
        _repair(engine, found, CASES)
    _repair(engine, found, CONVERTED)
    found.after = diagnose(engine.database)
    for ended in found.ended.values():  # a start must not meet what was refused
        if ended.outcome is Outcome.REFUSED:
            engine.database.table(ended.case.table).path.rename(work / ended.case.table)
    with PrivateServer(found.repaired, binary_of(version), settings={**SETTINGS, SETTING: "1000"}) as server:
        wait_until_applied(server)
        for name, ended in found.ended.items():
            if ended.outcome is Outcome.DONE:
                ended.found = _rows(server, name)
                _write(server, name)
        wait_until_applied(server)
        for name, ended in found.ended.items():
            if ended.outcome is Outcome.DONE:
                found.written[name] = int(server.query(f"SELECT count() FROM {name}")[0][0])
        if "kept" in found.ended:
            found.ttl = list(server.query("SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = 'kept'"))
    found.rehearsed = _rehearsed(work / "rehearsed", version)
    return found


def _truth(root: Path, version: str) -> dict[str, Rows]:
    with PrivateServer(root, binary_of(version), settings=SETTINGS) as server:
        wait_until_applied(server)
        names = [str(row[0]) for row in server.query("SELECT table_name FROM tables()")]
        unread = ("sys.", "telemetry", "_", *(("parquet",) if numbers_of(version) < (9, 0, 0) else ()))
        return {name: _rows(server, name) for name in names if not name.startswith(unread)}


def _write(server: PrivateServer, name: str) -> None:
    """Write, alter and write; a partition in Parquet cannot be read with a column that it has not."""
    server.query(f"INSERT INTO {name} (ts) VALUES ('2030-01-01T00:00:00.000000Z')")
    if name != "parquet":
        server.query(f"ALTER TABLE {name} ADD COLUMN after_repair INT")
    server.query(f"INSERT INTO {name} (ts) VALUES ('2030-01-02T00:00:00.000000Z')")


def _rehearsed(work: Path, version: str) -> str:
    engine = engine_of(work / "root", work / "state", version)
    shutil.rmtree(engine.database.table("wide").path / "txn_seq")
    ended = rehearse(engine, "rebuild-sequencer", "wide")
    return "" if ended.outcome is RehearsalOutcome.PASSED else ended.message
