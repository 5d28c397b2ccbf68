"""Whether the plan on the clone is the plan: what both do and promise, but for marks and for where the clone lies."""

import re
from collections.abc import Iterator
from pathlib import Path

from console.digests import canonical, digest_of
from console.recovery import plans
from console.recovery.model import Plan

_MARK = re.compile(r"(?<=\.walmedic-)[0-9a-f]{8}(?=\.)")
"""The stages of one plan may have several: each rests on the files that it is about."""
_KEPT = ("action", "table", "stages", "rows_lost", "rows_back", "rows_maybe_twice")


def essence(plan: Plan, db: Path, original_db: Path) -> str:
    """Return a digest of what a plan does and promises, without marks, and as if it lay in `original_db`."""
    document = plans.to_json(plan)
    text = canonical({key: document[key] for key in _KEPT}).decode()
    text = _MARK.sub("", text).replace(str(db), str(original_db))
    return digest_of(text, {name: digest_of(content.hex()) for name, content in plan.attachments.items()})


def outside_copies(plan: Plan, db: Path) -> str:
    """Return the directory outside the db directory that a plan copies partitions from, empty if there is not just one.

    On the clone no evidence of the original is known: there it must be named.
    """
    found = {path.parent.parent for path in _outside(plan) if not path.is_relative_to(db)}
    return str(found.pop()) if len(found) == 1 else ""


def _outside(plan: Plan) -> Iterator[Path]:
    for stage in plan.stages:
        for spec in stage.parameters.get("files", ()):
            for piece in spec.get("pieces", ()):
                if "outside" in piece["from"]:
                    yield Path(str(piece["from"]["outside"]))
