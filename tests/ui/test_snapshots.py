"""How every screen and every state that matters looks. Look at a picture before its baseline is committed."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.recovery.codes import ClaimKey
from console.recovery.model import Outcome, RunResult
from console.widgets.theme import Colors
from tests.ui import captured, samples
from tests.ui.conftest import MakeApp
from tests.ui.scripted import DONE, PLAN, ScriptedEngine
from tests.ui.showing import settled, typed, until

Snap = Callable[..., bool]
Before = Callable[[Pilot[int]], Awaitable[None]]

SIZES = [(80, 24), (120, 40), (200, 50)]
by_size = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40", "200x50"])


def with_samples(*keys: str, made: list[Any] | None = None, armed: bool = False, phrase: str = "") -> Before:
    """Return what brings the samples, presses keys and waits until all is drawn."""

    async def before(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await settled(pilot)
        if armed:
            app.arm()
        app.take(*(samples.incident() if made is None else made))
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        await typed(pilot, phrase)

    return before


# ---- dashboard -----------------------------------------------------------------------------------------------------


@by_size
def test_dashboard_incident(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """The incident's end state: one verdict per table, the crash loop's cause, the backlog that grows."""
    assert snap_compare(console(), terminal_size=size, run_before=with_samples())


def test_dashboard_no_color(snap_compare: Snap, console: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: glyphs and words say all; bold, dim and reverse help."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(console(colors=Colors.NONE), run_before=with_samples())


def test_dashboard_sixteen_colors(snap_compare: Snap, console: MakeApp) -> None:
    """--colors 16: the terminal's own palette, plain glyphs."""
    assert snap_compare(console(colors=Colors.SIXTEEN), run_before=with_samples())


@pytest.mark.parametrize("keys", [(), ("a", "enter")], ids=["dashboard", "plan"])
def test_light_theme(snap_compare: Snap, console: MakeApp, keys: tuple[str, ...]) -> None:
    """--colors light: each colour means what it means on a dark terminal."""
    assert snap_compare(console(colors=Colors.LIGHT), run_before=with_samples(*keys, armed=bool(keys)))


def test_commands(snap_compare: Snap, console: MakeApp) -> None:
    """Everything by a few letters; the next step stands first."""
    assert snap_compare(console(), run_before=with_samples("colon"))


def test_dashboard_healthy(snap_compare: Snap, console: MakeApp) -> None:
    """Nothing is wrong: few words, no colour that alarms."""
    app = console(wall_clock=lambda: captured.HEALTHY_AT)
    assert snap_compare(app, run_before=with_samples(made=samples.healthy()))


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])
def test_dashboard_crash_loop(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """The server crashes at every start."""
    app = console(wall_clock=lambda: captured.CRASH_LOOP_AT)
    assert snap_compare(app, terminal_size=size, run_before=with_samples(made=samples.crash_loop()))


@pytest.mark.parametrize(
    ("probe", "error"),
    [
        ("backlog", "Redis at 127.0.0.1:6379 refuses connections: nothing listens there"),
        ("services", "supervisord does not answer on its socket; is it running?"),
        ("tables", "the data root cannot be read: Permission denied; run walmedic as its owner"),
        ("crashes", "the data root cannot be read: Permission denied; run walmedic as its owner"),
    ],
    ids=["backlog", "services", "tables", "crashes"],
)
def test_dashboard_source_down(snap_compare: Snap, console: MakeApp, probe: str, error: str) -> None:
    """One source is down: its pane dims, says since when and why, and keeps what was last known."""
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])

    async def before(pilot: Pilot[int]) -> None:
        await with_samples()(pilot)
        clock[0] += 42
        fresh = [replace(s, monotonic=clock[0] - 1) for s in samples.incident() if s.probe != probe]
        app.take(*fresh, samples.down(probe, error))
        await settled(pilot)

    assert snap_compare(app, run_before=before)


def test_dashboard_nothing_known_yet(snap_compare: Snap, console: MakeApp) -> None:
    """The first paint: the panes are where they will be, and say that they read."""
    assert snap_compare(console(), run_before=with_samples(made=[]))


def test_dashboard_armed(snap_compare: Snap, console: MakeApp) -> None:
    """Operate mode is in words, with the time it has left."""
    assert snap_compare(console(), run_before=with_samples(armed=True))


def test_dashboard_one_pane(snap_compare: Snap, console: MakeApp) -> None:
    """The digit 1 gives the tables the whole screen."""
    assert snap_compare(console(), run_before=with_samples("1"))


@pytest.mark.parametrize("size", [(50, 24), (80, 12), (30, 8)], ids=["narrow", "low", "tiny"])
def test_too_small(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """Below 60x15 one page says what there is and what is needed."""
    assert snap_compare(console(), terminal_size=size, run_before=with_samples())


SMALL = pytest.mark.parametrize("size", [(80, 20), (80, 23), (60, 15)], ids=["80x20", "80x23", "60x15"])


@SMALL
def test_small_dashboard(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """tmux with its status line, a split, half a split: the verdict, the next step and every table's verdict."""
    assert snap_compare(console(), terminal_size=size, run_before=with_samples())


@SMALL
def test_small_plan(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """A plan: its cost, its phrase, something of each section."""
    assert snap_compare(console(), terminal_size=size, run_before=with_samples("a", "enter", armed=True))


@SMALL
def test_small_proof(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """How it ended, and the next step."""
    assert snap_compare(console(), terminal_size=size, run_before=_run_to("DONE AND VERIFIED"))


# ---- palette, plan, execution --------------------------------------------------------------------------------------


def test_palette(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """What is open, what is blocked and why, the recommended step on top."""
    engine.alive = True
    assert snap_compare(console(), run_before=with_samples("a"))


@by_size
def test_plan_armed(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """A plan with an empty confirmation."""
    assert snap_compare(console(), terminal_size=size, run_before=with_samples("a", "enter", armed=True))


def test_plan_observe(snap_compare: Snap, console: MakeApp) -> None:
    """In observe mode the confirmation is closed and says how to open it."""
    assert snap_compare(console(), run_before=with_samples("a", "enter"))


def test_plan_typing(snap_compare: Snap, console: MakeApp) -> None:
    """Half of the phrase is typed."""
    before = with_samples("a", "enter", armed=True, phrase="market_orderbook lo")
    assert snap_compare(console(), run_before=before)


def test_plan_wrong_phrase(snap_compare: Snap, console: MakeApp) -> None:
    """A wrong phrase does nothing and says so."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("a", "enter", armed=True, phrase="market_orderbook lose 1")(pilot)
        await pilot.press("enter")
        await settled(pilot)

    assert snap_compare(console(), run_before=before)


def test_plan_no_color(snap_compare: Snap, console: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The confirmation without any colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    before = with_samples("a", "enter", armed=True, phrase="market_orderbook lo")
    assert snap_compare(console(colors=Colors.NONE), run_before=before)


def test_plan_refused(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """A refused plan says why, and what to do instead."""
    engine.alive = True
    assert snap_compare(console(), run_before=with_samples("a", "enter", armed=True))


def test_plan_void(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """The world changed while the phrase was typed: the plan is void and the new one is shown."""

    async def before(pilot: Pilot[int]) -> None:
        await with_samples("a", "enter", armed=True, phrase=PLAN.confirmation)(pilot)
        fact = replace(PLAN.facts[0], digest="changed")
        engine.made = replace(PLAN, plan_id="77777777", facts=(fact, *PLAN.facts[1:]))
        await pilot.press("enter")
        await settled(pilot)

    assert snap_compare(console(), run_before=before)


def _run_to(text: str) -> Before:
    async def before(pilot: Pilot[int]) -> None:
        from tests.ui.showing import shown

        await with_samples("a", "enter", armed=True, phrase=PLAN.confirmation)(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: text in shown(pilot.app))
        await settled(pilot)

    return before


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_proof(snap_compare: Snap, console: MakeApp, size: tuple[int, int]) -> None:
    """All stages with their times, then the proof, the next step, the way back."""
    assert snap_compare(console(), terminal_size=size, run_before=_run_to("DONE AND VERIFIED"))


def test_stages_at_work(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """The first stage is done, the second works."""
    engine.hold_after = 1
    assert snap_compare(console(), run_before=_run_to("working"))


def test_stages_that_wait_for_the_operator(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """By hand: what the operator has to do stands out, with how long it is waited for."""
    titles = ("hold what protects the unapplied WAL", "stop questdb and keep it down")
    stages = tuple(replace(stage, title=title) for stage, title in zip(PLAN.stages, titles, strict=False))
    engine.made = replace(PLAN, action="stop-server", table=None, stages=stages)
    engine.hold_after = 1
    engine.asks = "stop questdb now (pid 4711), and keep it down; waiting 15 min for that"
    assert snap_compare(console(), run_before=_run_to("YOUR TURN"))


def test_failed_and_rolled_back(snap_compare: Snap, console: MakeApp, engine: ScriptedEngine) -> None:
    """It failed and was taken back; the proof says what was not as expected."""
    claim = next(each for each in DONE.verification if each.key == ClaimKey.LOG_MAX_TXN)
    one_less = f"{int(claim.expected.replace(',', '')) - 1:,}"
    message = f"not proven: {claim.claim} (expected {claim.expected}, found {one_less})"
    claims = (replace(claim, found=one_less, ok=False),)
    engine.outcome = RunResult(DONE.entry, Outcome.ROLLED_BACK, message, claims)
    assert snap_compare(console(), run_before=_run_to("ROLLED BACK"))


# ---- the other screens ---------------------------------------------------------------------------------------------


def test_arm(snap_compare: Snap, console: MakeApp) -> None:
    """Operate mode asks for its word."""
    assert snap_compare(console(), run_before=with_samples("o"))


def test_help(snap_compare: Snap, console: MakeApp) -> None:
    """Help is made from the bindings and the actions there are."""
    assert snap_compare(console(), terminal_size=(120, 40), run_before=with_samples("question_mark"))


def test_why_not(snap_compare: Snap, console: MakeApp) -> None:
    """The steps that would destroy data now."""
    assert snap_compare(console(), run_before=with_samples("w"))


def test_journal(snap_compare: Snap, console: MakeApp) -> None:
    """What was done here, by whom, and how it ended."""
    app = console(wall_clock=lambda: captured.RECOVERED_JOURNAL.lines[0].at + 30)
    assert snap_compare(app, terminal_size=(120, 40), run_before=with_samples("j", made=samples.recovered()))
