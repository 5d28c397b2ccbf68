"""Every value read from disk: a lost page is found in each kind of file, and healthy tables stay healthy."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.terminal import Terminal
from console.cli import run
from console.commands.deep_check import Progress
from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepFiles, DeepLook
from console.diagnosis.model import Code, Part, Severity, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from tests.real.grown_tables import grow
from tests.real.test_diagnosis_healthy import grave
from tests.real.test_whole_table import file_of, struck
from tests.real.whole_tables import COLUMNS, DAYS, FIXED, PARQUET, SYMBOLS, VARIABLE, make

PAGE = 4096
ROWS = 4000
"""Rows of a day: several pages of every type but those of one byte."""
SEEDS = int(os.environ.get("WALMEDIC_GROWN_SEED", "1"))
_ONE_BYTE = ("BOOLEAN", "BYTE", "GEOHASH(5b)")


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tables, whole."""
    root = tmp_path_factory.mktemp("deep").resolve() / "root"
    days = "PARTITION BY DAY"
    make(root, questdb, {"wal": f"{days} WAL", "plain": f"{days} BYPASS WAL", PARQUET: f"{days} WAL"}, ROWS)
    return root


def deep(root: Path, table: str) -> DeepLook:
    """Return what reading everything finds."""
    return DeepFiles(DatabaseRoot.locate(root).table(table)).look()


def lost_page(path: Path) -> None:
    """Put zeros in place of the second page, or of the first if there is no other."""
    data = bytearray(path.read_bytes())
    at = PAGE if len(data) >= 2 * PAGE else 0
    data[at : at + PAGE] = bytes(min(PAGE, len(data) - at))
    path.write_bytes(data)


def lost_first_page(path: Path) -> None:
    path.write_bytes(bytes(PAGE) + path.read_bytes()[PAGE:])


def all_zeros(path: Path) -> None:
    """Put zeros in place of all bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def codes(root: Path, table: str, path: Path, strike: Callable[[Path], object]) -> set[Code]:
    """Return the codes of what is found about a damage, all of which must name the column."""
    with struck(path, strike):
        found = deep(root, table).findings
    column = path.name.split(".")[0]
    assert all(finding.column == column for finding in found), [finding.message for finding in found]
    return {finding.code for finding in found}


def test_a_lost_page_is_found_in_every_kind_of_file(world: Path) -> None:
    places = [("wal", 2), ("plain", 1), ("wal", 5), ("plain", 3)]
    for number, (name, (kind, _)) in enumerate({**FIXED, **SYMBOLS}.items()):
        table, day = places[number % len(places)]
        path = file_of(world, table, day, f"{name}.d")
        if kind not in _ONE_BYTE:
            # beside a page of key 0 may stand so many of them that where the page begins is not seen: hardly twice
            found = codes(world, table, path, lost_page) or codes(world, table, path, lost_first_page)
            assert Code.SUSPECT_VALUES in found, name
            assert name not in FIXED or codes(world, table, path, all_zeros) == {Code.SUSPECT_VALUES}, name
        assert codes(world, table, path, lambda _: None) == set()
    for number, name in enumerate(VARIABLE):
        table, day = places[number % len(places)]
        for suffix in ("i", "d"):
            path = file_of(world, table, day, f"{name}.{suffix}")
            assert codes(world, table, path, lost_page) == {Code.COLUMN_FILE_INVALID}, (name, suffix)
            assert codes(world, table, path, all_zeros) == {Code.COLUMN_FILE_INVALID}, (name, suffix)
    for table, day in places:
        path = file_of(world, table, day, "ts.d")
        assert codes(world, table, path, lost_page) == {Code.TIMESTAMPS_INVALID}


def test_rows_are_counted_and_the_first_is_named(world: Path) -> None:
    path = file_of(world, "wal", 3, "ts.d")
    with struck(path, lost_page):
        (finding,) = deep(world, "wal").findings
    assert (finding.rows, finding.offset, finding.partition) == (PAGE // 8, PAGE, "2024-01-03")
    path = file_of(world, "plain", 3, "sy.d")

    def strange(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[400:404] = (77).to_bytes(4, "little")
        data[800:804] = (-5).to_bytes(4, "little", signed=True)
        file.write_bytes(data)

    with struck(path, strange):
        (finding,) = deep(world, "plain").findings
    assert (finding.code, finding.rows, finding.offset) == (Code.SYMBOL_KEYS_UNKNOWN, 2, 400)


def test_an_index_and_a_symbol_map_that_name_other_rows(world: Path) -> None:
    for table, day in (("wal", 2), ("plain", 5)):
        for name in ("sx.k", "sx.v"):
            assert codes(world, table, file_of(world, table, day, name), lost_page) == {Code.INDEX_FILE_INVALID}
    for suffix in "kv":
        path = file_of(world, PARQUET, 3, f"sx.{suffix}")
        assert codes(world, PARQUET, path, lost_page) == {Code.INDEX_FILE_INVALID}

    def swapped(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[:8], data[8:16] = data[8:16], data[:8]
        data[0] += 1
        file.write_bytes(data)

    assert codes(world, "wal", file_of(world, "wal", 1, "sx.v"), swapped) == {Code.INDEX_FILE_INVALID}
    for suffix in "ockv":
        for column in ("sy", "late_x"):
            path = file_of(world, "wal", 0, f"{column}.{suffix}")
            assert codes(world, "wal", path, all_zeros) == {Code.SYMBOL_MAP_INVALID}


def test_the_file_that_is_damaged_is_the_one_named(world: Path) -> None:
    """An offset is held against those beside it, a row number against the count of its symbol."""
    for table, day in (("wal", 2), ("plain", 5)):
        for name in VARIABLE:
            for suffix in ("i", "d"):
                assert _file(world, file_of(world, table, day, f"{name}.{suffix}"), lost_page) == f"{name}.{suffix}"
        for suffix in ("k", "v"):
            assert _file(world, file_of(world, table, day, f"sx.{suffix}"), lost_page) == f"sx.{suffix}"
        assert _file(world, file_of(world, table, day, "sx.v"), lambda path: _raised(path, 0)) == "sx.v"
        assert _file(world, file_of(world, table, day, "st.i"), lambda path: _raised(path, 8 * 77)) == "st.i"
        assert _file(world, file_of(world, table, day, "vc.i"), lambda path: _raised(path, 16 * 77 + 10)) == "vc.i"
        keys = file_of(world, table, day, "sx.k")
        assert _file(world, keys, lambda path: _raised(path, 9)) == "sx.k"  # how much of .v is in use
        assert _file(world, keys, lambda path: _raised(path, 64 + 96)) == "sx.k"  # the count of a key
        assert _file(world, keys, lambda path: _raised(path, 64 + 96 + 24)) == "sx.k"  # where it stands again
        assert _file(world, file_of(world, table, day, "sx.v"), lambda path: _raised(path, 6)) == "sx.v"


def _raised(path: Path, offset: int, bits: int = 2) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bits
    path.write_bytes(data)


def _file(world: Path, path: Path, strike: Callable[[Path], object]) -> str:
    """Return the file that the only finding about a damage names, without its name txn."""
    with struck(path, strike):
        found = deep(world, path.parent.parent.name.split("~")[0]).findings
    (finding,) = found
    return ".".join(Path(finding.file or "").name.split(".")[:2])


def test_an_index_that_counts_more_keys_than_symbols_is_noted(world: Path) -> None:
    """A commit that was cut off leaves as much."""
    path = file_of(world, "wal", 2, "sx.k")
    keys = path.read_bytes()[21]  # about 90, a number by chance: of the symbols in those rows
    with struck(path, lambda file: _raised(file, 21, keys ^ (keys + 2))):
        (finding,) = deep(world, "wal").findings
    assert (finding.code, finding.severity, finding.offset) == (Code.INDEX_FILE_INVALID, Severity.NOTE, 21)


def test_a_parquet_file_with_a_page_of_zeros(world: Path) -> None:
    path = file_of(world, PARQUET, 3, "data.parquet")
    with struck(path, lost_page):
        assert {finding.code for finding in deep(world, PARQUET).findings} == {Code.SUSPECT_VALUES}
    with struck(path, lambda file: os.truncate(file, file.stat().st_size - 100)):
        found = deep(world, PARQUET).findings
    assert [(finding.code, finding.rows) for finding in found] == [(Code.PARQUET_FILE_INVALID, ROWS)]


def test_what_was_read_is_reported(world: Path) -> None:
    database = DatabaseRoot.locate(world)
    looks = {table.directory: DeepFiles(table).look() for table in database.tables() if not table.system}
    for report in diagnose(database, deep=looks).tables:
        assert (report.verdict, report.not_checked) == (Verdict.HEALTHY, ())
    for report in diagnose(database).tables:
        assert report.not_checked == (Part.COLUMN_VALUES, Part.SYMBOL_VALUES, Part.INDEX_ENTRIES)
    read = [0]

    def advance(count: int) -> None:
        read[0] += count

    check = DeepFiles(database.table("wal"), advance)
    check.look()
    assert check.size() / 2 < read[0] < check.size()
    assert len(COLUMNS) > 20


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the document of a deep check."""
    capsys.readouterr()
    code = run(["check", *words, "--deep", "--json"])
    return code, json.loads(capsys.readouterr().out)


def found_at(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return table, partition and column of each finding that is more than a note."""
    return {
        (table["table"], finding["partition"], finding["column"])
        for table in document["tables"]
        for finding in table["findings"]
        if finding["severity"] != "note"
    }


def test_only_named_partitions_and_columns_are_read(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--db-root", str(world), "--state-dir", str(tmp_path / "state"))
    with (
        struck(file_of(world, "wal", 2, "i8.d"), lost_page),
        struck(file_of(world, "wal", 3, "i8.d"), lost_page),
        struck(file_of(world, "wal", 3, "st.d"), lost_page),
        struck(file_of(world, PARQUET, 3, "data.parquet"), lost_page),
    ):
        code, document = checked(capsys, "wal", *here, "--partition", "2024-01-03")
        assert (code, found_at(document)) == (1, {("wal", "2024-01-03", "i8"), ("wal", "2024-01-03", "st")})
        assert document["tables"][0]["not_checked"] == ["column-values", "index-entries"]
        code, document = checked(capsys, "wal", *here, "--column", "I8", "--column", "f8")
        assert found_at(document) == {("wal", "2024-01-02", "i8"), ("wal", "2024-01-03", "i8")}
        assert document["tables"][0]["not_checked"] == ["column-values", "symbol-values", "index-entries"]
        both = ("--column", "i8", "--partition", file_of(world, "wal", 2, "").parent.name)
        code, document = checked(capsys, "wal", *here, *both)
        assert found_at(document) == {("wal", "2024-01-02", "i8")}
        code, document = checked(capsys, PARQUET, *here, "--column", "sx", "--partition", "2024-01-03")
        assert (code, found_at(document)) == (0, set())
        code, document = checked(capsys, *here, "--partition", "2024-01-01")
        assert (code, len(document["tables"])) == (0, 3)
        every = [word for day in DAYS for word in ("--partition", day)]
        _, document = checked(capsys, "wal", *here, *every)
        assert document["tables"][0]["not_checked"] == []


def test_a_name_that_is_not_there_is_refused_in_one_sentence(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--db-root", str(world), "--state-dir", str(tmp_path / "state"))
    for words in (("--partition", "2031-01-01"), ("--column", "nothing"), ("--column", "i8", "--column", "i88")):
        assert run(["check", "wal", *here, "--deep", *words]) == 8
        said = capsys.readouterr()
        assert words[-1] in said.err
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert run(["check", "wal", *here, *words]) == 16
        assert "--deep" in capsys.readouterr().err
    assert not any((tmp_path / "state").rglob("*.jsonl"))


def read_bytes(monkeypatch: pytest.MonkeyPatch, after: int | None = None) -> list[int]:
    """Count the bytes that checks read from now on in the list's only number; interrupt one `after` so many."""
    read = [0]
    advance = Progress.advance

    def counted(self: Progress, count: int) -> None:
        read[0] += count
        advance(self, count)
        if after is not None and read[0] >= after:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "advance", counted)
    if after is not None:  # a shell that starts the tests in the background has SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return read


def test_a_check_that_is_interrupted_keeps_what_it_found_and_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("wal", "--db-root", str(world), "--state-dir", str(tmp_path / "state"))
    with struck(file_of(world, "wal", 1, "i8.d"), lost_page), struck(file_of(world, "wal", 5, "f8.d"), lost_page):
        with monkeypatch.context() as patch:
            total = read_bytes(patch)
            _, whole = checked(capsys, *here)
        assert not any((tmp_path / "state").rglob("*.jsonl")), "a check at its end leaves no record"
        with monkeypatch.context() as patch:
            read_bytes(patch, after=total[0] // 2)
            code, document = checked(capsys, *here)
        assert (code, found_at(document)) == (1, {("wal", "2024-01-01", "i8")})
        assert any("interrupted" in each for each in document["left_out"])
        assert document["tables"][0]["not_checked"] == ["column-values", "symbol-values", "index-entries"]
        (record,) = (tmp_path / "state").rglob("*.jsonl")
        assert record.stat().st_mode & 0o077 == 0
        kept = record.read_bytes()
        record.write_bytes(kept + b'{"form": 1, "torn')  # as a kill leaves it
        changed = file_of(world, "wal", 1, "f8.d")
        with struck(changed, lost_page), monkeypatch.context() as patch:  # another inode, time and content
            rest = read_bytes(patch, after=total[0] // 4)
            _, document = checked(capsys, *here)
        assert any("interrupted" in each for each in document["left_out"])
        early = {("wal", "2024-01-01", "i8"), ("wal", "2024-01-01", "f8")}
        assert early <= found_at(document) <= early | {("wal", "2024-01-05", "f8")}  # columns are read side by side
        with monkeypatch.context() as patch:
            rest = read_bytes(patch)
            code, document = checked(capsys, *here)
        assert rest[0] < total[0] / 2
        assert (code, document["tables"][0]["findings"]) == (1, whole["tables"][0]["findings"])
        assert document["tables"][0]["not_checked"] == []
        assert not any((tmp_path / "state").rglob("*.jsonl"))


def test_a_check_that_is_interrupted_before_it_found_anything_is_no_good_end(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("wal", "--db-root", str(world), "--state-dir", str(tmp_path / "state"))
    with monkeypatch.context() as patch:
        read_bytes(patch, after=1)
        code, document = checked(capsys, *here)
    assert (code, document["tables"][0]["verdict"]) == (1, "healthy")
    with monkeypatch.context() as patch:
        read_bytes(patch, after=1)
        assert run(["check", *here, "--deep", "--format", "nagios"]) == 3
    assert "UNKNOWN" in capsys.readouterr().out
    code, _ = checked(capsys, *here)
    assert code == 0


def test_the_progress_line_has_bytes_and_the_time_left(world: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "console", "check", "wal", "--deep", "--db-root", str(world)]
    with Terminal([*command, "--state-dir", str(tmp_path / "state")]) as terminal:
        said = terminal.read_until(b"checked in").decode()
    (done, total, left) = re.findall(r"reading wal: ([\d.,]+) of ([\d.,]+) MB, ([\d,]+) s left", said)[0]
    assert 0 <= float(done) < float(total.replace(",", ""))  # the first line comes with the first bytes
    assert left.replace(",", "").isdigit()


@pytest.mark.parametrize(
    ("first", "tables"), [(SEEDS, 12), pytest.param(1000 * SEEDS, 100, marks=pytest.mark.faults)], ids=["12", "100"]
)
def test_tables_grown_at_random_have_no_finding(tmp_path: Path, questdb: ServerBinary, first: int, tables: int) -> None:
    root = tmp_path.resolve() / "root"
    taken = grow(root, range(first, first + tables), questdb)
    database = DatabaseRoot.locate(root)
    looks = {table.directory: DeepFiles(table).look() for table in database.tables() if not table.system}
    report = diagnose(database, deep=looks)
    assert grave(report) == [], taken
    assert {table.table for table in report.tables} == set(taken)
    assert [look.left_out for look in looks.values() if look.left_out] == []
    assert all(table.rows_applied is not None for table in report.tables)
