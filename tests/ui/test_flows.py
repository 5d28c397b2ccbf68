"""What keys do: arming, planning, confirming, watching, backing out. State is asserted, not looks."""

from dataclasses import replace
from typing import Any

import pytest
from textual import events

from console.recovery.model import Fact, Outcome, RunResult
from console.widgets.phrase import PhraseField
from screens.arm import Arm
from screens.dashboard import Dashboard
from screens.execution import Execution
from screens.help import Help
from screens.palette import Palette
from screens.plan import PlanScreen
from screens.why_not import WhyNot
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import at_plan, running
from tests.ui.scripted import DONE, PLAN, ScriptedEngine
from tests.ui.showing import settled, shown, typed, until


async def test_the_first_screen_says_one_verdict_per_table(console: MakeApp) -> None:
    async with running(console()) as pilot:
        text = shown(pilot.app)
        assert "✗ BROKEN  market_orderbook  reads yes  writes NO" in text
        assert f"{samples.ORDERBOOK.rows_at_risk:,} rows at risk" in text
        assert "OBSERVE" in text.splitlines()[1]


async def test_observe_mode_shows_the_plan_and_keeps_the_confirmation_closed(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    async with running(console()) as pilot:
        await at_plan(pilot)
        assert "Closed: this is observe mode" in shown(pilot.app)
        assert not pilot.app.screen.query_one(PhraseField).display
        await typed(pilot, PLAN.confirmation)
        await pilot.press("enter")
        await settled(pilot)
    assert engine.launched == []


async def test_operate_mode_is_armed_by_its_word_and_not_by_another(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.press("o")
        await settled(pilot)
        assert isinstance(app.screen, Arm)
        await typed(pilot, "yes")
        await pilot.press("enter")
        await settled(pilot)
        assert app.armed_for == 0
        assert "not armed" in shown(app)
        await typed(pilot, " or no")
        await pilot.press("ctrl+w")
        assert "> yes or" in shown(app)
        await pilot.press("ctrl+u")
        await typed(pilot, "operate")
        await pilot.press("enter")
        await settled(pilot)
        assert app.armed_for > 0
        assert isinstance(app.screen, Dashboard)
        assert "OPERATE 10m left" in shown(app)
        assert "o Observe" in shown(app)
        await pilot.press("o")
        await settled(pilot)
        assert app.armed_for == 0
        assert "o Operate" in shown(app)


async def test_operate_mode_disarms_itself_and_closes_an_open_confirmation(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        assert pilot.app.screen.query_one(PhraseField).display
        await typed(pilot, PLAN.confirmation)
        clock[0] += 601
        app.take()
        await settled(pilot)
        assert not app.screen.query_one(PhraseField).display
        await pilot.press("enter")
        await settled(pilot)
        assert "OBSERVE" in shown(app).splitlines()[1]
    assert engine.launched == []


async def test_the_right_phrase_starts_the_plan_once_and_shows_the_proof(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await typed(pilot, PLAN.confirmation)
        await pilot.press("enter")
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        assert isinstance(app.screen, Execution)
        text = shown(app)
        assert "the header's maxTxn" in text
        assert f"entry {DONE.entry}" in text
        assert "undo  u  The sequencer as it was is put back by rename" in text
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Palette)
    assert [(plan.plan_id, phrase) for plan, phrase in engine.launched] == [(PLAN.plan_id, PLAN.confirmation)]


@pytest.mark.parametrize(
    "phrase", ["", "market_orderbook lose 1", "market_orderbook", "MARKET_ORDERBOOK lose 0", "market_orderbook lose 00"]
)
async def test_a_wrong_phrase_does_nothing_and_says_so(console: MakeApp, engine: ScriptedEngine, phrase: str) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await typed(pilot, phrase)
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, PlanScreen)
        assert "wrong phrase, nothing was done" in shown(app)
    assert engine.launched == []


async def test_a_pasted_phrase_is_refused(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        screen = await at_plan(pilot)
        field = screen.query_one(PhraseField)
        app.post_message(events.Paste(PLAN.confirmation))
        await settled(pilot)
        assert field.text == ""
        assert "pasting is refused" in shown(app)
        await pilot.press("enter")
        await settled(pilot)
    assert engine.launched == []


async def test_escape_backs_out_at_any_point_before_the_confirmation(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await typed(pilot, PLAN.confirmation)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Palette)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)
    assert engine.launched == []


async def test_a_phrase_is_void_when_the_world_has_changed(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await typed(pilot, PLAN.confirmation)
        facts = (Fact(PLAN.facts[0].name, "changed"), PLAN.facts[1])
        engine.made = replace(PLAN, plan_id="77777777", facts=facts)
        await pilot.press("enter")
        await until(pilot, lambda: "void" in shown(app))
        assert PLAN.facts[0].name in shown(app)
        assert app.screen.query_one(PhraseField).text == ""
        assert engine.launched == []
        # The new plan is read and confirmed anew.
        await typed(pilot, PLAN.confirmation)
        await pilot.press("enter")
        await until(pilot, lambda: bool(engine.launched))
    assert [plan.plan_id for plan, _ in engine.launched] == ["77777777"]


async def test_what_hinders_the_launch_is_shown_in_its_own_words(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.outcome = RunResult("", Outcome.REFUSED, "the disk is full; instead: free 4 MiB")
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await typed(pilot, PLAN.confirmation)
        await pilot.press("enter")
        await until(pilot, lambda: "REFUSED" in shown(app))
        assert "the disk is full; instead: free 4 MiB" in shown(app)


async def test_a_blocked_action_says_why_and_what_first_and_takes_no_phrase(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.alive = True
    app = console()
    async with running(app) as pilot:
        app.arm()
        await pilot.press("a")
        await settled(pilot)
        await typed(pilot, "restore")
        assert "QuestDB is running on this data root" in shown(app)
        assert "first → stop-server" in shown(app)
        await pilot.press("enter")
        await settled(pilot)
        assert "REFUSED" in shown(app)
        assert not app.screen.query_one(PhraseField).display


async def test_the_palette_filters_by_letters_and_offers_the_recommended_step_first(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.press("a")
        await settled(pilot)
        rows = shown(app).splitlines()
        assert rows.index(next(r for r in rows if "recommended now" in r)) < rows.index(
            next(r for r in rows if "capture-evidence" in r)
        )
        await typed(pilot, "stop-s")
        assert "stop-server" in shown(app)
        assert "capture-evidence" not in shown(app)


async def test_an_engine_error_is_a_sentence_on_the_screen(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.error = "no database root is known; name it with --db-root"
    app = console()
    async with running(app) as pilot:
        await pilot.press("a")
        await settled(pilot)
        assert "no database root is known; name it with --db-root" in shown(app)


@pytest.mark.parametrize("name", ["[/b]", "[red]x[/red]", "a[bold]b", "$ok", "100%", "名前表"])
async def test_hostile_table_names_are_text_and_their_phrase_can_be_typed(
    console: MakeApp, engine: ScriptedEngine, name: str
) -> None:
    why = f"{name} is [/b] broken"
    engine.made = replace(PLAN, table=name, confirmation=f"{name} lose 0", why=why, warnings=())
    app = console()
    async with running(app) as pilot:
        report = replace(samples.INCIDENT, tables=(replace(samples.ORDERBOOK, table=name),))
        app.take(samples.sample("tables", report))
        app.arm()
        await settled(pilot)
        assert name in shown(app)
        await at_plan(pilot)
        assert f"Type  {name} lose 0  and Enter" in shown(app)
        assert why in shown(app)
        for character in f"{name} lose 0":
            app.post_message(events.Key(character, character))
        await pilot.press("enter")
        await until(pilot, lambda: bool(engine.launched))
    assert engine.launched[0][1] == f"{name} lose 0"


@pytest.mark.parametrize(("key", "screen"), [("question_mark", Help), ("w", WhyNot), ("a", Palette)])
async def test_escape_and_the_keys_of_the_bar_lead_there_and_back(
    console: MakeApp, key: str, screen: type[Any]
) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.press(key)
        await settled(pilot)
        assert isinstance(app.screen, screen)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)


async def test_help_names_every_key_and_every_action(console: MakeApp) -> None:
    app = console()
    async with running(app, (120, 150)) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: "thaw-writer" in shown(app))
        text = shown(app)
        for said in ("Space", "hold the screen", "freeze-writer", "rebuild-sequencer", "/etc/walmedic.toml"):
            assert said in text


async def test_no_single_key_starts_an_action(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    letters = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in "q"]
    async with running(app) as pilot:
        app.arm()
        for letter in letters:
            await pilot.press(letter)
            await pilot.press("escape")
        await settled(pilot)
    assert engine.launched == []


async def test_pause_holds_the_panes_and_says_so(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.press("space")
        app.take(samples.sample("tables", samples.HEALTHY))
        await settled(pilot)
        assert "PAUSED" in shown(app)
        assert "BROKEN" in shown(app)
        await pilot.press("space")
        await settled(pilot)
        assert "BROKEN" not in shown(app)


async def test_one_source_down_dims_its_pane_keeps_its_data_and_comes_back(console: MakeApp) -> None:
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])
    async with running(app) as pilot:
        clock[0] += 40
        app.take(samples.down("backlog", "Redis at 127.0.0.1:6379 refuses connections: nothing listens there"))
        await settled(pilot)
        text = shown(app)
        assert "STALE 40s" in text
        assert "Redis at 127.0.0.1:6379 refuses connections" in text
        assert "market_trades_stream" in text
        assert "✗ BROKEN  market_orderbook" in text
        app.take(samples.sample("backlog", samples.BACKLOG, age=-40))
        await settled(pilot)
        assert "refuses connections" not in shown(app)


async def test_a_digit_gives_a_pane_the_whole_screen_and_takes_it_back(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.press("2")
        await settled(pilot)
        assert "redis backlog" not in shown(app)
        assert "how sure" in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "redis backlog" in shown(app)
