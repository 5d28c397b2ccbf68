"""How the flows around a plan look: rehearsal, undo, unfinished work, the journal. Look at each before it is kept."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from console.probes.contents import JournalLine, JournalSample
from screens.unfinished import Unfinished
from tests.ui import captured, samples
from tests.ui.captured import ENTRY
from tests.ui.conftest import MakeApp
from tests.ui.driving import DOWN_TO_RESTORED, confirmed, pressed
from tests.ui.scripted import PLAN, ScriptedAttached, ScriptedEngine, ScriptedRun
from tests.ui.showing import settled, shown, typed, until
from tests.ui.test_flow_rehearsal import FAILED
from tests.ui.test_snapshots import with_samples

Snap = Callable[..., bool]
two_sizes = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


async def _rehearsed(pilot: Pilot[int], *, armed: bool = True) -> None:
    await with_samples("a", "enter", "f3", armed=armed)(pilot)
    await settled(pilot)


@two_sizes
def test_rehearsal_running(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    """The clone is made, its stages go on; the original is only read."""
    engine.ended = None
    assert snap_compare(console(), terminal_size=size, run_before=_rehearsed)


@two_sizes
def test_rehearsal_passed(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """What a real server on the clone proved."""
    assert snap_compare(console(), terminal_size=size, run_before=_rehearsed)


def test_rehearsal_failed(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """What was not as expected stands first."""
    engine.ended = FAILED
    assert snap_compare(console(), run_before=_rehearsed)


def test_plan_rehearsed(snap_compare: Snap, console: MakeApp) -> None:
    """The rehearsal is kept beside the plan."""

    async def before(pilot: Pilot[int]) -> None:
        await _rehearsed(pilot)
        await pressed(pilot, "escape")

    assert snap_compare(console(), run_before=before)


def test_plan_rehearsal_failed(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """A failed rehearsal is said beside the plan and above the phrase."""
    engine.ended = FAILED

    async def before(pilot: Pilot[int]) -> None:
        await _rehearsed(pilot)
        await pressed(pilot, "escape")

    assert snap_compare(console(), run_before=before)


def test_plan_right_phrase(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """The right phrase: the plan is made once more before the door opens."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("a", "enter", armed=True, phrase=PLAN.confirmation)(pilot)
        engine.answer.clear()
        await pilot.press("enter")
        await until(pilot, lambda: "checking that nothing has changed" in shown(pilot.app), still=False)

    try:
        assert snap_compare(console(), run_before=before)
    finally:
        engine.answer.set()


def test_palette_asking(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """Enter came before the answer: it is kept, and said."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples()(pilot)
        engine.answer.clear()
        await pilot.press("a", *"restore", "enter")
        await until(pilot, lambda: "Enter opens its plan then" in shown(pilot.app), still=False)

    try:
        assert snap_compare(console(), run_before=before)
    finally:
        engine.answer.set()


def test_undo_plan(snap_compare: Snap, console: MakeApp) -> None:
    """The way back is a plan like any other, with what it costs."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("a", "enter", armed=True, phrase=PLAN.confirmation)(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(pilot.app))
        await pressed(pilot, "u")

    assert snap_compare(console(), run_before=before)


def test_undone(snap_compare: Snap, console: MakeApp) -> None:
    """Taken back: the stages, last first, and what can be run instead."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("j", *DOWN_TO_RESTORED, "u", armed=True, made=samples.recovered())(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "UNDONE" in shown(pilot.app))

    assert snap_compare(console(), run_before=before)


def _left_over(outcome: str) -> JournalSample:
    line = JournalLine(
        entry=ENTRY.id, at=samples.NOW - 40, action="restore-sequencer", target="market_orderbook", outcome=outcome,
        operator="root", summary="market_orderbook lose 0", terminal="/dev/pts/3", host="trading-01",
    )  # fmt: skip
    return JournalSample((line, *captured.RECOVERED_JOURNAL.lines[-3:]), chain_ok=True)


@two_sizes
def test_unfinished_at_start(
    snap_compare: Snap, console: MakeApp, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    """What was cut off is offered first: by whom, when, how far, and the two ways on."""
    engine.cut_off = (ENTRY,)

    async def before(pilot: Pilot[int]) -> None:
        await with_samples(made=[samples.sample("journal", _left_over("unfinished"))])(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, Unfinished))
        await settled(pilot)

    assert snap_compare(console(), terminal_size=size, run_before=before)


def test_found_at_work(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """An action that another console started is watched again."""
    engine.attached = ScriptedAttached(ScriptedRun(PLAN, engine.outcome, 1), PLAN, ENTRY)

    async def before(pilot: Pilot[int]) -> None:
        await with_samples(made=[samples.sample("journal", _left_over("running"))])(pilot)
        await until(pilot, lambda: "found at work" in shown(pilot.app) and "working" in shown(pilot.app), still=False)

    assert snap_compare(console(), run_before=before)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])
def test_journal_entry(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """What was done, by whom, from which terminal, with the exact command."""
    app = console(wall_clock=lambda: captured.RECOVERED_JOURNAL.lines[0].at + 30)
    before = with_samples("j", *DOWN_TO_RESTORED, made=samples.recovered())
    assert snap_compare(app, terminal_size=size, run_before=before)


def test_plan_letters_keep_the_mode(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """Blocked and armed: letters of a phrase change nothing."""
    engine.made = replace(PLAN, warnings=())
    engine.alive = True

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("a", "enter", armed=True)(pilot)
        await typed(pilot, "oo")

    assert snap_compare(console(), run_before=before)
