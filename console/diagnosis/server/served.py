"""Which directory a server serves, and whether that is the one in question."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from console.diagnosis.server.open_files import always_open, users_of


def served_root(parameters: Iterable[Mapping[str, Any]]) -> str:
    """Return the absolute db directory out of the rows of `(show parameters)`, empty where it does not say.

    `cairo.root` is relative by default; the work directory of COPY lies beneath the same one and is absolute, unless
    it was set by hand (measured on 9.1.0).
    """
    named = {str(row["property_path"]): row for row in parameters}
    root = str(named.get("cairo.root", {}).get("value") or "")
    if root.startswith("/"):
        return root
    work = named.get("cairo.sql.copy.work.root", {})
    if root and work.get("value_source") == "default" and str(work.get("value") or "").startswith("/"):
        return str(Path(str(work["value"])).parent / root)
    return ""


def serves(root: str, db: Path) -> bool | None:
    """Return whether a server's `root` is `db`, by device and inode; None where that is not known.

    A server in a container has names of its own: `root` is looked up as each process that has files of `db` mapped, or
    open for writing, sees it. A name that does not exist here, and is proven by no process, proves nothing.
    """
    if not root:
        return None
    here = _same(Path(root), db)
    if here:
        return True
    users = users_of(db, always_open(db)).processes
    return True if any(_same(Path(f"/proc/{user.pid}/root{root}"), db) for user in users) else here


def _same(path: Path, db: Path) -> bool | None:
    try:
        return path.samefile(db)
    except OSError:
        return None
