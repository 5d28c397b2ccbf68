"""The four options of the incident's report, each in its right form, done; docs/options.md shows what they say."""

import json
import shutil
import struct
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.station.answers import wait_until_read
from console.station.build import Station
from tests.real.generated_tables import wait_until_applied
from tests.real.incident.options_document import Documented, same_as_documented

_SWEEPING = {"cairo.wal.purge.interval": "1000"}


@dataclass(frozen=True, slots=True)
class Copies:
    """The incident's database, stopped; each option works on a copy of its own, as on another machine."""

    original: Path
    work: Path
    binary: ServerBinary

    def copy(self, name: str) -> "Copy":
        """Make a copy with evidence captured."""
        place = self.work / name
        (place / "hot").mkdir(parents=True)
        shutil.copytree(self.original / "db", place / "hot" / "db", symlinks=True)
        documented = Documented(
            {
                str(place / "hot"): "/srv/questdb/data/hot",
                str(place / "state"): "~/.local/state/walmedic",
                str(self.binary.jar): "/opt/questdb/questdb.jar",
            }
        )
        made = Copy(place, documented, self.binary)
        made.walmedic("run", "capture-evidence", "--confirm", "capture-evidence hot", exits=2)
        return made


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy and its own state directory."""

    place: Path
    documented: Documented
    binary: ServerBinary

    @property
    def root(self) -> Path:
        """Its data root."""
        return self.place / "hot"

    def walmedic(self, *arguments: str, exits: int) -> str:
        """Run a command on it and return what it says."""
        where = ("--db-root", str(self.root), "--state-dir", str(self.place / "state"))
        return self.documented.command(*arguments, *where, exits=exits)

    def rows(self, *tables: str) -> str:
        """Start a server on it, wait for its purge, write a row into each table, and return what SQL then says."""
        lines = []
        with PrivateServer(self.root, self.binary, settings=_SWEEPING) as server:
            wait_until_applied(server)
            for table in tables:
                count = server.query(f"SELECT count() FROM {table}")[0][0]
                server.query(f"INSERT INTO {table} (timestamp) VALUES ('2030-01-01')")
                lines.append(f"{table}: {count:,} rows")
            wait_until_applied(server)
            for at, table in enumerate(tables):
                newest = server.query(f"SELECT max(timestamp) FROM {table}")[0][0]
                lines[at] += f"; a row written now is read back: {newest}"
        return "\n".join(lines)


@pytest.fixture(scope="module")
def copies(
    incident_station: Station, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copies]:
    """Stop the station of the incident for a moment; what lies in its data root then is what the options begin with."""
    work, processes = tmp_path_factory.mktemp("options"), incident_station.processes
    for name in ("batch-writer", "questdb"):
        processes.stop(name)
    shutil.copytree(incident_station.layout.data_root / "db", work / "original" / "db", symlinks=True)
    processes.start("questdb")
    wait_until_read(incident_station.layout, {facts.table: facts.rows_applied for facts in incident_station.tables})
    processes.start("batch-writer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALMEDIC_QUESTDB_JAR", str(questdb.jar))
        patch.setenv("WALMEDIC_QUESTDB_JAVA", str(questdb.java))
        yield Copies(work / "original", work, questdb)


def test_option_4_waits_for_the_writer_and_rows_are_salvaged_meanwhile(
    incident_station: Station, tmp_path: Path
) -> None:
    engine = Engine(replace(incident_station.settings(), state_dir=str(tmp_path)))
    refused = engine.plan("copy-table", "market_orderbook").refused
    assert {refusal.code for refusal in refused} == {"writer-running"}
    assert refused[0].action == "freeze-writer"
    plan = engine.plan("salvage-wal")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert any(claim.found.startswith("6,359 written and read back") for claim in result.verification)


def test_option_1_restore_the_backup_and_repair_it(copies: Copies) -> None:
    copy = copies.copy("restore")
    same_as_documented("option-1-plan", copy.walmedic("plan", "restore-sequencer", "market_trades", exits=0))
    done = copy.walmedic("run", "restore-sequencer", "market_trades", "--confirm", "market_trades lose 0", exits=2)
    same_as_documented("option-1-run", done)
    same_as_documented("option-1-rows", copy.rows("market_trades"))


def test_option_2_as_reported_a_fresh_log(copies: Copies) -> None:
    """A log with "proper headers" and no transactions: what check says of it."""
    copy = copies.copy("fresh")
    table = DatabaseRoot.locate(copy.root).table("market_orderbook")
    saved = next(iter(sorted(table.path.glob("txn_seq.backup.*"))))
    shutil.copytree(saved, table.sequencer)
    (table.sequencer / "_txnlog").write_bytes(struct.pack("<iqqi", 0, 0, 0, 0).ljust(4096, b"\0"))
    same_as_documented("option-2-fresh", copy.walmedic("check", "market_orderbook", exits=1))


def test_option_2_rebuild_the_sequencer_from_the_wal(copies: Copies) -> None:
    copy = copies.copy("rebuild")
    same_as_documented("option-2-plan", copy.walmedic("plan", "rebuild-sequencer", "market_orderbook", exits=0))
    phrase = "market_orderbook lose 0"
    done = copy.walmedic("run", "rebuild-sequencer", "market_orderbook", "--confirm", phrase, exits=2)
    same_as_documented("option-2-run", done)
    same_as_documented("option-2-rows", copy.rows("market_orderbook"))


@pytest.mark.faults
def test_option_3_convert_the_table_and_back(copies: Copies) -> None:
    copy = copies.copy("convert")
    plan = copy.walmedic("plan", "convert-table", "market_orderbook", exits=0)
    same_as_documented("option-3-plan", plan)
    phrase = plan.rsplit("type exactly: ", 1)[1].strip()
    done = copy.walmedic("run", "convert-table", "market_orderbook", "--confirm", phrase, exits=2)
    same_as_documented("option-3-run", done)
    same_as_documented("option-3-rows", copy.rows("market_orderbook"))


@pytest.mark.faults
def test_option_4_copy_the_table_beside(copies: Copies) -> None:
    copy = copies.copy("beside")
    with PrivateServer(copy.root, copy.binary, settings=_SWEEPING, http=True) as server:
        config = copy.place / "station.toml"
        config.write_text(
            f'station = "hot"\n[questdb]\ndb_root = "{copy.root}"\npg_port = {server.pg_port}\n', encoding="utf-8"
        )
        station = ("--config", str(config))
        plan = copy.walmedic("plan", "copy-table", "market_orderbook", *station, exits=0)
        same_as_documented("option-4-plan", plan)
        phrase = plan.rsplit("type exactly: ", 1)[1].strip()
        done = copy.walmedic("run", "copy-table", "market_orderbook", "--confirm", phrase, *station, exits=2)
        same_as_documented("option-4-run", done)
        lines = [_counted(server, "market_orderbook"), _counted(server, "market_orderbook_copy")]
        imported = sum(_import(server, path) for path in sorted(copy.place.glob("state/salvage/*/*.csv")))
        _wait_until_applied(server, "market_orderbook_copy")
        lines += [f"imported: {imported:,} rows", _counted(server, "market_orderbook_copy")]
        server.query("INSERT INTO market_orderbook_copy (timestamp) VALUES ('2030-01-01')")
        _wait_until_applied(server, "market_orderbook_copy")
        newest = server.query("SELECT max(timestamp) FROM market_orderbook_copy")[0][0]
        lines[-1] += f"; a row written now is read back: {newest}"
        same_as_documented("option-4-rows", "\n".join(lines))
    # later, with the sequencer made again: the same command, and the names are swapped
    copy.walmedic("run", "capture-evidence", "--confirm", "capture-evidence hot", exits=2)
    phrase = "market_orderbook lose 0"
    copy.walmedic("run", "rebuild-sequencer", "market_orderbook", "--confirm", phrase, exits=2)
    with PrivateServer(copy.root, copy.binary, settings=_SWEEPING) as server:
        config.write_text(
            f'station = "hot"\n[questdb]\ndb_root = "{copy.root}"\npg_port = {server.pg_port}\n', encoding="utf-8"
        )
        _wait_until_applied(server, "market_orderbook")
        same_as_documented(
            "option-4-swap-plan", copy.walmedic("plan", "copy-table", "market_orderbook", *station, exits=0)
        )
        done = copy.walmedic("run", "copy-table", "market_orderbook", "--confirm", phrase, *station, exits=2)
        same_as_documented("option-4-swap-run", done)
        server.query("INSERT INTO market_orderbook (timestamp) VALUES ('2030-01-02')")
        _wait_until_applied(server, "market_orderbook")
        lines = [_counted(server, name) for name in ("market_orderbook", "market_orderbook_old")]
        newest = server.query("SELECT max(timestamp) FROM market_orderbook")[0][0]
        lines[0] += f"; a row written now is read back: {newest}"
        same_as_documented("option-4-swap-rows", "\n".join(lines))


def _counted(server: PrivateServer, table: str) -> str:
    return f"{table}: {server.query(f'SELECT count() FROM {table}')[0][0]:,} rows"


def _import(server: PrivateServer, path: Path) -> int:
    """Send a file to the server's import, as curl -F does; return the rows it took."""
    query = "name=market_orderbook_copy&timestamp=timestamp&partitionBy=DAY&atomicity=abort&fmt=json"
    head = b'--border\r\nContent-Disposition: form-data; name="data"; filename="rows.csv"\r\n\r\n'
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http_port}/imp?{query}",
        data=head + path.read_bytes() + b"\r\n--border--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=border"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        response = json.loads(answer.read())
    assert response["status"] == "OK", response
    assert response["rowsRejected"] == 0, response
    return int(response["rowsImported"])


def _wait_until_applied(server: PrivateServer, table: str) -> None:
    """Wait until one table is applied to the end; the others of the incident never are."""
    deadline = time.monotonic() + 60
    while True:
        rows = server.query(f"SELECT writerTxn, sequencerTxn FROM wal_tables() WHERE name = '{table}'")
        if rows and rows[0][0] >= rows[0][1]:
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.05)
