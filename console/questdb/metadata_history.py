"""What the `_meta` of a WAL table must say: its first one, `txn_seq/_meta.0`, brought forward by the structure log.

No ALTER changes the partition unit, the designated timestamp, or that it is a WAL table; the first `_meta` of a table
that was converted to WAL is of before. Dedup keys are changed by the structure log alone. Settings that no log holds
(the TTL) are the first ones for as long as none was changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.reading import DamageError, Problem, read_small
from console.questdb.registry import read_registry
from console.questdb.structure_log import Command, StructureChange, StructureLog
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_metadata_changes import MetadataImage
from console.questdb.table_txn import TxnArea

FIRST: Final = "_meta.0"
Columns = tuple[tuple[str, int, bool, bool], ...]
_NEVER_CHANGED: Final = ("partition_by", "timestamp_index")
_SETTINGS: Final = ("ttl", "max_uncommitted_rows", "o3_max_lag_us")


@dataclass(frozen=True, slots=True)
class MetadataHistory:
    """The first `_meta`, and the columns of each structure version that the log leads to."""

    first: MetadataImage
    columns: tuple[Columns, ...]

    def versions(self, columns: Columns) -> list[int]:
        """Return the structure versions that have these columns."""
        return [version for version, each in enumerate(self.columns) if each == columns]


def columns_of(columns: Sequence[TableColumn]) -> Columns:
    """Return what the structure log says of columns."""
    return tuple((each.raw_name, each.type_code, each.dropped, each.dedup_key) for each in columns)


def image_at(path: Path) -> MetadataImage | None:
    """Return the parts of a `_meta`, None where there is none that can be read."""
    file = read_small(path)
    try:
        return MetadataImage.of(file.data) if file.present else None
    except DamageError:
        return None


def read_history(sequencer: Path, log: StructureLog) -> MetadataHistory | None:
    """Return the history in the directory `sequencer`, None where it has no first `_meta`."""
    first, walked = image_at(sequencer / FIRST), image_at(sequencer / FIRST)
    if first is None or walked is None:
        return None
    found = [columns_of(walked.metadata(0).columns)]
    for version in range(1, len(log.ends)):
        change = log.change(version)
        try:
            if isinstance(change, Problem):
                break
            walked.apply(change)
        except DamageError:
            break
        found.append(columns_of(walked.metadata(0).columns))
    return MetadataHistory(first, tuple(found))


def never_wal(table: TableDirectory, metadata: TableMetadata) -> bool:
    """Return whether `_meta` alone calls it a WAL table: a registry that is whole, and its directory, have no such."""
    if not metadata.wal or table.registered or "~" in table.directory or table.sequencer.exists() or table.wals():
        return False
    registry = read_registry(table.path.parent)
    return bool(registry.live()) and not registry.problems


def contradictions(
    history: MetadataHistory, own: MetadataImage, metadata: TableMetadata, area: TxnArea
) -> Iterator[str]:
    """Yield what a table's `_meta` says against its history, and put what that says into its image `own`."""
    header, first = (Fields(bytes(each.header)) for each in (own, history.first))
    names = [*_NEVER_CHANGED, *(["wal"] if META_HEADER.value("wal", first) else [])]
    if metadata.metadata_version - META_HEADER.value("metadata_version", first) == area.structure_version:
        names += _SETTINGS
    for name in names:
        now, then = META_HEADER.value(name, header), META_HEADER.value(name, first)
        if now != then:
            META_HEADER.put(own.header, 0, **{name: then})
            yield f"{META_HEADER[name].label}: {now} in _meta, {then} in txn_seq/{FIRST} and never changed since"
    if area.structure_version >= len(history.columns):
        return
    wanted, columns = history.columns[area.structure_version], columns_of(metadata.columns)
    if [each[:3] for each in wanted] != [each[:3] for each in columns] or wanted == columns:
        return
    keys = [index for index, each in enumerate(wanted) if each[3]]
    said = [", ".join(each[0] for each in some if each[3]) or "none" for some in (columns, wanted)]
    own.apply(StructureChange(0, 0, 0, Command.ENABLE_DEDUP, tuple(keys), ()))
    yield f"dedup keys: {said[0]} in _meta, {said[1]} in the structure log"
