"""What the symbol maps of a table must be: names from `.c`, WAL and copies; `.o`, `.k` and `.v` from the names."""

from dataclasses import dataclass

from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import StoredColumn
from console.questdb.reading import DamageError
from console.questdb.symbol_files import symbol_faults
from console.questdb.symbol_keys import key_bounds
from console.questdb.symbol_values import NULL_KEY
from console.questdb.table_metadata import TableColumn
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.model import Lost, LostValues, Refusal, Requirement
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.own_files import OwnFiles, own_files
from console.recovery.table_repair.planning import Repair, Replacement
from console.recovery.table_repair.symbol_map import SymbolMap, index_of, offsets_file, read_symbol_map, values_file
from console.recovery.table_repair.symbol_names import names_of_copies, names_of_links, names_of_wal
from console.text import clean_line, plural

_CAPACITY = 256  # what a server takes if nothing says another


@dataclass(frozen=True, slots=True)
class KeysInUse:
    """Keys of a symbol column in its partitions: the highest, where it is, and whether a row is NULL.

    `unread` are partitions whose keys are not in a file of their own, or whose file is damaged.
    """

    highest: int
    place: str
    has_null: bool
    unread: tuple[str, ...]


def symbol_repair(table: TableDirectory, evidence: EvidenceIndex) -> Repair:
    """Return what makes the symbol maps of `table` whole. Raises OSError if a file cannot be read."""
    files = own_files(table)
    if isinstance(files, Refusal):
        return Repair(files.reason, refused=(files,))
    faults = {f.column for f in symbol_faults(table.path, files.area, files.metadata, files.versions)}
    replacements: list[Replacement] = []
    lost: list[LostValues] = []
    refused: list[Refusal] = []
    warnings: list[str] = []
    told: list[str] = []
    counts = files.area.symbols["count"].tolist()
    for column, count in zip(files.metadata.symbols, counts, strict=True):
        name_txn = files.versions.symbol_name_txn(column.index)
        try:
            known = read_symbol_map(table.path, column.raw_name, count, name_txn, column.symbol_capacity)
        except DamageError as damage:
            refused.append(Refusal(RefusalCode.SYMBOL_MAP_INVALID, damage.what, "repair-table-state first"))
            continue
        if column.name not in faults and known.offsets_whole and known.buckets is not None and not known.unknown:
            continue
        used = keys_in_use(files, column)
        if used.highest >= count:
            refused.append(_beyond(column, count, used))
            continue
        if used.unread:
            which = ", ".join(used.unread[:3])
            warnings.append(f"{column.name}: the keys of {plural(len(used.unread), 'partition')} not checked: {which}")
        found = _restored(files, column, known, name_txn, evidence)
        missing = [key for key in known.unknown if key not in found]
        if missing:
            lost.append(LostValues(Lost.NAMES, column.name, "", len(missing)))
        if known.capacity is None and not column.symbol_capacity:
            warnings.append(f"{column.name}: no file says the symbol capacity; it becomes {_CAPACITY}")
        told.append(_told(column, known, found, missing))
        replacements += _replacement(table, column, known, found, used)
    return Repair(
        why="; ".join(told) or "All symbol maps are whole.",
        replacements=tuple(replacements),
        values_lost=tuple(lost),
        requirements=(
            Requirement("symbol maps are damaged", bool(told), ", ".join(sorted(faults)) or "none"),
            Requirement(
                "every symbol has its name", not lost, plural(sum(n.count or 0 for n in lost), "name") + " lost"
            ),
        ),
        refused=tuple(refused),
        warnings=tuple(warnings),
    )


def keys_in_use(files: OwnFiles, column: TableColumn) -> KeysInUse:
    """Return which keys the native partitions use, each file read once in blocks. Raises OSError."""
    highest, place, has_null, unread = -1, "", False, []
    for span in files.partitions.spans:
        if span.parquet_size is not None:
            unread.append(span.name)
            continue
        for each in files.partitions.columns_of(span):
            if isinstance(each, StoredColumn) and each.column.index == column.index:
                try:
                    low, high = key_bounds(each)
                except FileNotFoundError:
                    unread.append(span.name)
                    continue
                has_null |= low == NULL_KEY or each.rows < span.rows
                highest, place = (high, span.name) if high > highest else (highest, place)
                break
        else:
            has_null = True
    return KeysInUse(highest, place, has_null, tuple(unread))


def _restored(
    files: OwnFiles, column: TableColumn, known: SymbolMap, name_txn: int, evidence: EvidenceIndex
) -> dict[int, bytes]:
    if not known.unknown:
        return {}
    found = names_of_links(files.table, column, known)
    if len(found) < len(known.unknown):
        found = {**names_of_copies(files.table, column, known, name_txn, evidence), **found}
    if len(found) < len(known.unknown):
        found = {**names_of_wal(files.table, column, known), **found}
    taken = {name for name in known.names if name is not None}
    return {key: name for key, name in found.items() if name not in taken}


def _replacement(
    table: TableDirectory, column: TableColumn, known: SymbolMap, found: dict[int, bytes], used: KeysInUse
) -> list[Replacement]:
    """Return the files of a symbol map that differ from what is on disk; none if it is the same."""
    taken = {name for name in (*known.names, *found.values()) if name is not None}
    names: list[bytes] = []
    placeholders = False
    for key, name in enumerate(known.names):
        own = found.get(key) if name is None else name
        placeholders |= own is None
        names.append(own if own is not None else _placeholder(key, taken))
    capacity = known.capacity or column.symbol_capacity or _CAPACITY
    cached = column.cached if known.cached is None else known.cached
    has_null = used.has_null if known.has_null is None else known.has_null
    files: list[NewFile] = []
    if known.unknown:
        files.append(NewFile.of(known.paths["c"].name, values_file(names), plural(len(names), "name")))
    if known.unknown or not known.offsets_whole:
        content = offsets_file(names, capacity, cached=cached, has_null=has_null)
        files.append(
            NewFile.of(known.paths["o"].name, content, f"{plural(len(names), 'offset')}, capacity {capacity:,}")
        )
    if known.buckets is None or placeholders:
        index = index_of(names, capacity, known.block)
        files.append(NewFile.of(known.paths["k"].name, index.keys, "index of the names, keys"))
        files.append(NewFile.of(known.paths["v"].name, index.values, "index of the names, offsets"))
    if not files:
        return []
    return [Replacement(f"write the symbol map of {clean_line(column.name)}", tuple(files))]


def _placeholder(key: int, taken: set[bytes]) -> bytes:
    name = f"symbol-{key}"
    while name.encode("utf-16-le") in taken:
        name += "_"
    return name.encode("utf-16-le")


def _told(column: TableColumn, known: SymbolMap, found: dict[int, bytes], missing: list[int]) -> str:
    said = f"{column.name}: {known.count - len(known.unknown):,} of {plural(known.count, 'name')} whole on disk"
    if found:
        said += f", {len(found):,} from WAL or copies"
    if missing:
        said += f", {len(missing):,} lost and replaced by placeholders such as symbol-{missing[0]}"
    return said


def _beyond(column: TableColumn, count: int, used: KeysInUse) -> Refusal:
    reason = (
        f"partition {used.place} has symbol key {used.highest:,} of {column.name}, and _txn counts {count:,} symbols: "
        "one of the two is damaged, and new names would be given to old rows"
    )
    return Refusal(RefusalCode.TABLE_FILES_DISAGREE, reason, "repair-table-state first", action="repair-table-state")
