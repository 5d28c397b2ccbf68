"""Power loss while convert-table works, before, between and after its two starts; its undo killed and failed.

What QuestDB writes counts as on the disk once it has stopped; states are drawn at walmedic's own calls.
"""

import contextlib
import errno
from dataclasses import replace
from functools import partial

import pytest

from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.faults.broken_database import captured, settings_of, take_back, tree_of, without_own_damage
from tests.faults.interposed import count, failing, interposed, killed_in_child
from tests.faults.power_case import STATES, Case, Tree, printed, run, undo
from tests.faults.power_loss import Disk, State

_TABLE = "gone"
_STATES = max(60, STATES)
_FINISHED = 2  # of those; each starts QuestDB twice
_BROKEN = 40  # undos of which one call kills or fails
_ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)


def _table_of(case: Case, directory: str) -> Tree:
    """Return the table and the registry: a start may make locks of other tables."""
    prefixes = (f"db/{directory}/", "db/tables.d.")
    return {
        path: content
        for path, content in tree_of(case.root).items()
        if path.startswith(prefixes) and not path.endswith(".lock")
    }


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_conversion_is_finished_or_taken_back(
    case: Case, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(case.root, case.state)
    known = replace(settings.questdb, jar=str(questdb.jar), java=str(questdb.java))
    settings = replace(settings, questdb=known)
    without_own_damage(case.root)
    captured(case.root, case.state, _TABLE)
    evidence = tree_of(case.state / "evidence")
    engine = Engine(settings)
    directory = engine.database.table(_TABLE).directory
    before = _table_of(case, directory)
    disk = Disk(case.vault, case.rng, 1 + _STATES // 60)
    start, stop = PrivateServer.start, PrivateServer.stop

    def started(server: PrivateServer, timeout: float = 60.0) -> None:
        disk.pause()
        start(server, timeout)

    def stopped(server: PrivateServer, timeout: float = 30.0) -> None:
        stop(server, timeout)
        disk.settle()

    with monkeypatch.context() as patch, disk.recorded():
        patch.setattr(PrivateServer, "start", started)
        patch.setattr(PrivateServer, "stop", stopped)
        run(engine, "convert-table", _TABLE)
    after = _table_of(case, directory)

    def check(state: State, label: str) -> None:
        reopened = Engine(settings)
        ended = [e for e in reopened.journal.entries() if e.action == "convert-table" and e.result is Outcome.DONE]
        assert ended or not state.last, label
        if ended:
            assert _table_of(case, directory) == after, label
            undo(reopened, ended[0].id)
        take_back(reopened)
        assert _table_of(case, directory) == before, label
        assert reopened.journal.verify() == (), label
        assert tree_of(case.state / "evidence") == evidence, label

    def undone_in_two(state: State, label: str) -> None:
        reopened = Engine(settings)
        entry = reopened.journal.entries()[-1].id
        at, code = case.rng.randrange(calls), case.rng.choice(_ERRORS)
        label = f"{label}: {errno.errorcode[code]} at call {at} of {calls}"
        if case.rng.random() < 0.5:
            killed_in_child(partial(undo, reopened, entry), at, done=case.rng.random() < 0.5)
        else:
            phrase = reopened.plan_undo(entry).confirmation
            with (
                interposed(failing(at, code, lasting=case.rng.random() < 0.5)),
                contextlib.suppress(WalmedicError),  # the journal itself could not be written
            ):
                assert "\n" not in reopened.undo(entry, phrase).message, label
        again = Engine(settings)
        if again.unfinished() or _table_of(case, directory) != before:
            undo(again, entry)
        assert again.unfinished() == (), label
        assert _table_of(case, directory) == before, label
        assert again.journal.verify() == (), label

    def finish(state: State, label: str) -> None:
        reopened = Engine(settings)
        run(reopened, "convert-table", _TABLE)
        assert _table_of(case, directory).keys() == after.keys(), label
        assert reopened.unfinished() == (), label
        assert reopened.journal.verify() == (), label

    last = [state for state in disk.states if state.last]
    others = [state for state in disk.states if not state.last]
    case.tries(last + case.rng.sample(others, min(len(others), _STATES)), check)
    case.vault.lay(last[0].image)
    with case.vault.kept():
        calls = count(lambda: undo(Engine(settings), engine.journal.entries()[-1].id))
    case.tries(last[:1] * _BROKEN, undone_in_two)
    # Last: QuestDB removes files of which later states would have to be.
    case.tries(case.rng.sample(others, _FINISHED), finish)
    printed(capsys, case, f"convert-table, {_BROKEN} of them undone in two")
