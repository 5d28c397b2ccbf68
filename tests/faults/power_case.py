"""A case of a power loss: a broken database, a state directory, and a disk below both."""

import os
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from tests.faults.broken_database import settings_of, tree_of
from tests.faults.power_loss import CutDisk, Disk, State
from tests.faults.vault import Vault

STATES = int(os.environ.get("WALMEDIC_POWER_STATES", "4"))
"""So many states of each case."""
_DRAWS = 1 + STATES // 40  # states drawn after each call
Tree = dict[str, tuple[str, int, int, int]]


@dataclass(slots=True)
class Case:
    """A database and a state directory below `top`; `trees` are what the root may end as."""

    top: Path
    vault: Vault
    rng: random.Random
    seed: int
    trees: dict[str, Tree]
    tried: int = 0

    @property
    def root(self) -> Path:
        """The data root."""
        return self.top / "root"

    @property
    def state(self) -> Path:
        """The state directory; neither it nor what it lies in is there at first."""
        return self.top / "home" / "state"

    def engine(self) -> Engine:
        """Return an engine as a new process has it."""
        return Engine(settings_of(self.root, self.state))

    def drawn(self, work: Callable[[], object], draws: int = _DRAWS) -> list[State]:
        """Do `work` and return states that a power loss on the way or at its end may leave, STATES at most."""
        disk = Disk(self.vault, self.rng, draws)
        with disk.recorded():
            work()
        ended = [state for state in disk.states if state.last][:4]
        others = [state for state in disk.states if not state.last]
        return ended + self.rng.sample(others, min(STATES - len(ended), len(others)))

    def calls(self, work: Callable[[], object]) -> int:
        """Do `work` and return how many writing calls it makes."""
        disk = Disk(self.vault, self.rng, 0)
        with disk.recorded():
            work()
        return len(disk.calls)

    def lost_at(self, work: Callable[[], object], at: int) -> State | None:
        """Do `work` in a child that loses power after its writing call `at`, from 1, and lay out what that leaves.

        Return the state, None where the child had ended before.
        """
        note = self.top.with_name("state-at-the-loss")
        note.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                with CutDisk(self.vault, self.rng, at, note).recorded():
                    work()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        if not note.exists():
            return None
        # written by the child a moment ago
        state, known = pickle.loads(note.read_bytes())  # noqa: S301
        assert isinstance(state, State)
        self.vault.known |= known
        self.vault.lay(state.image)
        self.tried += 1
        return state

    def tries(self, states: list[State], check: Callable[[State, str], None]) -> None:
        """Lay each state out and check it."""
        for state in states:
            self.vault.lay(state.image)
            with self.vault.kept():
                check(state, f"seed {self.seed}: {state.description}")
            self.tried += 1

    def ended_as(self, *trees: str) -> str:
        """Return which of the named trees the root is now, empty if it is none."""
        now = tree_of(self.root)
        return next((name for name in trees if self.trees[name] == now), "")


def run(engine: Engine, action: str, table: str | None) -> str:
    """Run, or finish, an action as the operator would; return the entry."""
    plan = engine.plan(action, table)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result
    return result.entry


def undo(engine: Engine, entry: str) -> None:
    result = engine.undo(entry, engine.plan_undo(entry).confirmation)
    assert result.outcome is Outcome.DONE, result


def printed(capsys: pytest.CaptureFixture[str], case: Case, what: str) -> None:
    with capsys.disabled():
        print(f"\n{what}: seed {case.seed}, {case.tried} states after a power loss")  # noqa: T201 - figures
