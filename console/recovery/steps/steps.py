"""Steps: what a stage of a plan does, by name. A step is safe to repeat after kill -9 at any point, forth and back."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.model import Claim, Plan, Stage
from console.recovery.store.journal import Journal
from console.recovery.store.locks import ServerLock
from console.recovery.store.state import StateDir, write_private
from console.recovery.tree.tree import Tree
from console.services.model import ServiceControl
from console.settings import Settings

OnProgress = Callable[[str, int | None, int | None], None]


class StepError(WalmedicError):
    """A stage that could not be carried out; the message says what, where and what to do."""


@dataclass(slots=True)
class RunContext:
    """What a step works with while one journal entry is carried out, finished or undone.

    `folder` is the entry's folder in the state directory: attachments of the plan were written there, durably, before
    the first stage. `keep` closes what must be held until the end of the run (locks of WAL segments).
    """

    settings: Settings
    database: DatabaseRoot
    plan: Plan
    entry: str
    folder: Path
    tree: Tree
    report: OnProgress
    state: StateDir
    journal: Journal
    server_lock: ServerLock | None = None
    services: ServiceControl | None = None
    claims: list[Claim] = field(default_factory=list)
    keep: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    asks: Callable[[str], None] = field(default=lambda sentence: None)

    def progress(self, message: str, done: int | None = None, total: int | None = None) -> None:
        """Tell how far the stage is; sizes in bytes or counts, as the message says."""
        self.report(message, done, total)

    def ask(self, sentence: str) -> None:
        """Tell the operator what to do by hand; shown wherever progress is shown, also where that is no terminal."""
        self.asks(sentence)

    def attachment(self, name: str) -> Path:
        """Return the file of an attachment. Raises StepError where the entry has none of that name."""
        path = self.folder / "attachments" / name
        if "/" in name or name.startswith(".") or not path.is_file():
            raise StepError(f"entry {self.entry} has no attachment {name!r}; its folder is {self.folder}")
        return path

    def release_server_lock(self) -> None:
        """Let the server's lock go, just before the server is started."""
        if self.server_lock is not None:
            self.server_lock.release()

    def remember(self, key: str, value: Any) -> None:
        """Note a JSON value that the way back needs, durably."""
        noted = self._noted()
        noted[key] = value
        write_private(self.folder / "noted.json", json.dumps(noted, sort_keys=True).encode())

    def recall(self, key: str, default: Any = None) -> Any:
        """Return what `remember` noted, also by a process that was killed."""
        return self._noted().get(key, default)

    def _noted(self) -> dict[str, Any]:
        try:
            noted: dict[str, Any] = json.loads((self.folder / "noted.json").read_bytes())
        except FileNotFoundError:
            return {}
        return noted


class Step(Protocol):
    """One kind of step. Both ways are idempotent: done again they end in the same state.

    `repeat` says that a resumed run does it again although it was done: what it did
    ended with the process (locks) or with the machine (services).
    """

    name: str
    repeat: bool = False

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Do it. Raises WalmedicError or OSError; what was half done is done again or reversed by the executor."""

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Take it back, also where it was done in part or not at all."""


class CheckStep(Step):
    """A step that changes nothing, so that there is nothing to take back."""

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing was changed."""


def step_named(steps: Sequence[Step], name: str) -> Step:
    """Return the step of that name. Raises StepError for a name that this version does not know."""
    found = next((step for step in steps if step.name == name), None)
    if found is None:
        raise StepError(f"this version of walmedic knows no step {name!r}; use the version that made the entry")
    return found
