"""The browser on files of a real server: every byte named, files that change or vanish, files of any size."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, Settings
from console.widgets.hex_view import HexView
from screens.browser import Browser
from screens.dashboard import Dashboard
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.database import TABLE, damaged
from tests.ui.showing import settled, shown, typed


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A small damaged database."""
    return damaged(tmp_path)[0]


@asynccontextmanager
async def browsing(
    console: MakeApp, settings: Settings, database: DatabaseRoot, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Pilot[int], ConsoleApp]]:
    from console.diagnosis.database import diagnose

    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=size) as pilot:
        app.take(samples.sample("tables", diagnose(database)))
        await pilot.press("b")
        await settled(pilot)
        assert isinstance(app.screen, Browser)
        yield pilot, app


async def to_log(pilot: Pilot[int]) -> HexView:
    """Open the damaged log by going to the first finding that names a file."""
    await pilot.press("n")
    await settled(pilot)
    return pilot.app.screen.query_one(HexView)


async def test_n_opens_the_file_of_the_finding_and_says_it(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        text = shown(app)
        assert "log-max-txn-past-end" in text
        assert f"{TABLE}/txn_seq/_txnlog" in text
        assert "end of file" in text


async def test_go_to_by_offset_and_by_transaction_names_the_record(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        view = await to_log(pilot)
        for asked, offset, title in (("0x4c", 76, "seqTxn 1"), ("104", 104, "seqTxn 2"), ("t 3", 132, "seqTxn 3")):
            await pilot.press("g")
            await typed(pilot, asked)
            await pilot.press("enter")
            await settled(pilot)
            assert view.cursor == offset
            assert title in shown(app)
        for named in ("structure version", "walId", "segmentId", "segmentTxn", "commit timestamp"):
            assert named in shown(app)


@pytest.mark.parametrize("asked", ["", "x", "0x", "-1", "t", "99999999999", "0xfffffffffffffffffffff"])
async def test_go_to_nowhere_is_said_and_changes_nothing_else(
    console: MakeApp, settings: Settings, database: DatabaseRoot, asked: str
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await pilot.press("g")
        await typed(pilot, asked)
        await pilot.press("enter")
        await settled(pilot)
        assert "✗" in shown(app).splitlines()[2]


async def test_moving_by_bytes_rows_pages_and_to_the_ends_stays_inside_the_file(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, _):
        view = await to_log(pilot)
        size = (database.db / TABLE / "txn_seq" / "_txnlog").stat().st_size
        await pilot.press("home")
        assert view.cursor == 0
        await pilot.press("left", "up", "pageup")
        assert view.cursor == 0
        await pilot.press("right", "right", "down")
        assert 0 < view.cursor < 100
        await pilot.press("end")
        assert view.cursor == size - 1
        await pilot.press("right", "down", "pagedown")
        assert view.cursor == size - 1


async def test_a_file_that_changes_shrinks_or_vanishes_is_said(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    log = database.db / TABLE / "txn_seq" / "_txnlog"
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        size = log.stat().st_size
        os.truncate(log, size + 4096)
        app.take()
        await settled(pilot)
        assert f"the file grew from {size:,} to {size + 4096:,} bytes" in shown(app)
        os.truncate(log, 100)
        app.take()
        await pilot.press("end", "pageup", "pagedown")
        await settled(pilot)
        assert f"the file shrank from {size:,} to 100 bytes" in shown(app)
        await pilot.press("r")
        await settled(pilot)
        assert "100 B" in shown(app)
        log.unlink()
        app.take()
        await settled(pilot)
        assert "the file is gone" in shown(app)
        await pilot.press("r")
        await settled(pilot)
        assert f"✗ {TABLE}/txn_seq/_txnlog" in shown(app).splitlines()[2]


async def test_a_symbolic_link_is_not_followed(console: MakeApp, settings: Settings, database: DatabaseRoot) -> None:
    secret = database.root / "secret"
    secret.write_bytes(b"not of the database")
    (database.db / TABLE / "txn_seq" / "_zlink").symlink_to(secret)
    async with browsing(console, settings, database) as (_, app):
        assert "_zlink" not in shown(app)


async def test_a_sparse_file_of_eight_gibibytes_opens_at_once_and_its_last_byte_is_reached(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    log = database.db / TABLE / "txn_seq" / "_txnlog"
    os.truncate(log, 8 << 30)
    async with browsing(console, settings, database) as (pilot, app):
        browser = app.screen
        assert isinstance(browser, Browser)
        browser.read(log)
        await settled(pilot)
        view = browser.query_one(HexView)
        await pilot.press("end")
        await settled(pilot)
        assert view.cursor == (8 << 30) - 1
        assert f"{(8 << 30) - 28:x}"[:6] in shown(app)


async def test_rows_of_sixteen_bytes_and_of_records(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        assert "28 bytes a record" in shown(app)
        await pilot.press("x")
        await settled(pilot)
        assert "16 bytes a row" in shown(app)


async def test_escape_goes_from_bytes_to_tree_to_dashboard(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await pilot.press("escape")
        assert isinstance(app.screen, Browser)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)


async def test_a_directory_that_is_no_database_is_said(console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(tmp_path / "nothing"))))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("b")
        await settled(pilot)
        assert "name the directory that holds db/" in shown(app)
