"""Pages of zeros that a table may well have: they never alarm, and one that was lost still does."""

from pathlib import Path

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.test_whole_table import file_of, struck
from tests.real.test_whole_table_deep import PAGE, deep, lost_page
from tests.real.whole_tables import settle


def test_the_first_symbol_in_whole_pages_is_no_lost_page(tmp_path: Path, questdb: ServerBinary) -> None:
    """Its key is zero: an index that agrees is a witness, and a symbol that came first may go for good."""
    root = tmp_path.resolve() / "root"
    root.mkdir()
    days = "TIMESTAMP(ts) PARTITION BY DAY WAL"
    with PrivateServer(root, questdb) as server:
        for index, name in (("INDEX", "indexed"), ("", "rolled")):
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, s SYMBOL {index}) {days}")
            server.query(
                f"INSERT INTO {name} SELECT timestamp_sequence('2024-01-01', 20000000L), "
                "(CASE WHEN x <= 4320 THEN 'first' WHEN x <= 8640 THEN 'second' ELSE null END)::symbol "
                "FROM long_sequence(12960)"
            )
        server.query(
            "INSERT INTO indexed SELECT timestamp_sequence('2024-01-04', 20000000L), "
            "(CASE WHEN x <= 1024 OR x > 2048 THEN 'third' ELSE 'first' END)::symbol FROM long_sequence(4096)"
        )
        settle(server)
        server.kill()
    for name in ("indexed", "rolled"):
        assert deep(root, name).findings == ()
    path = file_of(root, "indexed", 2, "s.d")
    with struck(path, lost_page):
        assert {finding.code for finding in deep(root, "indexed").findings} >= {
            Code.SUSPECT_VALUES, Code.INDEX_FILE_INVALID,
        }  # fmt: skip


_DAY = 16_384
_ZERO_WHERE = {
    "always": "true",
    "day": "day = 1",  # a whole partition of a column that is never zero else
    "opens": "row < 8192",  # a counter that begins anew each day: zero to a page border
    "closes": "row >= 8192",
    "once": "day = 1 and row < 8001",
    "bursts": "row >= 8001 or rnd_int(0, 99, 0) < 95",
    "between": "row between 4001 and 13001",
}


def test_zeros_that_were_written_never_alarm(tmp_path: Path, questdb: ServerBinary) -> None:
    """Of each type; a page of zeros between other values does."""
    root = tmp_path.resolve() / "root"
    root.mkdir()
    kinds = ("BOOLEAN", "BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE")
    columns = {f"{name}_{kind.lower()}": (where, kind) for name, where in _ZERO_WHERE.items() for kind in kinds}
    values = ", ".join(
        f"not ({where})" if kind == "BOOLEAN" else f"(case when {where} then 0 else 7 end)::{kind}"
        for where, kind in columns.values()
    )
    with PrivateServer(root, questdb) as server:
        types = ", ".join(f"{name} {kind}" for name, (_, kind) in columns.items())
        server.query(
            f"CREATE TABLE zeros (ts TIMESTAMP, {types}, nulls STRING, blobs BINARY) TIMESTAMP(ts) PARTITION BY DAY WAL"
        )
        server.query(
            f"INSERT INTO zeros (ts, {', '.join(columns)}) SELECT ts, {values} FROM (SELECT "
            f"timestamp_sequence('2024-01-01', {86_400_000_000 // _DAY + 1}L) ts, (x - 1) / {_DAY} day, "
            f"(x - 1) % {_DAY} row FROM long_sequence({3 * _DAY}))"
        )
        settle(server)
        server.kill()
    found = deep(root, "zeros").findings
    assert [finding.message for finding in found if finding.severity is not Severity.NOTE] == []
    assert {finding.column for finding in found if finding.column.startswith("day_")} == {
        name for name in columns if name.startswith("day_")
    }
    looks = {DatabaseRoot.locate(root).table("zeros").directory: deep(root, "zeros")}
    assert diagnose(DatabaseRoot.locate(root), ["zeros"], deep=looks).tables[0].verdict is Verdict.HEALTHY
    for kind in kinds:
        path = file_of(root, "zeros", 3, f"day_{kind.lower()}.d")
        with struck(path, lost_page):
            grave = [each for each in deep(root, "zeros").findings if each.severity is Severity.RISK]
        assert [(each.code, each.offset, each.column) for each in grave] == [
            (Code.SUSPECT_VALUES, PAGE, f"day_{kind.lower()}")
        ]

    for column, width in (("nulls", 4), ("blobs", 8)):
        path = file_of(root, "zeros", 2, f"{column}.d")
        with struck(path, lost_page):
            (finding,) = (each for each in deep(root, "zeros").findings if each.column == column)
        assert (finding.code, finding.severity, finding.rows) == (Code.SUSPECT_VALUES, Severity.RISK, PAGE // width)
