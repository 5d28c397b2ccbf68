"""Up to which transaction a table is applied, if its `_txn` does not say: by the log, the columns, and the rows.

    transaction  1..6     7         8          9          10
    on disk      purged   yes       structure  yes        yes
    says         nothing  present   applied    present    absent      so 9 is the last that is applied

One too many would lose the rows of a transaction, one too few would double them. So what stays open is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from console.questdb.partition_rows import TableRows
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, Problem, said_of
from console.questdb.segment import DedupMode, EventType
from console.questdb.segment_details import read_statement
from console.questdb.structure_log import Command
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.applied_prefix import Seen
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.disk import LogSource, TableOnDisk, read_sources
from console.recovery.sequencer.event_rows import read_event_rows
from console.recovery.sequencer.multisets import counted
from console.recovery.sequencer.other_rows import unlike
from console.recovery.sequencer.rows import RowComparison
from console.recovery.sequencer.structure import replayed, table_columns
from console.recovery.sequencer.table_content import read_content
from console.table.belonging import created_with_table
from console.table.inventory import Index, carries_rows, is_plain
from console.table.names import Names, put_together
from console.text import clean_line, plural

_SETTLE: Final = "a copy of _txn from the time of the crash, or the server's log of its last commits, would settle it"
_CONSTANTS: Final = re.compile(
    r"UPDATE\s+\S+\s+SET\s+(?P<set>{set}(\s*,\s*{set})*)(?P<where>\s+WHERE\s+[^(]*)?;?".format(
        set=r"\S+\s*=\s*(-?[\d.]+|'[^']*'|null|true|false)"
    ),
    re.IGNORECASE,
)
"""An UPDATE that gives the same values however often it is done."""
_SETTINGS: Final = re.compile(r"ALTER\s+TABLE\s+\S+\s+(SQUASH\s+PARTITIONS|SET\s+(PARAM|TTL))\b.*", re.I | re.DOTALL)
"""What else does no more if it is done twice."""
_KEEPS_ROWS: Final = re.compile(
    r"UPDATE\s.*|ALTER\s+TABLE\s+\S+\s+(CONVERT\s+PARTITION|SQUASH\s+PARTITIONS|ALTER\s+COLUMN|SET\s+PARAM)\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that removes no row."""
_TTL: Final = re.compile(r"ALTER\s+TABLE\s+\S+\s+SET\s+TTL\s+(\d+)\s*([HDWMY])\w*\s*;?", re.IGNORECASE)
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24, "m": 28 * 24, "y": 365 * 24}
"""The hours that a unit of a TTL has at least."""
_WORD: Final = re.compile(r"\w+")
_NOT_COLUMNS: Final = (Command.RENAME_TABLE, Command.ENABLE_DEDUP, Command.DISABLE_DEDUP)


@dataclass(slots=True)
class Applied:
    """The last applied transaction and the structure version that goes with it; `refusals` say why they stay open.

    `waiting` are the events that are not applied, by index of the inventory, `rows_waiting` the rows of those that the
    log names. `partial` counts their rows that lie at the end of the table nevertheless: they were being applied at the
    crash. `gone_above` counts the transactions behind `seq_txn` whose WAL is not on disk. `rows_logged` are the rows of
    all transactions up to `seq_txn`, None if WAL of one of them is gone. `doubted` are rows that count as applied and
    may not be: then they are lost, where the other way they might come twice; `updates` are statements of that kind.
    """

    seq_txn: int = 0
    structure: int = 0
    last: int = 0
    waiting: Index = field(default_factory=lambda: np.empty(0, np.int64))
    rows_waiting: int = 0
    gone_above: int = 0
    rows_logged: int | None = None
    doubted: int = 0
    updates: list[str] = field(default_factory=list)
    partial: int = 0
    evidence: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, code: RefusalCode, reason: str, instead: str = _SETTLE) -> "Applied":
        self.refusals.append(Refusal(code, reason, instead))
        return self


def decide(table: TableOnDisk, hint: int | None = None, least: int = 0) -> Applied:
    """Return what is applied of `table`, whose state is the one to be tried and has a `seq_txn` of 0.

    `hint` is what a damaged `_txn` still says of it; it counts only where nothing contradicts it. `least` was applied
    when a copy was taken, so that it is.
    """
    found = Applied()
    if not table.metadata.wal:
        found.evidence.append("a table without WAL has no transactions to apply")
        return found
    sources = [each for each in read_sources(table) if each.verdict.own and each.scan is not None]
    if not sources:
        reason = "neither txn_seq nor a copy of it has a log that can be read, so the transactions have no numbers"
        return found.refuse(RefusalCode.NO_LOG, reason, "restore txn_seq from a backup first")
    live = next((each for each in sources if each.live), sources[0])
    logs = [(each.name, each.scan) for each in sources if each.scan is not None]
    names = put_together(table.inventory, 0, logs)
    found.last = max(scan.end for _, scan in logs)
    fits = fitting_versions(table, live)
    if not fits:
        reason = "the columns of _meta are those of no structure version that log and WAL know"
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, reason, "repair-metadata, or restore txn_seq from a backup")
    low, high = _by_structure(names, found.last, min(fits), max(fits))
    if low < least <= high:
        low = least
        found.evidence.append(f"the guard's copy shows that transaction {least:,} was applied")
    table = replace(table, txn_file=replace(table.txn_file, current=replace(table.txn, structure_version=max(fits))))
    _by_rows(found, table, names, low, high, hint, counts=created_with_table(table.directory, live.log))
    if not found.refusals:
        found.structure = _structure_at(live, names, found.seq_txn)
        if found.structure not in fits:
            what = f"transaction {found.seq_txn:,} has structure version {found.structure:,}"
            found.refuse(RefusalCode.STRUCTURE_UNKNOWN, f"{what}, and the columns of _meta are not of that version")
    return found


def fitting_versions(table: TableOnDisk, live: LogSource) -> set[int]:
    """Return the structure versions whose columns are those of the table's `_meta`."""
    own = table_columns(table.metadata)
    known = [each.metadata for each in table.segments.values() if each.metadata is not None]
    known += [live.metadata] if not isinstance(live.metadata, Problem) else []
    fits = {each.structure_version for each in known if _same(own, each.columns)}
    for version in sorted(fits, reverse=True):  # changes that leave the columns as they are
        while version > 0 and version not in fits - {version}:
            change = live.changes.change(version)
            if isinstance(change, Problem) or change.command not in _NOT_COLUMNS:
                break
            version -= 1
            fits.add(version)
    return replayed(table, live, fits)


def _same(own: Sequence[Any], other: Sequence[Any]) -> bool:
    return [(c.raw_name, c.type_code, c.dropped) for c in own] == [(c.raw_name, c.type_code, c.dropped) for c in other]


def _by_structure(names: Names, last: int, least: int, most: int) -> tuple[int, int]:
    """Return the bounds of the last applied transaction that structure changes give: changes of the columns that
    `_meta` has are applied, the first that it has not is not."""
    changes = names.changes
    low = int(changes.seq[changes.version <= least].max(initial=0))
    high = int(changes.seq[changes.version > most].min(initial=last + 1)) - 1
    return low, max(low, min(last, high))


def _structure_at(live: LogSource, names: Names, seq: int) -> int:
    records = live.log.records(seq, seq) if live.scan is not None and 0 < seq <= live.scan.max_txn else None
    if records is not None and len(records):
        return int(records["structure_version"][0])
    return int(names.changes.version[names.changes.seq <= seq].max(initial=0))


def _by_rows(
    found: Applied, table: TableOnDisk, names: Names, low: int, high: int, hint: int | None, *, counts: bool
) -> None:
    """Narrow the bounds by the rows of the events on disk, and note which wait. `counts`: all rows came by the log."""
    seq = names.seq
    asked = np.flatnonzero((seq == 0) | ((seq > low) & (seq <= high)))
    surely = np.flatnonzero((seq > 0) & (seq <= low))
    later = np.flatnonzero(seq > high)
    comparison = RowComparison(table)
    possible = comparison.possible
    seen = np.asarray(comparison.look(asked, surely, later)) if possible else np.full(len(asked), Seen.UNKNOWN)
    if possible and (seen == Seen.UNKNOWN).any():
        seen = _where_nothing_was_removed(table, names, asked, seen, _most(high, seq[asked], seen))
    mine, unnamed, most = seq[asked], seq[asked] == 0, high
    if (unnamed & (seen == Seen.PRESENT)).any():
        reason = "rows are in the table whose transaction no record of the log names"
        found.refuse(RefusalCode.APPLIED_AMBIGUOUS, reason, "put a whole copy of txn_seq in place first")
        return
    low = max(low, int(mine[seen == Seen.PRESENT].max(initial=0)))
    high = _most(high, mine, seen)
    if counts and _rows_of(table, names, high) == table.txn.rows and _only_adds(table, names, high):
        bring = mine[(mine <= high) & (table.inventory.rows[asked] > 0)]
        low = max(low, int(bring[bring < bring.max(initial=0)].max(initial=0)))  # the last one may be there in part
    if not table.txn.rows:
        low = max(low, int(seq[(seq <= high) & (table.inventory.events["type"] == EventType.TRUNCATE)].max(initial=0)))
    if low > high:
        why = f"the rows of transaction {high + 1:,} are not in the table, but those of the later one {low:,} are"
        passed = asked[(mine > high) & (mine <= low) & (seen != Seen.PRESENT)]
        if not _count_as_applied(found, table, passed, why):
            found.refuse(RefusalCode.ROWS_CONTRADICT, why)
            return
        high = _most(most, mine[mine > low], seen[mine > low])
    between = (mine > low) & (mine <= high)
    unknown = between & (seen != Seen.SAME)
    doubtful = unnamed & (seen != Seen.ABSENT) & (table.inventory.rows[asked] > 0)
    if hint is not None and low <= hint <= high:
        found.evidence.append(f"_txn still says transaction {hint:,}, and nothing contradicts it")
        high = hint
    elif unknown.any() and not doubtful.any() and _replaceable(table, asked[between]):
        high = _before_run(np.unique(seq[(seq > low) & (seq <= high)]), high)  # no structure change, WAL on disk
        found.evidence.append("rows replace those of the same keys or range, so what is in doubt is applied once more")
    elif unknown.any() or doubtful.any():
        why = f" ({comparison.why_not})" if comparison.why_not else ""
        first = int(mine[unknown].min(initial=found.last + 1))
        which = f"transaction {first:,}" if first <= found.last else "a transaction that the log does not name"
        open_ = f"it is not known whether {which} is in the table{why}"
        high = _before_repeatable(table, names, low, high)
        unknown &= mine <= high
        fewer = _rows_missing(table, names, high)
        if doubtful.any() or fewer or not _count_as_applied(found, table, asked[unknown], open_):
            found.refuse(RefusalCode.APPLIED_AMBIGUOUS, open_)
            return
    found.seq_txn = high
    found.waiting = np.flatnonzero((seq == 0) | (seq > high))
    above = int((seq > high).sum()) + int((names.changes.seq > high).sum())
    found.gone_above = max(0, found.last - high - above)
    found.rows_waiting = int(table.inventory.rows[seq > high].sum())
    found.rows_logged = _rows_of(table, names, high)
    on_disk = int(((seq > low) & (seq <= high)).sum())
    if high - low > on_disk and high > 0:
        count = plural(high - low - on_disk, "transaction")
        found.warnings.append(f"{count} up to {high:,} without WAL on disk: counted as applied, as WAL goes only then")
    found.warnings += _without_partition(table, np.flatnonzero(seq > high)) if hint != high else ()
    said = f"the rows of {int(((seen == Seen.PRESENT) | (seen == Seen.ABSENT)).sum()):,} on disk were compared"
    found.evidence.append(f"the log ends at transaction {found.last:,}; {said}")
    _partly(found, table)


def _without_partition(table: TableOnDisk, events: Index) -> list[str]:
    """Say how many rows of waiting `events` are of times that no partition has: it may have been removed."""
    days, rows = Partitioning.of(table.metadata), table.inventory.events[events]
    held = days.floors(table.txn.partitions["timestamp"].astype(np.int64))
    fresh = events[carries_rows(rows) & ~np.isin(days.floors(rows["min_ts"].astype(np.int64)), held)]
    count = plural(int(table.inventory.rows[fresh].sum()), "row")
    said = f"{count} of times without a partition will be applied: if FORCE DROP PARTITION removed them, do it again"
    return [said] if len(fresh) and days.unit != UNPARTITIONED else []


def _most(high: int, seq: Index, seen: Any) -> int:
    """Return the last transaction up to `high` that may be applied: the first that is absent has none behind it."""
    return min(high, int(seq[(seen == Seen.ABSENT) & (seq > 0)].min(initial=high + 1)) - 1)


def _where_nothing_was_removed(table: TableOnDisk, names: Names, asked: Index, seen: Any, most: int) -> Any:
    """Return `seen` with what is absent for sure, as nothing from it to `most` can have removed its partitions.

    TRUNCATE and the statements that drop or detach partitions are transactions of the log. A TTL removes without one,
    and only what is older than the newest row by that.
    """
    events = table.inventory.events
    sql = (names.seq > 0) & (events["type"] == EventType.SQL)
    statements = {at: statement_of(table, at) for at in np.flatnonzero(sql & (names.seq <= most)).tolist()}
    ttls = {at: each for at, text in statements.items() if (each := _TTL.fullmatch(text)) is not None}
    hours = [int(each[1]) * _HOURS[each[2].lower()] for each in ttls.values()]
    hours.append(table.metadata.ttl if table.metadata.ttl > 0 else -table.metadata.ttl * _HOURS["m"])
    plain = is_plain(events)
    keeps = plain & (names.seq > 0)
    keeps[[at for at, text in statements.items() if at in ttls or _KEEPS_ROWS.fullmatch(text)]] = True
    harmless = np.union1d(names.seq[keeps], names.changes.seq)
    harmless = harmless[harmless <= most]
    last_other = _before_run(harmless, most)
    mine = names.seq[asked]
    lasting = plain[asked] & ((mine == 0) | (mine > last_other))
    if first := min((int(names.seq[at]) for at in ttls if names.seq[at] > last_other), default=0):
        lasting &= mine > first  # which TTL there was before that is not known
    if shortest := min((each for each in hours if each), default=0):
        newest = max(table.txn.max_ts, int(events["max_ts"][plain].max(initial=table.txn.max_ts)))
        lasting &= events["min_ts"][asked] > newest - shortest * 3600 * Partitioning.of(table.metadata).per_second
    never = replace(table, txn_file=replace(table.txn_file, current=replace(table.txn, truncate_version=0)))
    none = np.empty(0, np.int64)
    places = np.flatnonzero(lasting)
    again = np.asarray(RowComparison(never).look(asked[places], none, none))
    settled = seen.copy()
    settled[places[(again == Seen.ABSENT) & (seen[places] == Seen.UNKNOWN)]] = Seen.ABSENT
    return settled


def _replaceable(table: TableOnDisk, events: Index) -> bool:
    """Return whether events may be applied again, so that the last one stays: rows with dedup keys, or what the refresh
    of a view writes, which are ranges of rows replaced and its state; and nothing else."""
    rows = table.inventory.events[events]
    refreshed = (carries_rows(rows) & (rows["mode"] == DedupMode.REPLACE_RANGE)) | (
        rows["type"] == EventType.MAT_VIEW_INVALIDATE
    )
    return bool((refreshed | (is_plain(rows) & table.metadata.has_dedup)).all())


def _before_run(numbers: Index, top: int) -> int:
    """Return the last number up to `top` that is not among the ascending `numbers`."""
    return top - int((numbers[::-1] == top - np.arange(len(numbers))).sum())


def _rows_of(table: TableOnDisk, names: Names, high: int) -> int | None:
    """Return the rows that the transactions up to `high` brought, None if WAL of one of them is gone."""
    applied = (names.seq > 0) & (names.seq <= high)
    known = np.union1d(names.seq[applied], names.changes.seq[names.changes.seq <= high])
    return int(table.inventory.rows[applied].sum()) if len(known) == high else None


def _only_adds(table: TableOnDisk, names: Names, high: int) -> bool:
    """Return whether the transactions up to `high` add what rows they bring and no others, as ATTACH PARTITION does."""
    events = table.inventory.events
    others = np.flatnonzero((names.seq > 0) & (names.seq <= high) & ~is_plain(events))
    harmless = (_KEEPS_ROWS, _SETTINGS)
    return not table.metadata.has_dedup and all(
        int(events["type"][at]) == EventType.SQL and any(each.fullmatch(statement_of(table, at)) for each in harmless)
        for at in others.tolist()
    )


def _rows_missing(table: TableOnDisk, names: Names, high: int) -> bool:
    """Return whether the table has fewer rows than its transactions up to `high`, all on disk, brought."""
    applied = (names.seq > 0) & (names.seq <= high)
    plain = bool(is_plain(table.inventory.events[applied]).all()) and not table.metadata.has_dedup
    return plain and (_rows_of(table, names, high) or 0) > table.txn.rows


def _before_repeatable(table: TableOnDisk, names: Names, low: int, high: int) -> int:
    """Return the last transaction up to `high` from which on all does more if it is applied twice.

    A TRUNCATE or a setting does not, nor UPDATEs that set constants, unless one chooses rows by a column that a later
    one sets: from open to filled, then from new to open, is another thing when it is done again.
    """
    events = {int(names.seq[at]): at for at in np.flatnonzero((names.seq > low) & (names.seq <= high)).tolist()}
    set_later: set[str] = set()
    while high > low and high in events:
        kind = int(table.inventory.events["type"][events[high]])
        statement = statement_of(table, events[high]) if kind == EventType.SQL else ""
        update = _CONSTANTS.fullmatch(statement)
        if update is None and kind != EventType.TRUNCATE and not _SETTINGS.fullmatch(statement):
            break
        if update is not None:
            if set_later & {each.lower() for each in _WORD.findall(update["where"] or "")}:
                break
            set_later |= {each.lower() for each in _WORD.findall(update["set"])}
        high -= 1
    return high


def statement_of(table: TableOnDisk, at: int) -> str:
    """Return the SQL of the event `at` an index of the inventory, empty if it cannot be read."""
    event = table.inventory.events[at]
    text = read_statement(table.segments[int(event["wal"]), int(event["segment"])], int(event["txn"]))
    return "" if isinstance(text, Problem) else text.strip()


def _count_as_applied(found: Applied, table: TableOnDisk, events: Index, why: str) -> bool:
    """Count events as applied of which nothing tells; return whether what is lost by that can be named."""
    rows = table.inventory.events[events]
    statements = [statement_of(table, at) for at in events[~is_plain(rows)].tolist()]
    if not all(statements):
        return False
    doubted = int(table.inventory.rows[events].sum())
    found.doubted += doubted
    found.updates += [clean_line(each) for each in statements if each.upper().startswith("UPDATE")]
    if doubted:
        found.warnings.append(f"{why}: {plural(doubted, 'row')} count as applied; salvage-wal exports them")
    found.warnings += [f"counts as applied, and may not be: {clean_line(each)}" for each in statements]
    return True


def _partly(found: Applied, table: TableOnDisk) -> None:
    """Count the rows of waiting events that are at the end of the table: they were being applied at the crash.

    The refresh of a view replaces what is in its range, so that it may have been applied.
    """
    waiting = found.waiting[table.inventory.rows[found.waiting] > 0]
    waiting = waiting[table.inventory.events["mode"][waiting] != DedupMode.REPLACE_RANGE]
    if not len(waiting) or not table.txn.rows:
        return
    try:
        rows = TableRows(table.path, lag=True, txn=table.txn)
        compared = ComparedColumns.of(rows.metadata, rows.versions)
        wanted = read_event_rows(table, compared, waiting, np.ones(len(waiting), np.bool_))
        stamps = np.unique(np.concatenate((wanted.stamps, wanted.bare_stamps)))
        content = read_content(rows, compared, stamps)
        others = np.setdiff1d(np.arange(len(table.inventory)), found.waiting)
        beside = read_event_rows(table, compared, others, table.inventory.rows[others] > 0)
        here = np.isin(content.stamps, wanted.stamps) & (counted(content.values, beside.values) == 0)
        if here.any():  # not what came by WAL that is purged
            here &= ~unlike(table, rows, compared, waiting, content)
    except (DamageError, OSError) as error:
        why = f"unapplied rows cannot be compared: {said_of(error, table.path)}"
        found.refuse(RefusalCode.APPLIED_AMBIGUOUS, why)
        return
    if compared.keys or not here.any():
        return  # a row of the same keys is replaced, however often it is applied
    same = counted(content.values[here], wanted.values) > 0
    earliest = int(content.stamps[here].min())
    if not same.all() or earliest < int(table.txn.partitions["timestamp"][-1]):
        reason = (
            "the table has rows of the time of a transaction that is not applied, and no WAL on disk has them as "
            "applied: it may have been cut off while it was being applied"
        )
        found.refuse(RefusalCode.ROWS_CONTRADICT, reason)
        return
    found.partial = int(same.sum())
