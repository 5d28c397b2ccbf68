"""A case of a power loss: a broken database, a state directory, and a disk below both."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from tests.faults.broken_database import settings_of, tree_of
from tests.faults.power_loss import Disk, State
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

    def tries(self, states: list[State], check: Callable[[State, str], None]) -> None:
        """Lay each state out and check it."""
        for state in states:
            self.vault.lay(state.image)
            with self.vault.kept():
                check(state, f"seed {self.seed}: {state.told}")
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
