"""A log's header beside its file's true length, live and in the copies that lie in the table: what settles a crash."""

from dataclasses import dataclass, field
from pathlib import Path

from console.questdb.layout import TableDirectory
from console.questdb.txn_log import HEADER_SIZE, PAGE, RECORD_SIZE, LogState, TxnLog, expected_v1_size, read_log
from console.records import LEFT_OUT, renamed
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class LogLength:
    """One `_txnlog`: `file` relative to the db directory, `size` None where there is none, `max_txn` by its header.

    `wanted` is the length of a healthy log for that header; `short_by` the bytes that the header's records lack.
    """

    file: str
    size: int | None
    max_txn: int | None
    wanted: int | None = field(metadata=renamed("wanted_size"))
    short_by: int
    whole_records: int
    unreadable: bool = field(default=False, metadata=LEFT_OUT)  # there may be one, which this user may not read

    @property
    def sentence(self) -> str:
        """Return e.g. `header 7,607,751, file 213,016,576 bytes: one page short, 7,607,732 whole records`."""
        if self.unreadable:
            return "it cannot be read as this user"
        if self.size is None:
            return "there is no such file"
        if self.max_txn is None:
            return f"{plural(self.size, 'byte')}, no header"
        sizes = f"header {self.max_txn:,}, file {plural(self.size, 'byte')}"
        if self.max_txn < 0:
            return f"{sizes}: a number of transactions that cannot be"
        if not self.short_by:
            return f"{sizes}: holds all its header counts"
        return f"{sizes}: {shortfall(self.short_by)}, {plural(self.whole_records, 'whole record')}"


def shortfall(missing: int) -> str:
    """Return the words for a file that lacks `missing` bytes: `one page short`, `3 pages short`."""
    pages = -(-missing // PAGE)
    return "one page short" if pages == 1 else f"{pages:,} pages short"


def missing_bytes(max_txn: int, size: int) -> int:
    """Return how many bytes a V1 log of `size` bytes lacks for the records that `max_txn` promises."""
    return max(0, HEADER_SIZE + RECORD_SIZE * max_txn - size)


def _hidden(path: Path) -> bool:
    """Return whether it cannot be seen if there is such a file: a directory on the way may not be entered."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def length_of(log: TxnLog, name: str) -> LogLength:
    """Return the length of one log; of a V2 one, whose records are elsewhere, only the header's file."""
    if log.state in (LogState.NO_SEQUENCER, LogState.MISSING, LogState.UNREADABLE):
        return LogLength(name, None, None, None, 0, 0, log.state is LogState.UNREADABLE or _hidden(log.path))
    if log.header is None or log.v2:
        return LogLength(name, log.file_size, log.max_txn, None, 0, log.whole_records)
    # A header of nonsense must not make numbers of nonsense: what it wants is then simply unknown.
    wanted = expected_v1_size(log.header.max_txn) if 0 <= log.header.max_txn < 1 << 48 else None
    short_by = missing_bytes(log.header.max_txn, log.file_size) if log.header.max_txn >= 0 else 0
    return LogLength(
        name, log.file_size, log.header.max_txn, wanted, short_by, min(log.whole_records, log.header.max_txn)
    )


def lengths_of(table: TableDirectory) -> tuple[LogLength, ...]:
    """Return the table's own log first, then those of the copies in the table."""
    folders: list[Path] = [table.sequencer, *table.sequencer_backups()]
    return tuple(
        length_of(read_log(folder), clean_line(f"{table.directory}/{folder.name}/_txnlog")) for folder in folders
    )
