"""What an earlier console left: cut off work is offered at start, work that goes on is watched again."""

from dataclasses import replace
from datetime import datetime

from console.probes.contents import JournalLine, JournalSample
from console.recovery.model import FirstStep, Progress
from console.text import moment
from screens.dashboard import Dashboard
from screens.execution import Execution
from screens.help import Help
from screens.journal import JournalScreen
from screens.palette import Palette
from screens.plan import PlanScreen
from screens.unfinished import Unfinished
from tests.ui import captured, samples
from tests.ui.captured import ENTRY
from tests.ui.conftest import MakeApp
from tests.ui.driving import confirmed, pressed
from tests.ui.scripted import DONE, PLAN, ScriptedAttached, ScriptedEngine, ScriptedRun
from tests.ui.showing import settled, shown, until

_LINE = JournalLine(
    entry=ENTRY.id, at=samples.NOW - 240, action="restore-sequencer", target="market_orderbook", outcome="unfinished",
    operator="root", summary="market_orderbook lose 0", terminal="/dev/pts/3", host="trading-01",
)  # fmt: skip


def _journal(outcome: str) -> JournalSample:
    lines = (replace(_LINE, outcome=outcome), *captured.RECOVERED_JOURNAL.lines[-3:])
    return JournalSample(lines, chain_ok=True)


async def test_cut_off_work_is_offered_at_start_with_who_when_and_how_far(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.cut_off = (ENTRY,)
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(samples.sample("journal", _journal("unfinished")))
        await until(pilot, lambda: isinstance(app.screen, Unfinished))
        await settled(pilot)
        text = shown(app)
        assert "CUT OFF  restore-sequencer on market_orderbook did not finish" in text
        assert "root on trading-01, terminal /dev/pts/3" in text
        assert moment(datetime.fromisoformat(ENTRY.at).timestamp()) in text
        states = [line.split()[1] for line in text.splitlines() if line.startswith((" ✓ ", " ! ", " · "))]
        assert states[-3:] == ["done", "CUT", "not"]
        # Finished by its plan, confirmed again.
        await pressed(pilot, "f")
        assert isinstance(app.screen, PlanScreen)
        assert engine.planned[-1] == ("restore-sequencer", "market_orderbook")
        app.arm()
        await settled(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        # Nothing is left half done: the offer goes by itself.
        engine.cut_off = ()
        await pressed(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))


async def test_cut_off_work_can_be_taken_back_or_left_for_later(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.cut_off = (ENTRY,)
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(samples.sample("journal", _journal("unfinished")))
        await until(pilot, lambda: isinstance(app.screen, Unfinished))
        await pressed(pilot, "u")
        assert engine.planned[-1] == ("undo", ENTRY.id)
        await pressed(pilot, "escape", "escape")
        assert isinstance(app.screen, Dashboard)
        # Later it is found in the journal.
        await pressed(pilot, "j")
        assert isinstance(app.screen, JournalScreen)
        assert "! CUT OFF" in shown(app)
        await pressed(pilot, "enter")
        assert isinstance(app.screen, Unfinished)
    assert engine.launched == []


async def test_an_action_that_still_runs_is_watched_again_with_its_stages(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    run = ScriptedRun(PLAN, DONE, None)
    engine.attached = ScriptedAttached(run, PLAN, ENTRY)
    engine.then = FirstStep("capture-evidence", "market_trades", "nothing of it has been put aside")
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(samples.sample("journal", _journal("running")))
        await until(pilot, lambda: isinstance(app.screen, Execution))
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        assert "waits" not in shown(app)
        assert "✓ done    put it in place" in shown(app)
        await until(pilot, lambda: "next  1 capture-evidence" in shown(app))
        await pressed(pilot, "a")
        assert isinstance(app.screen, Palette)
        assert engine.judged == ["market_trades"]  # no palette was open before that it could go back to
    assert engine.launched == []


async def test_stages_that_were_reported_earlier_keep_their_own_times(console: MakeApp, engine: ScriptedEngine) -> None:
    class Halfway(ScriptedRun):
        """A run that began half a minute ago and is in its second stage."""

        def poll(self) -> list[Progress]:
            told = [("build", "begins", 30.0), ("build", "done", 12.5), ("check", "begins", 12.0)]
            return [Progress(ENTRY.id, stage, stage, state, at=samples.NOW - ago) for stage, state, ago in told]

    engine.attached = ScriptedAttached(Halfway(PLAN, DONE, None), PLAN, ENTRY)
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(samples.sample("journal", _journal("running")))
        await until(pilot, lambda: "working" in shown(app), still=False)
        rows = shown(app).splitlines()
        assert rows[3].endswith("17.5s")
        assert rows[2].rstrip(" ─").endswith("30s")
        assert f"found at work: root on /dev/pts/3, pid {ENTRY.worker.data['pid']}" in shown(app)


async def test_it_never_comes_over_a_screen_that_the_operator_has_opened(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.cut_off = (ENTRY,)
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pressed(pilot, "question_mark")
        app.take(samples.sample("journal", _journal("unfinished")))
        await until(pilot, lambda: bool(app._notifications))
        assert isinstance(app.screen, Help)
