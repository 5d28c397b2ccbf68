"""The crash probe: the hs_err logs of the data root, counted, grouped by cause, and since when they come."""

from pathlib import Path

from console.diagnosis.crashes.groups import CrashGroup, CrashReport, CrashWatch
from console.diagnosis.crashes.places import crash_logs_of, pid_in
from console.probes.contents import CrashCause, CrashesSample
from console.probes.sample import Sample, Status
from console.probes.worker import ThreadProbe
from console.questdb.layout import DatabaseRoot
from console.settings import Settings

_BUCKETS = 24


class CrashesProbe(ThreadProbe[CrashesSample]):
    """Lists the data root each time and reads only the logs that are new or changed.

    Listing is cheaper than a notification: it costs a millisecond for hundreds of logs, works on every file system, and
    uses none of the inotify watches that a server with many partitions leaves.
    """

    name = "crashes"
    interval = 3.0
    deadline = 20.0

    def __init__(self, settings: Settings) -> None:
        self._root = settings.questdb.db_root
        super().__init__("" if self._root else self.NO_ROOT)
        self._watch: CrashWatch | None = None
        self._place: DatabaseRoot | None = None

    def _sample(self) -> Sample[CrashesSample]:
        if self._watch is None or self._place is None:
            self._place = DatabaseRoot.locate(Path(self._root))
            self._watch = CrashWatch(self._place)
        report = self._watch.refresh(crash_logs_of(self._place))
        unusable = [finding.message for finding in report.findings]
        return Sample(
            self.name,
            Status.DEGRADED if unusable else Status.OK,
            CrashesSample(
                report.total,
                tuple(map(_cause, report.groups)),
                report.last_at,
                _all_buckets(report),
                _last_pid(report),
            ),
            unusable[0] if unusable else "",
        )


def _cause(group: CrashGroup) -> CrashCause:
    return CrashCause(
        title=group.title,
        count=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        file=group.file,
        offset=group.offset,
        seq_txn=group.seq_txn,
        confidence=group.confidence.value,
        explanation=group.explanation,
        per_bucket=buckets(group.times, _BUCKETS),
    )


def _last_pid(report: CrashReport) -> int | None:
    """Return the process that the newest log is of, as the JVM names the file; None under another -XX:ErrorFile."""
    newest = max(report.groups, key=lambda group: group.last_at, default=None)
    return pid_in(newest.logs[-1]) if newest is not None and newest.logs else None


def _all_buckets(report: CrashReport) -> tuple[int, ...]:
    return buckets(tuple(sorted(at for group in report.groups for at in group.times)), _BUCKETS)


def buckets(times: tuple[float, ...], count: int) -> tuple[int, ...]:
    """Return how many of `times` (epoch seconds, ascending) fall into each of `count` equal spans, oldest first."""
    if not times:
        return ()
    first, span = times[0], times[-1] - times[0]
    if span <= 0:
        return (len(times),)
    found = [0] * count
    for at in times:
        found[min(count - 1, int((at - first) / span * count))] += 1
    return tuple(found)
