"""Whether the files of a newer QuestDB still have the formats that walmedic knows, as the files themselves say.

Each format has a number of its own (ColumnType.VERSION, MIGRATION_VERSION, TableTransactionLogFile, WalEventReader). A
number above the highest known one means that a field may lie elsewhere. A lower or impossible number is damage.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.model import RecordFormat, Since
from console.questdb.formats.segment import EVENT_HEADER
from console.questdb.formats.sequencer import LOG_HEADER, SEQUENCER_META
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.reading import read_small
from console.questdb.server_version import Version, VersionsOnDisk
from console.questdb.table_metadata import VERSION, TableMetadata, minor_checksum, read_table_metadata

NEWEST_KNOWN: Final[Since] = (9, 3, 4)
"""The newest QuestDB whose formats and behaviour were measured."""
MIGRATION: Final = 427
"""The highest migration number of any known version."""
_PLAUSIBLE: Final = 200
"""A number further above the highest known one is damage."""
_LOG, _EVENTS, _SEQUENCER, _MINOR = 1, 2, 0, 1


def newer_than_known(versions: VersionsOnDisk) -> str:
    """Return the newest QuestDB that has written here if it is not known, else empty."""
    found = [version for text in versions.seen if (version := Version.parse(text)) is not None]
    newest = max(found, default=versions.last)
    if newest is not None:
        return str(newest) if newest.numbers > NEWEST_KNOWN else ""
    number = versions.migration[1] if versions.migration is not None else 0
    return f"an unknown version with migration {number}" if MIGRATION < number < MIGRATION + _PLAUSIBLE else ""


def unknown_formats(versions: VersionsOnDisk, table: TableDirectory) -> Iterator[str]:
    """Yield the formats of the table's files that are newer than the known ones, in words."""
    migration = versions.migration
    if migration is not None:
        yield from _above("_upgrade.d: table version", migration[0], VERSION)
        yield from _above("_upgrade.d: migration", migration[1], MIGRATION)
    yield from _number(table.path / "_meta", META_HEADER, "version", VERSION)
    metadata = read_table_metadata(table.path)
    if isinstance(metadata, TableMetadata):
        unknown = [column for column in metadata.columns if not column.dropped and column.tag is None]
        yield from (f"_meta: column {column.name} has the {column.type_name}" for column in unknown)
        header = META_HEADER.read(Fields(read_small(table.path / "_meta").data))
        if header["minor_checksum"] == minor_checksum(metadata.metadata_version, len(metadata.columns)):
            yield from _above("_meta: minor version", header["minor_version"], _MINOR)
    yield from _number(table.sequencer / "_txnlog", LOG_HEADER, "version", _LOG)
    yield from _number(table.sequencer / "_meta", SEQUENCER_META, "version", _SEQUENCER)
    for wal in table.wals():
        for segment in wal.segments:
            path = wal.segment(segment) / "_event"
            for said in _number(path, EVENT_HEADER, "format", _EVENTS):
                yield f"wal{wal.id}/{segment}/{said}"
                return


def _number(path: Path, form: RecordFormat, name: str, known: int) -> Iterator[str]:
    data = read_small(path, form.size).data
    if len(data) == form.size:
        yield from _above(f"{path.name}: {form[name].label}", form.value(name, Fields(data)), known)


def _above(what: str, value: int, known: int) -> Iterator[str]:
    if known < value < known + _PLAUSIBLE:
        yield f"{what} {value:,} (known: up to {known:,})"
