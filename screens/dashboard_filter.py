"""What a filter leaves of the dashboard: tables, services, streams and actions whose name has all its words. Pure."""

from dataclasses import fields, replace
from typing import Any

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

    return replace(data, **{items: tuple(item for item in getattr(data, items) if matches(item))})
