"""What becomes of every segment transaction that may exist on disk, and the rows that a repair loses: their sum.

A loss is exact only if each entry is; it is a bound if one of them is a bound, and unknown if one is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of transactions."""

    APPLIED = "applied"
    COMES_BACK = "comes-back"
    LOST = "lost"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """What says so."""

    DECIDED = "decided"  # logs, the count or the rows tell which are applied
    ON_DISK = "on-disk"  # event and columns are whole
    COLUMNS_TORN = "columns-torn"  # the column files do not hold the rows
    ZERO_PAGES = "zero-pages"  # whole pages of zeros between other values: the rows come back, perhaps with lost values
    VALUES_CONTRADICTED = "values-contradicted"  # the table has other values in the applied rows of the same segment
    EVENT_UNDECODABLE = "event-undecodable"  # its rows are bounded by the events around it and the timestamps
    EVENT_OUT_OF_REACH = "event-out-of-reach"  # it lies behind one that cannot be decoded, where the server stops
    EVENT_NOT_INDEXED = "event-not-indexed"  # its entry in `_event.i` is wrong, and the server begins to read there
    EVENT_NOT_COUNTED = "event-not-counted"  # it lies behind the last transaction that the header of `_event` counts
    UNDECIDED = "undecided"  # nothing tells which are applied
    EVENTS_GONE = "events-gone"  # a segment with rows of which nothing tells a transaction
    SEGMENT_GONE = "segment-gone"  # of a WAL or a segment only the lock file is there, and no log tells what it held
    RECORD_ALONE = "record-alone"  # the log names it, and nothing on disk holds it
    ROWS_BEHIND_EVENTS = "rows-behind-events"  # behind a segment's last event; no log tells if committed
    STRUCTURE_UNSEEN = "structure-unseen"  # a structure change that is not applied leaves no trace but in the lost log
    STRUCTURE_LOST = "structure-lost"  # the log names a structure change whose content is nowhere on disk
    WAL_UNPROVEN = "wal-unproven"  # a WAL that may have been put in by hand, and no log tells whose it is
    ROWS_UNCOUNTED = "rows-uncounted"  # in the table's files behind the rows that `_txn` counts, and in no WAL
    NOT_FOLLOWED = "not-followed"  # it lies behind a symbolic link
    NOT_READ = "not-read"  # its files may not be read
    RENAMED = "renamed"  # it lies under a name that is no WAL's


@dataclass(frozen=True, slots=True)
class RowsLost:
    """Rows that the action will lose: exact, an upper bound, or unknown."""

    kind: str  # `exact`, `bound`, `unknown`
    value: int | None

    @classmethod
    def exact(cls, value: int) -> "RowsLost":
        return cls("exact", value)

    @classmethod
    def at_most(cls, value: int) -> "RowsLost":
        """Return an upper bound; of nothing, that is exact."""
        return cls("bound" if value else "exact", value)

    @classmethod
    def unknown(cls) -> "RowsLost":
        return cls("unknown", None)

    @classmethod
    def total(cls, parts: Iterable["RowsLost"]) -> "RowsLost":
        kinds, value = set(), 0
        for part in parts:
            if part.value is None:
                return cls.unknown()
            kinds.add(part.kind)
            value += part.value
        return cls.at_most(value) if "bound" in kinds else cls.exact(value)

    @property
    def phrase(self) -> str:
        """Return the word of the confirmation phrase: `0`, `1000`, `up-to-1000`, `unknown`."""
        if self.kind == "exact":
            return str(self.value)
        return f"up-to-{self.value}" if self.kind == "bound" else "unknown"

    @property
    def words(self) -> str:
        """Return e.g. `0`, `up to 1,000`, `an unknown number`."""
        if self.value is None:
            return "an unknown number"
        return f"{'up to ' if self.kind == 'bound' else ''}{self.value:,}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Transactions of one fate for one reason. `transactions` is None where nobody can count them; `why` is a sentence
    for the operator, empty where there is nothing to say."""

    fate: Fate
    evidence: Evidence
    transactions: int | None
    rows: RowsLost
    why: str = ""


Ledger = tuple[Entry, ...]
"""One entry per fate and reason."""


def rows_lost(ledger: Ledger) -> RowsLost:
    return RowsLost.total(entry.rows for entry in ledger if entry.fate in (Fate.LOST, Fate.UNKNOWN))


def rows_unapplied(ledger: Ledger) -> RowsLost:
    """Return the rows on disk that are not applied, whether they come back or not.

    Entries about rows among those that come back do not count, nor what is nowhere on disk.
    """
    elsewhere = (
        Evidence.ZERO_PAGES, Evidence.VALUES_CONTRADICTED, Evidence.RECORD_ALONE, Evidence.ROWS_UNCOUNTED,
    )  # fmt: skip
    return RowsLost.total(
        entry.rows for entry in ledger if entry.fate is not Fate.APPLIED and entry.evidence not in elsewhere
    )
