"""Two files side by side: they scroll together, what differs is found, a copy is judged by itself."""

from console.questdb.layout import DatabaseRoot
from console.settings import Settings
from console.widgets.hex_view import HexView
from screens.browser import Browser
from screens.browser_compare import Compare
from tests.ui.browsing import browsing, go_to, on_top, to_log
from tests.ui.conftest import MakeApp
from tests.ui.database import TABLE
from tests.ui.showing import settled, shown


async def test_two_files_scroll_together_and_what_differs_is_found_and_summed_up(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    backup = database.db / TABLE / "txn_seq.backup.20251110_032600" / "_txnlog"
    with backup.open("r+b") as stream:
        stream.truncate(76 + 28 * 100)
        stream.seek(76 + 28 * 4 + 9)
        stream.write(b"\x07")
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await pilot.press("c")
        await settled(pilot)
        assert on_top(app) is Compare
        text = shown(app)
        assert f"left  {TABLE}/txn_seq/_txnlog" in text
        assert f"right {TABLE}/txn_seq.backup.20251110_032600/_txnlog" in text
        assert "header and 1 record differ; 44 records only left, all" in text
        left, right = app.screen.query_one("#left", HexView), app.screen.query_one("#right", HexView)
        await pilot.press("home", "n")
        await settled(pilot)
        assert left.cursor == right.cursor == 76 + 28 * 4
        assert "≠ walId" in shown(app)
        assert "record 5  ≠ differ" in shown(app)
        await pilot.press("n")
        await settled(pilot)
        assert left.cursor == 76 + 28 * 100
        assert "records 101–144  ← only left" in shown(app)
        assert "end of file" in shown(app)
        await pilot.press("n")
        await settled(pilot)
        assert "no difference after this place" in shown(app)
        await pilot.press("p", "p")
        await settled(pilot)
        assert left.cursor == 0
        assert "≠ maxTxn" in shown(app)
        await go_to(pilot, "t7")
        assert left.cursor == right.cursor == 76 + 28 * 6
        await pilot.press("escape")
        await settled(pilot)
        assert on_top(app) is Browser


async def test_two_files_of_any_kind_are_compared_by_rows(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        await to_log(pilot)
        await pilot.press("tab", "up", "c")
        await settled(pilot)
        assert on_top(app) is Compare
        assert "rows differ" in shown(app)
        await pilot.press("end", "pageup", "x", "y", "r")
        await settled(pilot)
        backup = database.db / TABLE / "txn_seq" / "_meta.0"
        backup.unlink()
        app.take()
        await settled(pilot)
        assert "right: the file is gone" in shown(app)


async def test_a_file_without_a_copy_says_how_to_choose_another(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    async with browsing(console, settings, database) as (pilot, app):
        assert isinstance(app.screen, Browser)
        app.screen.read(database.db / TABLE / "_txn")
        await settled(pilot)
        await pilot.press("c")
        await settled(pilot)
        assert "choose the other file in the tree" in shown(app).splitlines()[3]


async def test_a_copy_of_a_log_is_judged_by_itself_when_it_is_opened(
    console: MakeApp, settings: Settings, database: DatabaseRoot
) -> None:
    backup = database.db / TABLE / "txn_seq.backup.20251110_032600" / "_txnlog"
    with backup.open("r+b") as stream:
        stream.seek(4)
        stream.write((162).to_bytes(8, "little"))
    async with browsing(console, settings, database) as (pilot, app):
        assert isinstance(app.screen, Browser)
        app.screen.read(backup)
        await settled(pilot)
        await pilot.press("end")
        await settled(pilot)
        assert "end of file  its header counts 162 transactions" in shown(app)
