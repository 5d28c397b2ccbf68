"""What evidence there is: one manifest per capture, and whether a table is still as it was captured.

A table's stamp is a digest over size, mtime_ns and inode of what a repair may touch or rest on, and over the content of
its small files of metadata: a time can be put back, and a store through a mapping need not move it. What walmedic
itself changed since is no staleness: every run notes the stamp before and after in the journal, and that chain is
followed.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from console.digests import digest_of
from console.recovery.evidence.verification import OnBytes, files_for, listed_damage, manifest_digest, read_damage
from console.recovery.store.journal import Journal
from console.recovery.store.places import RootKey
from console.recovery.store.state import StateDir

_SKIPPED_SUFFIX = ".lock"
_SMALL = 1 << 20
"""Files of metadata up to this size are read whole for the stamp, of longer ones both ends."""
_END = 1 << 16


def table_stamp(path: Path) -> str:
    """Return the stamp of a table's directory: `_txn`, `_meta`, `_cv`, sequencers, their backups, WAL directories."""
    return digest_of(sorted(_stamps(path)))


def _stamps(path: Path) -> Iterator[list[Any]]:
    try:
        entries = list(os.scandir(path))
    except OSError as error:
        yield ["", "unreadable", error.errno]
        return
    for entry in entries:
        watched = entry.name in ("_txn", "_meta", "_cv") or entry.name.startswith(("txn_seq", "wal"))
        if not watched or entry.name.endswith(_SKIPPED_SUFFIX):
            continue
        yield from _walk(entry.path, entry.name)


def _walk(path: str, relative: str) -> Iterator[list[Any]]:
    try:
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            for name in os.listdir(path):  # noqa: PTH208 - hot
                if not name.endswith(_SKIPPED_SUFFIX):
                    yield from _walk(os.path.join(path, name), f"{relative}/{name}")  # noqa: PTH118 - hot
        else:
            yield [relative, status.st_size, status.st_mtime_ns, status.st_ino, _content(path, status)]
    except OSError as error:
        yield [relative, "unreadable", error.errno]


def content_stamp(path: str) -> str:
    """Return a SHA-256 over the content of a small file, or over both ends of a longer one; why not, if it has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"errno {error.errno}"
    try:
        size = os.fstat(descriptor).st_size
        parts = ((0, size),) if size <= _SMALL else ((0, _END), (size - _END, _END))
        digest = hashlib.sha256()
        for at, length in parts:
            digest.update(os.pread(descriptor, length, at))
        return digest.hexdigest()
    except OSError as error:
        return f"errno {error.errno}"
    finally:
        os.close(descriptor)


def _content(path: str, status: os.stat_result) -> str:
    """Return the stamp of the content of a file of metadata (their names begin with `_`), empty for columns."""
    metadata = stat.S_ISREG(status.st_mode) and path.rpartition("/")[2].startswith("_")
    return content_stamp(path) if metadata else ""


@dataclass(frozen=True, slots=True)
class Capture:
    """One finished capture: its folder, which root it is of, and the stamp of each table directory in it."""

    id: str
    folder: Path
    root: RootKey
    at: str
    stamps: dict[str, str]
    size: int
    live: bool  # a server may have been writing meanwhile: no repair rests on it
    whole: frozenset[str] = frozenset()  # table directories of which every file was copied
    changed: bool = False  # the manifest is not the one that was journalled when the capture ended

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest. Raises OSError, ValueError."""
        found: dict[str, Any] = json.loads((self.folder / "manifest.json").read_bytes())
        return found

    def damage(self, directory: str, on_bytes: OnBytes | None = None) -> str:
        """Return what is wrong with the evidence of a table, empty if nothing is. With `on_bytes` all of it is read."""
        if self.changed:
            return "its manifest.json was changed"
        try:
            files = files_for(self.manifest, directory)
        except (OSError, ValueError, KeyError, TypeError):
            return "its manifest.json cannot be read"
        if on_bytes is None:
            return listed_damage(self.folder, files)
        return read_damage(self.folder, files, on_bytes)


class EvidenceIndex:
    """All finished captures of one database root, newest last."""

    def __init__(self, state: StateDir, root: RootKey, journal: Journal) -> None:
        self._state = state
        self._root = root
        self._journal = journal

    def captures(self) -> tuple[Capture, ...]:
        """Return the captures whose manifest is complete; a manifest is written last."""
        try:
            folders = sorted(self._state.evidence.iterdir())
        except OSError:
            return ()
        journalled = {entry.id: (entry.outcome or {}).get("manifest") for entry in self._journal.entries()}
        found = [_read(folder, journalled.get(folder.name)) for folder in folders]
        mine = (capture for capture in found if capture is not None and capture.root == self._root)
        # Two captures may end within one second: then the journal tells which came first.
        begun = {name: number for number, name in enumerate(journalled)}
        return tuple(sorted(mine, key=lambda capture: (capture.at, begun.get(capture.id, -1))))

    def of_table(self, directory: str) -> Capture | None:
        return next((c for c in reversed(self.captures()) if directory in c.stamps), None)

    def fresh(self, directory: str, stamp: str, *, whole: bool = False) -> Capture | None:
        """Return a capture of the table as it is now (`stamp`), or as it was before walmedic's own changes since.

        One whose files are all there. With `whole` only one that holds every file of the table.
        """
        matching = self._matching(directory, stamp, whole)
        return next((capture for capture in matching if not capture.damage(directory)), None)

    def damaged(self, directory: str, stamp: str) -> tuple[Capture, str] | None:
        """Return the newest capture that would be fresh, with what is wrong with it; None if nothing is."""
        for capture in self._matching(directory, stamp, whole=False):
            problem = capture.damage(directory)
            return (capture, problem) if problem else None
        return None

    def _matching(self, directory: str, stamp: str, whole: bool) -> Iterator[Capture]:
        for capture in reversed(self.captures()):
            if directory not in capture.stamps or capture.live or (whole and directory not in capture.whole):
                continue
            reached = {capture.stamps[directory]}
            for entry in self._journal.entries():
                outcome = entry.outcome
                if entry.root != self._root or outcome is None:
                    continue
                # What an undo put back from evidence is as that evidence has it.
                before = outcome.get("restored") or outcome.get("stamps_before", {})
                after = outcome.get("stamps_after", {})
                if before.get(directory) in reached and directory in after:
                    reached.add(str(after[directory]))
            if stamp in reached:
                yield capture


def _read(folder: Path, digest: object) -> Capture | None:
    """Return the capture in `folder`; `digest` is the manifest's hash as journalled, None if the journal has none."""
    try:
        status = (folder / "manifest.json").lstat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return _parsed(folder, None if digest is None else str(digest), stamp)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


@lru_cache(maxsize=256)  # each plan and run asks for all of them
def _parsed(folder: Path, digest: str | None, stamp: tuple[int, ...]) -> Capture:
    del stamp  # as long as it stands the manifest is the same
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return Capture(
        id=folder.name,
        folder=folder,
        root=RootKey.of_record(manifest),
        at=str(manifest["at"]),
        stamps={str(key): str(value) for key, value in manifest["stamps"].items()},
        size=int(manifest["bytes"]),
        live=bool(manifest["live"]),
        whole=frozenset(
            str(directory)
            for directory, recorded in manifest["tables"].items()
            if not recorded["listed"] and not recorded["skipped"]
        ),
        changed=digest is not None and digest != manifest_digest(folder),
    )
