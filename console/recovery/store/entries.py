"""An entry's folder in the state directory: the plan and its attachments, written durably before the first stage."""

import json
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.recovery import plans
from console.recovery.model import Plan
from console.recovery.store.state import StateDir, write_private


def write_entry(state: StateDir, entry: str, plan: Plan) -> Path:
    """Write the plan and its attachments into the entry's folder, durably, before the intent is journalled."""
    folder = state.made(state.entry(entry))
    try:
        if plan.attachments:
            attachments = state.made(folder / "attachments")
            for name, content in plan.attachments.items():
                write_private(attachments / name, content)
        write_private(folder / "plan.json", json.dumps(plans.to_json(plan), ensure_ascii=False).encode())
    except OSError as error:
        raise WalmedicError(
            f"{folder} cannot be written ({error.strerror}); nothing was changed, name another --state-dir"
        ) from error
    return folder


def read_entry_plan(state: StateDir, entry: str) -> Plan:
    """Return the plan of an entry. Raises WalmedicError where its folder does not hold one."""
    path = state.entry(entry) / "plan.json"
    try:
        return plans.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WalmedicError(
            f"{path} does not hold the plan of entry {entry}: it cannot be finished or undone"
        ) from error


def notes_of(state: StateDir, entry: str) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads((state.entry(entry) / "noted.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return noted
