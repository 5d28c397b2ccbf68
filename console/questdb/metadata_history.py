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
    """The first `_meta` of the table, and the structure log that leads on from it; each question walks it anew."""

    first: MetadataImage
    log: StructureLog

    def at(self, version: int) -> tuple[int, Columns] | None:
        """Return how often `_meta` had a new version by a structure version, and the columns of that.

        None where the log does not lead to it.
        """
        found = next(((moved, image) for at, moved, image in self._walk(version) if at == version), None)
        return None if found is None else (found[0], columns_of(found[1].metadata(0).columns))

    def kept_keys(self, version: int) -> set[int]:
        """Return the columns that were dedup keys since the last DISABLE: 9.1.0 keeps earlier ones beside new ones.

        Source: TableWriter.enableDeduplicationWithUpsertKeys, which sets flags and clears none; 8.1.4 and 9.3.4 do.
        """
        kept = {at for at, each in enumerate(self.first.metadata(0).columns) if each.dedup_key}
        for number in range(1, version + 1):
            change = self.log.change(number)
            if isinstance(change, StructureChange) and change.command == Command.DISABLE_DEDUP:
                kept.clear()
            elif isinstance(change, StructureChange) and change.command == Command.ENABLE_DEDUP:
                kept.update(change.numbers)
        return kept

    def versions(self, columns: Columns) -> list[int]:
        """Return the structure versions of which a `_meta` with these columns can be, dedup keys included."""
        names = [each[0] for each in columns]
        return [
            version
            for version, _, image in self._walk(len(self.log.ends) - 1)
            if image.names == names and self.fits(version, columns_of(image.metadata(0).columns), columns)
        ]

    def fits(self, version: int, wanted: Columns, columns: Columns) -> bool:
        """Return whether a `_meta` with `columns` is of a version whose are `wanted`, earlier dedup keys aside."""
        if [each[:3] for each in wanted] != [each[:3] for each in columns]:
            return False
        keys, own = ({at for at, each in enumerate(some) if each[3]} for some in (wanted, columns))
        return keys == own or bool(keys and keys <= own <= self.kept_keys(version))

    def _walk(self, last: int) -> Iterator[tuple[int, int, MetadataImage]]:
        """Yield each structure version up to `last`, how many versions `_meta` had by it, and that, changed next."""
        image, moved = MetadataImage.of(self.first.encode(0)), 0
        yield 0, moved, image
        for version in range(1, min(last, len(self.log.ends) - 1) + 1):
            change = self.log.change(version)
            if isinstance(change, Problem):
                return
            try:
                image.apply(change)
            except DamageError:
                return
            moved += change.in_metadata
            yield version, moved, image


def columns_of(columns: Sequence[TableColumn]) -> Columns:
    return tuple((each.raw_name, each.type_code, each.dropped, each.dedup_key) for each in columns)


def image_at(path: Path) -> MetadataImage | None:
    file = read_small(path)
    try:
        return MetadataImage.of(file.data) if file.present else None
    except DamageError:
        return None


def read_history(sequencer: Path, log: StructureLog) -> MetadataHistory | None:
    first = image_at(sequencer / FIRST)
    return None if first is None else MetadataHistory(first, log)


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
    moved, wanted = history.at(area.structure_version) or (None, None)
    if metadata.metadata_version - META_HEADER.value("metadata_version", first) == moved:
        names += _SETTINGS
    for name in names:
        now, then = META_HEADER.value(name, header), META_HEADER.value(name, first)
        if now != then:
            META_HEADER.put(own.header, 0, **{name: then})
            yield f"{META_HEADER[name].label}: {now} in _meta, {then} in txn_seq/{FIRST} and never changed since"
    columns = columns_of(metadata.columns)
    if wanted is None or [each[:3] for each in wanted] != [each[:3] for each in columns]:
        return
    if history.fits(area.structure_version, wanted, columns):
        return
    keys = [index for index, each in enumerate(wanted) if each[3]]
    said = [", ".join(each[0] for each in some if each[3]) or "none" for some in (columns, wanted)]
    own.apply(StructureChange(0, 0, 0, Command.ENABLE_DEDUP, tuple(keys), ()))
    yield f"dedup keys: {said[0]} in _meta, {said[1]} in the structure log"
