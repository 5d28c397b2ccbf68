"""A rehearsal by keys: offered and urged on the plan, watched, cancelled, its result kept beside the plan."""

from dataclasses import replace

import pytest

from console.recovery.codes import ClaimKey
from console.recovery.model import RowsLost
from console.recovery.rehearsal.model import RehearsalOutcome
from screens.plan import PlanScreen
from screens.rehearsing import Rehearsing
from tests.ui.captured import REHEARSED
from tests.ui.conftest import MakeApp
from tests.ui.driving import at_plan, confirmed, pressed, running
from tests.ui.scripted import BACK, PLAN, ScriptedEngine
from tests.ui.showing import shown, until

ROWS = next(claim for claim in REHEARSED.verification if claim.key == ClaimKey.ROWS)
FEWER = f"{int(ROWS.expected.replace(',', '')) - 19:,}"
FAILED = replace(
    REHEARSED,
    outcome=RehearsalOutcome.FAILED,
    message=f"{ROWS.claim}: expected {ROWS.expected}, found {FEWER}",
    verification=(*REHEARSED.verification[:12], replace(ROWS, found=FEWER, ok=False)),
)


async def test_it_is_urged_where_rows_hang_on_the_plan_and_shown_to_its_proof(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        assert f"Affects {BACK}. F3: rehearse on a clone first" in shown(app)
        assert "not rehearsed" in shown(app)
        await pressed(pilot, "f3")
        await until(pilot, lambda: "PASSED" in shown(app))
        text = shown(app)
        assert f"{ROWS.expected} rows, 3 purge sweeps seen, a marked row" in text
        assert f"{len(REHEARSED.verification)} checks, all as expected" in text
        await pressed(pilot, "escape")
        assert isinstance(app.screen, PlanScreen)
        assert "✓ rehearsed" in shown(app)
        assert "Affects" not in shown(app)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: bool(engine.launched))
    assert [plan.plan_id for plan in engine.rehearsals] == [PLAN.plan_id]


async def test_what_was_not_as_expected_stands_first_and_stays_beside_the_plan(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.ended = FAILED
    app = console()
    async with running(app) as pilot:
        await at_plan(pilot)
        await pressed(pilot, "f3")
        await until(pilot, lambda: "✗ FAILED" in shown(app))
        rows = shown(app).splitlines()
        claims = [row for row in rows if row.startswith((" ✓ ", " ✗ ")) and ROWS.expected in row]
        assert claims[0].split() == ["✗", *ROWS.claim.split(), ROWS.expected, FEWER]
        assert f"{len(FAILED.verification)} checks, 1 not as expected" in shown(app)
        await pressed(pilot, "escape")
        assert "✗ rehearsal FAILED" in shown(app)
        assert "rehearsal FAILED: F3 shows" in shown(app)
        # It is shown again, not made again; that has a key of its own.
        await pressed(pilot, "f3")
        await until(pilot, lambda: "✗ FAILED" in shown(app))
        assert len(engine.rehearsals) == 1
        engine.ended = REHEARSED
        await pressed(pilot, "r")
        await until(pilot, lambda: "PASSED" in shown(app))
    assert len(engine.rehearsals) == 2


async def test_while_it_works_the_keys_answer_it_can_be_left_found_again_and_cancelled(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.ended = None
    app = console()
    async with running(app) as pilot:
        await at_plan(pilot)
        await pressed(pilot, "f3")
        await until(pilot, lambda: "read it back and check" in shown(app))
        assert "• working" in shown(app)
        assert "The original is only read" in shown(app)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, PlanScreen)
        assert "being rehearsed" in shown(app)
        await pressed(pilot, "f3")
        assert isinstance(app.screen, Rehearsing)
        assert len(engine.rehearsals) == 1
        await pressed(pilot, "c")
        await until(pilot, lambda: "NOT REHEARSED" in shown(app) and "it was cancelled" in shown(app))
        assert engine.running is not None
        assert engine.running.cancelled


async def test_a_loss_that_is_not_known_is_urged_too(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.made = replace(PLAN, rows_lost=RowsLost("unknown", None))
    async with running(console()) as pilot:
        await at_plan(pilot)
        assert "the number of rows lost is unknown. F3: rehearse" in shown(pilot.app)


@pytest.mark.parametrize("key", ["f3", "h"])
async def test_what_touches_no_tables_files_is_not_rehearsed(
    console: MakeApp, engine: ScriptedEngine, key: str
) -> None:
    engine.made = replace(PLAN, action="freeze-writer", table=None, directory=None)
    app = console()
    async with running(app) as pilot:
        await at_plan(pilot)
        assert "not rehearsed" not in shown(app)
        await pressed(pilot, key)
        assert isinstance(app.screen, PlanScreen)
        assert "there is nothing to rehearse" in shown(app)
    assert engine.rehearsals == []
