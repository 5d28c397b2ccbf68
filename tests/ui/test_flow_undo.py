"""Undo by keys: from the proof and from the journal to the plan of the way back, its phrase, its stages, its end."""

from screens.execution import Execution
from screens.journal import JournalScreen
from screens.plan import PlanScreen
from tests.ui import captured, samples
from tests.ui.captured import DONE_ENTRY, ENTRY, UNDO
from tests.ui.conftest import MakeApp
from tests.ui.driving import DOWN_TO_RESTORED, at_plan, confirmed, pressed, running
from tests.ui.scripted import BACK, DONE, PLAN, ScriptedEngine
from tests.ui.showing import shown, until

RESTORED = DONE_ENTRY.id


async def test_from_the_proof_to_undone(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        await pressed(pilot, "u")
        assert isinstance(app.screen, PlanScreen)
        text = shown(app)
        assert BACK.replace(" ", " recovered ", 1) in text
        assert "undo: put it in place" in text
        await confirmed(pilot, "market_orderbook lose 1")
        assert engine.undone == []
        await pilot.press(*["backspace"] * 30)
        await confirmed(pilot, UNDO.confirmation)
        await until(pilot, lambda: "✓ UNDONE" in shown(app))
        assert f"undo of {RESTORED}" in shown(app)
        # An undo has no undo: the action is run again instead.
        await pressed(pilot, "u")
        assert isinstance(app.screen, Execution)
        assert "run restore-sequencer again" in shown(app)
    assert engine.undone == [DONE.entry]
    assert engine.launched[-1] == (UNDO, UNDO.confirmation)


async def test_from_the_journal_with_all_that_it_says(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.take(samples.sample("journal", captured.RECOVERED_JOURNAL))
        await pressed(pilot, "j", *DOWN_TO_RESTORED)
        assert isinstance(app.screen, JournalScreen)
        text = shown(app)
        assert f"root on trading-01, terminal /dev/pts/3, pid {DONE_ENTRY.worker.data['pid']}" in text
        assert "walmedic run restore-sequencer market_orderbook" in text
        assert "--confirm 'market_orderbook lose 0'" in " ".join(text.split())
        await pressed(pilot, "u")
        assert isinstance(app.screen, PlanScreen)
        assert engine.planned[-1] == ("undo", RESTORED)
        assert "Closed: this is observe mode" in shown(app)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, JournalScreen)
    assert engine.undone == []


async def test_a_refused_way_back_says_why_and_takes_no_phrase(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.alive = True
    app = console()
    async with running(app) as pilot:
        app.take(samples.sample("journal", captured.RECOVERED_JOURNAL))
        app.arm()
        await pressed(pilot, "j", "u")
        assert "REFUSED" in shown(app)
        assert "instead → stop-server" in shown(app)
        await confirmed(pilot, UNDO.confirmation)
        assert isinstance(app.screen, PlanScreen)
        assert app.armed_for > 0
    assert engine.launched == []


def test_the_entry_says_who_works_on_it() -> None:
    assert ENTRY.worker.data["terminal"] == "/dev/pts/3"
    assert ENTRY.outcome is None
