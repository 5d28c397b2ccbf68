"""Real crashes of a real server, tied to the file, the offset and the transaction that made them."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from console.cli import run
from console.diagnosis.crashes.groups import CrashReport, examine
from console.diagnosis.crashes.places import crash_logs_in
from console.diagnosis.crashes.tie import Confidence
from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Verdict
from console.questdb.layout import DatabaseRoot
from console.questdb.txn_log import RECORD_V2, read_log
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, ServerError
from tests.data.logs import v1_log_chunks
from tests.real.generated_tables import wait_until_applied
from tests.txn_file import put_seq_txn

APPLIED, PENDING = 20, 20
LAST = APPLIED + PENDING
LONG = 200_000  # transactions: 5.6 MB, above which one page short crashed every time


@pytest.fixture(scope="module")
def base(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A killed database: `trades` is whole, `orderbook` has transactions that wait."""
    root = tmp_path_factory.mktemp("crash-base")
    slow = {"cairo.wal.purge.interval": "600000", "dev.mode.enabled": "true"}
    with PrivateServer(root, questdb, settings=slow) as server:
        with server.connect() as connection:
            for name in ("trades", "orderbook"):
                connection.execute(
                    f"create table {name} (ts timestamp, v long) timestamp(ts) partition by day wal".encode()
                )
                for number in range(APPLIED):
                    connection.execute(f"insert into {name} values ('2025-01-01T{number:02d}', {number})".encode())
            wait_until_applied(server)
            connection.execute(b"alter table orderbook suspend wal")
            for number in range(PENDING):
                connection.execute(f"insert into orderbook values ('2025-01-02T{number:02d}', {number})".encode())
        server.kill()
    return root


def _put(path: Path, offset: int, *values: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(f"<{len(values)}q", *values))


def _header(value: int) -> Callable[[Path], None]:
    return lambda table: _put(table / "txn_seq" / "_txnlog", 4, value)


def _last_version(value: int) -> Callable[[Path], None]:
    return lambda table: _put(table / "txn_seq" / "_txnlog", 76 + 28 * (LAST - 1), value)


def _one_page_short(table: Path) -> None:
    """A long log: filler for what is applied, then the records that wait, the last page missing."""
    waiting = read_log(table / "txn_seq").records(APPLIED + 1, LAST)
    log = table / "txn_seq" / "_txnlog"
    applied = np.zeros(LONG - PENDING, RECORD_V2)
    log.write_bytes(b"".join(v1_log_chunks(LONG, 1_700_000_000_000_000, iter([applied, waiting]))))
    put_seq_txn(table, LONG - PENDING)
    size = log.stat().st_size
    assert size == -(-(76 + 28 * LONG) // 4096) * 4096
    with log.open("r+b") as file:
        file.truncate(size - 4096)


def crash(
    base: Path, root: Path, binary: ServerBinary, damage: Callable[[Path], None], *, interpreted: bool = False
) -> CrashReport:
    """Break a copy of the database, start the server until it crashed (three times at most), examine the logs."""
    shutil.copytree(base, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("hs_err*"))
    damage(DatabaseRoot.locate(root).table("orderbook").path)
    for _ in range(3):
        server = PrivateServer(root, binary, jvm_flags=("-Xint",) if interpreted else ())
        try:
            server.start()
            server.wait_for_exit(4)
        except ServerError:
            pass
        finally:
            server.kill()
        if crash_logs_in(root):
            break
    return examine(crash_logs_in(root), DatabaseRoot.locate(root))


CAUSES = [
    ("far past the end", _header(10_000_000_000), 76 + 28 * 9_999_999_999, 10_000_000_000, "", False),
    ("so far that the kernel has no address", _header(1 << 45), 76 + 28 * ((1 << 45) - 1), 1 << 45, "", False),
    ("one page short", _one_page_short, 76 + 28 * (LONG - 1), LONG, "", False),
    ("without a compiler", _header(10_000_000_000), 76 + 28 * 9_999_999_999, 10_000_000_000, "", True),
    ("before the file", _header(-(1 << 40)), 76 - 28 * ((1 << 40) + 1), None, "", False),
    ("innocent index", _last_version(1 << 40), 76 + 28 * (LAST - 1), LAST, "_txnlog.meta.i", False),
    ("innocent index, before it", _last_version(-(1 << 30)), 76 + 28 * (LAST - 1), LAST, "_txnlog.meta.i", False),
]


@pytest.mark.parametrize(
    ("name", "damage", "offset", "txn", "accused", "interpreted"), CAUSES, ids=[c[0] for c in CAUSES]
)
def test_a_real_crash_leads_to_its_cause(
    base: Path, tmp_path: Path, questdb: ServerBinary, name: str, damage: Callable[[Path], None],
    offset: int, txn: int | None, accused: str, interpreted: bool,
) -> None:  # fmt: skip
    report = crash(base, tmp_path, questdb, damage, interpreted=interpreted)
    (group,) = report.groups
    table = DatabaseRoot.locate(tmp_path).table("orderbook")
    assert group.title.startswith("SIGSEGV MemoryCR.getLong ← TableTransactionLog")
    assert group.file == f"{table.directory}/txn_seq/_txnlog"
    assert (group.offset, group.seq_txn) == (offset, txn)
    assert group.accused == (f"{table.directory}/txn_seq/{accused}" if accused else "")
    assert group.confidence is (Confidence.MEDIUM if interpreted else Confidence.HIGH)
    assert not report.findings
    if name == "one page short":
        assert "one page short at seqTxn 200,000" in group.explanation
        assert group.lengths[0].short_by > 0
    # The dead files say the same, without any crash log; and the table that was not broken stays above suspicion.
    tables = {each.table: each for each in diagnose(DatabaseRoot.locate(tmp_path)).tables}
    assert tables["orderbook"].verdict is Verdict.BROKEN
    assert tables["orderbook"].can_read is False
    assert tables["trades"].verdict is Verdict.HEALTHY
    if not accused and txn:
        found = next(f for f in tables["orderbook"].findings if f.code is Code.LOG_MAX_TXN_PAST_END)
        assert (found.offset, found.seq_txn) == (offset, txn)
    assert tables["orderbook"].rows_unapplied == PENDING


def test_the_command_says_it_in_one_document(
    base: Path, tmp_path: Path, questdb: ServerBinary, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "station"
    crash(base, root, questdb, _header(10_000_000_000))
    (log,) = crash_logs_in(root)
    log.with_name("hs_err_pid1.log").write_bytes(log.read_bytes()[: log.stat().st_size // 3])
    assert run(["crashes", str(root), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["total"] == 2
    assert document["crashes"][0]["count"] == 2  # the log that was cut has no mapping and joins its only likeness
    assert [finding["code"] for finding in document["findings"]] == ["crash-log-invalid"]
