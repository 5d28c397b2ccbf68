"""Whether logs and WAL directories in a table's directory are this table's own, and of this life of it.

A life of a table begins with CREATE TABLE, or with SET TYPE WAL: then transactions count from 1 again, in a new log
whose header says when it was made. What somebody put into the directory can be of another table (another table id), or
of an earlier life of this one:

    wal1  written 12:00 to 12:05   EARLIER: before the log was made
    SET TYPE BYPASS WAL, SET TYPE WAL: txn_seq made 12:10
    wal2  written 12:11 to 12:20   OWN

File times decide only in the direction in which copying cannot change them: `cp -r` makes a file younger, never older.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from console.questdb.fields import Fields
from console.questdb.formats.sequencer import SEQUENCER_META
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.reading import DamageError, Problem, list_directory, read_small
from console.questdb.registry import read_registry
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.table_metadata import parse_table_metadata
from console.questdb.table_name import SEQUENCER, name_of_directory
from console.questdb.txn_log import TxnLog, read_log
from console.table.log_life import LOOKS, Life, has_segment_before, life_of, lived_once, names_all
from console.text import clean_line

_FIRST_RELEASE_US: Final = 1_388_534_400_000_000
"""No log is older than QuestDB (2014, µs): a smaller time in a header says nothing."""
_CREATED_TOGETHER_US: Final = 1_000_000
"""CREATE TABLE writes `_name` and the log's header within this."""


class Kinship(enum.Enum):
    """What a log or a WAL directory is to the table in whose directory it lies."""

    OWN = "own"
    FOREIGN = "foreign"
    EARLIER = "earlier"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What something is to the table, and why as a clause without a subject; empty for OWN."""

    kinship: Kinship
    why: str = ""

    @property
    def own(self) -> bool:
        """Whether it may be used."""
        return self.kinship is Kinship.OWN


OWN: Final = Verdict(Kinship.OWN)


class Log(Protocol):
    """A sequencer directory, live or a copy, as far as it is judged here."""

    @property
    def name(self) -> str:
        """Its name in the table's directory."""

    @property
    def path(self) -> Path:
        """The directory."""

    @property
    def log(self) -> TxnLog:
        """Its `_txnlog`."""

    @property
    def metadata(self) -> SequencerMetadata | Problem:
        """Its `_meta`."""


@dataclass(frozen=True)
class LogTimes:
    """When the log of each table in `db` was created: read once, for all tables that are judged in one look."""

    db: Path

    @cached_property
    def tables(self) -> dict[int, list[Path]]:
        """The tables' directories by the time in the header of their logs (µs)."""
        found: dict[int, list[Path]] = {}
        for entry in list_directory(self.db)[0]:
            if entry.is_directory and (made := created_us(read_log(entry.path / SEQUENCER))):
                found.setdefault(made, []).append(entry.path)
        return found


def judge_logs(
    table: TableDirectory, table_id: int, logs: Sequence[Log], times_of: LogTimes | None = None
) -> dict[str, Verdict]:
    """Return a verdict on each of `logs` by name.

    Proven by the table id in `_meta` or `_meta.0`, else by the time in the header, to the microsecond: that of a log
    with the right id, or of the CREATE TABLE that wrote `_name`. The newest log with the right id is of this life,
    unless the segments that it names show another one (log_life.py). A copy that no segment speaks for, in a table that
    can have had an earlier life, is unproven.
    A log that is also another table's shows by its header, against `times_of` the database (read here if not given).
    """
    verdicts = {each.name: _by_id(table, table_id, each) for each in logs}
    for each in logs:
        if (verdicts[each.name] or OWN).own:
            verdicts[each.name] = _by_life(table, each) or verdicts[each.name]
    times = {each.name: created_us(each.log) for each in logs}
    made = frozenset(times.values()) - {0}
    ours = {name: time for name, time in times.items() if time and verdicts[name] == OWN}
    foreign = _created_elsewhere(table, table_id, made, times_of or LogTimes(table.path.parent)) if made else {}
    ours = {name: time for name, time in ours.items() if time not in foreign}
    ours = {name: time for name, time in ours.items() if not _younger_than_the_table(table, time)}
    life = max(ours.values(), default=0)
    return {each.name: _settled(each, verdicts[each.name], table, life, foreign) for each in logs}


def life_began_us(logs: Sequence[Log], verdicts: Mapping[str, Verdict]) -> int:
    """Return when this life of the table began (µs): the newest time in a log that is the table's; 0 if none tells."""
    return max((created_us(each.log) for each in logs if verdicts[each.name].own), default=0)


def created_us(log: TxnLog) -> int:
    """Return the time in a log's header, 0 if it is none that the server can have written."""
    made = log.header.created_us if log.header is not None and log.readable else 0
    newest = (log.stamp.mtime_ns // 1000 + 86_400_000_000) if log.stamp is not None else made
    return made if _FIRST_RELEASE_US <= made <= newest else 0


def _by_id(table: TableDirectory, table_id: int, log: Log) -> Verdict | None:
    found = log.metadata.table_id if isinstance(log.metadata, SequencerMetadata) else _first_metadata_id(log.path)
    if found is None:
        return None
    return OWN if found == table_id else Verdict(Kinship.FOREIGN, f"is of {table_named(table.path.parent, found)}")


def _by_life(table: TableDirectory, log: Log) -> Verdict | None:
    """Return what speaks against a log that is not known to be another table's, None if nothing does."""
    life = Life.OPEN
    for most in LOOKS:
        life = life_of(table, log.log, most)
        if life is not Life.OPEN or lived_once(table):
            break
    if life is Life.OTHER:
        why = "is of an earlier life of the table: segments that it names, or the table, were created after its records"
        return Verdict(Kinship.EARLIER, why)
    if life is Life.OPEN and log.name != SEQUENCER and not lived_once(table) and not names_all(table, log.log):
        why = "cannot be proven to be of this life of the table: no segment on disk shows it, and the table had others"
        return Verdict(Kinship.UNPROVEN, why)
    return None


def _settled(log: Log, by_id: Verdict | None, table: TableDirectory, life: int, foreign: Mapping[int, str]) -> Verdict:
    made = created_us(log.log)
    if by_id is not None and not by_id.own:
        return by_id
    if made in foreign:
        return Verdict(Kinship.FOREIGN, f"was created at the same microsecond as the log of {foreign[made]}")
    if by_id is None and made and made == life:
        return OWN
    if made and _younger_than_the_table(table, made):
        return Verdict(Kinship.FOREIGN, "was created later than the table, which was never converted")
    if made and life and made < life:
        return Verdict(Kinship.EARLIER, "is of an earlier life of the table: a newer log of it was created since")
    if by_id is not None:
        return by_id
    if made and _created_with(table, made):
        return OWN
    return Verdict(Kinship.UNPROVEN, "cannot be proven to be this table's: it has no _meta with a table id")


def _younger_than_the_table(table: TableDirectory, made: int) -> bool:
    """Return whether a log was created after CREATE TABLE wrote `_name`, though no conversion gave the table another.

    Copying, and a RENAME, make `_name` younger, and never older. The registry of a restored checkpoint tells of no
    conversion, so that a segment from before the log must speak against it as well.
    """
    late = made - _mtime_us(table.path / "_name") > _CREATED_TOGETHER_US and lived_once(table)
    return late and has_segment_before(table, made - _CREATED_TOGETHER_US)


def created_with_table(table: TableDirectory, log: TxnLog) -> bool:
    """Return whether the times show that a log is of the table's first life; False also where they tell nothing."""
    made = created_us(log)
    return bool(made) and _created_with(table, made)


def _created_with(table: TableDirectory, made: int) -> bool:
    return 0 <= made - _mtime_us(table.path / "_name") <= _CREATED_TOGETHER_US


def _first_metadata_id(path: Path) -> int | None:
    """Return the table id in `_meta.0`, the table's metadata as the log was created."""
    file = read_small(path / "_meta.0")
    try:
        return parse_table_metadata(file.data, file.path).table_id
    except DamageError:
        return None


def _created_elsewhere(
    table: TableDirectory, table_id: int, times: frozenset[int], times_of: LogTimes
) -> dict[int, str]:
    """Return those of `times` at which the log of another table of the database was created, with that table's name."""
    return {
        made: clean_line(name_of_directory(path.name))
        for made in times
        for path in times_of.tables.get(made, ())
        if path != table.path and _proven_there(path, table_id) and not _nearer(table, path, made)
    }


def _nearer(table: TableDirectory, other: Path, made: int) -> bool:
    """Return whether a log was created with this table, and not with `other`, which has it too: a copy was put there.

    Tables that a script creates are milliseconds apart. `_meta.0` keeps its time when a RENAME writes `_name` anew.
    """
    ours, theirs = (
        min(abs(made - _mtime_us(path / name)) for name in ("_name", f"{SEQUENCER}/_meta.0"))
        for path in (table.path, other)
    )
    return _created_with(table, made) and ours < theirs


def _proven_there(table: Path, ours: int) -> bool:
    """Return whether the sequencer of another table is its own: it can be ours, put there by mistake.

    A directory with our table id is a copy of our table, put beside it.
    """
    sequencer = Fields(read_small(table / SEQUENCER / "_meta", SEQUENCER_META.size).data)
    own = Fields(read_small(table / "_meta", META_HEADER.size).data)
    try:
        found = META_HEADER.value("table_id", own)
        return found != ours and SEQUENCER_META.value("table_id", sequencer) == found
    except DamageError:
        return False


def table_named(db: Path, table_id: int) -> str:
    """Return what to call the table of an id: its name in the registry, also if it was dropped."""
    entries = [entry for entry in read_registry(db).entries if entry.table_id == table_id]
    if not entries:
        return f"another table (id {table_id})"
    dropped = " that was dropped" if entries[-1].removed else ""
    return f"table {clean_line(entries[-1].name)} (id {table_id}){dropped}"


def _mtime_us(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns // 1000
    except OSError:
        return 1 << 62
