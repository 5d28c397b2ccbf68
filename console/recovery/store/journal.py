"""The journal: JSON lines of mode 0600, each with the hash of the one before, synced before anything is done.

A line is one event of an entry: `intent` (operator, terminal, host, command, plan, confirmation), `stage`, `reversed`,
`resumed` (who went on with it after it was cut off), `outcome`, and the same for an undo, whose intent names the entry
it takes back. The hash of each head also goes to syslog, since a chain alone does not show that its end was cut off.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import os
import secrets
import shlex
import socket
import stat
import sys
import syslog
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from console.digests import canonical
from console.durable import sync_directory
from console.errors import WalmedicError
from console.recovery.model import Outcome
from console.recovery.store.chain import (
    FIRST,
    ChainBreak,
    breaks,
    hash_of,
    length_without_cut_line,
    note_head,
    noted_head,
    parsed_line,
    whole_lines,
)
from console.recovery.store.living import own_stamp
from console.recovery.store.locks import terminal, who
from console.recovery.store.places import RootKey
from console.recovery.store.state import StateDir
from console.text import clean_line


class JournalError(WalmedicError):
    """The journal cannot be written, so nothing is done, or does not have the entry asked for."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal. `data` holds what the kind of event says; `at` is UTC, ISO 8601."""

    number: int
    entry: str
    kind: str
    at: str
    data: Mapping[str, Any]
    digest: str

    @property
    def seconds(self) -> float:
        """When it was, in epoch seconds; 0 for a time that cannot be read."""
        try:
            return datetime.datetime.fromisoformat(self.at).timestamp()
        except ValueError:
            return 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """All events of one run or undo, oldest first; `events[0]` is its intent."""

    id: str
    events: tuple[Event, ...] = field(repr=False)

    @property
    def intent(self) -> Mapping[str, Any]:
        return self.events[0].data

    @property
    def at(self) -> str:
        """When it began (UTC, ISO 8601)."""
        return self.events[0].at

    @property
    def action(self) -> str:
        """The action's id; `undo` for a way back."""
        return str(self.intent.get("action", ""))

    @property
    def table(self) -> str | None:
        table = self.intent.get("table")
        return None if table is None else str(table)

    @property
    def root(self) -> RootKey:
        try:
            return RootKey.of_record(self.intent)
        except (KeyError, TypeError, ValueError, OverflowError):
            return RootKey(0, 0)

    @property
    def outcome(self) -> Mapping[str, Any] | None:
        """The last outcome, None while it is unfinished. What an undo reverses later does not take it away."""
        last = next(event for event in reversed(self.events) if event.kind != "reversed")
        return last.data if last.kind == "outcome" else None

    @property
    def result(self) -> Outcome | None:
        """How it ended, None while it is unfinished. A word that this version does not know counts as failed."""
        data = self.outcome
        if data is None:
            return None
        try:
            return Outcome(str(data.get("outcome")))
        except ValueError:
            return Outcome.FAILED

    @property
    def worker(self) -> Event:
        """The event that says who works, or worked last, on it: operator, terminal, host, pid, command."""
        return next(event for event in reversed(self.events) if event.kind in {"intent", "resumed"})

    @property
    def stages_done(self) -> frozenset[str]:
        """Ids of the stages that were carried out and not reversed since."""
        done: set[str] = set()
        for event in self.events:
            if event.kind == "stage" and event.data.get("state") == "done":
                done.add(str(event.data["id"]))
            elif event.kind == "reversed":
                done.discard(str(event.data["id"]))
        return frozenset(done)


def new_entry_id() -> str:
    """Return an id for a new entry: its time (UTC) and six random hex digits."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class Journal:
    """The journal of a state directory. Reading takes no lock; an unfinished last line is not yet an event."""

    def __init__(self, state: StateDir) -> None:
        self.path = state.journal
        self._state = state
        self._head = self.path.with_suffix(".head")
        self._verified: tuple[object, tuple[ChainBreak, ...]] | None = None

    def append(self, entry: str, kind: str, data: Mapping[str, Any]) -> Event:
        """Add an event and sync it. Raises JournalError: where this fails nothing may be done."""
        self._state.made(self.path.parent)
        try:
            with self._locked() as descriptor:
                lines = _whole_lines(descriptor)
                number, previous = _head(lines)
                event = {
                    "number": number + 1,
                    "entry": entry,
                    "kind": kind,
                    "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                    "data": dict(data),
                    "previous": previous,
                }
                event["hash"] = hash_of(event)
                line = canonical(event) + b"\n"
                os.lseek(descriptor, 0, os.SEEK_END)
                written = os.write(descriptor, line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, "the disk is full")
                os.fsync(descriptor)
                sync_directory(self.path.parent)
                note_head(self._head, event)
        except OSError as error:
            meaning = "without it nothing is done"
            if kind == "outcome":
                meaning = (
                    "all was done but to write how it ended; make room there and do the same again, which finds it done"
                )
            raise JournalError(
                f"the journal {self.path} cannot be written ({error.strerror or error}): {meaning}"
            ) from error
        with contextlib.suppress(OSError):
            syslog.syslog(syslog.LOG_NOTICE, f"walmedic journal {entry} {kind} head {event['hash']}")
        return _event(event)

    def begin(self, entry: str, data: Mapping[str, Any]) -> None:
        """Write the intent of a new entry: who, where, and `data` (what)."""
        self.append(entry, "intent", {**_worker(), **data})

    def resume(self, entry: str) -> None:
        """Write that an entry which was cut off goes on: who, where."""
        self.append(entry, "resumed", _worker())

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first. Lines that make no sense are left out; `verify` names them."""
        events: dict[str, list[Event]] = {}
        for _, raw in whole_lines(self._content()):
            parsed = parsed_line(raw)
            if parsed is None:
                continue
            event = _event(parsed)
            if event.kind == "intent" or event.entry in events:
                events.setdefault(event.entry, []).append(event)
        return tuple(Entry(name, tuple(found)) for name, found in events.items())

    def unfinished(self, root: RootKey) -> tuple[Entry, ...]:
        """Return the entries of one database that have no outcome, oldest first."""
        return tuple(entry for entry in self.entries() if entry.outcome is None and entry.root == root)

    def undone(self) -> frozenset[str]:
        """Return the entries that were taken back, with those that an undo by evidence took back as well."""
        done = (entry for entry in self.entries() if entry.action == "undo" and entry.result is Outcome.DONE)
        return frozenset(str(name) for e in done for name in (e.intent.get("undoes"), *e.intent.get("also", ())))

    def begun_undo(self, entry: Entry) -> Entry | None:
        return next((e for e in self.entries() if e.intent.get("undoes") == entry.id and e.outcome is None), None)

    def entry(self, name: str) -> Entry:
        """Return one entry by its id, or by an unambiguous beginning or end of it. Raises JournalError."""
        found = [each for each in self.entries() if each.id == name] or [
            each for each in self.entries() if name and (each.id.startswith(name) or each.id.endswith(name))
        ]
        if len(found) != 1:
            if (damage := self.damage()) is not None:
                raise JournalError(
                    f"the journal {self.path} is damaged at line {damage.line}, and entry {clean_line(name)} cannot be "
                    "read; put the journal back from a copy"
                )
            how = "no entry" if not found else "more than one entry"
            raise JournalError(f"the journal {self.path} has {how} {name!r}; `walmedic journal` lists them")
        return found[0]

    def verify(self) -> tuple[ChainBreak, ...]:
        """Return where the chain is broken; nothing if it is whole. Raises JournalError if it cannot be read."""
        seen = self._stamps()
        if self._verified is None or self._verified[0] != seen:
            self._verified = seen, self._verify()
        return self._verified[1]

    def damage(self) -> ChainBreak | None:
        """Return the first break that no crash explains; None if the journal can be relied on. Raises JournalError."""
        return next((each for each in self.verify() if not each.crash), None)

    def _verify(self) -> tuple[ChainBreak, ...]:
        head = noted_head(self._head)  # first: lines that are appended meanwhile are no damage
        return breaks(self._content(), head)

    def _stamps(self) -> object:
        found: list[object] = []
        for path in (self.path, self._head):
            try:
                status = path.lstat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError as error:
                found.append(error.errno)
        return tuple(found)

    def _content(self) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be read ({error.strerror})") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise JournalError(f"the journal {self.path} is not a file; move it out of the way, or put it back")
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                return stream.read()
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be read ({error.strerror})") from error
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield a descriptor of the journal, alone: two runs may share a state directory."""
        descriptor = os.open(
            self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR
        )
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _worker() -> dict[str, Any]:
    return {
        "operator": who(), "terminal": terminal(), "host": socket.gethostname(), "pid": os.getpid(),
        "stamp": own_stamp(),
        "command": clean_line(shlex.join(["walmedic", *sys.argv[1:]]), 2000),
    }  # fmt: skip


def _whole_lines(descriptor: int) -> bytes:
    """Return the content up to the last whole line; a cut one (never confirmed to anyone) is removed first."""
    size = os.fstat(descriptor).st_size
    content = b""
    while len(content) < size:
        block = os.pread(descriptor, size - len(content), len(content))
        if not block:
            break
        content += block
    whole = length_without_cut_line(content)
    if whole != len(content):
        os.ftruncate(descriptor, whole)
    return content[:whole]


def _head(content: bytes) -> tuple[int, str]:
    if not content:
        return 0, FIRST
    last = parsed_line(content[:-1].rsplit(b"\n", 1)[-1])
    if last is None:
        # The chain stays visibly broken there; what is done next is recorded all the same.
        return content.count(b"\n"), hashlib.sha256(content).hexdigest()
    return last["number"], last["hash"]


def _event(parsed: Mapping[str, Any]) -> Event:
    return Event(
        parsed["number"],
        parsed["entry"],
        parsed["kind"],
        parsed["at"],
        parsed["data"],
        parsed["hash"],
    )
