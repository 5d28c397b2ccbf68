"""Whether a server holds a database, read off the kernel's list of locks: nothing is locked, not for a moment.

(Trying the lock could make a server that starts just then fail; whoever is about to change files must win it instead:
a lock of this very process is such a one, and no server's.)
"""

import os
from pathlib import Path
from typing import Final

from console.questdb.layout import REGISTRY_LOCK

_LOCKS: Final = Path("/proc/locks")


def server_lives(db: Path) -> bool | None:
    """Return whether another process holds the exclusive flock on `db`/tables.d.lock; None where that cannot be known.

    The device is not compared: overlay and btrfs show another one here than there.
    """
    try:
        inode = os.lstat(db / REGISTRY_LOCK).st_ino
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return any(_holds(line.split(), inode) for line in lines)


def _holds(fields: list[str], inode: int) -> bool:
    """Return whether a line such as `1: FLOCK ADVISORY WRITE 4711 fe:00:9995255 0 EOF` is the lock."""
    if len(fields) < 6 or fields[1:4:2] != ["FLOCK", "WRITE"]:
        return False
    if fields[4] == str(os.getpid()):
        return False
    return fields[5].rpartition(":")[2] == str(inode)
