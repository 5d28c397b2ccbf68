"""A V2 log whose header is lost, and whose parts are there."""

from pathlib import Path

from console.questdb.reading import list_directory
from console.questdb.txn_log import RECORD_V2_SIZE, LogHeader, LogPart, LogState, TxnLog


def with_parts(log: TxnLog, path: Path) -> TxnLog:
    """Return a log whose `_txnlog` is lost but whose V2 parts are there as one with a header that names them all.

    A part is preallocated, so that its length tells the records per part; zeros behind the last are not believed.
    """
    damaged = not log.readable or (log.header is not None and log.header.all_zero)
    if not damaged or not (path / "_txn_parts").is_dir():
        return log
    entries, _ = list_directory(path / "_txn_parts")
    parts = tuple(
        sorted(
            (LogPart(int(e.name), e.path, e.path.lstat().st_size) for e in entries if e.is_file and e.name.isdecimal()),
            key=lambda part: part.index,
        )
    )
    size = max((part.size for part in parts), default=0)
    if not size or size % RECORD_V2_SIZE or any(part.size != size for part in parts):
        return log
    header = LogHeader(1, 0, 0, size // RECORD_V2_SIZE, True, False)
    return TxnLog(log.path, LogState.PRESENT, header, log.file_size, log.stamp, parts, log.problems)
