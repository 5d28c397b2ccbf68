"""Commits that the server's own log tells of: which segment transaction became which transaction.

`… WalWriter commit [wal=/<dir>/walN/S, segTxn=T, seqTxn=Q, …]` for data, `… committed structural metadata change
[wal=…/<dir>/walN/S, segmentTxn=…, seqTxn=Q]` for structure changes. SQL and TRUNCATE commits are not logged.
"""

import re
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.reading import DbFile
from console.recovery.sequencer.disk import TableOnDisk
from console.settings import Settings
from console.table.names import CommitLines
from console.text import clean_line

_BLOCK: Final = 8 << 20
_LONGEST: Final = 4096


def lines_of(settings: Settings, table: TableOnDisk) -> tuple[CommitLines | None, str]:
    """Return the commits of `table` in the station's log and what to call it; None where there is no log to read."""
    if not settings.questdb.log:
        return None, ""
    path = Path(settings.questdb.log)
    try:
        return read_lines(
            path.resolve(strict=True), table.directory.directory
        ), f"the server's log {clean_line(path.name)}"
    except OSError:
        return None, ""


def read_lines(path: Path, directory: str) -> CommitLines:
    """Return the commits of the table in `directory` that the log at `path` tells of. Raises OSError.

    A table whose sequencer was made anew under the same name (SET TYPE) starts again at 1: only the last life counts.
    """
    name = re.escape(directory.encode())
    data = re.compile(rb"commit \[wal=/" + name + rb"/wal(\d{1,9})/(\d{1,9}), segTxn=(\d{1,9}), seqTxn=(\d{1,18}),")
    change = re.compile(
        rb"committed structural metadata change \[wal=[^\n,]*/"
        + name
        + rb"/wal\d+/\d+, segmentTxn=-?\d+, seqTxn=(\d{1,18})\]"
    )
    found: list[tuple[int, int, int, int]] = []
    with DbFile(path) as file:
        at, rest = 0, b""
        while at < file.size:
            block = file.read(at, _BLOCK)
            if not block:
                break
            at += len(block)
            text = rest + block
            cut = text.rfind(b"\n") + 1
            rest = text[cut:][-_LONGEST:] if at < file.size else b""
            whole = text[:cut] if at < file.size else text
            hits = [(m.start(), int(m[4]), int(m[1]), int(m[2]), int(m[3])) for m in data.finditer(whole)]
            hits += [(m.start(), int(m[1]), -1, -1, -1) for m in change.finditer(whole)]
            found += [hit[1:] for hit in sorted(hits)]
    return _last_life(np.array(found, np.int64).reshape(-1, 4))


def _last_life(found: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> CommitLines:
    """Keep what was logged after the last time that transactions began again; writers log a little out of order."""
    seq = found[:, 0]
    wal = found[:, 1]
    restarts = np.flatnonzero((seq[1:] <= 1) & (np.maximum.accumulate(seq)[:-1] > 1) & (wal[1:] != -1))
    mine = found[int(restarts[-1]) + 1 :] if len(restarts) else found
    mine = mine[np.argsort(mine[:, 0], kind="stable")]
    return CommitLines(mine[:, 0], mine[:, 1], mine[:, 2], mine[:, 3])
