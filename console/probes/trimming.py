"""At which length a stream is trimmed, as it is seen at work. Nothing but XINFO and the slow log is asked.

Redis does not keep a feed's MAXLEN. MONITOR would show it, with all else that clients say, and slows a busy server down
to half. But a stream to which entries are added while its length stands still is trimmed at that length: exactly with
MAXLEN, and with `MAXLEN ~` somewhere within the one node that may stay beyond it (at most 100 entries by default).
"""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import RedisError

from console.redis_queue.lag import order_of

_LOOKS, _LOOK = 8, 0.5  # how often, and the seconds between two looks
_NODE = 100  # stream-node-max-entries, where Redis does not tell it
_SLOW = 128  # commands of the slow log


@dataclass(frozen=True, slots=True)
class Look:
    """A stream at one moment; `added` and `deleted_id` are None before Redis 7."""

    length: int
    first_id: str
    last_id: str
    added: int | None = None
    deleted_id: str | None = None


@dataclass(frozen=True, slots=True)
class Trimming:
    """What was found of one stream: `length` 0 where it is not known, `evidence` from where, or why it is not."""

    length: int
    evidence: str


def watch(client: "redis.Redis", names: Iterable[str]) -> dict[str, Trimming]:
    """Return what is known of each stream that is trimmed; one of which nothing says so is left out.

    Takes four seconds where a stream may be trimmed and the slow log does not tell at what length. Raises RedisError.
    """
    found: dict[str, Trimming] = {}
    slow = _slow_log(client)
    looks = {name: [look] for name in names if (look := _look(client, name)) is not None and look.added != look.length}
    for name in set(looks) & set(slow):
        found[name] = Trimming(slow[name], "MAXLEN of an XADD or XTRIM in Redis's slow log")
        del looks[name]
    for _ in range(_LOOKS - 1 if looks else 0):
        time.sleep(_LOOK)
        for name, seen in looks.items():
            look = _look(client, name)
            if look is not None:
                seen.append(look)
    node = _node(client) if looks else _NODE
    for name, seen in looks.items():
        trimming = judged(seen, node)
        if trimming is not None:
            found[name] = trimming
    return found


def judged(looks: Sequence[Look], node: int) -> Trimming | None:
    """Return what the looks at one stream tell, None where it was not trimmed as far as they show."""
    first, last = looks[0], looks[-1]
    least, most = min(look.length for look in looks), max(look.length for look in looks)
    removed = order_of(last.first_id) > order_of(first.first_id)
    if not removed:
        return _before(last, node)
    if last.deleted_id != first.deleted_id:
        return Trimming(0, "entries are deleted one by one (XDEL): whether it is trimmed as well is not known")
    if order_of(last.last_id) == order_of(first.last_id) or most - least > node:
        return Trimming(0, f"it is trimmed, but not at one length: it had {least:,} to {most:,} entries")
    new = f"{last.added - first.added:,} " if last.added is not None and first.added is not None else ""
    if least == most:
        return Trimming(least, f"it kept this length while {new}new entries came")
    evidence = f"it kept {least:,} to {most:,} entries while {new}new ones came: MAXLEN ~ lets up to {node} more stay"
    return Trimming(_roundest(most - node, least), evidence)


def _before(look: Look, node: int) -> Trimming | None:
    if look.added is None or look.added <= look.length or look.deleted_id != "0-0":
        return None  # Redis 6.2 does not say; or entries may have been deleted one by one
    gone = look.added - look.length
    about = f"if it still is, then at {max(1, look.length - node):,} to {look.length:,}"
    return Trimming(0, f"{gone:,} entries were trimmed before, none while it was looked at; {about}")


def _roundest(below: int, most: int) -> int:
    """Return the number above `below`, `most` at most, that ends in the most zeros: what a person would have set."""
    step = int("1" + "0" * len(str(most)))
    while (number := most // step * step) <= below or number == 0:
        step //= 10
    return number


def _look(client: "redis.Redis", name: str) -> Look | None:
    with contextlib.suppress(RedisError, KeyError, TypeError, ValueError):
        info: Any = client.xinfo_stream(name)
        entry = info["first-entry"]
        if entry:
            last, added = str(info["last-generated-id"]), info.get("entries-added")
            return Look(int(info["length"]), str(entry[0]), last, added, info.get("max-deleted-entry-id"))
    return None


def _node(client: "redis.Redis") -> int:
    with contextlib.suppress(RedisError, KeyError, ValueError):
        evidence: Any = client.config_get("stream-node-max-entries")
        most = int(evidence["stream-node-max-entries"])
        return most or _NODE
    return _NODE


def _slow_log(client: "redis.Redis") -> dict[str, int]:
    found: dict[str, int] = {}
    with contextlib.suppress(RedisError):
        entries: Any = client.slowlog_get(_SLOW)
        for entry in entries:
            name, length = _maxlen(entry)
            if name and length:
                found.setdefault(name, length)
    return found


def _maxlen(entry: Mapping[str, Any]) -> tuple[str, int]:
    """Return stream and MAXLEN of one command, ("", 0) where it is none that has one."""
    command = entry.get("command", b"")
    words = (command.decode(errors="replace") if isinstance(command, bytes) else str(command)).split(" ")
    if words[0].upper() not in ("XADD", "XTRIM") or len(words) < 4:
        return "", 0
    options = words[2:6]  # [NOMKSTREAM] MAXLEN [=|~] threshold
    with contextlib.suppress(ValueError, IndexError):
        at = [word.upper() for word in options].index("MAXLEN")
        threshold = options[at + 2] if options[at + 1] in ("=", "~") else options[at + 1]
        return words[1], int(threshold)
    return "", 0
