"""Capturing evidence: tables, sequencers and backups, registry, redacted configuration, crash logs; a manifest last.

`evidence/<entry>/db/…` holds the copies in their places below the db directory, `evidence/<entry>/server/…` what lies
around it. What was copied is noted line by line, so that a capture that was cut off goes on where it stopped; the
manifest is written last, and only with it a capture counts.
"""

import contextlib
import datetime
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from console.diagnosis.crashes.places import crash_logs_of, is_crash_log
from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.server_version import read_versions
from console.recovery.evidence.index import table_stamp
from console.recovery.evidence.selection import select
from console.recovery.model import Stage
from console.recovery.steps.steps import RunContext, Step
from console.recovery.store.copying import Copied, copy_out, sync_tree, write_out
from console.recovery.store.locks import LockedError, ServerLock
from console.recovery.store.places import free_space, root_key
from console.recovery.store.state import write_private
from console.redaction import configuration_without_secrets, without_secrets
from console.services.command import run as run_command
from console.services.model import ServiceError
from console.settings import Role
from console.text import clean_line

_CRASH_LOGS_MOST = 400


class Capturer:
    """Captures into one folder; everything done is found again by another process that goes on."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self.folder = run.state.evidence / run.entry
        self._log = self.folder / "copied.jsonl"
        self._done: dict[str, Copied] = {}
        self._made: set[Path] = set()
        self._shares = False  # the copies share the blocks of the originals
        self._started = time.monotonic()
        self._bytes = self._copied = 0
        self.total = 0

    def begin(self) -> None:
        """Make the folder, note whether a server lives meanwhile, and take up what an earlier attempt copied."""
        self._run.state.made(self.folder)
        lock = self._run.server_lock or ServerLock(self._run.database.db, self._run.settings.questdb)
        try:
            lock.acquire()  # a server that starts while we copy would change what we copy
        except LockedError:
            self._run.remember("live", True)
        else:
            self._run.keep.callback(lock.release)
            self._run.remember("live", False)
        with contextlib.suppress(FileNotFoundError):
            for line in self._log.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    copied = Copied(**json.loads(line))
                    self._done[copied.path] = copied
        self._forget_gone()

    def _forget_gone(self) -> None:
        """Take out of the notes, durably, files whose names a power loss took.

        Else a second power loss while one is copied anew leaves half a file that an old note calls whole.
        """
        here = {path: copied for path, copied in self._done.items() if (self.folder / path).is_file()}
        if len(here) < len(self._done):
            self._done = here
            write_private(self._log, b"".join(_line(copied) for copied in here.values()))

    def table(self, table: TableDirectory, *, whole: bool = False, also: frozenset[str] = frozenset()) -> None:
        """Copy one table and note its stamp, which is read before and after: it must not change meanwhile."""
        stamp = table_stamp(table.path)
        selection = select(table, whole=whole, also=also)
        self.total = selection.size
        self._bytes = 0
        for each in selection.copied:
            target = self.folder / "db" / each.path
            self._copy(self._run.database.db / each.path, target, f"db/{each.path}")
        live = bool(self._run.recall("live"))
        if not live and table_stamp(table.path) != stamp:
            raise WalmedicError(f"{table.name} changed while it was copied; stop what writes it and capture again")
        tables = self._run.recall("tables", {})
        tables[table.directory] = {
            "name": table.name,
            "stamp": stamp,
            "listed": [list(item) for item in selection.listed],
            "skipped": list(selection.skipped),
        }
        self._run.remember("tables", tables)

    def surroundings(self) -> None:
        """Copy the registry, the redacted configuration, crash logs, and what the service manager has to say."""
        database = self._run.database
        for path in sorted(database.db.iterdir()):
            wanted = not path.name.endswith(".lock") and not is_crash_log(path.name)
            if wanted and path.is_file() and not path.is_symlink():
                self._copy(path, self.folder / "db" / path.name, f"db/{path.name}")
        server = self._run.state.made(self.folder / "server")
        for path in sorted((database.root / "conf").glob("*")) if (database.root / "conf").is_dir() else ():
            if path.is_file() and not path.is_symlink():
                self._write(server / f"conf.{path.name}", configuration_without_secrets(path.read_bytes()))
        logs = sorted(crash_logs_of(database), key=lambda path: (path.lstat().st_mtime_ns, path))
        for path in logs[-_CRASH_LOGS_MOST:]:
            self._copy(path, server / path.name, f"server/{path.name}")
        self._units(server)

    def finish(self) -> None:
        """Write the manifest: the capture counts from here on."""
        sync_tree(self.folder)
        tables: dict[str, Any] = self._run.recall("tables", {})
        versions = read_versions(self._run.database.db)
        manifest = {
            "schema": 1,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **root_key(self._run.database.db).record(),
            "live": bool(self._run.recall("live")),
            "questdb": {
                "last": None if versions.last is None else str(versions.last),
                "seen": list(versions.seen),
                "migration": versions.migration,
            },
            "bytes": sum(copied.size for copied in self._done.values()),
            "stamps": {directory: recorded["stamp"] for directory, recorded in tables.items()},
            "tables": tables,
            "sequencers": side_by_side(self._done.values()),
            "files": [asdict(copied) for copied in sorted(self._done.values(), key=lambda c: c.path)],
        }
        write_private(self.folder / "manifest.json", json.dumps(manifest, indent=1).encode())

    def _copy(self, source: Path, target: Path, name: str) -> None:
        known = self._done.get(name)
        status = source.lstat()
        if known is not None and (known.size, known.mtime_ns, known.inode) == (
            status.st_size, status.st_mtime_ns, status.st_ino,
        ) and target.is_file():  # fmt: skip
            self._bytes += known.size
            return
        if target.parent not in self._made:
            self._made.add(self._run.state.made(target.parent))
        self._keep_room(status.st_size)
        self._note(copy_out(source, target, name, self._on_bytes(name)))

    def _keep_room(self, size: int) -> None:
        """Raise WalmedicError where a copy would take what must stay free: others write to that disk meanwhile."""
        free, reserve = free_space(self.folder)
        if not self._shares and free - size < reserve:
            raise WalmedicError(
                f"{self.folder} has {free:,} bytes free, {size:,} more are to be copied and {reserve:,} stay free; "
                "make room, or name a state directory on another disk (--state-dir)"
            )

    def _write(self, target: Path, content: bytes) -> None:
        self._note(write_out(target, content, f"server/{target.name}"))

    def _note(self, copied: Copied) -> None:
        self._done[copied.path] = copied
        self._shares |= copied.reflinked
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, _line(copied))
        finally:
            os.close(descriptor)

    def _on_bytes(self, name: str) -> Any:
        def report(count: int) -> None:
            self._bytes += count
            self._copied += count  # what an earlier attempt copied says nothing of how fast this one is
            seconds = time.monotonic() - self._started
            left = (self.total - self._bytes) * seconds / self._copied if self._copied and self.total else 0
            self._run.progress(f"{clean_line(name)}, about {max(0, left):.0f} s left", self._bytes, self.total or None)

        return report

    def _units(self, server: Path) -> None:
        services = self._run.services
        if services is None:
            return
        units = [unit for unit in self._run.settings.services.units if unit.role is Role.DATABASE]
        with contextlib.suppress(ServiceError, OSError):
            for sample in services.states(units):
                if sample.unit_file:
                    content = Path(sample.unit_file).read_bytes()
                    self._write(server / f"unit.{Path(sample.unit_file).name}", configuration_without_secrets(content))
                if services.backend.startswith("systemd"):
                    scope = ["--user"] if services.backend.endswith("user") else []
                    recorded = run_command(
                        ["journalctl", *scope, "-b", "-n", "5000", "--no-pager", "-u", sample.name], 20.0
                    )
                    self._write(server / f"journal.{sample.name}.txt", without_secrets(recorded.output).encode())


def _line(copied: Copied) -> bytes:
    return json.dumps(asdict(copied)).encode() + b"\n"


def side_by_side(files: Iterable[Copied]) -> dict[str, Any]:
    """Return each sequencer and in-table copy with hash, size and time of its files, and which are alike.

    Keyed by the table's directory: `{"sets": {directory: {file: …}}, "same": {file: [[directories alike], …]}}`.
    """
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for copied in files:
        parts = copied.path.split("/")
        if len(parts) >= 4 and parts[0] == "db" and parts[2].startswith("txn_seq"):
            inner = tables.setdefault(parts[1], {}).setdefault(parts[2], {})
            inner["/".join(parts[3:])] = {"sha256": copied.sha256, "size": copied.size, "mtime_ns": copied.mtime_ns}
    found: dict[str, Any] = {}
    for table, sets in tables.items():
        alike: dict[str, dict[str, list[str]]] = {}
        for name, content in sorted(sets.items()):
            for file, recorded in content.items():
                alike.setdefault(file, {}).setdefault(str(recorded["sha256"]), []).append(name)
        same = {file: [names for names in groups.values() if len(names) > 1] for file, groups in alike.items()}
        found[table] = {"sets": sets, "same": {file: groups for file, groups in same.items() if groups}}
    return found


def replaced_of(directory: str) -> str:
    """Return the name under which a capture notes the entries of a table's directory that its repairs would replace."""
    return f"replaced {directory}"


def _drop_unfinished(run: RunContext) -> None:
    folder = run.state.evidence / run.entry
    if folder.is_dir() and not (folder / "manifest.json").exists():
        shutil.rmtree(folder)
        sync_directory(folder.parent)


class CaptureTable(Step):
    """Copy one table."""

    name = "capture-table"
    repeat = True  # the lock that keeps a server from starting meanwhile ended with the process

    def perform(self, stage: Stage, run: RunContext) -> None:
        capturer = Capturer(run)
        capturer.begin()
        table = run.database.in_directory(str(stage.parameters["directory"]))
        also = frozenset(map(str, (*stage.parameters.get("also", ()), *run.recall(replaced_of(table.directory), ()))))
        capturer.table(table, whole=bool(stage.parameters.get("whole")), also=also)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        _drop_unfinished(run)


class CaptureSurroundings(Step):
    """Copy what lies around the tables, then write the manifest."""

    name = "capture-surroundings"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        capturer = Capturer(run)
        capturer.begin()
        capturer.surroundings()
        capturer.finish()

    def reverse(self, stage: Stage, run: RunContext) -> None:
        _drop_unfinished(run)
