"""Taking the copies: every table in turn, each read twice, and nothing of what is damaged is taken over what was whole.

The server is not asked and not locked, its files are only read. What was begun and cut off is a directory whose name
ends in `.new`; the next round removes it.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from console import paths
from console.digests import canonical
from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import PAUSES, DamageError, Problem, list_directory, read_small
from console.questdb.registry import read_registry
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.recovery.guard.copies import NOTE, PREFIX, GuardCopy, all_copies, digests_of, next_line
from console.recovery.guard.mirror import Mirrored, NotFollowedError, follow
from console.recovery.guard.state import GuardState, put_state
from console.recovery.guard.symbol_maps import maps_of, symbol_maps
from console.recovery.guard.thinning import bytes_used, make_room, thin
from console.recovery.store.places import free_space
from console.text import clean_line

REGISTRY: Final = ".registry"
"""Where copies of the registry lie; no directory of a table begins with a dot."""
_TABLE_FILES: Final = ("_txn", "_meta", "_cv", "_name")
_REGISTRY_FILES: Final = ("_tab_index.d", "tables.d.")
_MEASURED: Final = 60.0  # seconds between measuring what all copies take
_NEW: Final = ".new"


@dataclass(slots=True)
class _Known:
    """What the last round saw of a table: its newest copy, a digest of what is in it, and which state its maps have."""

    newest: GuardCopy | None
    content: str = ""
    maps: bytes = b""


@dataclass(slots=True)
class Guard:
    """The guard of one database; `folder` is its own, `most` the bytes that it may take there."""

    database: DatabaseRoot
    folder: Path
    most: int
    _known: dict[str, _Known] = field(default_factory=dict)
    _measured: float = 0.0
    _used: int = 0
    _lock: int = -1

    def __enter__(self) -> "Guard":
        """Take the folder. Raises WalmedicError where another guard has it, or it holds another database's copies."""
        self.folder = paths.make_private(self.folder).resolve()
        if self.folder.is_relative_to(self.database.root):
            raise WalmedicError(f"{self.folder} lies inside the data root; name another with guard.to")
        self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise WalmedicError(f"another guard keeps copies in {self.folder}") from None
        place = self.folder / ".root"
        if not place.exists():
            place.write_text(f"{self.database.root}\n")
        if place.read_text().strip() != str(self.database.root):
            other = clean_line(place.read_text().strip())
            os.close(self._lock)
            raise WalmedicError(f"{self.folder} holds copies of {other}; name another folder with guard.to")
        return self

    def __exit__(self, *ended: object) -> None:
        os.close(self._lock)

    def round(self) -> GuardState:
        """Take what has changed of every table; return how it went. Raises nothing for one table's sake."""
        began = time.time()
        if time.monotonic() - self._measured > _MEASURED:
            self._used, self._measured = make_room(self.folder, self.most, self._dropped), time.monotonic()
        left_out: dict[str, str] = {}
        copied = written = 0
        tables = self.database.tables()
        subjects: list[TableDirectory | None] = [None, *(table for table in tables if not table.system)]
        for table in subjects:
            name = table.directory if table is not None else REGISTRY
            try:
                taken = self._take(name, table)
            except NotFollowedError as error:
                left_out[name] = str(error)
            except OSError as error:
                left_out[name] = f"cannot be copied: {clean_line(error.strerror or str(error))}"
                self._known.pop(name, None)  # what was done of it is found on disk
            else:
                copied += taken > 0
                written += taken
        self._used += written
        state = GuardState(began, len(tables), copied, written, self._used, left_out)
        with contextlib.suppress(OSError):
            put_state(self.folder, state)
        return state

    def _dropped(self) -> set[str]:
        """Return which tables the guard has copies of, and neither the registry names nor the db directory holds."""
        registry = read_registry(self.database.db)
        if registry.path is None or registry.problems:
            return set()
        kept = {REGISTRY, *registry.live()}
        folders = {path.name for path in self.folder.iterdir() if path.is_dir()}
        return {name for name in folders - kept if not (self.database.db / name).exists()}

    def _take(self, name: str, table: TableDirectory | None) -> int:
        folder = self.folder / name
        known = self._known.get(name)
        if known is None:
            _remove_unfinished(folder)
            known = self._known[name] = _Known(next(iter(reversed(all_copies(folder))), None))
        for pause in (*PAUSES, None):
            try:
                files = _files_of(table, self.database)
                break
            except NotFollowedError:
                if pause is None:
                    raise
                time.sleep(pause)
        data: dict[str, Any] = {"files": digests_of(files)}
        mirrored = self._mirror(table, folder)
        if mirrored is not None:
            log = {"mirror": mirrored.name, "max_txn": mirrored.max_txn, "sha256": mirrored.digest}
            data["log"] = log
        content = hashlib.sha256(canonical(data)).hexdigest()
        noted = dict(known.newest.event["data"]) if known.newest is not None else {}
        symbols = noted.pop("symbols", {})  # a map grows only with `_txn`
        if content == known.content or data == noted:
            known.content = content
            return 0
        self._refuse_full()
        state, maps = self._symbol_maps(table, files, known.maps)
        if maps or state == known.maps:
            data["symbols"] = digests_of(maps) if state != known.maps else dict(symbols)
        at = datetime.datetime.now(datetime.UTC)
        known.newest, put = _put(paths.make_private(folder), {**files, **maps}, data, known.newest, at)
        known.content, known.maps = content, state
        thin(folder, time.time())
        return (mirrored.written if mirrored else 0) + put

    def _symbol_maps(
        self, table: TableDirectory | None, files: dict[str, bytes], known: bytes
    ) -> tuple[bytes, dict[str, bytes]]:
        """Return the state of the symbol maps and their files, none if it is `known`, or if they cannot be taken.

        They are no reason to go without the rest.
        """
        if table is None or self._used > self.most // 2:
            return b"", {}
        with contextlib.suppress(NotFollowedError, DamageError, OSError):
            state = maps_of(files["_txn"])
            return state, {} if state == known else symbol_maps(table, files["_txn"])
        return b"", {}

    def _mirror(self, table: TableDirectory | None, folder: Path) -> Mirrored | None:
        if table is None or not table.wal:
            return None
        self._refuse_full()
        return follow(table.sequencer, paths.make_private(folder), events=self._used <= self.most // 2)

    def _refuse_full(self) -> None:
        """Raise NotFollowedError where the disk, or what the guard may take of it, is full."""
        free, reserve = free_space(self.folder)
        if free < min(reserve, self.most):
            raise NotFollowedError(f"{self.folder} has {free >> 20:,} MiB free, too little to continue")
        if self._used > self.most:
            self._used = bytes_used(self.folder)
        if self._used > self.most:
            raise NotFollowedError(f"the guard takes {self._used >> 20:,} MiB, as many as guard.most_mib allows")


def _files_of(table: TableDirectory | None, database: DatabaseRoot) -> dict[str, bytes]:
    """Return the small files, all of one moment. Raises NotFollowedError where they do not fit each other."""
    return _registry_files(database) if table is None else _table_files(table)


def _registry_files(database: DatabaseRoot) -> dict[str, bytes]:
    entries, _ = list_directory(database.db)
    names = [each.name for each in entries if each.is_file and each.name.startswith(_REGISTRY_FILES)]
    first = {name: read_small(database.db / name).data for name in names if not name.endswith(".lock")}
    if any(read_small(database.db / name).data != content for name, content in first.items()):
        raise NotFollowedError("the registry changes while it is read")
    return first


def _table_files(table: TableDirectory) -> dict[str, bytes]:
    before = _state_of(table)
    files = {name: read_small(table.path / name) for name in _TABLE_FILES}
    metadata, versions = read_table_metadata(table.path), read_column_versions(table.path)
    after = _state_of(table)
    if isinstance(metadata, Problem) or metadata.problems or metadata.unusable:
        raise NotFollowedError("its _meta cannot be used")
    if versions.version is None or versions.problems:
        raise NotFollowedError("its _cv cannot be used")
    same = all(getattr(before, each) == getattr(after, each) for each in ("txn", "seq_txn", "lag_txn_raw"))
    fits = (before.metadata_version, before.column_version) == (metadata.metadata_version, versions.version)
    if not same or not fits:
        raise NotFollowedError("its files change while they are read")
    return {name: file.data for name, file in files.items() if file.present}


def _state_of(table: TableDirectory) -> TxnArea:
    read = read_table_txn(table.path)
    if read.problems or read.current is None:
        what = read.problems[0].what if read.problems else "it has no state"
        raise NotFollowedError(f"its _txn cannot be used ({what})")
    return read.current


def _put(
    folder: Path, files: dict[str, bytes], data: dict[str, Any], before: GuardCopy | None, at: datetime.datetime
) -> tuple[GuardCopy, int]:
    """Write a copy, durably, and put it in place by rename; what is as in the copy before is linked to it.

    Return it, and how many bytes were written.
    """
    name = f"{PREFIX}{at:%Y%m%dT%H%M%S.%f}"
    digests, written = _digests(data), 0
    earlier = {} if before is None else _digests(before.event["data"])
    new = folder / f"{name}{_NEW}"
    new.mkdir(mode=0o700)
    for each, digest in digests.items():
        if before is not None and earlier.get(each) == digest:
            try:
                os.link(before.folder / each, new / each)
                continue
            except OSError:
                pass  # thinned meanwhile, or a file system that knows no second name
        if each in files:
            _write(new / each, files[each])
            written += len(files[each])
        else:
            del data["symbols"][each]
    line = next_line(before, name, at.isoformat(), data)
    _write(new / NOTE, line)
    sync_directory(new)
    new.rename(folder / name)
    sync_directory(folder)
    found = next(iter(reversed(all_copies(folder))), None)
    if found is None or found.folder.name != name:
        raise OSError(f"the copy {name} cannot be read again")
    return found, written


def _digests(data: dict[str, Any]) -> dict[str, str]:
    return {**data["files"], **data.get("symbols", {})}


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unfinished(folder: Path) -> None:
    for path in _unfinished(folder):
        shutil.rmtree(path)


def _unfinished(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from list(folder.glob(f"{PREFIX}*{_NEW}"))
