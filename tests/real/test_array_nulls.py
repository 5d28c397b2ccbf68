"""Arrays that are NULL before the first one that is not, as a real server leaves them: healthy, and not taken for lost.

The entries of NULL arrays are zeros until the first value, so that they look like a page that the disk lost.
"""

import shutil
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code
from console.questdb.layout import DatabaseRoot
from console.questdb.table_txn import read_table_txn
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import log_records, wait_until_applied
from tests.real.ledger_cases import write
from tests.real.test_lag import LAGGING
from tests.real.test_whole_table_deep import deep
from tests.real.waiting import until

NAMES = ("begun", "walled", "waiting", "lagging", "late")
MANY = 40_000  # more than the deep check reads at once
_NULLS = "INSERT INTO {t} SELECT timestamp_sequence('2025-01-01', 1000), null FROM long_sequence({n})"
_VALUES = "INSERT INTO {t} SELECT timestamp_sequence('2025-01-01T01', 1000), ARRAY[x::double] FROM long_sequence({n})"


def _lag(table: Path) -> int:
    area = read_table_txn(table).current
    assert area is not None
    return area.lag_rows


@pytest.fixture(scope="module")
def database(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> DatabaseRoot:
    """Leave NULL arrays committed, and behind them arrays that are begun, waiting, in the lag, or committed."""
    root = tmp_path_factory.mktemp("arrays") / "root"
    root.mkdir()
    with PrivateServer(root, questdb, settings=LAGGING) as server:
        for name in NAMES:
            kind = "BYPASS WAL" if name == "begun" else "WAL WITH maxUncommittedRows=10"
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, a DOUBLE[]) TIMESTAMP(ts) PARTITION BY DAY {kind}")
        for name in ("begun", "walled"):
            server.query(_NULLS.format(t=name, n=5))
        server.query("INSERT INTO lagging VALUES ('2025-01-01T20', null)")
        server.query(_NULLS.format(t="late", n=MANY))
        server.query(_VALUES.format(t="late", n=MANY))
        wait_until_applied(server)
        open_ones = [server.connect() for _ in range(2)]
        for connection, name in zip(open_ones, ("begun", "waiting"), strict=True):
            if name == "waiting":
                server.query("ALTER TABLE waiting SUSPEND WAL")
                connection.execute(_NULLS.format(t=name, n=5).encode())
            connection.execute(b"BEGIN")
            connection.execute(_VALUES.format(t=name, n=5).encode())
        table = DatabaseRoot.locate(root).table("lagging").path
        server.query("ALTER TABLE lagging SUSPEND WAL")
        for at in range(1, 12):
            server.query(
                f"INSERT INTO lagging SELECT dateadd('s', ({at * 10} + x * 7)::int, '2025-01-01'), "
                f"{'null' if at < 7 else 'ARRAY[x::double]'} FROM long_sequence(6)"
            )
        _, wal, segment, _ = log_records(table)[1][8]
        (table / f"wal{wal}" / str(segment) / "ts.d").unlink()
        server.query("ALTER TABLE lagging RESUME WAL")
        until(
            lambda: bool(server.query("SELECT suspended FROM wal_tables() WHERE name = 'lagging'")[0][0]), "suspended"
        )
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    return DatabaseRoot.locate(root)


def test_nothing_is_found_in_their_files(database: DatabaseRoot) -> None:
    found = {report.table: {finding.code for finding in report.findings} for report in diagnose(database).tables}
    told = {"lagging": {Code.SEGMENT_DATA_TORN}, "begun": {Code.TABLE_FILES_DISAGREE}}  # the note of what was begun
    assert found == {name: told.get(name, set()) for name in NAMES}
    assert _lag(database.table("lagging").path) > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_whole(name: str, database: DatabaseRoot) -> None:
    found = deep(database.root, name).findings
    assert found == ()


def test_entries_that_are_lost_are_found_nevertheless(database: DatabaseRoot, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(database.root, root)
    (entries,) = DatabaseRoot.locate(root).table("late").path.glob("2025-01-01*/a.i")
    write(entries, 16 * MANY, bytes(4096))
    assert deep(root, "late").findings
