"""Damages that need a table, a user or an end of their own: a view over filler, files of another owner, a log of an
unknown version, a `_txn` that is gone. What `check` says of them, then what a server does that is not root."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity, TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.other_user import for_others
from tests.real.damage_strikes import log_version, remove, zero
from tests.real.generated_tables import wait_until_applied

_USER = 12_345
_FIRST, _MORE = 6, 4
_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Special:
    """The database as it was killed and damaged, what `check` said of it, and a server that runs on it since."""

    reports: dict[str, TableReport]
    server: PrivateServer
    refreshed: int


def _as_user(binary: ServerBinary, folder: Path) -> ServerBinary:
    """Return a server that runs as an ordinary user; as ourselves, where we are one."""
    if not _ROOT:
        return binary
    real, java = for_others(binary.java.resolve()), folder / "java"
    java.write_text(f'#!/bin/sh\nexec setpriv --reuid={_USER} --regid={_USER} --clear-groups {real} "$@"\n')
    java.chmod(0o755)
    jar = folder / binary.jar.name
    shutil.copyfile(binary.jar, jar)
    return ServerBinary(jar, java)


def _make_alien(table: Path) -> None:
    """Give the log to another user than the server's, as `sudo cp` does; where we are no root, take the right away."""
    log = table / "txn_seq" / "_txnlog"
    if _ROOT:
        os.chown(log, 0, 0)
        log.chmod(0o644)
    else:
        log.chmod(0o444)


def _insert(server: PrivateServer, table: str, number: int) -> None:
    server.query(f"insert into {table} values ('2025-01-01T{number:02d}', {number})")


@pytest.fixture(scope="module")
def special(questdb: ServerBinary) -> Iterator[Special]:
    """Everything applied; a view that is some transactions behind; then the damages."""
    # Not below pytest's own directory, which nobody else may enter; the server's user must be able to read what is made
    # here, whatever umask the tests are run with.
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="walmedic-special-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        root = folder / "root"
        for place in (root, root / "conf"):
            place.mkdir()
            if _ROOT:
                os.chown(place, _USER, _USER)
        yield from _damaged(root, _as_user(questdb, folder))
    os.umask(before)


def _damaged(root: Path, binary: ServerBinary) -> Iterator[Special]:
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "600000"}) as server:
        for name in ("base", "alien", "other_version", "unread"):
            server.query(f"create table {name} (ts timestamp, v long) timestamp(ts) partition by day wal")
            for number in range(_FIRST):
                _insert(server, name, number)
        wait_until_applied(server)
        server.query("create materialized view hours refresh manual as (select ts, count() n from base sample by 1h)")
        deadline = time.monotonic() + 30
        while (refreshed := _refreshed(server)) != _FIRST:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for number in range(_FIRST, _FIRST + _MORE):
            _insert(server, "base", number)
        wait_until_applied(server)
        server.kill()
    database = DatabaseRoot.locate(root)
    for txn in range(_FIRST + 1, _FIRST + _MORE + 1):
        zero(txn)(database.table("base").path)
    _make_alien(database.table("alien").path)
    log_version(7)(database.table("other_version").path)
    remove("_txn")(database.table("unread").path)
    reports = {report.table: report for report in diagnose(database).tables}
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "1000"}) as server:
        yield Special(reports, server, refreshed)


def _refreshed(server: PrivateServer) -> int:
    return int(server.query("select refresh_base_table_txn from materialized_views()")[0][0] or 0)


def _view(server: PrivateServer) -> tuple[int, str]:
    rows = server.query("select count() from hours")[0][0]
    return int(rows), str(server.query("select view_status from materialized_views()")[0][0])


def _await_refresh(server: PrivateServer, statement: str) -> None:
    before = server.query("select last_refresh_finish_timestamp from materialized_views()")
    server.query(statement)
    deadline = time.monotonic() + 30
    while server.query("select last_refresh_finish_timestamp from materialized_views()") == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_view_behind_filler_leaves_rows_out_without_a_word(special: Special) -> None:
    report = special.reports["hours"]
    (found,) = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert (found.code, found.seq_txn) == (Code.VIEW_BEHIND, _FIRST + 1)
    assert (report.verdict, report.next_step.action) == (Verdict.AT_RISK, None)
    assert "REFRESH MATERIALIZED VIEW" in report.next_step.reason
    assert special.reports["base"].verdict is Verdict.HEALTHY
    assert special.refreshed == _FIRST
    server = special.server
    _await_refresh(server, "refresh materialized view hours incremental")
    assert _refreshed(server) == server.query("select count() from base")[0][0] == _FIRST + _MORE
    assert _view(server) == (_FIRST, "valid")  # and says that it has taken all in: check alone tells
    _await_refresh(server, "refresh materialized view hours full")
    deadline = time.monotonic() + 30
    while _view(server) != (_FIRST + _MORE, "valid"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_files_of_another_owner_stop_the_server_s_writes(special: Special) -> None:
    report = special.reports["alien"]
    (found,) = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert found.code is Code.OWNERSHIP_DIFFERS
    assert found.file is not None
    assert found.file.endswith("txn_seq/_txnlog")
    assert (report.verdict, report.can_read) == (Verdict.AT_RISK, True)
    assert report.next_step.action == "repair-ownership"
    assert special.server.query("select count() from alien")[0][0] == _FIRST
    with special.server.connect() as connection, pytest.raises(psycopg.Error, match="could not open"):
        connection.execute(b"insert into alien values ('2025-01-02', 1)")


def test_a_log_of_an_unknown_version_refuses_everything_but_reading(special: Special) -> None:
    report = special.reports["other_version"]
    (found,) = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert (found.code, found.offset) == (Code.LOG_VERSION_UNKNOWN, 0)
    assert (report.can_read, report.can_write, report.rows_unapplied) == (True, False, 0)
    assert special.server.query("select count() from other_version")[0][0] == _FIRST
    with (
        special.server.connect() as connection,
        pytest.raises(psycopg.Error, match="Unsupported transaction log version"),
    ):
        connection.execute(b"insert into other_version values ('2025-01-02', 1)")


def test_without_its_txn_a_table_is_none_to_the_server(special: Special) -> None:
    report = special.reports["unread"]
    (found,) = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert found.code is Code.TABLE_TXN_INVALID
    assert (report.can_read, report.can_write, report.rows_applied, report.rows_unapplied) == (False, False, None, None)
    assert (report.next_step.action, report.next_step.evidence) == ("repair-table-state", True)
    with special.server.connect() as connection, pytest.raises(psycopg.Error, match="table does not exist"):
        connection.execute(b"select count() from unread")
