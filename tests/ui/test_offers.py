"""The line of keys names what does something now, and a rule says no half of a number."""

from dataclasses import replace

from console.recovery.model import Outcome, RunResult
from console.widgets.line import plain
from console.widgets.pane import Room
from screens.panes import plan as text
from screens.panes.plan import PlanView
from tests.ui import captured, samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import at_plan, confirmed, pressed, running
from tests.ui.scripted import DONE, PLAN, ScriptedEngine
from tests.ui.showing import shown, until


async def test_a_rehearsal_is_offered_where_there_can_be_one(console: MakeApp, engine: ScriptedEngine) -> None:
    async with running(console()) as pilot:
        await at_plan(pilot)
        assert "F3 Rehearse" in keys_shown(shown(pilot.app))
        await pressed(pilot, "escape")
        engine.alive = True
        await pressed(pilot, *"restore", "enter")
        assert "REFUSED" in shown(pilot.app)
        assert "F3" not in keys_shown(shown(pilot.app))


async def test_the_way_back_is_offered_once_there_is_one(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        engine.outcome = RunResult("", Outcome.REFUSED, "the disk is full; instead: free 4 MiB")
        await at_plan(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "REFUSED" in shown(app))
        assert "u Undo" not in keys_shown(shown(app))
        assert "a Next step" in keys_shown(shown(app))
        engine.outcome = DONE
        await pressed(pilot, "escape", "escape")
        await at_plan(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        assert "u Undo" in keys_shown(shown(app))


async def test_a_rehearsal_that_is_over_can_be_repeated_and_one_at_work_cancelled(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.ended = None
    app = console()
    async with running(app) as pilot:
        await at_plan(pilot)
        await pressed(pilot, "f3")
        await until(pilot, lambda: "c Cancel" in keys_shown(shown(app)))
        assert "r Rehearse again" not in keys_shown(shown(app))
        await pressed(pilot, "c")
        await until(pilot, lambda: "r Rehearse again" in keys_shown(shown(app)))
        assert "c Cancel" not in keys_shown(shown(app))


async def test_only_an_entry_that_has_not_ended_can_be_gone_on_with(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        app.take(samples.sample("journal", captured.RECOVERED_JOURNAL))
        await pressed(pilot, "j", "down")
        assert "u Undo" in keys_shown(shown(app))
        assert "Go on" not in keys_shown(shown(app))


def test_a_note_without_room_is_shorter_and_a_path_keeps_its_end() -> None:
    view = PlanView(replace(PLAN, disk_needed=4_300_800))
    content = text.changes(view, Room(40, 30))
    assert plain(content.brief) == "writes 4.1\N{NO-BREAK SPACE}MiB"
    assert plain(content.note).endswith(plain(content.brief))
    paths = [plain(row) for row in content.lines if "bytes" in plain(row)]
    assert any("…" in path for path in paths)
    assert len({path.split()[1].rpartition("/")[2] for path in paths}) == len(paths)


def keys_shown(screen: str) -> str:
    """Return the line of keys."""
    return screen.splitlines()[-1]
