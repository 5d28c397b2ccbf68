"""What `_meta` must say: an earlier copy of it (`txn_seq/_meta.0`, `_meta.prev`) brought forward by the structure log.

The structure log has columns, types, indexes of added columns and dedup keys. It has no TTL, no index that was added or
dropped later, no symbol capacity, no commit settings: where such a change may have been made, the plan names them.
"""

from dataclasses import dataclass, field
from typing import Final

from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions, read_column_versions
from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.metadata_history import (
    FIRST,
    Columns,
    MetadataHistory,
    columns_of,
    contradictions,
    image_at,
    never_wal,
    read_history,
)
from console.questdb.reading import DamageError, Problem
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.structure_log import Command, StructureLog, read_structure_log
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_metadata_changes import MetadataImage
from console.questdb.table_txn import TxnArea
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.table_repair.guarded import known_state, of_version
from console.recovery.table_repair.metadata_by_files import all_gone, changes_by_files, settings_by_files, stems_in
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
    if area is not None and area.metadata_version > area.txn:
        reason = (
            f"_txn names metadata version {area.metadata_version:,}, and had {area.txn:,} transactions: it is wrong"
        )
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, reason, "put a copy of _txn from the crash in its place")
    copy = _same_version(directory, area)
    if copy is not None:
        return _end(found, copy, copy.structure, 0, copy.version, directory)
    log = read_structure_log(directory.sequencer)
    history = read_history(directory.sequencer, log)
    if area is not None and (mended := _mended(found, directory, history, area)) is not None:
        return mended
    if history is None:
        return _by_names(found, directory, area)
    target = area.structure_version if area is not None else _reached(directory, log, found)
    if target is None:
        return found
    base, moved = _base(directory, history, area, target), 0
    try:
        for version in range(base.structure + 1, target + 1):
            change = log.change(version)
            if isinstance(change, Problem):
                reason = f"the structure change to version {version:,} cannot be read ({change.what})"
                return found.refuse(RefusalCode.STRUCTURE_CHANGE_LOST, reason)
            base.image.apply(change)
            moved += change.in_metadata
    except DamageError as damage:
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, f"{base.name} and the structure log: {damage.what}")
    version = area.metadata_version if area is not None else base.version + moved
    keys = {at for at, each in enumerate(base.image.metadata(0).columns) if each.dedup_key}
    found = _end(found, base, target, moved, version, directory)
    if keys and history.kept_keys(target) != keys:
        found.untold.append("the dedup keys of before, which QuestDB 9.1 keeps beside the last ones")
    return found


def _end(
    found: FoundMetadata, base: _Base, target: int, moved: int, version: int, directory: TableDirectory
) -> FoundMetadata:
    """`moved` counts the structure changes since the copy that gave `_meta` a new version: the rest is settings."""
    sequencer = read_sequencer_metadata(directory.sequencer)
    other = version - base.version - moved
    if other or not found.counted:
        found.untold = settings_by_files(base.image, directory, version)
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
        + (f", and {plural(changes, 'structure change')} since" if changes else "")
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
    guarded = of_version(directory, metadata_version=area.metadata_version)
    copies = [(each.copy.told, image_at(each.copy.folder / "_meta")) for each in guarded]
    for name, image in (*copies, *((name, _own_image(directory, name)) for name in ("_meta.swp", "_meta.prev"))):
        if image is not None and _version(image) == area.metadata_version:
            return _Base(name, image, area.structure_version, area.metadata_version)
    return None


def _by_names(found: FoundMetadata, directory: TableDirectory, area: TxnArea | None) -> FoundMetadata:
    """Bring the newest older copy forward by the names of the columns' files, where no structure log tells of it."""
    older = [(_version(image), name, image) for name, image in _older(directory, area)]
    if area is None or not older:
        reason = "neither _meta.prev nor txn_seq/_meta.0 is a copy of _meta from which it could be made again"
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, reason)
    version, name, image = max(older, key=lambda each: each[0])
    try:
        changes = changes_by_files(directory.path, area, image.metadata(version))
    except DamageError as damage:
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, f"no structure log is left, and {damage.what}")
    if version + len(changes) > area.metadata_version:
        reason = f"the files show {plural(len(changes), 'change')} since {name} of metadata version {version:,}, and "
        return found.refuse(RefusalCode.STRUCTURE_UNKNOWN, f"{reason}_txn names {area.metadata_version:,}")
    for change in changes:
        image.apply(change)
        found.evidence.append(f"{change.summary}, by the names of the files")
    base = _Base(name, image, area.structure_version - len(changes), version)
    return _end(found, base, area.structure_version, len(changes), area.metadata_version, directory)


def _mended(
    found: FoundMetadata, directory: TableDirectory, history: MetadataHistory | None, area: TxnArea
) -> FoundMetadata | None:
    """Return `_meta` with what its history says otherwise, None if that is nothing, or if it is not of this state."""
    own, now = image_at(directory.path / "_meta"), read_table_metadata(directory.path)
    if own is None or isinstance(now, Problem) or now.metadata_version != area.metadata_version:
        return None
    if history is not None:
        found.evidence += contradictions(history, own, now, area)
    elif never_wal(directory, now):
        META_HEADER.put(own.header, 0, wal=0)
        found.evidence.append("neither the registry nor txn_seq nor a WAL directory is there")
    if not found.evidence:
        return None
    found.content, found.metadata = own.encode(now.metadata_version), own.metadata(now.metadata_version)
    found.source = "_meta"
    return found


def _older(directory: TableDirectory, area: TxnArea | None) -> list[tuple[str, MetadataImage]]:
    """Return `_meta` and the copy beside it, those that can be read and are of before the state."""
    before = ((name, image) for name in ("_meta", "_meta.prev") if (image := _own_image(directory, name)) is not None)
    most = area.metadata_version if area is not None else -1
    return [(name, image) for name, image in before if name != "_meta" or _version(image) < most]


def _own_image(directory: TableDirectory, name: str) -> MetadataImage | None:
    """Return a copy of `_meta` in the table's directory, None where it cannot be read, or is another table's."""
    read = read_table_metadata(directory.path, name)
    return None if isinstance(read, Problem) else image_at(directory.path / name)


def _base(directory: TableDirectory, history: MetadataHistory, area: TxnArea | None, target: int) -> _Base:
    """Return the latest copy whose structure version is known: by its columns, as the first copy has version 0."""
    found = [_Base(f"txn_seq/{FIRST}", history.first, 0, _version(history.first))]
    for name, image in _older(directory, area):
        known = [each for each in history.versions(_columns(image)) if each <= min(_version(image), target)]
        found += [_Base(name, image, known[-1], _version(image))] if known else []
    return max(found, key=lambda each: each.version)


def _columns(image: MetadataImage) -> Columns:
    return columns_of(image.metadata(0).columns)


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
    image = image_at(directory.sequencer / "_meta.0")
    stems = stems_in(directory.path, image.metadata(0)) if image is not None else set()
    reached = 0
    for number in range(1, last + 1):
        change = log.change(number)
        if image is None or isinstance(change, Problem):
            break
        image.apply(change)
        is_added = change.command in _ADDING and len(image.names) - 1 in added
        if is_added or (change.command == Command.DROP_COLUMN and all_gone(change.strings, stems)):
            reached = number
    if reached < last:
        found.refuse(
            RefusalCode.STRUCTURE_UNKNOWN, f"_txn is damaged too, and nothing shows whether the structure changes "
            f"{reached + 1:,} to {last:,} are in the table",
        )  # fmt: skip
        return None
    return reached


def told(untold: list[str]) -> str:
    return f"in no file, so by the last copy of _meta: {', '.join(map(clean_line, untold))}"
