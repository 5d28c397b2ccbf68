"""The station of the incident is what it says: broken for real."""

import struct
import time
from pathlib import Path

import pytest
import redis
from questdb import QuestDBError, Sender, TimestampNanos

from console import settings
from console.questdb.txn_log import expected_v1_size
from console.services.control import control_for
from console.services.model import UnitState
from console.station import answers, incident
from console.station.build import Station
from console.station.layout import ORDERBOOK, STREAMS, TRADES
from tests.real.waiting import until

_PAGE = 4096


def _logged(log: Path) -> int:
    return int(struct.unpack_from("<q", log.read_bytes(), 4)[0])


def test_both_sequencers_are_gone_and_the_backups_are_in_the_tables(incident_station: Station) -> None:
    layout = incident_station.layout
    for table, names in incident.BACKUPS.items():
        facts = incident_station.facts(table)
        assert not layout.sequencer(table).exists()
        for name in names:
            log = layout.table_dir(table) / name / "_txnlog"
            assert _logged(log) == facts.logged_txn
            missing = _PAGE if table == ORDERBOOK else 0
            assert log.stat().st_size == expected_v1_size(facts.logged_txn) - missing
            assert log.stat().st_size >= 4 << 20


def test_the_unapplied_rows_are_on_disk_and_nowhere_else(incident_station: Station) -> None:
    facts = incident_station.facts(ORDERBOOK)
    assert (facts.rows_unapplied, facts.logged_txn - facts.applied_txn, facts.records_lost) == (6_359, 318, 19)
    rows = 0
    for event in incident_station.layout.table_dir(ORDERBOOK).glob("wal*/*/_event"):
        data, at = event.read_bytes(), 8
        while (length := struct.unpack_from("<i", data, at)[0]) != -1:
            first, end = struct.unpack_from("<qq", data, at + 13)
            rows, at = rows + end - first, at + length
    assert rows == 6_359
    assert not list(incident_station.layout.table_dir(TRADES).glob("wal*"))


def test_the_server_crashed_for_one_cause(incident_station: Station) -> None:
    layout, facts = incident_station.layout, incident_station.facts(ORDERBOOK)
    logs = incident.crash_logs(layout)
    assert len(logs) > incident.CRASHES
    last_record = 76 + 28 * (facts.logged_txn - 1)
    for log in logs:
        text = log.read_text(errors="replace")
        assert "MemoryCR.getLong" in text
        assert "TableTransactionLogV1.open" in text
        assert f"RDX=0x{last_record:016x}" in text
        assert str(layout.sequencer(ORDERBOOK) / "_txnlog") in text


def test_reads_go_on_and_every_write_fails(incident_station: Station) -> None:
    layout = incident_station.layout
    assert answers.row_count(layout, TRADES) == 160_594
    assert answers.row_count(layout, ORDERBOOK) == 406_086
    for table in (TRADES, ORDERBOOK):
        address = f"http::addr=127.0.0.1:{layout.http_port};protocol_version=2;auto_flush=off;retry_timeout=0;"
        with (
            Sender.from_conf(address) as sender,
            pytest.raises(QuestDBError, match=r"_wal_index\.d"),
            sender.transaction(table) as transaction,
        ):
            transaction.row(symbols={"symbol": "BTCUSDT"}, at=TimestampNanos(time.time_ns()))
    assert answers.row_count(layout, ORDERBOOK) == 406_086


def test_redis_fills_while_the_writer_fails(incident_station: Station) -> None:
    layout = incident_station.layout
    client = redis.Redis(host="127.0.0.1", port=layout.redis_port)
    for stream in STREAMS:
        length = int(client.xlen(stream.name))
        until(lambda name=stream.name, before=length: client.xlen(name) > before, f"{stream.name} grows", 60)  # type: ignore[misc]
        until(
            lambda stream=stream: client.xpending(stream.name, stream.group)["pending"] > 0,  # type: ignore[misc]
            "the writer has taken a batch that it cannot acknowledge",
            60,
        )
    log = layout.log_dir / "batch-writer.log"
    until(lambda: "orderbook batch flush error" in log.read_text(), "the writer says what QuestDB refused", 60)
    assert f"{ORDERBOOK}~19/txn_seq/_wal_index.d" in log.read_text()


def test_all_services_run_and_the_settings_name_them(incident_station: Station) -> None:
    loaded = incident_station.settings()
    control = control_for(loaded)
    assert control is not None
    assert {sample.name: sample.state for sample in control.states(loaded.services.units)} == dict.fromkeys(
        ("questdb", "redis", "binance-trades", "binance-bookticker", "batch-writer"), UnitState.UP
    )
    assert loaded.station_name == "demo"
    assert Path(loaded.questdb.log).is_file()


def test_the_settings_file_is_private(incident_station: Station) -> None:
    file = incident_station.layout.settings_file
    assert file.stat().st_mode & 0o077 == 0
    assert settings.load(file, environment={}).redis.port == incident_station.layout.redis_port
