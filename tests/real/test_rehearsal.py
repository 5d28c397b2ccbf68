"""Rehearsals on a real QuestDB: they predict what the real run gives, touch nothing, and fail what is wrong."""

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from console.commands.rehearse import rehearse as command
from console.errors import WalmedicError
from console.recovery.actions.sequencer_repair import rebuild_sequencer
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Outcome, Plan, Progress
from console.recovery.plans import Target, make_plan
from console.recovery.rehearsal import cloning, rehearsing
from console.recovery.rehearsal.folder import remove_leftovers
from console.recovery.rehearsal.launching import launch_rehearsal, rehearsal_of
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.store.locks import ServerLock
from console.settings import QuestDBSettings, Settings
from tests.documents import validated
from tests.real.generated_tables import EPOCH, SERVER, wait_until_applied

ACTION = "rebuild-sequencer"
ACTIONS = {"trades": ACTION, "nanos": "repair-log"}
APPLIED, PENDING, ROWS = 5, 4, 120
STEP = 7 * 60_000_000  # µs between two rows: a batch is 14 hours long, so that batches cross days


def insert(server: PrivateServer, batch: int) -> None:
    numbers = range(batch * ROWS, batch * ROWS + ROWS)
    trades = ", ".join(f"({EPOCH + i * STEP}, 'S{i % 5}', 'note {i}', {i}.5)" for i in numbers)
    nanos = ", ".join(f"(cast({(EPOCH + i * STEP) * 1000 + 7} AS timestamp_ns), {i})" for i in numbers)
    server.query(f"INSERT INTO trades VALUES {trades}")
    server.query(f"INSERT INTO nanos VALUES {nanos}")


def build(root: Path, binary: ServerBinary) -> None:
    """Make two tables and a view, rows applied and rows not yet applied, and damage both.

    `trades` loses its sequencer; `nanos` a segment with its last transaction, whose rows no log of this version counts.
    """
    root.mkdir()
    with PrivateServer(root, binary, settings=SERVER) as server:
        server.query(
            "CREATE TABLE trades (ts TIMESTAMP, sym SYMBOL, note VARCHAR, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL"
        )
        server.query(
            "CREATE TABLE nanos (at TIMESTAMP_NS, n LONG) TIMESTAMP(at) PARTITION BY DAY WAL DEDUP UPSERT KEYS(at)"
        )
        server.query(
            "CREATE MATERIALIZED VIEW hourly AS (SELECT ts, sum(px) total FROM trades SAMPLE BY 1h) PARTITION BY MONTH"
        )
        for batch in range(APPLIED):
            insert(server, batch)
        wait_until_applied(server)
        for table in ("trades", "nanos"):
            server.query(f"ALTER TABLE {table} SUSPEND WAL")
        for batch in range(APPLIED, APPLIED + PENDING):
            insert(server, batch)
        server.kill()
    shutil.rmtree(directory(root, "trades") / "txn_seq")
    segments = [path for path in directory(root, "nanos").glob("wal1/*") if path.is_dir()]
    shutil.rmtree(max(segments, key=lambda path: int(path.name)))


def directory(root: Path, table: str) -> Path:
    return next(path for path in (root / "db").glob(f"{table}~*") if path.is_dir())


def tree(root: Path) -> dict[str, tuple[int, int, int, int, int, str]]:
    """Return mode, owner, time, inode, links and content of everything below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        key = str(path.relative_to(root))
        found[key] = (
            status.st_mode, status.st_uid, 0 if path.is_dir() else status.st_mtime_ns, status.st_ino, status.st_nlink,
            content,
        )  # fmt: skip
    return found


NO_BINARY = ServerBinary(Path("/nonexistent/questdb.jar"), Path("/nonexistent/java"))


def engine_of(root: Path, state: Path, binary: ServerBinary) -> Engine:
    questdb = QuestDBSettings(db_root=str(root), jar=str(binary.jar), java=str(binary.java))
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def servers_below(folder: Path) -> list[psutil.Process]:
    """Return the processes that have a path below `folder` among their arguments, but for Python."""
    return [
        p
        for p in psutil.process_iter(["cmdline"])
        if "io.questdb/io.questdb.ServerMain" in (p.info["cmdline"] or ())
        and any(word.startswith(str(folder)) for word in p.info["cmdline"])
    ]


def found_of(verification: list[dict[str, Any]], claim: str) -> str:
    (line,) = [line for line in verification if line["claim"] == claim]
    return str(line["found"])


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, questdb: ServerBinary) -> Path:
    """The broken database. No test may change it: each that repairs or damages works on a copy."""
    root = tmp_path_factory.mktemp("broken") / "station"
    build(root, questdb)
    return root


@pytest.fixture
def engine(broken: Path, tmp_path: Path, questdb: ServerBinary) -> Iterator[Engine]:
    """An engine on the broken database; afterwards that is untouched, and nothing of a rehearsal is left."""
    before = tree(broken)
    yield engine_of(broken, tmp_path / "state", questdb)
    assert tree(broken) == before
    assert not servers_below(tmp_path)
    assert not list((tmp_path / "state/rehearsals").glob("walmedic-*"))


def test_it_passes_and_predicts_what_the_real_run_gives(
    broken: Path, tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "station"
    shutil.copytree(broken, root)
    # Everything that could lead a server on the clone back to the original.
    (root / "conf/server.conf").write_text(f"cairo.root={root}/db\npg.net.bind.to=0.0.0.0:8812\n")
    for variable, value in (("QDB_CAIRO_ROOT", f"{root}/db"), ("QDB_PG_NET_BIND_TO", "0.0.0.0:8812")):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1k")
    before = tree(root)
    seen: dict[str, dict[str, Any]] = {}
    for table, action in ACTIONS.items():
        arguments = [action, table, "--db-root", str(root), "--state-dir", str(tmp_path / "state")]
        ended = CliRunner().invoke(
            command,
            [*arguments, "--jar", str(questdb.jar), "--java", str(questdb.java), "--json"],
            standalone_mode=False,
        )
        assert ended.return_value == 0, (ended.output, ended.exception)
        seen[table] = validated("rehearse", json.loads(ended.stdout))
    assert tree(root) == before
    assert not list((tmp_path / "state/rehearsals").iterdir())

    trades, nanos = seen["trades"], seen["nanos"]
    for document in seen.values():
        assert (document["schema"], document["outcome"]) == (1, "passed")
        assert all(line["ok"] for line in document["verification"])
        assert "QuestDB 9.1.0" in document["clone"]["server"]
        assert document["plan"]["rehearsed"] is True
        assert document["seconds"] > 0
    assert trades["clone"]["tables"] == ["trades", "hourly"]
    assert nanos["clone"]["tables"] == ["nanos"]
    assert [document["plan"]["confirmation"] for document in seen.values()] == ["trades lose 0", "nanos lose unknown"]
    assert found_of(trades["verification"], "trades: rows recovered") == f"{PENDING * ROWS}"
    for table in seen:
        assert found_of(seen[table]["verification"], f"{table}: a marked row is written and read back") == "1 row"

    monkeypatch.undo()
    engine = engine_of(root, tmp_path / "state", questdb)
    for table, document in seen.items():
        capture_and_run(engine, table, document["plan"]["plan_id"])
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        rows = {table: int(server.query(f"SELECT count() FROM {table}")[0][0]) for table in seen}
        ((low, high),) = server.query("SELECT cast(min(ts) AS long), cast(max(ts) AS long) FROM trades")
        days = server.query("SELECT name, numRows FROM table_partitions('trades')")
    assert rows == {"trades": (APPLIED + PENDING) * ROWS, "nanos": (APPLIED + PENDING - 1) * ROWS}
    for table, document in seen.items():
        for claim in (f"{table}: rows", f"{table}: rows, after two purge sweeps"):
            assert found_of(document["verification"], claim).replace(",", "") == str(rows[table])
    told = [f"{datetime.datetime.fromtimestamp(at / 1e6, datetime.UTC):%Y-%m-%d %H:%M:%S.%fZ}" for at in (low, high)]
    assert found_of(trades["verification"], "trades: oldest row") == told[0]
    assert found_of(trades["verification"], "trades: newest row") == told[1]
    assert found_of(trades["verification"], "trades: values of 4 partitions") == "equal"
    assert found_of(trades["verification"], "trades: rows of each partition") == "as predicted"
    assert sum(int(many) for _, many in days) == rows["trades"]


def capture_and_run(engine: Engine, table: str, plan_id: str) -> None:
    """Do for good what was rehearsed as `plan_id`; an unknown loss wants evidence of the whole table first."""
    action = ACTIONS[table]
    plan = engine.plan(action, table)
    assert (plan.plan_id, plan.rehearsed) == (plan_id, True)
    wanted = {"no-evidence"} | ({"lose-unknown-without-whole-evidence"} if plan.rows_lost.kind == "unknown" else set())
    assert {refusal.code for refusal in plan.refused} == wanted
    evidence = engine.plan("capture-evidence", table)
    taken = engine.run(evidence, evidence.confirmation)
    assert taken.outcome is Outcome.DONE
    manifest = json.loads((engine.state.evidence / taken.entry / "manifest.json").read_text())
    copied = {file["path"] for file in manifest["files"]}
    folder = directory(engine.database.root, table)
    there = {f"db/{path.relative_to(engine.database.db)}" for path in folder.rglob("*") if path.is_file()}
    if plan.rows_lost.kind == "unknown":
        assert there <= copied
    plan = engine.plan(action, table)
    assert plan.rehearsed
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result.message


def rehearse_wrong(engine: Engine, monkeypatch: pytest.MonkeyPatch, change: Any) -> Rehearsal:
    """Rehearse a repair whose plan `change` has made wrong, on the original and on the clone alike."""
    right = rebuild_sequencer.plan

    def wrong(context: PlanContext, table: str | None) -> Plan:
        plan = change(right(context, table))
        assert isinstance(plan, Plan)
        return make_plan(
            rebuild_sequencer.SPEC, Target(plan.station, plan.table, plan.directory), why=plan.why,
            stages=plan.stages, facts=plan.facts, rows_lost=plan.rows_lost, rows_back=plan.rows_back,
            attachments=plan.attachments,
        )  # fmt: skip

    monkeypatch.setattr(rebuild_sequencer, "plan", wrong)
    return rehearse(engine, ACTION, "trades")


def test_a_plan_that_promises_too_much_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = ServerLock(engine.database.db)
    lives.acquire()  # as a server does that reads on while nobody can write
    ended = rehearse_wrong(engine, monkeypatch, lambda plan: replace(plan, rows_back=plan.rows_back + 1))
    lives.release()
    assert ended.outcome is RehearsalOutcome.FAILED
    assert ended.clone is not None
    assert ended.clone.live
    failed = [(c.key, c.expected, c.found) for c in ended.verification if not c.ok]
    assert failed == [(ClaimKey.ROWS_BACK, f"{PENDING * ROWS + 1}", f"{PENDING * ROWS}")]
    assert not engine.plan(ACTION, "trades").rehearsed


def test_a_plan_that_only_a_server_finds_wrong_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new sequencer's `_meta` calls a column otherwise: every file rule holds, and no new row arrives."""

    def change(plan: Plan) -> Plan:
        attachments = dict(plan.attachments)
        meta = attachments["meta"]
        attachments["meta"] = meta.replace("note".encode("utf-16-le"), "nota".encode("utf-16-le"))
        assert attachments["meta"] != meta
        digest = hashlib.sha256(attachments["meta"] + bytes(-len(meta) % 4096)).hexdigest()
        stages = []
        for stage in plan.stages:
            parameters = json.loads(json.dumps(dict(stage.parameters)))
            for file in parameters.get("files", ()):
                if file["name"] == "_meta":
                    file["sha256"] = digest
            stages.append(replace(stage, parameters=parameters))
        return replace(plan, stages=tuple(stages), attachments=attachments)

    ended = rehearse_wrong(engine, monkeypatch, change)
    assert ended.outcome is RehearsalOutcome.FAILED, ended.message
    assert ClaimKey.CARRIED_OUT in {claim.key for claim in ended.verification if claim.ok}
    assert (ended.verification[-1].key, ended.verification[-1].ok) == (ClaimKey.CANARY, False)
    assert not engine.plan(ACTION, "trades").rehearsed
    (log,) = (engine.state.root / "rehearsals").glob("*.log")
    assert str(log) in ended.message


def test_its_server_is_shut_in_and_modest_and_its_death_fails_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDB_PG_NET_BIND_TO", "0.0.0.0:8812")
    seen: list[dict[str, Any]] = []

    def kill(progress: Progress) -> None:
        if (progress.stage, progress.state) == ("apply", "done"):
            (server,) = servers_below(tmp_path)
            seen.append(
                {
                    "heap": next(int(word[4:-1]) << 20 for word in server.cmdline() if word.startswith("-Xmx")),
                    "nice": server.nice(),
                    "oom": int(Path(f"/proc/{server.pid}/oom_score_adj").read_text()),
                    "listens": {c.laddr.ip for c in server.net_connections("inet") if c.status == "LISTEN"},
                    "sockets": len([c for c in server.net_connections("inet") if c.status == "LISTEN"]),
                    "variables": [name for name in server.environ() if name.startswith("QDB_")],
                    "files": [f.path for f in server.open_files() if str(engine.database.root) in f.path],
                }
            )
            server.kill()

    ended = rehearse(engine, ACTION, "trades", on_progress=kill)
    (found,) = seen
    assert 128 << 20 <= found.pop("heap") <= 2 << 30
    assert {word.removeprefix("::ffff:") for word in found.pop("listens")} == {"127.0.0.1"}
    assert found == {"nice": 10, "oom": 1000, "sockets": 1, "variables": [], "files": []}
    assert ended.outcome is RehearsalOutcome.FAILED
    last = ended.verification[-1]
    assert (last.key, last.found) == (ClaimKey.SERVER_LIVES, "the server on the clone died (signal 9)")


def test_what_cannot_be_rehearsed_is_refused_in_one_sentence(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for action, table, why in (
        ("capture-evidence", "trades", "nothing to rehearse"),
        (ACTION, "nothing", "no table nothing"),
    ):
        with pytest.raises(WalmedicError, match=why):
            rehearse(engine, action, table)
    with pytest.raises(WalmedicError, match="under the database root"):
        rehearse(engine, ACTION, "trades", to=engine.database.db / "trades")
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 10**6, 10**5, 10**5, 0, 0, 0, 0, 255))
        )
        with pytest.raises(WalmedicError, match="name a directory on another disk with --to"):
            rehearse(engine, ACTION, "trades")
    views = rehearse(engine, ACTION, "hourly")
    assert views.outcome is RehearsalOutcome.NOT_NEEDED


def test_an_original_that_changes_meanwhile_ends_it(
    broken: Path, tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "station"
    shutil.copytree(broken, root)
    clone = cloning.make_clone

    def clone_and_change(*arguments: Any, **more: Any) -> None:
        clone(*arguments, **more)
        os.utime(directory(root, "trades") / "_txn", ns=(1, 1))

    monkeypatch.setattr(rehearsing, "make_clone", clone_and_change)
    with pytest.raises(WalmedicError, match="changed while it was cloned"):
        rehearse(engine_of(root, tmp_path / "state", questdb), ACTION, "trades")
    assert not list((tmp_path / "state/rehearsals").iterdir())


def test_one_in_its_own_process_is_found_by_another_console_and_cancelled(engine: Engine, tmp_path: Path) -> None:
    plan = engine.plan(ACTION, "trades")
    assert rehearsal_of(engine, plan) is None
    begun = launch_rehearsal(engine, plan)
    found = rehearsal_of(engine_of(engine.database.root, engine.state.root, NO_BINARY), plan)
    assert found is not None
    told: list[Progress] = []
    deadline = time.monotonic() + 120
    while not any((p.stage, p.state) == ("sweeps", "begins") for p in told):
        assert time.monotonic() < deadline, told
        assert found.result() is None
        told += found.poll()
        time.sleep(0.05)
    assert [p.stage for p in told if p.state == "done"][:2] == ["clone", "evidence"]
    assert all(p.at is not None for p in told)
    assert servers_below(tmp_path)
    assert launch_rehearsal(engine, plan).alive  # not a second one
    found.cancel()
    while (ended := begun.result()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ended.message == "it was cancelled; its server is stopped and the clone is gone"
    assert [path.name for path in (engine.state.root / "rehearsals").iterdir()] == [f"plan-{plan.plan_id}"]
    assert engine.plan(ACTION, "trades").rehearsed is False


def test_a_killed_one_is_found_with_its_server(engine: Engine, questdb: ServerBinary, tmp_path: Path) -> None:
    arguments = ["rehearse", ACTION, "trades", "--db-root", str(engine.database.root)]
    arguments += ["--state-dir", str(engine.state.root), "--jar", str(questdb.jar), "--java", str(questdb.java)]
    child = subprocess.Popen(
        [sys.executable, "-c", "from console.__main__ import main; main()", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "xdg")},
    )
    assert child.stderr is not None
    with contextlib.closing(child.stderr) as said:
        for line in said:
            if line.startswith(b"[begins] apply"):
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
    (server,) = servers_below(tmp_path)
    (place,) = (engine.state.root / "rehearsals").glob("walmedic-rehearsal-*")
    time.sleep(0.1)
    assert server.is_running()
    remove_leftovers(engine.state)
    assert not server.is_running()
    assert not place.exists()
