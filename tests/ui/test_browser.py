"""The browser on files of a real server: every byte named, files that change or vanish, files of any size."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from console.app import ConsoleApp
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, Settings
from console.widgets.hex_view import HexView
from screens.browser import Browser
from screens.dashboard import Dashboard
from tests.ui.browsing import browsing, go_to, on_top, to_log
from tests.ui.conftest import MakeApp
from tests.ui.database import TABLE
from tests.ui.showing import settled, shown, typed


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
            await go_to(pilot, asked)
            assert view.cursor == offset
            assert title in shown(app)
        for named in ("structure version", "walId", "segmentId", "segmentTxn", "commit timestamp"):
            assert named in shown(app)


@pytest.mark.parametrize("asked", ["", "x", "0x", "-1", "t", "99999999999", "0xfffffffffffffffffffff"])
async def test_go_to_nowhere_is_reported_and_changes_nothing_else(
    console: MakeApp, settings: Settings, database: DatabaseRoot, asked: str
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await go_to(pilot, asked)
        assert "✗" in shown(app).splitlines()[3]


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


async def test_a_file_that_changes_shrinks_or_vanishes_is_reported(
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
        assert f"✗ {TABLE}/txn_seq/_txnlog" in shown(app).splitlines()[3]


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
        assert on_top(app) is Browser
        await pilot.press("escape")
        await settled(pilot)
        assert on_top(app) is Dashboard


async def test_a_directory_that_is_no_database_is_reported(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(tmp_path / "nothing"))))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("b")
        await settled(pilot)
        assert "name the directory that holds db/" in shown(app)


# ---- places, the tree, copies --------------------------------------------------------------------------------------


async def test_the_tree_is_filtered_as_one_types_and_escape_takes_the_filter_back(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        before = shown(app)
        assert "kinds~6" in before
        await pilot.press("slash")
        await typed(pilot, "hourly _event")
        tree = [row[:36] for row in shown(app).splitlines()]
        assert any("hourly~7/wal1/0/_event" in row for row in tree)
        assert not any("kinds~6" in row for row in tree)
        await pilot.press("enter", "enter")
        await settled(pilot)
        assert "segment events" in shown(app)
        await pilot.press("escape")
        await pilot.press("escape")
        await settled(pilot)
        assert "kinds~6" in shown(app)
        await pilot.press("slash")
        await typed(pilot, "zzz")
        await pilot.press("escape")
        await settled(pilot)
        assert "kinds~6" in shown(app)


async def test_the_tree_says_verdict_owner_and_size(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    import pwd

    async with browsing(console, settings, database, size=(200, 50)) as (pilot, app):
        await to_log(pilot)
        rows = [row[:60] for row in shown(app).splitlines()]
        table = next(row for row in rows if TABLE in row and "/" not in row)
        assert "✗ BROKEN" in table
        assert "✓ healthy" in next(row for row in rows if "kinds~6" in row)
        log = next(row for row in rows if "_txnlog " in row and "▌" in row)
        owner = pwd.getpwuid((database.db / TABLE / "txn_seq" / "_txnlog").stat().st_uid).pw_name
        assert owner in log
        assert "4.0KiB" in log
        assert "✗" in log


async def test_from_a_record_to_its_event_and_back(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        view = await to_log(pilot)
        await go_to(pilot, "t2")
        at = view.cursor
        await pilot.press("s")
        await settled(pilot)
        assert f"{TABLE}/wal1/0/_event" in shown(app)
        assert "event 1" in shown(app)
        await pilot.press("backspace")
        await settled(pilot)
        assert f"{TABLE}/txn_seq/_txnlog" in shown(app)
        assert view.cursor == at
        await pilot.press("g")
        await typed(pilot, "t20")
        await pilot.press("enter", "s")
        await settled(pilot)
        assert "names no segment" in shown(app).splitlines()[3]


async def test_a_segment_that_was_purged_is_reported(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    import shutil

    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        shutil.rmtree(database.db / TABLE / "wal1")
        await pilot.press("g")
        await typed(pilot, "t2")
        await pilot.press("enter", "s")
        await settled(pilot)
        assert "wal1/0/_event is gone: applied segments are purged" in shown(app).splitlines()[3]


async def test_runs_of_zeros_take_one_line_and_open_where_one_goes_into_them(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        assert "zeros: 3,752 bytes, 268 rows" in shown(app)
        await go_to(pilot, "t 100")
        assert "zeros: " not in shown(app)
        assert "seqTxn 100" in shown(app)
        await pilot.press("g")
        await typed(pilot, "t9")
        await pilot.press("enter", "down", "down")
        await settled(pilot)
        assert "zeros: " in shown(app)
        await pilot.press("z")
        await settled(pilot)
        assert "zeros: " not in shown(app)


async def test_a_selection_is_copied_as_hex_and_a_record_as_json(
    console: MakeApp, settings: Settings, database: DatabaseRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    copied: list[str] = []
    monkeypatch.setattr(ConsoleApp, "copy_text", lambda self, text: copied.append(text))
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await pilot.press("g")
        await typed(pilot, "0x4c")
        await pilot.press("enter", "v", "right", "right", "down")
        await settled(pilot)
        assert "17 bytes selected" in shown(app)
        await pilot.press("Y")
        log = (database.db / TABLE / "txn_seq" / "_txnlog").read_bytes()
        assert bytes.fromhex(copied[-1]) == log[0x4C : 0x4C + 17]
        await pilot.press("escape", "y")
        document = json.loads(copied[-1])
        assert document["record"] == "record of seqTxn 1"
        assert document["fields"]["walId"] == "1"
        await pilot.press("Y")
        assert len(bytes.fromhex(copied[-1])) == 4  # the field under the cursor


async def test_a_digit_goes_to_a_pane_and_f_gives_it_the_whole_screen(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database, size=(80, 24)) as (pilot, app):
        view = await to_log(pilot)
        await pilot.press("f")
        await settled(pilot)
        assert "── tree" not in shown(app)
        assert "28 bytes a record" in shown(app)
        await pilot.press("1")
        await settled(pilot)
        assert "── tree" in shown(app)
        assert "bytes a record" not in shown(app)
        await pilot.press("f", "3", "home")
        await settled(pilot)
        before = view.cursor
        await pilot.press("down")
        await settled(pilot)
        assert view.cursor > before


# ---- two files -------------------------------------------------------------------------------------------------------
