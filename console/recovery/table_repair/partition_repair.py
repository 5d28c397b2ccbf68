"""What repair-partition does with the damaged partitions of a table: the choice for each, its files, and `_txn`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from console.questdb.layout import TableDirectory
from console.questdb.parquet_rows import read_layout, read_time
from console.questdb.partition_columns import STATE_FAULTS, PartitionFault
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.partition_spans import UNPARTITIONED, PartitionSpan
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile
from console.questdb.table_encoding import encode_column_versions
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.model import Change, Fact, LostValues, Refusal, RowsLost, Stage
from console.recovery.plans import mark_of
from console.recovery.steps.files import build_directory, new_name, old_name, swap_directory
from console.recovery.steps.set_aside import set_aside
from console.recovery.store.copying import digest_of_file
from console.recovery.store.deep_damage import Places
from console.recovery.table_repair.damaged_partitions import Choice, DamagedPartition, damaged_partitions
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.partition_copies import Sources
from console.recovery.table_repair.planning import Repair, Replacement
from console.recovery.table_repair.txn_partitions import Extent, tops_of_last, with_partitions
from console.settings import PartitionSettings
from console.text import clean_line, plural

_NOTHING: Final = (
    "No partition of it has a file that is missing, short or invalid; check --deep reads the values, and what it finds "
    "is known here."
)


@dataclass(slots=True)
class PartitionRepair:
    """A repair, and the stages that come before its replacements."""

    repair: Repair
    before: list[Stage] = field(default_factory=list)


def partition_repair(
    table: TableDirectory, wanted: PartitionSettings, evidence: tuple[Path, ...], known: Places = frozenset()
) -> PartitionRepair:
    """Return what is done with the damaged partitions of a table; `evidence` are copies of it. Raises OSError.

    What a full check found is `known`: those columns are read whole, as are all of a partition that is wanted by name.
    """
    files = PartitionFiles.of(table.path)
    if files is None:
        return _refused(RefusalCode.TABLE_TXN_INVALID, "_txn or _meta cannot be read, so nothing names the partitions",
                        "repair _meta and _txn first")  # fmt: skip
    damaged, others = damaged_partitions(table, files, wanted.partition, Sources(wanted.source, evidence), known)
    if others:
        return _refused(*_instead_of(others[0]))
    if not damaged:
        return PartitionRepair(Repair(_NOTHING))
    chosen: list[tuple[DamagedPartition, Choice]] = []
    refused: list[Refusal] = []
    for each in damaged:
        choice = Choice(wanted.choice) if wanted.choice else each.best
        if choice in each.ways:
            chosen.append((each, choice))
        else:
            why = each.cannot.get(choice, "it is not possible")
            refused.append(_refusal(RefusalCode.RESULT_UNKNOWN, f"{clean_line(each.span.name)}: {why}", _others(each)))
    refused += _lag(files, chosen) + _unpartitioned(files, chosen)
    if refused:
        return PartitionRepair(Repair(_why(damaged), refused=tuple(refused), warnings=tuple(map(_choices, damaged))))
    return _made(table, files, chosen)


def _made(
    table: TableDirectory, files: PartitionFiles, chosen: Sequence[tuple[DamagedPartition, Choice]]
) -> PartitionRepair:
    replacements = [
        Replacement(f"write {plural(len(new), 'file')} of partition {clean_line(each.span.name)}", new)
        for each, choice in chosen
        if (new := each.ways[choice].files)
    ]
    try:
        if state := _state(table, files, chosen):
            named = " and ".join(file.path for file in state)
            replacements.append(Replacement(f"write {named} with the partitions that stay", state))
        before = _before(table, chosen)
    except DamageError as damage:
        return _refused(RefusalCode.RESULT_UNKNOWN, damage.what, "name another choice")
    ways = [each.ways[choice] for each, choice in chosen]
    lost, doubted = sum(way.rows_lost for way in ways), sum(way.doubted for way in ways)
    values: tuple[LostValues, ...] = tuple(value for way in ways for value in way.values_lost)
    repair = Repair(
        _why([each for each, _ in chosen]),
        tuple(replacements),
        rows_lost=RowsLost.exact(lost) if all(map(_is_counted, chosen)) else RowsLost.at_most(lost + doubted),
        values_lost=values,
        warnings=(
            *(_choices(each) for each, _ in chosen),
            *(["salvage-wal exports rows that the WAL still holds: a lost row may be among them"] if lost else []),
        ),
    )
    return PartitionRepair(repair, before)


def _is_counted(chosen: tuple[DamagedPartition, Choice]) -> bool:
    """Whether the rows that a choice loses are known to have been there, and those that it keeps to be the partition's.

    `_txn` may count too many in the last partition: of the others it has the sum too.
    """
    each, choice = chosen
    if each.ways[choice].doubted or each.disputed:
        return False
    return each.counted or not each.ways[choice].rows_lost or not each.span.last


def _before(table: TableDirectory, chosen: Sequence[tuple[DamagedPartition, Choice]]) -> list[Stage]:
    """Return the stages that put copies in place, and then the one that moves directories out of the table."""
    mark = mark_of([Fact(table.directory, table_stamp(table.path))])
    stages: list[Stage] = []
    moved: list[str] = []
    for number, (each, choice) in enumerate(chosen):
        if choice is Choice.COPY and each.copy is not None:
            stages += _copied(table, each, mark, number)
            moved += [old_name(each.span.directory, mark)] if each.there else []
        elif choice is Choice.SET_ASIDE and each.there:
            moved.append(each.span.directory)
    return [*stages, set_aside(table.directory, mark, moved)] if moved else stages


def _copied(table: TableDirectory, each: DamagedPartition, mark: str, number: int) -> list[Stage]:
    assert each.copy is not None  # noqa: S101 (chosen only if there is one)
    path = f"{table.directory}/{each.span.directory}"
    source = each.copy.path
    specs = [_whole(source / name, size) for name, size in each.copy.files]
    total = sum(size for _, size in each.copy.files)
    title = f"copy {clean_line(str(source))}, {plural(len(specs), 'file')}"
    change = Change("copy", new_name(path, mark), before=str(source), size=total)
    build = build_directory(new_name(path, mark), table.directory, specs, title=title, changes=(change,))
    title = f"put it in the place of {clean_line(each.span.directory)}"
    swap = swap_directory(path, mark, existed=each.there, title=title)
    return [_numbered(build, number), _numbered(swap, number)]


def _whole(path: Path, size: int) -> dict[str, Any]:
    """Return the spec of a new file that holds what another one does."""
    piece = {"at": 0, "length": size, "from": {"outside": str(path)}, "from_at": 0}
    return {"name": path.name, "size": size, "sha256": digest_of_file(path), "pieces": [piece] if size else []}


def _numbered(stage: Stage, number: int) -> Stage:
    return Stage(f"{stage.id}-{number}", stage.title, stage.step, stage.parameters, stage.changes)


def _state(
    table: TableDirectory, files: PartitionFiles, chosen: Sequence[tuple[DamagedPartition, Choice]]
) -> tuple[NewFile, ...]:
    """Return `_txn` as it must be, with `_cv` if that changes too; nothing if they stay.

    Raises DamageError if a timestamp that stays cannot be read, OSError.
    """
    lost = {each.span.start: each.ways[choice].rows_lost for each, choice in chosen}
    if not any(lost.values()):
        return ()
    stay = [(span, span.rows - lost.get(span.start, 0)) for span in files.spans]
    stay = [(span, rows) for span, rows in stay if rows]
    copies = {each.span.start: each.copy.path for each, choice in chosen if choice is Choice.COPY and each.copy}
    first, last = (
        (
            _time(copies.get(span.start, table.path / span.directory), files, span, _old_row(chosen, span, row))
            for span, row in ((stay[0][0], 0), (stay[-1][0], stay[-1][1] - 1))
        )
        if stay
        else (None, None)
    )
    extent = Extent(first, last)
    entries = tops_of_last(files, stay[-1][0].start, stay[-1][1]) if stay else None
    version = None if entries is None else files.area.column_version + 1
    content = with_partitions(table.path, files.area, {span.start: rows for span, rows in stay}, extent, version)
    rows = sum(count for _, count in stay)
    txn = NewFile.of("_txn", content, f"{plural(len(stay), 'partition')} with {plural(rows, 'row')}")
    if entries is None or version is None:
        return (txn,)
    told = f"version {version:,}, where columns begin in {clean_line(stay[-1][0].name)}"
    return NewFile.of("_cv", encode_column_versions(version, entries), told), txn


def _old_row(chosen: Sequence[tuple[DamagedPartition, Choice]], span: PartitionSpan, row: int) -> int:
    return next((each.ways[choice].old_row(row) for each, choice in chosen if each.span.start == span.start), row)


def _time(folder: Path, files: PartitionFiles, span: PartitionSpan, row: int) -> int:
    """Return the timestamp of a row of a partition whose files lie in `folder`: its directory, or a copy of it.

    Raises DamageError if it cannot be read, OSError.
    """
    if span.parquet_size is not None:
        return _time_in_parquet(folder / PARQUET, files, span, row)
    column = files.timestamp(span)
    if column is None:
        raise DamageError("the table has no designated timestamp")
    with DbFile(folder / column.data.name) as file:
        found = file.array(8 * row, "<i8", 1)
    if not len(found):
        raise DamageError(f"{clean_line(span.directory)} has no timestamp of row {row:,}")
    return int(found[0])


def _time_in_parquet(path: Path, files: PartitionFiles, span: PartitionSpan, row: int) -> int:
    timestamp = files.metadata.timestamp
    name = timestamp.raw_name if timestamp is not None else ""
    try:
        for group in read_layout(path).groups:
            if row < group.first + group.rows:
                return read_time(path, group, name, row - group.first)
    except ImportError:
        raise DamageError(f"{clean_line(span.directory)} is in Parquet, and pyarrow is not installed") from None
    except DamageError as damage:
        raise DamageError(f"{clean_line(span.directory)}: {damage.what}") from damage
    raise DamageError(f"{clean_line(span.directory)} has no row {row:,}")


def _lag(files: PartitionFiles, chosen: Sequence[tuple[DamagedPartition, Choice]]) -> list[Refusal]:
    if not files.area.lag_rows or not any(each.span.last for each, _ in chosen):
        return []
    reason = f"the last partition also holds {plural(files.area.lag_rows, 'row')} of the lag, which this would drop"
    return [_refusal(RefusalCode.LAG_NOT_ZERO, reason, "salvage-wal exports the rows of the lag")]


def _unpartitioned(files: PartitionFiles, chosen: Sequence[tuple[DamagedPartition, Choice]]) -> list[Refusal]:
    unit = Partitioning.of(files.metadata).unit
    if unit != UNPARTITIONED or not any(each.ways[choice].rows_lost for each, choice in chosen):
        return []
    return [_refusal(RefusalCode.RESULT_UNKNOWN, "the table is not partitioned, so it has no partition to take out",
                     "choose null, or salvage-table")]  # fmt: skip


def _instead_of(fault: PartitionFault) -> tuple[RefusalCode, str, str]:
    where = f"{clean_line(fault.file.name)} of partition {clean_line(fault.partition.name)}: {fault.what}"
    if fault.kind in STATE_FAULTS:
        return RefusalCode.PARTITION_ROWS_DIFFER, where, "repair _txn first: how many rows it has is not known"
    return RefusalCode.PERMISSION, where, "run walmedic as the owner of the database"


def _why(damaged: Sequence[DamagedPartition]) -> str:
    names = ", ".join(clean_line(each.span.name) for each in damaged[:5])
    return f"{plural(len(damaged), 'partition')} with damaged files: {names}."


def _choices(each: DamagedPartition) -> str:
    costs = "; ".join(f"{choice} loses {each.ways[choice].cost}" for choice in Choice if choice in each.ways)
    return f"partition {clean_line(each.span.name)} ({plural(each.span.rows, 'row')}): {costs}"


def _others(each: DamagedPartition) -> str:
    ways = ", ".join(choice for choice in Choice if choice in each.ways)
    return f"choose {ways}" if ways else "put back _txn and _cv of the crash; salvage-table exports the rows"


def _refusal(code: RefusalCode, reason: str, instead: str) -> Refusal:
    return Refusal(code, reason, instead)


def _refused(code: RefusalCode, reason: str, instead: str) -> PartitionRepair:
    return PartitionRepair(Repair(reason, refused=(Refusal(code, reason, instead),)))
