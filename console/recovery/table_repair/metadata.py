"""What `_meta` must say: an earlier copy of it (`txn_seq/_meta.0`, `_meta.prev`) brought forward by the structure log.

The structure log has columns, types, indexes of added columns and dedup keys. It has no TTL, no index that was added or
dropped later, no symbol capacity, no commit settings: where such a change may have been made, the plan names them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions, read_column_versions
from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER, SYMBOL_OFFSETS
from console.questdb.layout import TableDirectory
from console.questdb.partition_names import partition_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem, list_directory, read_small
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.structure_log import Command, StructureLog, read_structure_log
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_metadata_changes import MetadataImage
from console.questdb.table_txn import TxnArea
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.table_repair.guarded import known_state, of_version
from console.text import clean_line, plural

_SETTLE: Final = "a copy of _meta from a backup of the same structure would settle it"
_ADDING: Final = (Command.ADD_COLUMN, Command.CHANGE_COLUMN_TYPE)


@dataclass(slots=True)
class FoundMetadata:
    """The bytes of `_meta` and what they say; None with `refusals`. `untold` names the settings that nothing tells.

    `counted`: `_txn` says how many changes there were, those of settings among them.
    """

    content: bytes | None = None
    metadata: TableMetadata | None = None
    source: str = ""
    counted: bool = False
    untold: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, code: RefusalCode, reason: str, instead: str = _SETTLE) -> "FoundMetadata":
        """Note why it cannot be told, and return this."""
        self.refusals.append(Refusal(code, reason, instead))
        return self


@dataclass(frozen=True, slots=True)
class _Base:
    """A copy to begin with: its parts, the structure version that its columns have, its metadata version."""

    name: str
    image: MetadataImage
    structure: int
    version: int


def found_metadata(directory: TableDirectory) -> FoundMetadata:
    """Return what the `_meta` of a table must say. What cannot be told is a refusal of the result."""
    found = FoundMetadata()
    area = known_state(directory)
    found.counted = area is not None
    copy = _same_version(directory, area)
    if copy is not None:
        return _end(found, copy, copy.structure, copy.version, directory)
    log = read_structure_log(directory.sequencer)
    base = _base(directory, log)
    if base is None:
        reason = "neither _meta.prev nor txn_seq/_meta.0 is a copy of _meta from which it could be made again"
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, reason)
    target = area.structure_version if area is not None else _reached(directory, log, found)
    if target is None:
        return found
    try:
        for version in range(base.structure + 1, target + 1):
            change = log.change(version)
            if isinstance(change, Problem):
                reason = f"the structure change to version {version:,} cannot be read ({change.what})"
                return found.refuse(RefusalCode.STRUCTURE_CHANGE_LOST, reason)
            base.image.apply(change)
    except DamageError as damage:
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, f"{base.name} and the structure log: {damage.what}")
    version = area.metadata_version if area is not None else max(base.version + target - base.structure, target)
    return _end(found, base, target, version, directory)


def _end(found: FoundMetadata, base: _Base, target: int, version: int, directory: TableDirectory) -> FoundMetadata:
    sequencer = read_sequencer_metadata(directory.sequencer)
    other = version - base.version - (target - base.structure)
    if other or not found.counted:
        found.untold = _by_files(base.image, directory, version)
    made = base.image.metadata(version)
    if isinstance(sequencer, SequencerMetadata) and sequencer.structure_version == target:
        if [(c.raw_name, c.type_code, c.dropped) for c in sequencer.columns] != [
            (c.raw_name, c.type_code, c.dropped) for c in made.columns
        ]:
            return found.refuse(RefusalCode.COLUMNS_DIFFER, "txn_seq/_meta has other columns than its structure log")
        if sequencer.table_id != made.table_id:
            reason = f"{base.name} is of the table of id {made.table_id}, and txn_seq of id {sequencer.table_id}"
            return found.refuse(RefusalCode.COLUMNS_DIFFER, reason)
    found.content, found.metadata, found.source = base.image.encode(version), made, base.name
    changes = target - base.structure
    found.evidence.append(
        f"{base.name} of metadata version {base.version:,}"
        + (f", and {plural(changes, 'structure change')} of the log" if changes else "")
    )
    if not found.counted:
        found.evidence.append("_txn is damaged too, so whether a setting was changed since is not known")
    elif other:
        found.evidence.append(f"{plural(other, 'change')} of settings since, which no file holds")
    else:
        found.evidence.append("no setting was changed since")
    return found


def _same_version(directory: TableDirectory, area: TxnArea | None) -> _Base | None:
    """Return a copy of the very version that `_txn` names: the guard's, or one that was about to be put in place."""
    if area is None:
        return None
    places = [(each.copy.told, each.copy.folder / "_meta")
              for each in of_version(directory, metadata_version=area.metadata_version)]  # fmt: skip
    for name, path in (*places, *((name, directory.path / name) for name in ("_meta.swp", "_meta.prev"))):
        image = _image(path)
        if image is not None and _version(image) == area.metadata_version:
            return _Base(name, image, area.structure_version, area.metadata_version)
    return None


def _base(directory: TableDirectory, log: StructureLog) -> _Base | None:
    """Return the latest copy whose structure version is known: by its columns, as the first copy has version 0."""
    first = _image(directory.sequencer / "_meta.0")
    if first is None:
        return None
    versions = {_columns(first): 0}
    walked = _image(directory.sequencer / "_meta.0")
    for version in range(1, len(log.ends)):
        change = log.change(version)
        try:
            if walked is None or isinstance(change, Problem):
                break
            walked.apply(change)
        except DamageError:
            break
        versions[_columns(walked)] = version
    before = _image(directory.path / "_meta.prev")
    if before is not None and _columns(before) in versions:
        return _Base("_meta.prev", before, versions[_columns(before)], _version(before))
    return _Base("txn_seq/_meta.0", first, 0, _version(first))


def _columns(image: MetadataImage) -> tuple[tuple[str, int, bool, bool], ...]:
    return tuple((c.raw_name, c.type_code, c.dropped, c.dedup_key) for c in image.metadata(0).columns)


def _image(path: Path) -> MetadataImage | None:
    file = read_small(path)
    try:
        return MetadataImage.of(file.data) if file.present else None
    except DamageError:
        return None


def _version(image: MetadataImage) -> int:
    return META_HEADER.value("metadata_version", Fields(bytes(image.header)))


def _reached(directory: TableDirectory, log: StructureLog, found: FoundMetadata) -> int | None:
    """Return the structure version that the table has reached, without `_txn`: by the columns that `_cv` knows."""
    last = log.version or 0
    versions: ColumnVersions = read_column_versions(directory.path)
    if last and versions.version is None:
        found.refuse(
            RefusalCode.STRUCTURE_UNKNOWN, "_txn and _cv are damaged too: how many structure changes the table has is "
            "not known",
        )  # fmt: skip
        return None
    entries = versions.entries
    added = {int(each["column"]) for each in entries[entries["partition"] == DEFAULT_PARTITION]}
    image = _image(directory.sequencer / "_meta.0")
    stems = _stems(directory.path, image.metadata(0)) if image is not None else set()
    reached = 0
    for number in range(1, last + 1):
        change = log.change(number)
        if image is None or isinstance(change, Problem):
            break
        image.apply(change)
        is_added = change.command in _ADDING and len(image.names) - 1 in added
        if is_added or (change.command == Command.DROP_COLUMN and _dropped(change.strings, stems)):
            reached = number
    if reached < last:
        found.refuse(
            RefusalCode.STRUCTURE_UNKNOWN, f"_txn is damaged too, and nothing shows whether the structure changes "
            f"{reached + 1:,} to {last:,} are in the table",
        )  # fmt: skip
        return None
    return reached


def _stems(table: Path, metadata: TableMetadata) -> set[str]:
    """Return the names of the columns that have a file in a partition, in lower case."""
    listed = [list_directory(folder)[0] for _, folder in _folders(table, metadata)]
    return {each.name.split(".d")[0].lower() for entries in listed for each in entries if ".d" in each.name}


def _dropped(names: tuple[str, ...], stems: set[str]) -> bool:
    """Return whether columns that a change drops have no file, and others have: an ALTER makes a file at once."""
    return bool(stems) and not {name.lower() for name in names} & stems


def _by_files(image: MetadataImage, directory: TableDirectory, version: int) -> list[str]:
    """Take from the files what settings they show; return those that nothing tells."""
    metadata = image.metadata(version)
    versions = read_column_versions(directory.path)
    folders = _folders(directory.path, metadata)
    for column in metadata.symbols:
        _symbol_settings(image, directory.path, column, versions)
        _index_settings(image, column, versions, folders)
    ttl = f"the TTL ({metadata.ttl} as at the last copy)" if metadata.ttl else "the TTL (none at the last copy)"
    return [ttl, "maxUncommittedRows", "o3MaxLag", "whether a symbol column without partitions has an index"]


def _folders(table: Path, metadata: TableMetadata) -> list[tuple[int, Path]]:
    naming = Partitioning.of(metadata)
    entries, _ = list_directory(table)
    found = []
    for entry in entries:
        place = partition_of(naming, entry.name) if entry.is_directory else None
        if place is not None:
            found.append((place[0], entry.path))
    return sorted(found)


def _symbol_settings(image: MetadataImage, table: Path, column: TableColumn, versions: ColumnVersions) -> None:
    try:
        with DbFile(column_path(table, column.raw_name, "o", versions.symbol_name_txn(column.index))) as file:
            head = Fields(file.read(0, SYMBOL_OFFSETS.size))
            capacity, cached = (SYMBOL_OFFSETS.value(name, head) for name in ("capacity", "cached"))
    except (OSError, DamageError):
        return
    if capacity > 0 and not capacity & (capacity - 1):
        image.put_symbol(column.index, capacity=capacity, cached=bool(cached))


def _index_settings(
    image: MetadataImage, column: TableColumn, versions: ColumnVersions, folders: list[tuple[int, Path]]
) -> None:
    """A column with an index has its files in the last partition that has the column."""
    if column.tag is not ColumnTag.SYMBOL:
        return
    for start, folder in reversed(folders):
        name_txn = versions.name_txn(start, column.index)
        if not column_path(folder, column.raw_name, "d", name_txn).exists():
            continue
        try:
            with DbFile(column_path(folder, column.raw_name, "k", name_txn)) as keys:
                image.put_index(column.index, read_index_header(keys).block_values)
        except FileNotFoundError:
            image.put_index(column.index, None)
        except (OSError, DamageError):
            pass
        return


def told(untold: list[str]) -> str:
    """Return the settings that nothing tells as a sentence."""
    return f"in no file, so as in the last copy of _meta: {', '.join(map(clean_line, untold))}"
