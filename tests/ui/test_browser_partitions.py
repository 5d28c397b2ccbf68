"""The browser below a table: its partitions, their files with the bytes found and needed."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from textual.pilot import Pilot

from console.diagnosis.database import diagnose
from console.questdb.formats.table import TXN_HEADER, TXN_PARTITION, TXN_RECORD
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import DbFile
from console.questdb.table_txn import read_table_txn
from console.settings import Settings
from console.widgets.hex_view import HexView
from screens import browser_tree
from screens.browser import Browser
from tests.data.samples import sample_database
from tests.ui.browsing import browsing, go_to
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, shown, typed

TABLE = "kinds~6"
PARTITION = "2024-01-02.1"
_DAY = 86_400_000_000


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A small database of a real server, whose table has 40 rows of many types in one partition."""
    return sample_database("v1", tmp_path)


def _files(database: DatabaseRoot) -> dict[str, browser_tree.Node]:
    _, tables = browser_tree.tables(database.root)
    table = next(each for each in tables if each.directory == TABLE)
    unfolded = {str(table.path), str(table.path / PARTITION)}
    return {node.path.name: node for node in browser_tree.nodes((table,), unfolded) if node.in_partition}


def test_a_file_is_listed_with_the_bytes_that_its_rows_need(database: DatabaseRoot) -> None:
    partition = database.db / TABLE / PARTITION
    found = _files(database)
    assert found[PARTITION].note == "40 rows"
    assert (found["price.d"].needed, found["st.i"].needed, found["vc.i"].needed) == (320, 328, 640)
    ends = int.from_bytes((partition / "st.i").read_bytes()[8 * 40 : 8 * 41], "little")
    assert found["st.d"].needed == ends
    assert not any(node.short or node.missing for node in found.values())
    (partition / "left.over").write_bytes(b"x")
    assert _files(database)["left.over"].needed is None


@pytest.mark.parametrize("name", ["price.d", "st.i", "st.d", "vc.i", "vc.d", "ar.i", "ar.d", "bin.d"])
def test_a_file_is_short_in_the_tree_where_the_quick_check_finds_it_short(database: DatabaseRoot, name: str) -> None:
    path = database.db / TABLE / PARTITION / name
    needed = _files(database)[name].needed
    assert needed
    for size, short in ((needed, False), (needed - 1, True)):
        os.truncate(path, size)
        assert _files(database)[name].short is short
        told = {finding.file for table in diagnose(database).tables for finding in table.findings}
        assert (f"{TABLE}/{PARTITION}/{name}" in told) is short
    path.unlink()
    assert _files(database)[name].missing


def test_a_missing_partition_stays_in_the_tree(database: DatabaseRoot) -> None:
    shutil.rmtree(database.db / TABLE / PARTITION)
    assert _files(database)[PARTITION].missing


def test_the_columns_of_a_segment_are_listed_behind_its_events_and_found_where_it_is_unfolded(
    database: DatabaseRoot,
) -> None:
    _, tables = browser_tree.tables(database.root)
    table = next(each for each in tables if each.directory == TABLE)
    segment = table.path / "wal1" / "0"
    unfolded = {str(table.path), str(segment.parent), str(segment)}
    names = [node.path.name for node in browser_tree.nodes((table,), unfolded) if node.path.parent == segment]
    assert sorted(names) == sorted(path.name for path in segment.iterdir() if path.is_file())
    assert names[:3] == ["_event", "_event.i", "_meta"]
    assert browser_tree.matching(database, (table,), "wal1/0/price.d") == []
    found = browser_tree.matching(database, (table,), "wal1/0/price.d", unfolded)
    assert [node.path for node in found] == [segment / "price.d"]


def test_only_unfolded_partitions_of_10000_are_listed(database: DatabaseRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    table = database.db / TABLE
    txn = read_table_txn(table)
    assert txn.current is not None
    assert not len(txn.current.symbols)
    at, count = txn.current.base + TXN_RECORD.size, 10_000
    data = bytearray((table / "_txn").read_bytes())
    one = bytes(data[at + 4 : at + 4 + TXN_PARTITION.size])
    rows = np.frombuffer(one * count, TXN_PARTITION.dtype).copy()
    rows["timestamp"] += np.arange(-count + 1, 1) * _DAY
    data[at:] = rows.nbytes.to_bytes(4, "little") + rows.tobytes()
    header = TXN_HEADER.at(f"{'ab'[txn.header.version & 1 if txn.header else 0]}_partition_bytes")
    data[header : header + 4] = rows.nbytes.to_bytes(4, "little")
    (table / "_txn").write_bytes(data)
    listings: list[str] = []
    scan = os.scandir

    def counted(path: str) -> Any:
        listings.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", counted)
    found = _files(database)
    assert sum(node.folder for node in found.values()) == count
    assert "price.d" in found
    assert len(listings) < 20, "the directory of a folded partition was listed"


async def _open_partition(pilot: Pilot[int], database: DatabaseRoot) -> Browser:
    browser = pilot.app.screen
    assert isinstance(browser, Browser)
    folders = (database.db / TABLE, database.db / TABLE / PARTITION)
    for folder in folders:
        await settled(pilot)
        browser.query_one("#tree").choose(str(folder))  # type: ignore[attr-defined]
        await pilot.press("right")
        await settled(pilot)
    return browser


async def test_the_finding_stands_beside_its_file_and_n_goes_to_it(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    os.truncate(database.db / TABLE / PARTITION / "price.d", 100)
    async with browsing(console, settings, database, size=(200, 50)) as (pilot, app):
        await _open_partition(pilot, database)
        row = next(row[:60] for row in shown(app).splitlines() if "price.d" in row)
        assert "100B" in row
        assert row.split()[-3:] == ["needs", "320B", "✗"]
        assert "needs 328B" in next(row for row in shown(app).splitlines() if "st.i" in row)
        await pilot.press("down", "down")
        await settled(pilot)
        assert "COLUMN_FILE_SHORT" in shown(app).splitlines()[3].upper().replace("-", "_")
        await pilot.press("down")
        await settled(pilot)
        assert "st.i: 4,096 bytes found, 328 needed" in shown(app).splitlines()[3]
        await pilot.press("n")
        await settled(pilot)
        assert f"{TABLE}/{PARTITION}/price.d" in shown(app).splitlines()[2]


async def test_rows_and_times_are_gone_to_and_their_values_shown(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    partition = database.db / TABLE / PARTITION
    async with browsing(console, settings, database) as (pilot, app):
        browser = app.screen
        assert isinstance(browser, Browser)

        async def going(text: str) -> str:
            await go_to(pilot, text)
            return shown(app)

        browser.read(partition / "ts.d")
        await settled(pilot)
        text = await going("2024-01-02T00:00:06.5")
        assert "row 7 of ts" in text
        assert "2024-01-02T00:00:07.000000Z" in text
        assert browser.query_one(HexView).cursor == 56
        browser.read(partition / "st.i")
        await settled(pilot)
        text = await going("r 7")
        assert '"EEJTIIDPJTONFXTSDHV"' in text
        assert "bytes in st.d" in text
        assert "the partition has no row 40" in (await going("r40")).splitlines()[3]
        text = await going("2024-01-02T00:00:06.5")  # the same row, in the file that is open
        assert "row 7 of st" in text
        assert "all rows of the table are before 2099" in (await going("2099-01-01")).splitlines()[3]
        browser.read(partition.parent / "_txn")
        await settled(pilot)
        assert "open one first" in (await going("r1")).splitlines()[3]
        assert "row 7 of ts" in await going("2024-01-02T00:00:06.5")  # the table's partition is found


async def test_bytes_are_found_from_the_cursor_on_and_again_from_the_start(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    """`/` asks in the bytes, `m` goes to the next place; what is neither bytes nor a text is refused."""
    path = database.db / TABLE / "found.bin"
    path.write_bytes(bytes(5000) + b"\xfa\x01x" + bytes(5_000_000) + b"\xfa\x01" + "abc".encode("utf-16-le"))
    async with browsing(console, settings, database, size=(80, 24)) as (pilot, app):
        browser = app.screen
        assert isinstance(browser, Browser)
        browser.read(path)
        await settled(pilot)
        hexes = browser.query_one(HexView)

        async def finding(text: str) -> int:
            await pilot.press("slash", "ctrl+u")
            await typed(pilot, text)
            await pilot.press("enter")
            await settled(pilot)
            return hexes.cursor

        await pilot.press("m")
        await settled(pilot)
        assert "nothing is looked for yet" in shown(app)
        assert await finding("fa 01") == 5000
        for place in (5_005_003, 5000):
            await pilot.press("m")
            await settled(pilot)
            assert hexes.cursor == place
        assert await finding('u"abc"') == 5_005_005
        assert await finding('"x"') == 5002
        assert await finding("ff ff") == 5002
        assert "the file does not hold ff ff" in shown(app).splitlines()[3]
        await finding("f")
        assert "neither bytes" in shown(app).splitlines()[3]
        await pilot.press("escape")
        await settled(pilot)
        assert hexes.cursor == 5002


async def test_a_search_is_stopped_by_escape(
    console: MakeApp, settings: Settings, database: DatabaseRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a slow disk: the screen stays, and keys are taken meanwhile."""
    path = database.db / TABLE / "slow.bin"
    path.write_bytes(b"\1" * (64 << 20))
    read, pieces = DbFile.read, list[int]()

    def slow(file: DbFile, offset: int, count: int) -> bytes:
        if file.path.name == "slow.bin" and count > 1 << 20:
            pieces.append(offset)
            time.sleep(0.2)
        return read(file, offset, count)

    monkeypatch.setattr(DbFile, "read", slow)
    async with browsing(console, settings, database, size=(80, 24)) as (pilot, app):
        browser = app.screen
        assert isinstance(browser, Browser)
        browser.read(path)
        await settled(pilot)
        await pilot.press("slash")
        await typed(pilot, "ff ff")
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert browser.searching
        await pilot.press("escape")
        await settled(pilot)
        assert "the search was stopped" in shown(app).splitlines()[3]
        assert app.screen is browser
        assert len(pieces) < 8


async def test_a_partition_in_parquet_shows_its_values_by_row(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    table = database.db / TABLE
    parquet = in_parquet(table)
    async with browsing(console, settings, database, size=(80, 24)) as (pilot, app):
        browser = app.screen
        assert isinstance(browser, Browser)
        browser.read(parquet)
        await settled(pilot)
        assert "40 rows in 2 row groups" in shown(app).splitlines()[3]
        for asked, row, group in (("r3", 3, 0), ("r 39", 39, 1), ("2024-01-02T00:00:06.5", 7, 0)):
            await pilot.press("g")
            await typed(pilot, asked)
            await pilot.press("enter")
            await settled(pilot)
            text = shown(app)
            assert f"row {row} of row group {group}" in text
            assert f"2024-01-02T00:00:{row:02d}.000000Z" in text
        await pilot.press("g")
        await typed(pilot, "r40")
        await pilot.press("enter")
        await settled(pilot)
        assert "the partition has no row 40" in shown(app).splitlines()[3]


def in_parquet(table: Path) -> Path:
    """Put the table's partition into Parquet as `_txn` would name it, of the same times and 20 rows a group."""
    folder = table / PARTITION
    times = np.fromfile(folder / "ts.d", "<i8", 40)
    columns = {"ts": pyarrow.array(times, pyarrow.timestamp("us")), "price": pyarrow.array(np.arange(40) * 0.5)}
    path = folder / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=20)
    txn = read_table_txn(table)
    area = txn.current
    assert area is not None
    at = area.base + TXN_RECORD.size + area.symbols.nbytes + 4
    data = bytearray((table / "_txn").read_bytes())
    row = np.frombuffer(bytes(data[at : at + TXN_PARTITION.size]), TXN_PARTITION.dtype).copy()
    row["rows"] |= np.int64(1 << 61)
    row["parquet_size"] = path.stat().st_size
    data[at : at + TXN_PARTITION.size] = row.tobytes()
    (table / "_txn").write_bytes(data)
    return path
