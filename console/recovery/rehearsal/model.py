"""What a rehearsal says at its end. Frozen, JSON-able, no I/O."""

import enum
from dataclasses import dataclass
from typing import Any

from console.exit_codes import ExitCode
from console.records import to_json
from console.recovery import plans
from console.recovery.gate.registry import action_ids, spec_of
from console.recovery.model import Claim, Danger, Plan


class RehearsalOutcome(enum.StrEnum):
    """How a rehearsal ended."""

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_NEEDED = "not-needed"


EXITS = {
    RehearsalOutcome.PASSED: ExitCode.OK,
    RehearsalOutcome.NOT_NEEDED: ExitCode.OK,
    RehearsalOutcome.FAILED: ExitCode.FAILED,
    RehearsalOutcome.REFUSED: ExitCode.REFUSED,
}


@dataclass(frozen=True, slots=True)
class CloneFacts:
    """The clone: where it is (or was), its files, bytes of content, bytes taken on disk, and how it was made.

    `reflinked` says that blocks are shared with the original until one of both writes; `live` that a server lived on
    the original meanwhile; `server` is what the clone's QuestDB calls itself.
    """

    folder: str
    tables: tuple[str, ...]
    files: int
    size: int
    on_disk: int
    reflinked: bool
    live: bool
    kept: bool = False
    server: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The end of a rehearsal. `plan` is the original's, the one that was rehearsed."""

    id: str
    plan: Plan
    outcome: RehearsalOutcome
    message: str
    verification: tuple[Claim, ...]
    seconds: float
    clone: CloneFacts | None
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of `rehearse --json`."""
        return {
            "schema": 1,
            "rehearsal": self.id,
            "plan": plans.to_json(self.plan),
            "outcome": self.outcome.value,
            "message": self.message,
            "verification": to_json(self.verification),
            "seconds": round(self.seconds, 3),
            "clone": to_json(self.clone),
            "left_out": list(self.left_out),
        }


def can_be_rehearsed(plan: Plan) -> bool:
    """Return whether a rehearsal of `plan` makes sense: it changes a table's files while no server lives."""
    if plan.action not in action_ids() or not plan.needed or plan.table is None:
        return False
    spec = spec_of(plan.action)
    return spec.danger is Danger.DATA and spec.offline and not spec.hides
