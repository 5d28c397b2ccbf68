"""What a filter leaves of the dashboard: tables, services, streams and actions whose name has all its words. Pure.

What is broken is never filtered away, nor is the newest entry of the journal.
"""

from dataclasses import fields, replace
from typing import Any

from console.diagnosis.model import TableReport, Verdict
from console.probes.contents import JournalLine, StreamSample, UnitSample, UnitState

_LISTS = {"tables": ("tables", ("table", "directory")), "services": ("units", ("name",)),
          "backlog": ("streams", ("stream", "table")), "journal": ("lines", ("action", "target"))}  # fmt: skip


def filtered(probe: str, data: Any, text: str) -> Any:
    """Return the data of a probe with only the items that `text` names; what is no list of items stays whole."""
    words = text.lower().split()
    if data is None or not words or probe not in _LISTS:
        return data
    items, names = _LISTS[probe]

    def matches(item: Any) -> bool:
        known = {each.name for each in fields(item)}
        haystack = " ".join(str(getattr(item, name) or "") for name in names if name in known).lower()
        return all(word in haystack for word in words)

    listed = getattr(data, items)
    newest = listed[:1] if probe == "journal" else ()
    return replace(data, **{items: tuple(item for item in listed if matches(item) or item in newest or _matters(item))})


def hidden(probe: str, data: Any, shown: Any) -> int:
    if data is None or shown is None or probe not in _LISTS:
        return 0
    items, _ = _LISTS[probe]
    return len(getattr(data, items)) - len(getattr(shown, items))


def _matters(item: Any) -> bool:
    match item:
        case TableReport():
            return item.verdict is not Verdict.HEALTHY
        case UnitSample():
            return item.state is not UnitState.UP or bool(item.loop)
        case StreamSample():
            return item.losing or bool(item.error)
        case JournalLine():
            return item.outcome in {"running", "unfinished"}
    return False
