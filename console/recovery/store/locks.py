"""Locks: one owner per station, and the proof that no server lives. All are flock(2), let go by the kernel at death."""

import contextlib
import enum
import fcntl
import getpass
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from console.diagnosis.server.liveness import Life, exclusive_holders, liveness
from console.errors import WalmedicError
from console.recovery.store.living import command_line, own_stamp, runs_walmedic
from console.recovery.store.state import StateDir, StateError
from console.settings import QuestDBSettings
from console.text import clean_line
from console.waiting import looks

SERVER_LOCK_NAME = "tables.d.lock"
_NOTE = 0.5  # seconds that a new holder has to write down who it is


class LockedError(WalmedicError):
    """Another holds the lock; the message says who."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the station's lock; `stamp` tells its process from a later one of its id."""

    pid: int
    user: str
    host: str
    tty: str
    since: str
    doing: str
    stamp: str = ""

    @property
    def alive(self) -> bool:
        return runs_walmedic(self.pid, self.stamp)

    def __str__(self) -> str:
        where = f" on {self.tty}" if self.tty else ""
        return f"{self.user} (pid {self.pid}, host {self.host}{where}, since {self.since}, {self.doing})"


def who() -> str:
    """Return the operator's name: who logged in, also behind sudo."""
    behind = os.environ.get("SUDO_USER")
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.geteuid()}"
    return clean_line(f"{behind} as {name}" if behind and behind != name else name, 100)


def terminal() -> str:
    """Return the terminal that this process was started from, empty where there is none.

    A run that the console starts has none of its own: it is given the console's.
    """
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.ttyname(descriptor)
    return clean_line(os.environ.get("WALMEDIC_TERMINAL") or os.environ.get("SSH_TTY", ""), 100)


class StationLock:
    """At most one walmedic changes anything of a database root, found by the root's device and inode."""

    def __init__(self, state: StateDir, root: Path) -> None:
        status = root.stat()
        self.path = state.locks / f"{status.st_dev}-{status.st_ino}.lock"
        self._state = state
        self._fd = -1

    def acquire(self, doing: str) -> None:
        """Take the lock. Raises LockedError naming the holder, StateError where the state directory is unusable."""
        self._state.made(self.path.parent)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"the lock {self.path} cannot be opened ({error.strerror}); nothing was done") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._noted_holder(descriptor)
            os.close(descriptor)
            raise LockedError(
                f"another walmedic works on this database: {holder or 'it has not noted who it is'}; "
                "wait for it, or look at its journal entry"
            ) from None
        self._fd = descriptor
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        holder_now = {
            "pid": os.getpid(), "user": who(), "host": socket.gethostname(), "tty": terminal(), "since": now,
            "doing": doing, "stamp": own_stamp(),
        }  # fmt: skip
        # The lock is what counts; who holds it is reported as well as the disk lets us.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder_now).encode(), 0)

    def _noted_holder(self, descriptor: int) -> Holder | None:
        """Return who holds the lock by its note, which comes an instant later: until then an older one may be there."""
        noted: Holder | None = None
        for late in looks(_NOTE, 0.005):
            noted, pids = _read_holder(descriptor), exclusive_holders([self.path])
            if late or (noted is not None and (not pids or noted.pid in pids)):
                break
        return noted

    def holder(self) -> Holder | None:
        """Return who holds the lock now, None where nobody does."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._noted_holder(descriptor) or Holder(0, "someone", "", "", "", "starting")
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        """Let go; nothing happens where it is not held."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _read_holder(descriptor: int) -> Holder | None:
    try:
        noted = json.loads(os.pread(descriptor, 4096, 0))
        user, host, tty, since, doing = (
            clean_line(str(noted[key]), 100) for key in ("user", "host", "tty", "since", "doing")
        )
        return Holder(int(noted["pid"]), user, host, tty, since, doing, str(noted.get("stamp") or ""))
    except (ValueError, KeyError, TypeError, OSError):
        return None


class ServerLock:
    """The lock that a running server holds on its registry. Winning it is the proof that no server lives.

    With `asked` a server on the station's ports, whose lock file was made again, is found too.
    """

    def __init__(self, root: Path, asked: QuestDBSettings | None = None) -> None:
        self.path = root / SERVER_LOCK_NAME
        self._asked = asked
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def acquire(self) -> None:
        """Win it, without ever creating it. Raises LockedError: a server lives, or nothing can be proven."""
        if self.held:
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise LockedError(
                f"{self.path} is missing, so it cannot be proven that no server uses this database; if this is a copy "
                "without the file: check that no server uses it, then create it empty (touch)"
            ) from None
        except OSError as error:
            raise LockedError(
                f"{self.path} cannot be opened ({error.strerror}), so it cannot be proven that no server uses this "
                "database; run walmedic as the owner of the database"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise LockedError(f"{holder_of(self.path)}: it holds {SERVER_LOCK_NAME}") from None
        self._fd = descriptor
        found = liveness(self.path.parent, self._asked)  # one that was made again is free though a server lives
        if found.life is not Life.DOWN:
            self.release()
            raise LockedError(f"{clean_line(str(self.path.parent))}: {found.sentence}")

    def release(self) -> None:
        """Let go; nothing happens where it is not held."""
        if self.held:
            os.close(self._fd)
            self._fd = -1


class RunLocks:
    """The station's lock, and for offline actions the server's, for as long as a run takes."""

    def __init__(self, station: StationLock, server: ServerLock, doing: str, offline: bool) -> None:
        self._station, self._server, self._doing, self._offline = station, server, doing, offline

    def __enter__(self) -> ServerLock:
        self._station.acquire(self._doing)
        if self._offline:
            try:
                self._server.acquire()
            except LockedError:
                self._station.release()
                raise
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.release()
        self._station.release()


def server_is_down(root: Path, asked: QuestDBSettings | None = None) -> bool | None:
    """Return whether no server lives on `root`; None where that cannot be known, or its lock may not be read.

    The lock is not taken for it: two that look at once would each take the other for a server, and a server that
    starts just then would find its lock taken.
    """
    lock = root / SERVER_LOCK_NAME
    if exclusive_holders([lock]) or (life := liveness(root, asked).life) is Life.ALIVE:
        return False
    return True if life is Life.DOWN and os.access(lock, os.R_OK) else None


class HolderKind(enum.Enum):
    """What holds the server's lock."""

    SERVER = "QuestDB is running on this data root"
    WALMEDIC = "another walmedic works on this database"
    OTHER = "another process works on this database"
    UNKNOWN = "a QuestDB server or another walmedic works on this database"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """What holds the server's lock, and its pids as far as they can be seen. `str` is the beginning of a sentence."""

    kind: HolderKind
    pids: tuple[int, ...]

    def __str__(self) -> str:
        pids = ", ".join(f"pid {pid}" for pid in self.pids)
        return f"{self.kind.value} ({pids})" if pids else self.kind.value


def holder_of(path: Path) -> LockHolder:
    """Return what holds an flock on `path`; both QuestDB and walmedic take the server's."""
    pids = exclusive_holders([path])
    kinds = {_kind(pid) for pid in pids}
    kind = next((each for each in HolderKind if each in kinds), HolderKind.UNKNOWN)
    return LockHolder(kind, pids)


def _kind(pid: int) -> HolderKind:
    if runs_walmedic(pid):
        return HolderKind.WALMEDIC
    words = command_line(pid)
    if not words:
        return HolderKind.UNKNOWN
    java = words[0].rpartition(b"/")[2].startswith(b"java")
    return HolderKind.SERVER if java or any(b"questdb" in word.lower() for word in words) else HolderKind.OTHER
