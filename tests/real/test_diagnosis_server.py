"""Disk against server: what SQL adds to the verdict, whose word is not believed, and what the deep sweep sees."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from console.cli import run
from console.diagnosis.database import diagnose
from console.diagnosis.deep import sweep
from console.diagnosis.model import Code, Severity, Verdict
from console.diagnosis.server.facts import ServerFacts, read_server_facts
from console.diagnosis.server.liveness import Life, liveness
from console.diagnosis.server.sql import server_of
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings
from tests.real.damage_strikes import put
from tests.real.generated_tables import wait_until_applied

ROWS = 2000
TABLES = (
    "create table whole (ts timestamp, bo boolean, by byte, sh short, ch char, i int, l long, d date, f float, "
    "g double, l256 long256, g1 geohash(4b), bin binary, u uuid, ip ipv4, vc varchar, st string, ar double[], "
    "sy symbol index) timestamp(ts) partition by day wal",
    "create table nano (ts timestamp_ns, v double) timestamp(ts) partition by hour wal",
    "create table flat (ts timestamp, v double) timestamp(ts) partition by none bypass wal",
    "create table zeroed (ts timestamp, price double) timestamp(ts) partition by day wal",
    "create table headless (ts timestamp, v long) timestamp(ts) partition by day wal",
    "create table halted (ts timestamp, v long) timestamp(ts) partition by day wal",
    "create table behind (ts timestamp, v long) timestamp(ts) partition by day wal",
)
FILL = (
    f"insert into whole select timestamp_sequence('2025-01-01', 86400000), rnd_boolean(), rnd_byte(), rnd_short(), "
    f"rnd_char(), rnd_int(), x, rnd_date(), rnd_float() + 1, rnd_double() + 1, rnd_long256(), rnd_geohash(4), "
    f"rnd_bin(1, 40, 2), rnd_uuid4(), rnd_ipv4(), rnd_varchar(1, 40, 3), rnd_str(1, 40, 3), rnd_double_array(1, 1), "
    f"rnd_symbol(50, 1, 9, 1) from long_sequence({ROWS})",
    f"insert into nano select timestamp_sequence('2025-01-01', 86400000)::timestamp_ns, x * 1.5 "
    f"from long_sequence({ROWS})",
    f"insert into flat select timestamp_sequence('2025-01-01', 86400000), x * 0.5 from long_sequence({ROWS})",
    f"insert into zeroed select timestamp_sequence('2025-01-01', 86400000), x * 0.5 from long_sequence({ROWS})",
    "insert into headless values ('2025-01-01', 1)",
    "insert into halted values ('2025-01-01', 1)",
    *(f"insert into behind values ('2025-01-01', {n})" for n in range(3)),
)


def _settings(server: PrivateServer) -> QuestDBSettings:
    return QuestDBSettings(db_root=str(server.root), pg_port=server.pg_port)


def test_the_server_s_word_beside_the_disk(
    tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = (tmp_path / "station").resolve()
    root.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with PrivateServer(root, questdb) as server:
        for statement in (*TABLES, *FILL):
            server.query(statement)
        wait_until_applied(server)
        database = DatabaseRoot.locate(root)
        assert liveness(database.db).life is Life.ALIVE
        facts = read_server_facts(_settings(server), database)
        assert isinstance(facts, ServerFacts)
        assert facts.wal_enabled >= {"whole", "nano", "zeroed", "headless"}
        assert diagnose(database, server=facts).healthy
        with server_of(_settings(server), database) as sql:
            for name in ("whole", "nano", "flat", "zeroed"):
                result = sweep(sql, database.table(name))
                assert (result.findings, result.left_out) == ((), ""), name
                assert result.partitions == (1 if name == "flat" else 2 if name != "nano" else 48)
        _another_directory_is_not_believed(server, tmp_path)
        server.kill()
    assert liveness(database.db).life is Life.DOWN
    assert "SQL at" in str(read_server_facts(QuestDBSettings(db_root=str(root), pg_port=1), database))

    # A page of one partition that never reached the disk, and a sequencer that is gone, under a running server.
    price = next(database.table("zeroed").path.glob("2025-01-02*/price.d*"))
    put(price, 4096, "<4096b", *[0] * 4096)
    shutil.rmtree(database.table("headless").sequencer)
    put(database.table("behind").sequencer / "_txnlog", 4, "<q", 1)  # a log that counts fewer than are applied
    with PrivateServer(root, questdb, settings={"dev.mode.enabled": "true"}) as server:
        server.query("alter table halted suspend wal")
        monkeypatch.setenv("WALMEDIC_QUESTDB_DB_ROOT", str(root))
        monkeypatch.setenv("WALMEDIC_QUESTDB_PG_PORT", str(server.pg_port))
        assert run(["check", "--deep", "--json"]) == 1
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
    tables = {table["table"]: table for table in document["tables"]}
    assert document["left_out"] == []
    assert {name for name, table in tables.items() if table["verdict"] == "healthy"} == {"whole", "nano", "flat"}
    assert tables["zeroed"]["verdict"] == Verdict.AT_RISK
    by_disk, by_sql = sorted(tables["zeroed"]["findings"], key=lambda f: f["column"], reverse=True)
    assert (by_disk["severity"], by_sql["severity"]) == (Severity.RISK, Severity.NOTE)
    assert (by_disk["code"], by_disk["column"], by_disk["rows"], by_disk["offset"]) == (
        Code.SUSPECT_VALUES, "price", 488, 4096,
    )  # fmt: skip
    assert (by_sql["code"], "price: 488 of 1,000 values are 0" in by_sql["message"]) == (Code.SUSPECT_VALUES, True)
    codes = {f["code"] for f in tables["headless"]["findings"] if f["severity"] != Severity.NOTE}
    assert codes == {Code.SEQUENCER_MISSING, Code.UNLISTED_BY_SERVER}
    assert [f["code"] for f in tables["halted"]["findings"]] == [Code.TABLE_SUSPENDED]
    assert {name: table["not_checked"] for name, table in tables.items() if table["not_checked"]} == {}
    disagrees = [f for f in tables["behind"]["findings"] if f["code"] == Code.SERVER_DISAGREES]
    assert [f["evidence"] for f in disagrees] == ["wal_tables(): writerTxn 3, sequencerTxn 1"]


def _another_directory_is_not_believed(server: PrivateServer, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    shutil.copytree(server.root / "db", other / "db", ignore=shutil.ignore_patterns("*.lock"))
    said = read_server_facts(_settings(server), DatabaseRoot.locate(other))
    assert isinstance(said, str)
    assert "cannot be proven to be this directory" in said
