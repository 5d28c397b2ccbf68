"""Structure: up to which version the log goes, and what `_meta` and `_txnlog.meta.*` must hold for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.metadata_history import columns_of, read_history
from console.questdb.reading import Problem
from console.questdb.sequencer_metadata import SequencerColumn, SequencerMetadata, encode_sequencer_metadata
from console.questdb.structure_log import Command
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.table.names import Names
from console.text import clean_line, plural

PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Structure:
    """`version` at the log's end; bytes of `_meta`; the sequencer directory whose `_txnlog.meta.*` are taken, if any.

    Without such a directory the two files hold no changes: right as long as every change is applied (docs/formats.md).
    """

    version: int
    metadata: bytes
    changes_from: Path | None
    changes_sizes: tuple[int, int]  # of `.meta.i` and `.meta.d`
    origin: str
    refusal: Refusal | None = None
    key_changes: tuple[int, ...] = ()
    """Pending versions that change the dedup keys, or may: no writer begins a segment for them."""
    lost: "LostChanges | None" = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LostChanges:
    """Structure `versions` that a record names and whose change no `_txnlog.meta.d` has; `columns` are those that the
    sequencer's own `_meta`, or a copy of it, has and the table has not."""

    versions: tuple[int, ...]
    columns: tuple[str, ...]

    @property
    def description(self) -> str:
        count = len(self.versions)
        which = ", ".join(str(version) for version in self.versions[:5])
        named = ", ".join(self.columns[:5])
        columns = f", with column {named} and its values" if named else ", with the values of any column that was added"
        return (
            f"{plural(count, 'structure change')} of the table (to version {which}) lost{columns}: the log names "
            f"{'it' if count == 1 else 'them'}, and no _txnlog.meta.d holds the content"
        )


def settle(table: TableOnDisk, names: Names, sources: Sequence[LogSource], header_whole: bool) -> Structure:
    """Return the structure that the rebuilt sequencer has. `header_whole`: the log's own header and records suffice.

    Pending changes count where a record names them or a segment was written under them; without a whole log also where
    `_txnlog.meta.i` has them, which is written before the record.
    """
    applied = table.structure
    events = table.inventory.events
    written = max(applied, int(events["structure"].max()) if len(events) else 0)
    needed = max([written, *names.changes.version.tolist()])
    best = max(sources, key=_reach, default=None)
    reach = _reach(best) if best is not None else 0
    version = applied
    if reach > applied:
        version = min(reach, needed) if header_whole else reach
    done = max([written, *_counted(names, sources)])
    begun = version if _only_begun(sources, done, version) else done
    version = done if begun > done else version
    metadata, origin = _metadata(table, sources, version)
    chosen = best.path if best is not None and reach >= version and reach > 0 else None
    sizes = _sizes(best) if chosen is not None and best is not None else (max(PAGE, 8 * (version + 2)), 0)
    refusal = None
    if metadata is None:
        refusal = Refusal(
            RefusalCode.STRUCTURE_UNKNOWN,
            f"no copy of the columns at structure version {version} was found, in the table, a segment or a backup",
            "restore-sequencer from a backup whose _meta has that version",
            action="restore-sequencer",
        )
    keys = _key_changes(best, applied, version)
    lost = _lost(table, names, sources, version) if begun == done else None
    if _key_changes(best, done, begun):
        lost = LostChanges(tuple(range(done + 1, begun + 1)), ())
    notes = _begun_notes(best, done, begun)
    return Structure(version, metadata or b"", chosen, sizes, origin, refusal, keys, lost, notes)


def _counted(names: Names, sources: Sequence[LogSource]) -> list[int]:
    """Return the versions that records name, but for those that only records behind the header in place name."""
    last = max((source.scan.max_txn for source in sources if source.scan is not None), default=0)
    return [int(version) for version in names.changes.version[names.changes.seq <= last]]


def _only_begun(sources: Sequence[LogSource], done: int, version: int) -> bool:
    """Return whether the changes behind `done` up to `version` were begun and not committed.

    An ALTER writes the change, the record, the sequencer's `_meta` and then the log's header. No counted record and no
    segment names these changes, and the `_meta` in place is from before them.
    """
    return version > done and any(
        source.live and not isinstance(source.metadata, Problem) and source.metadata.structure_version == done
        for source in sources
    )


def _begun_notes(source: LogSource | None, done: int, begun: int) -> tuple[str, ...]:
    if begun <= done or source is None:
        return ()
    found = (source.changes.change(number) for number in range(done + 1, begun + 1))
    what = [each.summary for each in found if not isinstance(each, Problem)]
    return (f"ALTER TABLE was begun and not committed, and is not applied: {'; '.join(what[:5])}",)


def _lost(table: TableOnDisk, names: Names, sources: Sequence[LogSource], version: int) -> LostChanges | None:
    versions = tuple(sorted({number for number in names.changes.version.tolist() if number > version}))
    if not versions:
        return None
    own = {column.raw_name for column in table.metadata.columns}
    found = [source.metadata for source in sources if not isinstance(source.metadata, Problem)]
    later = [column for each in found if each.structure_version > version for column in each.columns]
    new = {clean_line(column.name): None for column in later if column.raw_name not in own and not column.dropped}
    return LostChanges(versions, tuple(new))


def _key_changes(source: LogSource | None, applied: int, version: int) -> tuple[int, ...]:
    """Return which changes to `applied` + 1 … `version` are of the dedup keys, or cannot be read."""
    if source is None:
        return ()
    found = {number: source.changes.change(number) for number in range(applied + 1, version + 1)}
    return tuple(
        number
        for number, change in found.items()
        if isinstance(change, Problem) or change.command in (Command.ENABLE_DEDUP, Command.DISABLE_DEDUP)
    )


def _reach(source: LogSource) -> int:
    """Return the highest structure version whose change the source's `_txnlog.meta.*` hold whole; 0 for none."""
    ends = source.changes.ends
    if len(ends) < 2 or source.changes.missing or int(ends[-1]) > source.changes.data_size:
        return 0
    last = len(ends) - 1
    return 0 if isinstance(source.changes.change(last), Problem) else last


def _sizes(source: LogSource) -> tuple[int, int]:
    return ((source.path / "_txnlog.meta.i").stat().st_size, (source.path / "_txnlog.meta.d").stat().st_size)


def _metadata(table: TableOnDisk, sources: Sequence[LogSource], version: int) -> tuple[bytes | None, str]:
    """Return the bytes of a `_meta` at `version`, and where it was taken from."""
    own = table.metadata
    made = _from_table(own, version) if version == table.structure else None
    for source in sources:
        found = source.metadata
        if isinstance(found, Problem) or found.structure_version != version or found.table_id != own.table_id:
            continue
        if made is not None and _columns(found.columns) != _columns(table_columns(own)):
            continue  # the table itself says otherwise, and it is the one that is applied
        return _encode(found, version), f"{clean_line(source.name)}/_meta"
    if made is not None:
        return made, "the table's own _meta"
    for (wal, segment), each in sorted(table.segments.items(), reverse=True):
        if each.metadata is not None and each.metadata.structure_version == version:
            return _encode(each.metadata, version), f"wal{wal}/{segment}/_meta"
    return None, ""


def _encode(metadata: SequencerMetadata, version: int) -> bytes:
    order = metadata.read_order if metadata.tail_valid and metadata.read_order is not None else None
    if order is None or len(order) != len(metadata.columns):
        order = tuple(range(len(metadata.columns)))
    return encode_sequencer_metadata(
        metadata.columns,
        structure_version=version,
        timestamp_index=metadata.timestamp_index,
        table_id=metadata.table_id,
        read_order=order,
    )


def _from_table(own: TableMetadata, version: int) -> bytes:
    return encode_sequencer_metadata(
        table_columns(own),
        structure_version=version,
        timestamp_index=own.timestamp_index,
        table_id=own.table_id,
        read_order=read_order(own.columns),
    )


def read_order(columns: Sequence[TableColumn]) -> tuple[int, ...]:
    """Return the position at which each column is read: a column of a changed type stands where the old one stood.

    Source: SequencerMetadata.changeColumnType; positional INSERTs depend on it.
    """
    order: list[int] = []
    for index, column in enumerate(columns):
        replaced = column.replaces
        order.append(order[replaced] if replaced is not None and replaced < index else index)
    return tuple(order)


def table_columns(own: TableMetadata) -> tuple[SequencerColumn, ...]:
    """Return the columns of a table's `_meta` as a sequencer's `_meta` has them."""
    return tuple(SequencerColumn(c.name, c.raw_name, c.type_code, c.dropped) for c in own.columns)


def replayed(table: TableOnDisk, live: LogSource, fits: set[int]) -> set[int]:
    """Return the structure versions whose columns and dedup keys are those of the table's `_meta`.

    The structure log gives them, from the first `_meta` on; where it does not lead to its end, the versions `fits`
    are returned, which other files show. It says nothing of versions behind its end.
    """
    last = len(live.changes.ends) - 1
    history = read_history(live.path, live.changes)
    if history is None or history.at(last) is None:
        return fits
    found = set(history.versions(columns_of(table.metadata.columns)))
    return found | {version for version in fits if version > last} if found else fits


def _columns(columns: Sequence[SequencerColumn]) -> list[tuple[str, int, bool]]:
    return [(c.raw_name, c.type_code, c.dropped) for c in columns]
