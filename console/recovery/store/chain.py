"""The chain of the journal: each line holds the hash of the one before, and the last is noted beside the journal."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.digests import canonical

FIRST: Final = "0" * 64
"""What stands for the hash before the first line."""
_NO_EVENT: Final = "the line is not a journal event"
_OPENING: Final = b'{"at":"'
_KINDS: Final = {"number": int, "entry": str, "kind": str, "at": str, "data": dict, "hash": str}


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where the chain does not hold: the line's number (from 1), the entry that it claims to belong to, and why.

    `crash`: a line that a crash cut while it was written. Nobody was informed of it; the next append removes it.
    """

    line: int
    entry: str
    what: str
    crash: bool = False


def breaks(content: bytes, head: tuple[int, str] | None) -> tuple[ChainBreak, ...]:
    """Return where the chain in `content` is broken. `head` is the number and hash of a line that it must have."""
    broken: list[ChainBreak] = []
    previous, number = FIRST, 0
    whole = length_without_cut_line(content)
    for line, raw in whole_lines(content[:whole]):
        parsed = parsed_line(raw)
        if parsed is None:
            broken.append(ChainBreak(line, "?", _NO_EVENT))
            previous = ""
            continue
        entry = parsed["entry"]
        if parsed["hash"] != hash_of(parsed) or canonical(parsed) != raw:
            broken.append(ChainBreak(line, entry, "the line was changed after it was written"))
        elif previous and parsed.get("previous") != previous:
            broken.append(ChainBreak(line, entry, "the line before it was changed, removed or inserted"))
        elif previous and parsed["number"] != number + 1:
            broken.append(ChainBreak(line, entry, f"it is number {parsed['number']}, {number + 1} was due"))
        previous, number = parsed["hash"], parsed["number"]
        if head == (number, previous):
            head = None
    broken += _tail(content, whole)
    if head is not None:
        what = f"the journal had {head[0]:,} lines, and line {head[0]:,} is gone or changed"
        broken.append(ChainBreak(min(content.count(b"\n") + 1, head[0]), "?", what))
    return tuple(broken)


def _tail(content: bytes, whole: int) -> Iterator[ChainBreak]:
    rest = content[whole:]
    if rest:
        crash = rest.startswith(_OPENING) or _OPENING.startswith(rest) or b"\0" in rest
        what = (
            "the last line is cut short (a crash while it was written)" if crash else "the line is not a journal event"
        )
        yield ChainBreak(content.count(b"\n", 0, whole) + 1, "?", what, crash)


def length_without_cut_line(content: bytes) -> int:
    """Return the bytes up to the end of the last whole line.

    After a power loss a file may have its new length while blocks of it are zeros: a last line with a zero byte is cut
    short too, also if its end is there. No event has one.
    """
    end = content.rfind(b"\n") + 1
    last = content.rfind(b"\n", 0, max(0, end - 1)) + 1
    return last if end == len(content) and b"\0" in content[last:] else end


def whole_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    whole = content[: content.rfind(b"\n") + 1]
    yield from enumerate(whole.split(b"\n")[:-1], start=1)


def parsed_line(raw: bytes) -> dict[str, Any] | None:
    """Return the event in a line, None if it is none: each of its fields is there and of its type."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    fits = all(isinstance(parsed.get(key), kind) for key, kind in _KINDS.items())
    return parsed if fits and not isinstance(parsed["number"], bool) else None


def hash_of(event: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: value for key, value in event.items() if key != "hash"})).hexdigest()


def note_head(path: Path, event: Mapping[str, Any]) -> None:
    """Note the last line in the file `path`: a chain alone does not show that its end was cut off.

    Not synced, and an error is no reason to stop: then an older note stands, and its line is in the journal too.
    """
    beside = path.with_name(f"{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        with os.fdopen(os.open(beside, flags, stat.S_IRUSR | stat.S_IWUSR), "w") as stream:
            stream.write(f"{event['number']} {event['hash']}\n")
        beside.replace(path)


def noted_head(path: Path) -> tuple[int, str] | None:
    """Return number and hash of the line noted in `path`, None if nothing that makes sense is noted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            number, _, digest = stream.read(200).decode("ascii").strip().partition(" ")
        return (int(number), digest) if len(digest) == len(FIRST) else None
    except (OSError, ValueError):
        return None
