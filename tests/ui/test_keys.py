"""Keys: remapped by the settings, refused where they would be useless or dangerous; panes, filter, pause, export."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from textual.binding import Binding

from console.recovery.gate.registry import action_ids
from console.settings import Settings, SettingsError, load
from console.widgets.clipboard import copy, sequence
from screens.dashboard import Dashboard
from screens.dashboard_boxes import PANES
from screens.frame import key_label
from screens.journal import JournalScreen
from screens.keymap import checked, key_of
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, shown, typed

# ---- the settings' keys --------------------------------------------------------------------------------------------


async def test_a_remapped_key_works_and_is_what_bar_and_help_show(console: MakeApp, settings: Settings) -> None:
    app = console(settings=replace(settings, keys={"journal": "f2, J", "quit": "Q", "browser": "j"}))
    async with app.run_test(size=(120, 40)) as pilot:
        app.take(*samples.incident())
        await settled(pilot)
        bar = shown(app).splitlines()[-1]
        assert "Q Quit" in bar
        assert "F2 Journal" in bar
        assert "j Browser" in bar
        await pilot.press("question_mark")
        await settled(pilot)
        rows = shown(app).splitlines()
        assert any(row.strip().startswith("F2 J ") and "by whom" in row for row in rows)
        assert any(row.strip().startswith("Q ") and "leave the console" in row for row in rows)
        await pilot.press("escape", "q")
        await settled(pilot)
        assert app.is_running
        for key in ("J", "f2"):
            await pilot.press(key)
            await settled(pilot)
            assert isinstance(app.screen, JournalScreen)
            await pilot.press("escape")
            await settled(pilot)
        await pilot.press("Q")
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"journl": "J"}, "there is no key name 'journl'; known: actions, "),
        ({"journal": "ctrl+m"}, "'ctrl+m', which a terminal cannot send"),
        ({"journal": "ctrl+c"}, "which a terminal cannot send"),
        ({"journal": "jj"}, "'jj', which a terminal cannot send"),
        ({"journal": ""}, "'', which a terminal cannot send"),
        ({"journal": "b"}, "keys.journal would take 'b' from 'browser' on the screen dashboard"),
        ({"journal": "J", "browser": "J"}, "'J'"),
    ],
)
def test_a_key_that_cannot_work_is_refused_in_one_sentence(keys: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        checked(keys, "walmedic.toml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("walmedic.toml: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("action", action_ids())
def test_what_changes_files_gets_no_key(action: str) -> None:
    with pytest.raises(SettingsError, match="changes files and gets no key"):
        checked({action: "f9"}, "walmedic.toml")


def test_two_names_may_change_keys_with_each_other() -> None:
    assert checked({"journal": "b", "browser": "j"}, "here") == {"journal": "b", "browser": "j"}


def test_keys_come_from_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "walmedic.toml"
    file.write_text('[keys]\njournal = "J"\n', encoding="utf-8")
    assert load(file, environment={}).keys == {"journal": "J"}
    file.write_text("keys = 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="must be a table"):
        load(file, environment={})
    file.write_text("[keys]\njournal = 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="must be a table"):
        load(file, environment={})


@pytest.mark.parametrize(
    ("text", "key", "label"),
    [
        ("?", "question_mark", "?"),
        ("J", "J", "J"),
        ("F2", "f2", "F2"),
        ("ctrl+r", "ctrl+r", "Ctrl+R"),
        ("/", "slash", "/"),
    ],
)
def test_keys_by_name_and_by_character(text: str, key: str, label: str) -> None:
    assert key_of(text) == key
    assert key_label(key) == label


# ---- panes, filter, pause --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "pane"), list(enumerate(PANES, 1)))
async def test_a_digit_gives_a_pane_the_whole_screen_and_takes_it_back(
    console: MakeApp, number: int, pane: str
) -> None:
    titles = {"backlog": "redis backlog"}
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(*samples.incident())
        await pilot.press(str(number))
        await settled(pilot)
        rules = [row for row in shown(app).splitlines() if row.startswith("── ")]
        assert len(rules) == 1
        assert rules[0].startswith(f"── {titles.get(pane, pane)}")
        await pilot.press("escape")
        await settled(pilot)
        assert len([row for row in shown(app).splitlines() if row.startswith("──")]) > 3


async def test_tab_goes_from_pane_to_pane_and_the_keys_go_with_it(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(*samples.incident())
        await pilot.press("tab", "f")
        await settled(pilot)
        assert shown(app).splitlines()[2].startswith("── tables")
        await pilot.press("tab")
        await settled(pilot)
        assert shown(app).splitlines()[2].startswith("── crashes")
        await pilot.press("shift+tab")
        await settled(pilot)
        before = shown(app)
        await pilot.press("down")
        await settled(pilot)
        assert shown(app) != before
        await pilot.press("f", "escape")
        await settled(pilot)
        assert "── redis backlog" in shown(app)


async def test_a_filter_leaves_what_has_its_words_and_what_is_broken(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        app.take(*samples.incident())
        await pilot.press("slash")
        await typed(pilot, "bookticker")
        text = shown(app)
        assert "binance-bookticker" in text
        assert "binance-trades" not in text
        assert "✗ BROKEN  market_trades" in text
        await pilot.press("enter")
        await settled(pilot)
        assert re.search(r"/bookticker: \d+ hidden", shown(app).splitlines()[1])
        await pilot.press("escape")
        await settled(pilot)
        assert "binance-trades" in shown(app)


async def test_paused_the_screen_stands_still_and_says_so_and_the_state_goes_on(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(*samples.incident())
        await settled(pilot)
        before = shown(app).splitlines()[2:-1]
        await pilot.press("space")
        app.take(samples.sample("tables", samples.HEALTHY))
        await settled(pilot)
        assert "PAUSED" in shown(app).splitlines()[1]
        assert shown(app).splitlines()[2:-1] == before
        assert app.state.tables.data is samples.HEALTHY
        await pilot.press("space")
        await settled(pilot)
        assert "healthy" in shown(app)


# ---- exports and copies ----------------------------------------------------------------------------------------------


async def test_an_export_is_a_picture_a_text_and_the_samples_for_the_operator_alone(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    app = console(settings=replace(settings, state_dir=str(state)))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        app.take(*samples.incident())
        await settled(pilot)
        before = shown(app)
        await pilot.press("e", "e")
        await settled(pilot)
        folders = sorted((state / "exports").iterdir())
        assert len(folders) == 2
        assert str(folders[0])[:20] in " ".join(note.message for note in app._notifications)
        folder = folders[0]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
            "screen.svg": 0o600, "screen.txt": 0o600, "samples.json": 0o600,
        }  # fmt: skip
        assert (folder / "screen.txt").read_text(encoding="utf-8") == before + "\n"
        assert "market_orderbook" in (folder / "screen.svg").read_text(encoding="utf-8")
        found = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["samples"]
        assert set(found) == {"server", "tables", "crashes", "services", "backlog", "journal"}
        assert found["tables"]["data"]["tables"][0]["verdict"] == "broken"
        assert found["backlog"]["data"]["streams"][0]["stream"]


async def test_an_export_that_cannot_be_written_is_reported(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    app = console(settings=replace(settings, state_dir=str(tmp_path / "file")))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("e")
        await settled(pilot)
        assert any("cannot be written" in note.message for note in app._notifications)


def test_copies_take_the_way_that_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    assert "OSC 52" in copy("one\ntwo\n", {}, sent.append)
    assert sent == ["\x1b]52;c;b25lCnR3bwo=\x07"]
    assert sequence("one", {"STY": "1.pts"}) == "\x1bP\x1b]52;c;b25l\x07\x1b\\"
    assert sequence("x" * 3000, {"STY": "1"}).count("\x1bP") == 6
    assert sequence("one", {"TMUX": "/tmp/x"}) == "\x1bPtmux;\x1b\x1b]52;c;b25l\x07\x1b\\"
    monkeypatch.setenv("PATH", str(tmp_path))  # no tmux there
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sent.clear()
    said = copy("one", {"TMUX": "/tmp/x"}, sent.append)
    assert sent == ["\x1bPtmux;\x1b\x1b]52;c;b25l\x07\x1b\\"]
    (file,) = tmp_path.glob("walmedic-copy-*")
    assert str(file) in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    sent.clear()
    assert "too many" in copy("x" * 200_000, {}, sent.append)
    assert not sent


async def test_the_help_is_made_of_the_keys_there_are(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(140, 80)) as pilot:
        await pilot.press("question_mark")
        await settled(pilot)
        text = shown(app)
    by_action: dict[str, str] = {}
    for binding in Dashboard.BINDINGS:
        assert isinstance(binding, Binding)
        by_action.setdefault(binding.action, binding.tooltip)
    assert [said for said in by_action.values() if said[:40] not in text] == []


async def test_the_help_has_the_glossary_and_is_searched(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(100, 60)) as pilot:
        await pilot.press("question_mark")
        await settled(pilot)
        await pilot.press("slash")
        await typed(pilot, "sequencer")
        await pilot.press("enter")
        await settled(pilot)
        text = shown(app)
        assert "txn_seq: it gives transactions of all writers one order." in text
        assert "rebuild-sequencer" in text
        assert "hold the screen" not in text
        await pilot.press("slash")
        await typed(pilot, "zzzz")
        await pilot.press("enter")
        await settled(pilot)
        assert "Nothing in the help has" in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "keys of this screen" in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)
