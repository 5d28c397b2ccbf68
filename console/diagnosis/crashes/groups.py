"""Crash logs grouped by cause, each cause tied to a file, an offset and a transaction where it can be.

One log says where the machine read and which file was mapped there; the files on disk, live or in the copies that lie
in the table, say which header outran its file. Both are shown: the register is a heuristic, the lengths are facts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from console.diagnosis.crashes.explanation import explain, without_file
from console.diagnosis.crashes.lengths import LogLength, lengths_of
from console.diagnosis.crashes.tie import Confidence, Tie, tie, title_of
from console.diagnosis.model import Code, Finding, Severity
from console.errors import WalmedicError
from console.questdb import hs_err
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.records import LEFT_OUT, renamed, to_json
from console.text import clean_line

_FULL_LOOKS: Final = 32
"""Logs per title whose every mapping is read where the sequencer's do not explain it: thousands say the same."""
_SHOWN_LOGS: Final = 5


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash, reduced to what grouping needs; `time` in epoch seconds."""

    path: Path
    time: float
    pid: int | None
    title: str
    tie: Tie
    java: str
    problem: str = ""
    otherwise: str = ""  # the text where no file could be tied to it


@dataclass(frozen=True, slots=True)
class CrashGroup:
    """Crashes with one cause. `file` is relative to the db directory; `accused` is the innocent neighbour, if any."""

    title: str
    count: int
    first_at: float
    last_at: float
    file: str
    offset: int | None
    seq_txn: int | None
    confidence: Confidence
    why: str
    explanation: str
    accused: str
    accused_offset: int | None
    lengths: tuple[LogLength, ...] = field(metadata=renamed("headers"))
    logs: tuple[str, ...]
    times: tuple[float, ...] = field(default=(), metadata=LEFT_OUT)

    def to_json(self) -> dict[str, Any]:
        return {**to_json(self), "file": self.file or None, "accused": self.accused or None}


@dataclass(frozen=True, slots=True)
class CrashReport:
    """All crash logs that were looked at, the most frequent cause first; findings are logs that could not be used."""

    total: int
    groups: tuple[CrashGroup, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def last_at(self) -> float | None:
        """When the last crash was, in epoch seconds."""
        return max((group.last_at for group in self.groups), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `crashes --json`."""
        return {
            "schema": 1,
            "total": self.total,
            "crashes": [group.to_json() for group in self.groups],
            "findings": to_json(self.findings),
        }


class CrashWatch:
    """Crash logs read once each: a log is read again only where its size or time changed."""

    def __init__(self, database: DatabaseRoot | None) -> None:
        self._database = database
        self._known: dict[Path, tuple[tuple[int, int, int], Crash | Finding]] = {}
        self._looks: Counter[str] = Counter()

    def refresh(self, logs: Iterable[Path]) -> CrashReport:
        """Return the report on `logs` as they are now; logs that are gone are forgotten."""
        known: dict[Path, tuple[tuple[int, int, int], Crash | Finding]] = {}
        for path in logs:
            try:
                status = path.lstat()
            except OSError:
                continue
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            before = self._known.get(path)
            known[path] = before if before and before[0] == stamp else (stamp, self._read(path))
        self._known = known
        crashes = [each for _, each in known.values() if isinstance(each, Crash)]
        findings = [each for _, each in known.values() if isinstance(each, Finding)]
        findings += [_cut(crash) for crash in crashes if crash.problem]
        groups = _groups(crashes, self._database)
        return CrashReport(len(crashes), groups, tuple(findings))

    def _read(self, path: Path) -> Crash | Finding:
        log = hs_err.read(path)
        if not log.is_crash:
            what = log.problems[0].what if log.problems else "it says nothing"
            message = f"{clean_line(path.name)} is no crash log that can be used: {what}"
            return Finding(Code.CRASH_LOG_INVALID, Severity.NOTE, message, str(path), 0)
        title = title_of(log)
        found = tie(log)
        weak = found.confidence in (Confidence.NONE, Confidence.LOW)
        if weak and log.si_addr is not None and self._looks[title] < _FULL_LOOKS:
            self._looks[title] += 1
            found = tie(hs_err.read(path, every_mapping=True))
        problem = log.problems[0].what if log.problems else ""
        return Crash(path, log.time, log.pid, title, found, log.java, problem, without_file(log))


def examine(logs: Iterable[Path], database: DatabaseRoot | None = None) -> CrashReport:
    """Return the report on `logs`; `database` is where the accused files are looked for first."""
    return CrashWatch(database).refresh(logs)


def relative_to_db(path: str) -> str:
    """Return a path of a mapping relative to its db directory: from the table's directory on, else unchanged."""
    parts = PurePosixPath(path).parts
    for index, part in enumerate(parts):
        if part.startswith("txn_seq") and index:
            return "/".join(parts[index - 1 :])
    last = max((index for index, part in enumerate(parts) if part == "db"), default=-1)
    return "/".join(parts[last + 1 :]) if last >= 0 else path


def _cut(crash: Crash) -> Finding:
    message = f"{clean_line(crash.path.name)} is not whole: {crash.problem}"
    return Finding(Code.CRASH_LOG_INVALID, Severity.NOTE, message, str(crash.path))


def _groups(crashes: Sequence[Crash], database: DatabaseRoot | None) -> tuple[CrashGroup, ...]:
    """Group by title, guilty file and what was asked of it; logs that were cut join the only group of their title."""
    by_cause: dict[tuple[str, str, int | None], list[Crash]] = {}
    for crash in crashes:
        offset = None if crash.tie.innocent else crash.tie.accused_offset
        by_cause.setdefault((crash.title, crash.tie.guilty, offset), []).append(crash)
    for key in [key for key in by_cause if not key[1]]:
        same = [other for other in by_cause if other[0] == key[0] and other[1]]
        if len(same) == 1 and all(crash.problem for crash in by_cause[key]):
            by_cause[same[0]] += by_cause.pop(key)
    tables = _TableFinder(database)
    groups = [_group(members, tables) for members in by_cause.values()]
    return tuple(sorted(groups, key=lambda group: (-group.count, -group.last_at, group.title)))


def _group(members: list[Crash], tables: "_TableFinder") -> CrashGroup:
    members.sort(key=lambda crash: crash.time)
    best = max(members, key=lambda crash: (_RANK[crash.tie.confidence], crash.time))
    found = best.tie
    table = tables.of(found.guilty, best.path) if found.guilty else None
    lengths = lengths_of(table) if table else ()
    explained = explain(found, table, lengths, best.otherwise)
    return CrashGroup(
        title=best.title,
        count=len(members),
        first_at=members[0].time,
        last_at=members[-1].time,
        file=relative_to_db(found.guilty) if found.guilty else "",
        offset=explained.offset,
        seq_txn=explained.seq_txn,
        confidence=explained.confidence,
        why=found.why,
        explanation=explained.sentence,
        accused=relative_to_db(found.accused) if found.innocent else "",
        accused_offset=found.accused_offset if found.innocent else None,
        lengths=lengths,
        logs=tuple(clean_line(str(crash.path)) for crash in members[-_SHOWN_LOGS:]),
        times=tuple(crash.time for crash in members),
    )


_RANK: Final = {Confidence.NONE: 0, Confidence.LOW: 1, Confidence.MEDIUM: 2, Confidence.HIGH: 3}


class _TableFinder:
    """Finds the table of an accused file: in the given database, beside the log, or where the mapping says it was."""

    def __init__(self, database: DatabaseRoot | None) -> None:
        self._database = database
        self._tables: dict[Path, dict[str, TableDirectory]] = {}

    def of(self, accused: str, log: Path) -> TableDirectory | None:
        directory = relative_to_db(accused).split("/", 1)[0]
        for database in self._databases(accused, log):
            if database.db not in self._tables:
                self._tables[database.db] = {table.directory: table for table in database.tables()}
            table = self._tables[database.db].get(directory)
            if table is not None:
                return table
        return None

    def _databases(self, accused: str, log: Path) -> list[DatabaseRoot]:
        if self._database is not None:
            return [self._database]
        places = [log.parent]
        parts = PurePosixPath(accused).parts
        if "db" in parts:
            last = max(index for index, part in enumerate(parts) if part == "db")
            places.append(Path(*parts[: last + 1]))
        found = []
        for place in places:
            try:
                found.append(DatabaseRoot.locate(place))
            except WalmedicError:
                continue
        return found
