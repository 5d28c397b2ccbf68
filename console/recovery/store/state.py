"""The state directory: where journal, evidence, locks and the folders of running actions are. Everything is private."""

import os
from dataclasses import dataclass
from pathlib import Path

from console import paths
from console.durable import sync_directory, write_all
from console.errors import WalmedicError


class StateError(WalmedicError):
    """The state directory cannot be used; without it no action is taken."""


@dataclass(frozen=True, slots=True)
class StateDir:
    """One state directory. Folders are made with mode 0700 when they are first written to."""

    root: Path

    @property
    def journal(self) -> Path:
        """The journal: JSON lines, one per event, hash-chained."""
        return self.root / "journal.jsonl"

    @property
    def evidence(self) -> Path:
        return self.root / "evidence"

    @property
    def locks(self) -> Path:
        """Folder of station locks, one file per database root."""
        return self.root / "locks"

    def entry(self, entry: str) -> Path:
        """Return the folder of a journal entry: plan, attachments, progress, and what undo needs."""
        return self.root / "entries" / entry

    def made(self, folder: Path) -> Path:
        """Make `folder` (below the root) private and return it. Raises StateError in one sentence."""
        try:
            for each in (self.root, *reversed([p for p in folder.parents if self.root in p.parents]), folder):
                paths.make_private(each)
        except OSError as error:
            raise StateError(
                f"the state directory {self.root} cannot be written ({error.strerror or error}): without a journal "
                "nothing is done; name another with --state-dir"
            ) from error
        return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file of the state directory durably: beside, fsync, rename, fsync of the folder; mode 0600."""
    beside = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600
    )
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
    sync_directory(path.parent)
