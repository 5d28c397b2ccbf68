"""More pictures: the dashboard, the browser and the confirmation in every size and every set of colours.

What the screens look like in their usual states is in test_snapshots. Look at a picture before it is committed.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.diagnosis.database import diagnose
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, Settings
from console.widgets.theme import Colors
from screens import browser_file, browser_tree
from screens.browser import Browser
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.database import TABLE, damaged
from tests.ui.showing import settled, typed
from tests.ui.test_snapshots import SIZES, Before, Snap, by_size, with_samples

SIZED = [(size, colors) for size in SIZES for colors in (Colors.SIXTEEN, Colors.NONE)]
by_size_and_colors = pytest.mark.parametrize(
    ("size", "colors"), SIZED, ids=[f"{size[0]}x{size[1]}-{colors.value}" for size, colors in SIZED]
)


@pytest.fixture(autouse=True)
def one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files belong to one user, whoever runs the tests."""
    for module in (browser_tree, browser_file):
        monkeypatch.setattr(module, "owner_name", lambda uid: "questdb")


def colored(colors: Colors, monkeypatch: pytest.MonkeyPatch) -> Colors:
    if colors is Colors.NONE:
        monkeypatch.setenv("NO_COLOR", "1")
    return colors


# ---- dashboard -------------------------------------------------------------------------------------------------------


@by_size_and_colors
def test_dashboard(
    snap_compare: Snap, console: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], colors: Colors
) -> None:
    """The incident without truecolor, and without any colour."""
    app = console(colors=colored(colors, monkeypatch))
    assert snap_compare(app, terminal_size=size, run_before=with_samples())


@pytest.mark.parametrize("size", [(120, 40), (200, 50)], ids=["120x40", "200x50"])
def test_dashboard_healthy(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """Nothing is wrong, and there is room to say so."""
    from tests.ui import captured

    app = console(wall_clock=lambda: captured.HEALTHY_AT)
    assert snap_compare(app, terminal_size=size, run_before=with_samples(made=samples.healthy()))


@pytest.mark.parametrize("probe", ["server", "journal"])
def test_dashboard_source_down(snap_compare: Snap, console: MakeApp, probe: str) -> None:
    """The server, or the journal, does not answer; the other sources are pictured in test_snapshots."""
    errors = {
        "server": "QuestDB at 127.0.0.1:8812 refuses connections: nothing listens there",
        "journal": "the journal cannot be read: Permission denied; is state_dir yours?",
    }
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])

    async def before(pilot: Pilot[int]) -> None:
        await with_samples()(pilot)
        clock[0] += 42
        fresh = [replace(s, monotonic=clock[0] - 1) for s in samples.incident() if s.probe != probe]
        app.take(*fresh, samples.down(probe, errors[probe]))
        await settled(pilot)

    assert snap_compare(app, run_before=before)


@by_size
def test_dashboard_stale(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """No source has answered for ten minutes: everything is dimmed and says how old it is."""
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])

    async def before(pilot: Pilot[int]) -> None:
        await with_samples()(pilot)
        clock[0] += 600
        app.take()
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("keys", [("tab", "tab"), ("space",)], ids=["pane", "paused"])
def test_dashboard_keys(snap_compare: Snap, console: MakeApp, keys: tuple[str, ...]) -> None:
    """The pane that Tab went to; the word PAUSED."""
    assert snap_compare(console(), run_before=with_samples(*keys))


def test_dashboard_filtered(snap_compare: Snap, console: MakeApp) -> None:
    """Only what has the word in its name; the field shows what was typed."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("slash")(pilot)
        await typed(pilot, "trades")

    assert snap_compare(console(), run_before=before)


# ---- browser ---------------------------------------------------------------------------------------------------------


def browser(console: MakeApp, settings: Settings, into: Path, **parts: object) -> tuple[ConsoleApp, list[object]]:
    database, report = damaged(into)
    backup = database.db / TABLE / "txn_seq.backup.20251110_032600" / "_txnlog"
    times = backup.stat().st_mtime_ns
    with backup.open("r+b") as stream:
        stream.truncate(76 + 28 * 100)
        stream.seek(76 + 28 * 4 + 9)
        stream.write(b"\x07")
    os.utime(backup, ns=(times, times))
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))), **parts)
    return app, [samples.sample("tables", report)]


def browsing(*keys: str, made: list[object], text: str = "", after: tuple[str, ...] = ()) -> Before:
    async def before(pilot: Pilot[int]) -> None:
        await with_samples("b", *keys, made=made)(pilot)
        await typed(pilot, text)
        for key in after:
            await pilot.press(key)
            await settled(pilot)

    return before


@by_size_and_colors
def test_browser(
    snap_compare: Snap, console: MakeApp, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    size: tuple[int, int], colors: Colors,
) -> None:  # fmt: skip
    """The log that is one page short, damage told by glyph and underline."""
    app, made = browser(console, settings, tmp_path, colors=colored(colors, monkeypatch))
    assert snap_compare(app, terminal_size=size, run_before=browsing("n", "g", made=made, text="t9", after=("enter",)))


@by_size
def test_browser_record(
    snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path, size: tuple[int, int]
) -> None:
    """A good record, its field under the cursor marked in both panes, the zeros behind it folded."""
    app, made = browser(console, settings, tmp_path)
    before = browsing("n", "g", made=made, text="t9", after=("enter", "3", "down", "down"))
    assert snap_compare(app, terminal_size=size, run_before=before)


@by_size
def test_compare(
    snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path, size: tuple[int, int]
) -> None:
    """The live log beside its backup, on a record that differs."""
    app, made = browser(console, settings, tmp_path)
    assert snap_compare(app, terminal_size=size, run_before=browsing("n", "c", "home", "n", made=made))


@pytest.mark.parametrize("colors", [Colors.SIXTEEN, Colors.NONE], ids=["16", "none"])
def test_compare_colors(
    snap_compare: Snap, console: MakeApp, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    colors: Colors,
) -> None:  # fmt: skip
    """What differs is told by a glyph in each row."""
    app, made = browser(console, settings, tmp_path, colors=colored(colors, monkeypatch))
    assert snap_compare(app, run_before=browsing("n", "c", "home", "n", made=made))


def test_compare_one_ends(snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """Where the right file ends and the left one goes on."""
    app, made = browser(console, settings, tmp_path)
    assert snap_compare(app, run_before=browsing("n", "c", "home", "n", "n", made=made))


@by_size
def test_browser_column(
    snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path, size: tuple[int, int]
) -> None:
    """A partition with a file that is too short, and the offsets of another column with the value of a row."""
    app, made = browser(console, settings, tmp_path)
    partition = tmp_path / "db" / "kinds~6" / "2024-01-02.1"
    os.truncate(partition / "price.d", 100)
    made = [samples.sample("tables", diagnose(DatabaseRoot.locate(tmp_path)))]

    async def before(pilot: Pilot[int]) -> None:
        await browsing(made=made)(pilot)
        assert isinstance(pilot.app.screen, Browser)
        pilot.app.screen._show_place(partition / "st.i", 7 * 8)
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)


def test_browser_filtered(snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """The tree while words are typed: files by their whole path."""
    app, made = browser(console, settings, tmp_path)
    assert snap_compare(app, terminal_size=(120, 40), run_before=browsing("slash", made=made, text="event.i"))


def test_browser_whole_tree(snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """The tree alone: owners, sizes, verdicts."""
    app, made = browser(console, settings, tmp_path)
    assert snap_compare(app, run_before=browsing("n", "1", "f", made=made))


def test_browser_selection(snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """Bytes selected for a copy."""
    app, made = browser(console, settings, tmp_path)
    keys = ("enter", "v", "down", "down", "right")
    assert snap_compare(app, run_before=browsing("n", "g", made=made, text="0x4c", after=keys))


def test_browser_file_gone(snap_compare: Snap, console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """The file vanished while it was shown: said, with the time of the read."""
    app, made = browser(console, settings, tmp_path)

    async def before(pilot: Pilot[int]) -> None:
        await browsing("n", made=made)(pilot)
        (tmp_path / "db" / TABLE / "txn_seq" / "_txnlog").unlink()
        app.take()
        await settled(pilot)

    assert snap_compare(app, run_before=before)


# ---- confirmation ----------------------------------------------------------------------------------------------------


@by_size_and_colors
def test_confirmation(
    snap_compare: Snap, console: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], colors: Colors
) -> None:
    """A plan, armed, half of the phrase typed."""
    app = console(colors=colored(colors, monkeypatch))
    before = with_samples("a", "enter", armed=True, phrase="market_orderbook lo")
    assert snap_compare(app, terminal_size=size, run_before=before)
