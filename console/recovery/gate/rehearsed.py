"""Which plans passed a rehearsal: one file per plan in the state directory, written when the proof was complete.

A plan's id covers its stages and every fact that it rests on, so a record holds for exactly that plan on exactly that
state of the table: one changed file makes another plan, which nobody has rehearsed.
"""

import datetime
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from console.recovery.model import Plan
from console.recovery.store.places import RootKey
from console.recovery.store.state import StateDir, write_private

_ID = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Passed:
    """One passed rehearsal: of which plan, of which database root (device and inode), when (UTC), and its words.

    `lost` is what the plan says of rows lost, as in its confirmation phrase.
    """

    plan_id: str
    action: str
    table: str
    directory: str
    lost: str
    root: RootKey
    at: str
    message: str
    rehearsal: str


class Records:
    """The passed rehearsals of one database root."""

    def __init__(self, state: StateDir, root: RootKey) -> None:
        self._folder = state.root / "rehearsed"
        self._state = state
        self._root = root

    def passed(self, plan: Plan) -> Passed | None:
        record = _read(self._path(plan))
        return record if record and (record.plan_id, record.root) == (plan.plan_id, self._root) else None

    def of_unknown_loss(self) -> frozenset[str]:
        """Return the table directories for which a plan passed that cannot say how many rows it would lose."""
        found = (_read(path) for path in self._folder.glob("*.json"))
        return frozenset(r.directory for r in found if r and r.root == self._root and r.lost == "unknown")

    def add(self, plan: Plan, rehearsal: str, message: str) -> None:
        """Note durably that `plan` passed."""
        self._state.made(self._folder)
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = Passed(
            plan.plan_id, plan.action, plan.table or "", plan.directory or "", plan.rows_lost.phrase, self._root, at,
            message, rehearsal,
        )  # fmt: skip
        write_private(self._path(plan), json.dumps(asdict(record), indent=1).encode())

    def drop(self, plan: Plan) -> None:
        """Forget that `plan` passed: it was rehearsed again and failed."""
        self._path(plan).unlink(missing_ok=True)

    def _path(self, plan: Plan) -> Path:
        if not _ID.fullmatch(plan.plan_id):
            raise ValueError(f"{plan.plan_id!r} is no plan id")
        return self._folder / f"{plan.plan_id}.json"


def _read(path: Path) -> Passed | None:
    try:
        document = json.loads(path.read_bytes())
        root = RootKey.of_record(document.pop("root"))
        return Passed(root=root, **{key: str(value) for key, value in document.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
