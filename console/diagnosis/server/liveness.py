"""Whether a server lives on a database: the one answer for diagnosis, plans, runs, doctor and report.

A server holds an flock on `tables.d.lock` for its life, and on the `NAME.lock` of its own tables (measured on 9.1).
The kernel lists all of them in /proc/locks, but only to who sees the process; from within a container the lock is
tried instead, shared and for an instant. A lock file that was removed and made again is free though a server lives:

    tables.d.lock        10:42   free           <- younger than what the server made in its first second
    telemetry.lock       09:00   held           <- proof

so where the lock file proves nothing the other locks, the files that processes have mapped, and a `_txn` that moves
are looked at. What they leave open is UNKNOWN, never "down". A server in namespaces of its own shows none of these if
its lock files were made again; one that answers on the station's port and names the directory lives all the same.
"""

import contextlib
import enum
import fcntl
import getpass
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.diagnosis.server.answer import answers
from console.diagnosis.server.open_files import always_open, table_folders, users_of
from console.questdb.layout import REGISTRY_LOCK
from console.questdb.table_name import is_system_name
from console.settings import QuestDBSettings
from console.text import plural

_LOCKS: Final = Path("/proc/locks")
_FIRST_NAMESPACE: Final = "pid:[4026531836]"  # of the machine itself; the number is the kernel's own constant
_LOOK: Final = 0.4  # seconds between two looks at files that would move
_HEAD: Final = 64  # bytes of `_txn` that every commit changes


class Life(enum.Enum):
    """Whether a server lives."""

    ALIVE = "alive"
    DOWN = "down"
    UNKNOWN = "unknown"


class Proof(enum.Enum):
    """What shows that one lives."""

    LOCK = "it holds tables.d.lock"
    TABLE_LOCKS = "it holds the locks of its own tables, though tables.d.lock was made again"
    FILES = "it has files of the database mapped or open for writing"
    MOVING = "a _txn of it changes"
    ANSWER = "it answers on the station's port and names this directory"


class Doubt(enum.Enum):
    """Why it cannot be known."""

    MISSING = "tables.d.lock is missing"
    UNREADABLE = "tables.d.lock cannot be read"
    REPLACED = "tables.d.lock is younger than the server's own files"


@dataclass(frozen=True, slots=True)
class Liveness:
    """The answer: `proof` and `pids` (as far as they can be seen) of one that is alive; `doubt` and what to do of one
    that cannot be known."""

    life: Life
    proof: Proof | None = None
    pids: tuple[int, ...] = ()
    doubt: Doubt | None = None
    instead: str = ""

    @property
    def may_write(self) -> bool:
        """Whether files may change under whoever reads them: not, where a copy lost the lock."""
        return self.life is Life.ALIVE or self.doubt in (Doubt.UNREADABLE, Doubt.REPLACED)

    @property
    def sentence(self) -> str:
        """What `check`, `doctor` and refusals say."""
        if self.life is Life.DOWN:
            return "no QuestDB is running on it"
        if self.life is Life.ALIVE:
            pids = f" (pid {', '.join(map(str, self.pids))})" if self.pids else ""
            return f"QuestDB is running on it{pids}: {self.proof.value if self.proof else ''}"
        doubt = self.doubt.value if self.doubt else ""
        return f"it cannot be known whether QuestDB is running on it: {doubt}; {self.instead}"


def liveness(db: Path, asked: QuestDBSettings | None = None) -> Liveness:
    """Return whether a server other than this process lives on the db directory. Takes half a second where in doubt.

    With `asked` a server that no file shows, in namespaces of its own, is asked on the station's ports too.
    """
    found = _by_files(db)
    if found.life is not Life.ALIVE and asked is not None and answers(asked, db):
        return Liveness(Life.ALIVE, Proof.ANSWER)
    return found


def _by_files(db: Path) -> Liveness:
    found = lock_held(db)
    if found.life is Life.ALIVE or found.doubt is None:
        return found
    doubt, others = found.doubt, _own_locks(db)
    if pids := _others(others):
        return Liveness(Life.ALIVE, Proof.TABLE_LOCKS, pids)
    tried = [refuses(each) for each in others] if hides_processes() else [False for _ in others]
    if any(tried):
        return Liveness(Life.ALIVE, Proof.TABLE_LOCKS)
    users = users_of(db, always_open(db))
    if users.processes:
        return Liveness(Life.ALIVE, Proof.FILES, tuple(user.pid for user in users.processes))
    if _moves(db):
        return Liveness(Life.ALIVE, Proof.MOVING)
    unseen = [pid for pid in users.unreadable if _may_be_java(pid)]
    # A free lock of its own table is as old as the server, which would hold it; or made by one that started later and
    # then took the new lock file.
    if doubt is Doubt.REPLACED and (False in tried or not (hides_processes() or unseen)):
        return Liveness(Life.DOWN)
    return Liveness(Life.UNKNOWN, doubt=doubt, instead=_instead(db, doubt, len(unseen)))


def lock_held(db: Path) -> Liveness:
    """Return what `tables.d.lock` says, at once; nothing is created."""
    lock = db / REGISTRY_LOCK
    try:
        lock.lstat()
    except FileNotFoundError:
        return Liveness(Life.UNKNOWN, doubt=Doubt.MISSING, instead=_instead(db, Doubt.MISSING))
    except OSError:
        return Liveness(Life.UNKNOWN, doubt=Doubt.UNREADABLE, instead=_instead(db, Doubt.UNREADABLE))
    if pids := _others([lock]):
        return Liveness(Life.ALIVE, Proof.LOCK, pids)
    if hides_processes() and not _own(lock):
        refused = refuses(lock)
        if refused is None:
            return Liveness(Life.UNKNOWN, doubt=Doubt.UNREADABLE, instead=_instead(db, Doubt.UNREADABLE))
        if refused:
            return Liveness(Life.ALIVE, Proof.LOCK)
    if _replaced(db):
        return Liveness(Life.UNKNOWN, doubt=Doubt.REPLACED, instead=_instead(db, Doubt.REPLACED))
    return Liveness(Life.DOWN)


def hides_processes() -> bool:
    """Return whether /proc leaves out processes of this machine: another pid namespace, or none of it at all."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) != _FIRST_NAMESPACE or not _LOCKS.exists()
    except OSError:
        return True


def exclusive_holders(files: Iterable[Path]) -> tuple[int, ...]:
    """Return the processes that hold an exclusive flock on one of `files`, as far as the kernel lists them.

    The inode is compared, and the device only as the process itself sees it: overlay and btrfs list another one.
    """
    wanted = _identities(files)
    found = {pid for pid, inode in _listed() if inode in wanted and _has(pid, wanted[inode])}
    return tuple(sorted(found))


def _others(files: Iterable[Path]) -> tuple[int, ...]:
    return tuple(pid for pid in exclusive_holders(files) if pid != os.getpid())


def _identities(files: Iterable[Path]) -> dict[int, int]:
    found = {}
    for each in files:
        with contextlib.suppress(OSError):
            status = each.lstat()
            found[status.st_ino] = status.st_dev
    return found


def _listed() -> list[tuple[int, int]]:
    """Return (pid, inode) of each exclusive flock that the kernel lists to us.

    A line is such as `1: FLOCK ADVISORY WRITE 4711 fe:00:9995255 0 EOF`; `1: ->` is one that waits.
    """
    try:
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for fields in map(str.split, lines):
        if len(fields) >= 6 and fields[1:4:2] == ["FLOCK", "WRITE"]:
            with contextlib.suppress(ValueError):
                found.append((int(fields[4]), int(fields[5].rpartition(":")[2])))
    return found


def _has(pid: int, device: int) -> bool:
    """Return whether a process may hold a lock on that device: not, where all that it has open lies elsewhere."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - names only
    except OSError:
        return True
    devices = set()
    for name in names:
        try:
            devices.add(os.stat(f"/proc/{pid}/fd/{name}").st_dev)  # noqa: PTH116 - hot
        except OSError:
            return True
    return device in devices or not devices


def _own(lock: Path) -> bool:
    """Return whether this process holds the lock itself: nobody else then does."""
    wanted = _identities([lock])
    return any(pid == os.getpid() and inode in wanted for pid, inode in _listed())


def refuses(lock: Path) -> bool | None:
    """Return whether somebody holds the lock exclusively; None where it cannot be tried (shared, for an instant)."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _own_locks(db: Path) -> list[Path]:
    """Return the lock files of the server's own tables that are no WAL tables (`~`): it holds them for its life."""
    with contextlib.suppress(OSError), os.scandir(db) as entries:
        names = [each.name for each in entries if each.name.endswith(".lock")]
        return [db / name for name in names if "~" not in name and is_system_name(name.removesuffix(".lock"))]
    return []


def _may_be_java(pid: int) -> bool:
    """Return whether a process whose files cannot be looked at may be a server; its command line is for all to see."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().lower()
    except OSError:
        return True
    return b"java" in words or b"questdb" in words


def _replaced(db: Path) -> bool:
    """Return whether `tables.d.lock` is younger than what a server makes right after it, in its first second."""
    with contextlib.suppress(OSError):
        made = (db / REGISTRY_LOCK).lstat().st_mtime_ns
        first = [
            folder / "_name" for folder in table_folders(db) if "~" not in folder.name and is_system_name(folder.name)
        ]
        times = [path.lstat().st_mtime_ns for path in (*_own_locks(db), *(path for path in first if path.exists()))]
        return any(each < made for each in times)
    return False


def _moves(db: Path) -> bool:
    """Return whether the head of a `_txn` changes while one looks: stores through mappings move no file's time."""
    before = _heads(db)
    if not before:
        return False
    time.sleep(_LOOK)
    after = _heads(db)
    return any(after.get(path, head) != head for path, head in before.items())


def _heads(db: Path) -> dict[Path, bytes]:
    found = {}
    for folder in table_folders(db):
        path = folder / "_txn"
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                found[path] = os.pread(descriptor, _HEAD, 0)
            finally:
                os.close(descriptor)
    return found


def _instead(db: Path, doubt: Doubt, unreadable: int = 0) -> str:
    lock = db / REGISTRY_LOCK
    if doubt is Doubt.UNREADABLE:
        return f"run as the owner of {lock}, not as {_user()}"
    where = "look from outside of this container, where the server's processes can be seen"
    if doubt is Doubt.REPLACED:
        if hides_processes():
            return where
        others = f"{plural(unreadable, 'process', 'processes')} of other users cannot be looked at"
        if os.geteuid():
            return f"run as root: {others}"
        return f"{others} by this root, as in a container without CAP_SYS_PTRACE: {where}"
    return f"where a copy lost it, make sure that no server uses this directory, then make it empty: touch {lock}"


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):
        return f"user {getpass.getuser()}"
    return f"uid {os.geteuid()}"
