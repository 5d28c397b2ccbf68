"""A disk that loses power: what was not synced is kept, dropped or torn, and names change in every order allowed.

The model after ALICE and CrashMonkey. Every writing call of `os` is followed by a look at the whole tree. What the look
finds changed is pending until an fsync of that very file, or of the directory that holds the name. A state after a
power loss keeps what was synced, and of what is pending:

- of a file any content that it had since its last fsync, or a mixture of two by blocks of 512 bytes, the new length
  filled with zeros or cut off there; its mode, owner and times of before or of now;
- of names any choice of changes in which none comes without an earlier one of the same file or the same name. A rename
  is one change, also between two directories: an fsync of either makes it durable.

Inodes and times survive a power loss, and stamps of tables rest on them. So nothing is ever deleted here: what the
product removes is moved to a folder beside, and a state is laid out by moving the very inodes into place.
"""

import os
import pickle
import random
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.interposed import WRITING
from tests.faults.vault import Attributes, Image, Vault, walked

_SECTOR = 512
_CALLS = (*WRITING, "fdatasync", "link", "symlink", "chmod", "chown", "truncate", "remove")
_SHOWN_ONLY = ("progress.jsonl", ".lock")
"""Files that are only shown to people: states that differ in these alone count as one."""


@dataclass(slots=True)
class _Node:
    """What one inode may hold after a power loss; the first of each list is on the disk for certain."""

    contents: list[bytes | None]
    attributes: list[Attributes]


@dataclass(frozen=True, slots=True)
class _Change:
    """Names that change as one: directory, name, and the inode that it names then, None for a name that goes."""

    names: tuple[tuple[int, str, int | None], ...]
    inodes: frozenset[int]

    def rests_on(self, earlier: "_Change") -> bool:
        """Return whether this cannot be on the disk without `earlier`."""
        places = {(folder, name) for folder, name, _ in self.names}
        return bool(self.inodes & earlier.inodes) or any((f, n) in places for f, n, _ in earlier.names)


@dataclass(frozen=True, slots=True)
class State:
    """What a power loss may leave; `description` says at which call, `last` whether all calls were over by then."""

    description: str
    image: Image
    last: bool = False


class Disk:
    """The tree below the vault's top as it is now, what of it is on the disk for certain, and what is pending."""

    def __init__(self, vault: Vault, rng: random.Random, draws: int) -> None:
        self._vault, self._rng, self._draws = vault, rng, draws
        self._nodes: dict[int, _Node] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._durable: dict[int, dict[str, int]] = {}
        self._pending: list[_Change] = []
        self._seen: dict[int, tuple[int, int, int]] = {}
        self._top = vault.top.stat().st_ino
        self.calls: list[str] = []
        self.states: list[State] = []
        self._paused = False
        self._known: set[frozenset[Any]] = set()
        self._one_call = threading.Lock()  # threads write beside one another
        self._look(set(), durable=True)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Note, after every writing call made meanwhile, some of the states that a power loss there may leave."""
        with self._vault.kept(), pytest.MonkeyPatch.context() as patch:
            for name in _CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield
        self._look(set())
        for _ in range(3):
            self._draw("after the last call", last=True)

    def pause(self) -> None:
        """Draw no states until `settle`: another process writes, and what it syncs is not seen."""
        self._paused = True

    def settle(self) -> None:
        """Take all that is there for durable."""
        self._seen.clear()  # a file that is mapped may change and keep its time
        self._look(set(), durable=True)
        for node in self._nodes.values():
            del node.contents[:-1], node.attributes[:-1]
        self._pending, self._paused = [], False

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if name == "open" and not given[1] & (os.O_CREAT | os.O_TRUNC):
                return original(*given, **named)
            with self._one_call:
                touched = {os.fstat(given[0]).st_ino} if given and isinstance(given[0], int) else set()
                if name in ("fsync", "fdatasync"):
                    self._look(touched)
                result = original(*given, **named)
                self._look(touched)
                if name in ("fsync", "fdatasync"):
                    self._sync(*touched)
                self.calls.append(name)
                self._draw(f"after call {len(self.calls)}, {name}")
                return result

        return call

    def _look(self, touched: set[int], *, durable: bool = False) -> None:
        """Take up what has changed; `touched` are inodes whose content is read in any case."""
        names: dict[int, dict[str, int]] = {self._top: {}}
        folders = {"": self._top}
        for path, inode, status in walked(self._vault.top):
            folder, _, name = path.rpartition("/")
            names[folders[folder]][name] = inode
            if stat.S_ISDIR(status.st_mode):
                folders[path] = inode
                names[inode] = {}
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if inode in touched or self._seen.get(inode) != stamp:
                self._seen[inode] = stamp
                self._take(inode, self._vault.top / path, status, durable=durable)
        self._vault.known |= self._nodes.keys()
        changes = _changes(self._names, names)
        self._names = names
        if durable:
            self._durable = {folder: dict(inner) for folder, inner in names.items()}
        else:
            self._pending += changes
            for each in names:
                self._durable.setdefault(each, {})

    def _take(self, inode: int, path: Path, status: os.stat_result, *, durable: bool) -> None:
        content: bytes | None = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        time = 0 if content is None else status.st_mtime_ns
        attributes = (status.st_mode, status.st_uid, status.st_gid, time)
        node = self._nodes.get(inode)
        if node is None or durable:
            first = content if durable or not stat.S_ISREG(status.st_mode) else b""
            node = self._nodes[inode] = _Node([first], [attributes])
        if node.contents[-1] != content:
            node.contents.append(content)
        if node.attributes[-1] != attributes:
            node.attributes.append(attributes)

    def _sync(self, inode: int) -> None:
        node = self._nodes.get(inode)
        if node is None:
            return  # outside of what is looked at
        del node.contents[:-1], node.attributes[:-1]
        if inode not in self._names:
            return
        wanted: list[_Change] = []
        for change in reversed(self._pending):
            if any(folder == inode for folder, _, _ in change.names) or any(w.rests_on(change) for w in wanted):
                wanted.append(change)
        for change in reversed(wanted):
            _apply(self._durable, change)
        self._pending = [change for change in self._pending if change not in wanted]

    def _draw(self, description: str, *, last: bool = False) -> None:
        for _ in range(0 if self._paused else self._draws):
            image: Image = {}
            self._fill(image, self._chosen_names(), self._top, "")
            key = frozenset((p, i, a[:3], c) for p, (i, a, c) in image.items() if not p.endswith(_SHOWN_ONLY))
            if key not in self._known:
                self._known.add(key)
                self.states.append(State(description, image, last))

    def _chosen_names(self) -> dict[int, dict[str, int]]:
        names = {folder: dict(inner) for folder, inner in self._durable.items()}
        if self._rng.random() < 0.4:  # as a journal of metadata has it: all up to one
            kept = self._pending[: self._rng.randrange(len(self._pending) + 1)]
        else:
            share, kept, dropped = self._rng.random(), [], list[_Change]()
            for change in self._pending:
                free = not any(change.rests_on(each) for each in dropped)
                (kept if free and self._rng.random() < share else dropped).append(change)
        for change in kept:
            _apply(names, change)
        return names

    def _fill(self, image: Image, names: dict[int, dict[str, int]], folder: int, path: str) -> None:
        for name, inode in names[folder].items():
            place = f"{path}/{name}" if path else name
            node = self._nodes[inode]
            image[place] = (inode, self._rng.choice(node.attributes), self._content(node.contents))
            if node.contents[0] is None:
                self._fill(image, names, inode, place)

    def _content(self, contents: list[bytes | None]) -> bytes | None:
        if len(contents) == 1:
            return contents[0]
        at = self._rng.randrange(len(contents))
        new, old = contents[at] or b"", contents[self._rng.randrange(at + 1)] or b""
        way = self._rng.choice(("whole", "zeros", "torn", "mixed"))
        if way == "whole" or len(new) < len(old):
            return new
        empty = old + bytes(len(new) - len(old))
        if way == "zeros":
            return empty
        sectors = range(-(-len(new) // _SECTOR))
        if way == "torn":
            cut = self._rng.randrange(len(sectors) + 1) * _SECTOR
            rest = self._rng.choice((old[cut:], empty[cut:]))
            return new[:cut] + rest
        parts = ((new, empty)[self._rng.random() < 0.5][at * _SECTOR : (at + 1) * _SECTOR] for at in sectors)
        return b"".join(parts)


class CutDisk(Disk):
    """A disk that loses power after its writing call `at`, from 1: one state goes to the file `note`, and the process
    is killed. So what other processes have done by then (QuestDB, a service manager) fits the state.
    """

    def __init__(self, vault: Vault, rng: random.Random, at: int, note: Path) -> None:
        super().__init__(vault, rng, 1)
        self._at, self._note = at, note

    def _draw(self, description: str, *, last: bool = False) -> None:
        if len(self.calls) != self._at or last:
            return
        self._known.clear()
        super()._draw(description)
        self._note.write_bytes(pickle.dumps((self.states[-1], self._vault.known)))
        os.kill(os.getpid(), signal.SIGKILL)


def _changes(before: dict[int, dict[str, int]], after: dict[int, dict[str, int]]) -> list[_Change]:
    """Return what happened to names: an inode that went in one place and came in another was renamed."""
    went, came = [], []
    for folder in before.keys() | after.keys():
        old, new = before.get(folder, {}), after.get(folder, {})
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                went += [(folder, name, old[name])] if name in old else []
                came += [(folder, name, new[name])] if name in new else []
    found: list[_Change] = []
    for folder, name, inode in came:
        sources = [each for each in went if each[2] == inode]
        went = [each for each in went if each[2] != inode]
        over = [each for each in went if each[:2] == (folder, name)]
        went = [each for each in went if each not in over]
        names: list[tuple[int, str, int | None]] = [(f, n, None) for f, n, _ in sources]
        found.append(_Change((*names, (folder, name, inode)), frozenset({inode, *(i for _, _, i in over)})))
    found += [_Change(((folder, name, None),), frozenset({inode})) for folder, name, inode in went]
    return found


def _apply(names: dict[int, dict[str, int]], change: _Change) -> None:
    for folder, name, inode in change.names:
        inner = names.setdefault(folder, {})
        if inode is None:
            inner.pop(name, None)
        else:
            inner[name] = inode
