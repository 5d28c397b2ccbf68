"""A verified copy of a table that an earlier run made: found by the journal, known by its directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from console.recovery.actions.copy_table.server_state import COPY_DIRECTORY, FOREIGN, ORIGINAL, SETTLED, written_since
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Outcome
from console.recovery.server.sql import Server
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import notes_of
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.places import RootKey, root_key
from console.recovery.store.state import StateDir

ACTION: Final = "copy-table"


@dataclass(frozen=True, slots=True)
class EarlierCopy:
    """A copy that stands: the entry that last worked on it, its directory, its name now, its original's name then."""

    entry: str
    directory: str
    name: str
    original: str
    noted: Mapping[str, Any]

    @property
    def swapped(self) -> bool:
        return self.name == self.original


def earlier_copy(context: PlanContext, directory: str, names: Mapping[str, str]) -> EarlierCopy | None:
    """Return the copy of the table in `directory` that was compared with it and still is there, None for none."""
    root, undone = root_key(context.database.db), context.journal.undone()
    for entry in reversed(context.journal.entries()):
        if entry.action != ACTION or entry.root != root or entry.intent.get("directory") != directory:
            continue
        if entry.result is not Outcome.DONE or entry.id in undone:
            continue
        noted = notes_of(context.state, entry.id)
        ours = str(noted.get(COPY_DIRECTORY))
        if ours in names:
            return EarlierCopy(entry.id, ours, names[ours], str(noted.get(ORIGINAL)), noted)
    return None


def later_entries(journal: Journal, state: StateDir, entry: str) -> list[tuple[Entry, dict[str, Any]]]:
    """Return the entries after `entry` that worked on the same copy, oldest first, with their notes."""
    found: list[tuple[Entry, dict[str, Any]]] = []
    ours = notes_of(state, entry).get(COPY_DIRECTORY)
    root: RootKey | None = None
    for other in journal.entries():
        if root is not None and ours is not None and other.action == ACTION and other.root == root:
            noted = notes_of(state, other.id)
            if noted.get(COPY_DIRECTORY) == ours:
                found.append((other, noted))
        if other.id == entry:
            root = other.root
    return found


def written_by_others(journal: Journal, state: StateDir, entry: str, server: Server, name: str) -> int:
    """Return how many transactions that are not ours the copy, now called `name`, took since `entry` worked on it.

    A later entry of ours on the same copy counted those before it, and noted which one was its own last.
    """
    own = noted = notes_of(state, entry)
    for _, later in later_entries(journal, state, entry):
        if later.get(SETTLED) is not None:
            noted = later
    return int(noted.get(FOREIGN) or 0) - int(own.get(FOREIGN) or 0) + written_since(noted, server, name)


def others_before(run: RunContext, ours: str, server: Server, name: str) -> int:
    """Return how many transactions of others the copy in `ours` has now that the run takes it up."""
    for entry in run.journal.entries():
        if entry.action == ACTION and notes_of(run.state, entry.id).get(COPY_DIRECTORY) == ours:
            return written_by_others(run.journal, run.state, entry.id, server, name)
    return 0
