"""What a reconstruction may rest on: the logs of a table that are proven to be its own, and the server's log lines."""

from dataclasses import dataclass, replace

from console.recovery.sequencer.disk import LogSource
from console.table.inventory import Mask
from console.table.log_scan import LogScan
from console.table.names import CommitLines
from console.table.txn_set import TxnSet
from console.table.unrecorded import covered, names_all


@dataclass(frozen=True, slots=True)
class Sources:
    """`base` gives records and files; `evidence` (base included) names transactions, as `lines` do."""

    base: LogSource | None
    evidence: tuple[LogSource, ...]
    lines: CommitLines | None = None
    lines_name: str = ""

    @property
    def scans(self) -> list[LogScan]:
        return [source.scan for source in self.evidence if source.scan is not None]

    @property
    def whole(self) -> bool:
        """Whether the base is the log in place, and its header and records tell of every structure change.

        A copy may be older than the last change, and a header that is too low counts less than there was.
        """
        scan = self.base.scan if self.base is not None and self.base.live else None
        if scan is None or scan.max_txn < scan.applied:
            return False
        return scan.covers_applied and not scan.bad and not scan.beyond

    @property
    def logged(self) -> bool:
        """Whether the base is the log in place, and tells of every transaction above the applied one."""
        return self.base is not None and self.base.live and self.base.scan is not None and names_all(self.base.scan)

    @property
    def changes_known(self) -> bool:
        """Whether the sequencer in place tells of every structure change, whatever its log does."""
        return any(source.live and not source.changes.missing for source in self.evidence)

    @property
    def handed_out(self) -> int | None:
        """The highest WAL id that the sequencer in place has given out, None if it does not say."""
        return next((source.wal_index.highest for source in self.evidence if source.live), None)

    @property
    def highest_known(self) -> int | None:
        return max((each.wal_index.highest for each in self.evidence if each.wal_index.highest), default=None)

    @property
    def model(self) -> LogSource | None:
        """The log whose format is kept: the base, else the live one (or its V2 parts), else any copy."""
        found = [source for source in self.evidence if source.log.readable]
        return self.base or next((source for source in found if source.live), found[0] if found else None)

    @property
    def created_us(self) -> int:
        """When the sequencer was made (µs, UTC), 0 if no header says so."""
        headers = (source.log.header for source in self.evidence)
        return next((header.created_us for header in headers if header and header.created_us > 0), 0)

    def without(self, records: TxnSet) -> "Sources":
        """Return these, where `records` of the base are not copied: they are of a WAL whose id was given out again."""
        if not records or self.base is None or self.base.scan is None:
            return self
        scan = replace(self.base.scan, recorded=self.base.scan.recorded - records)
        return replace(self, base=replace(self.base, scan=scan))

    def cover(self, applied: Mask) -> bool:
        """Return whether a log names every transaction above the `applied` ones."""
        return covered(self.scans, applied)
