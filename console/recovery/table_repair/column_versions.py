"""What `_cv` must say: its other area if `_txn` names that version, else made again where each column's top is proven.

The top of a column is the rows of a partition that were there before it. A file in whole pages can hold what a later
write left, so its length gives no top (measured: a wrong top passes every count, and doubles a sum). Proven is:

    no file                                the column came later, if the directory's name is of a transaction before
    a file of a column of the first day    top 0: it is as old as the table; without suffix it is of such a column
    a column whose type was changed        the top of the one before
    a file as long as the rows             top 0
    a file in whole pages                  top 0 if its last value and the last timestamp lie before zeros

A shorter file of an exact length tells a top too, but one that was cut looks the same: that top is `doubted`. A
partition that was split and squashed can have more entries than values, NULL behind them (measured): a shorter file
that ends so tells nothing, of one as long as the rows the top is `doubted`. Where nothing tells, the values of the
partition are given up: they become NULL, as if the column began behind its rows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.column_versions import COLUMN_VERSION, DEFAULT_PARTITION, SYMBOL_PARTITION, content_of_version
from console.questdb.layout import TableDirectory
from console.questdb.partition_spans import PartitionSpan, spans_of
from console.questdb.reading import DbFile, list_directory
from console.questdb.row_values import null_bytes
from console.questdb.table_encoding import encode_column_versions
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.variable_columns import aux_shape, is_null
from console.recovery.codes import RefusalCode
from console.recovery.model import Lost, LostValues, Refusal
from console.recovery.table_repair.guarded import known_state, of_version
from console.table.log_life import lived_once
from console.text import clean_line, plural

_LATER: Final = re.compile(r"\.[diockv]\.\d+$")
_PAGE: Final = 4096
_CHUNK: Final = 1 << 16
_SETTLE: Final = "a copy of _cv of the same version would settle it; salvage-table exports the columns that are proven"


@dataclass(slots=True)
class FoundVersions:
    """The bytes of `_cv`; None with `refusals`. `doubted` says which tops rest on a file that may have been cut.

    `lost` are the values of columns that begin nobody knows where.
    """

    content: bytes | None = None
    lost: list[LostValues] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)

    def refuse(self, reason: str, instead: str = _SETTLE) -> "FoundVersions":
        self.refusals.append(Refusal(RefusalCode.COLUMN_VERSIONS_INVALID, reason, instead))
        return self


def found_versions(directory: TableDirectory, metadata: TableMetadata, initial: int) -> FoundVersions:
    """Return what the `_cv` of a table must say; `initial` is how many columns the table was created with."""
    found = FoundVersions()
    area = known_state(directory)
    if area is None and not _as_created(directory, metadata, initial):
        return found.refuse("_cv and _txn are damaged: neither the partitions nor their rows are known")
    if area is None or not area.column_version:
        told = "_txn has the column version 0" if area is not None else "_meta and the names of the files show it"
        found.content = encode_column_versions(0, np.empty(0, COLUMN_VERSION))
        found.evidence.append(f"{told}: no column was ever added, dropped or rewritten")
        return found
    other = content_of_version(directory.path, area.column_version)
    if other is not None:
        found.content = other
        found.evidence.append(f"its area of version {area.column_version:,}, which _txn names, is whole")
        return found
    for each in of_version(directory, column_version=area.column_version):
        found.content = each.content("_cv")
        found.evidence.append(f"{each.copy.told} has the column version {area.column_version:,}, which _txn names")
        return found
    entries = list(_entries(found, directory, area, metadata, initial))
    if not found.refusals:
        made = np.array(entries, COLUMN_VERSION) if entries else np.empty(0, COLUMN_VERSION)
        found.content = encode_column_versions(area.column_version, made)
        found.evidence.append(f"names and lengths of the column files prove {len(entries):,} entries")
    return found


def _as_created(directory: TableDirectory, metadata: TableMetadata, initial: int) -> bool:
    """Return whether the columns are those of CREATE TABLE, and no file of them has the name of a later version."""
    if len(metadata.columns) != initial or any(column.dropped for column in metadata.columns):
        return False
    folders = ["", *(entry.name for entry in directory.listing()[0] if entry.is_directory)]
    names = {name for folder in folders for name in _sizes(directory, folder)}
    return not any(_LATER.search(name) for name in names)


def _entries(
    found: FoundVersions, directory: TableDirectory, area: TxnArea, metadata: TableMetadata, initial: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (partition, column, name txn, top); what is not proven goes to the refusals."""
    spans = spans_of(area, metadata)
    files = [_sizes(directory, span.directory) for span in spans]
    maps = _sizes(directory, "")
    once = not metadata.wal or lived_once(directory)
    before = {column.raw_name for column in metadata.columns if column.dropped}  # their files may be left
    names = {column.index: column.raw_name for column in metadata.columns if column.raw_name not in before}
    old = [index for index, name in names.items() if any(-1 in _suffixes(each, name, "d") for each in files)]
    initial = max([initial, *(index + 1 for index in old)])  # an ALTER gives a column's files its transaction
    lengths = [_Lengths(directory.path, metadata, each, sizes) for each, sizes in zip(spans, files, strict=True)]
    for column in metadata.columns:
        if column.dropped:
            continue
        if any(span.parquet_size is not None for span in spans) and column.index >= initial:
            found.refuse(
                f"column {column.name} was added, and a partition is in Parquet: its first rows are not proven"
            )
            continue
        if column.index < initial:
            entries = list(_first_column(found, column, lengths, once=once))
        else:
            entries = list(_added_column(found, column, lengths, whole=_origin(column, metadata) < initial))
        yield from entries
        own = next((name for partition, _, name, _ in entries if partition == DEFAULT_PARTITION), -1)
        if column.tag is ColumnTag.SYMBOL and (name := _newest_map(maps, column, area.txn)) > own:
            yield SYMBOL_PARTITION, column.index, name, 0


def _newest_map(sizes: dict[str, int], column: TableColumn, txn: int) -> int:
    """Return the name txn of a column's newest symbol map, whichever of its files are left; -1: the one without.

    SYMBOL CAPACITY makes a new one, which is named by the transaction before its own: `txn` is the one in force.
    """
    found = (name for kind in "ockv" for name in _suffixes(sizes, column.raw_name, kind))
    return max((name for name in found if name < txn), default=-1)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """The files of a partition: `sizes` by name."""

    table: Path
    metadata: TableMetadata
    span: PartitionSpan
    sizes: dict[str, int]

    def top(self, column: TableColumn, name_txn: int) -> int | None:
        """Return the top that a column's file proves by its length, or by where its values end; None if by neither."""
        size = self.sizes[_file(column, "d", name_txn)]
        width = storage_size(column.type_code) or 0
        if not is_variable(column.type_code) and width and size % width == 0:
            if size == 0:
                return self.span.rows
            if size % _PAGE and size == width * self.span.rows:
                return 0
            if size % _PAGE and size < width * self.span.rows:
                return None if self.ends_in_null(column, name_txn) else self.span.rows - size // width
        own = self.metadata.timestamp
        ends = own is not None and self._ends(_file(own, "d", -1), storage_size(own.type_code) or 0, self.span.rows)
        if is_variable(column.type_code):
            aux, (width, more) = _file(column, "i", name_txn), aux_shape(column.tag)
            if not self._held(aux, 0):
                return self.span.rows  # each value has an entry that is not zero, NULL as well
            return 0 if ends and self._ends(aux, width, self.span.rows + more) else None
        return 0 if ends and self._ends(_file(column, "d", name_txn), width, self.span.rows) else None

    def ends_in_null(self, column: TableColumn, name_txn: int) -> bool:
        """Return whether the last value that a column's file has room for is NULL: 0 in a type that has none."""
        folder, width = self.table / self.span.directory, storage_size(column.type_code) or 1
        if is_variable(column.type_code):
            with DbFile(folder / _file(column, "i", name_txn)) as aux:
                return is_null(column.tag, aux, self.span.rows - 1)
        with DbFile(folder / _file(column, "d", name_txn)) as file:
            last = file.read(width * (min(file.size // width, self.span.rows) - 1), width)
        return last == null_bytes(column.type_code)

    def _ends(self, name: str, width: int, values: int) -> bool:
        """Return whether a file holds something in the last of so many values, and zeros alone behind it.

        What lies behind the timestamps would be the rows of a write that was not committed: it left values, too.
        """
        behind = width * values
        return bool(behind) and self._held(name, behind - width, behind) and not self._held(name, behind)

    def _held(self, name: str, start: int, stop: int | None = None) -> bool:
        """Return whether a file holds something other than zeros from `start` on."""
        stop = self.sizes.get(name, 0) if stop is None else stop
        if start >= stop:
            return False
        with DbFile(self.table / self.span.directory / name) as file:
            return any(any(file.read(at, min(_CHUNK, stop - at))) for at in range(start, stop, _CHUNK))


def _first_column(
    found: FoundVersions, column: TableColumn, lengths: list[_Lengths], *, once: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Yield the entries of a column that was there first: an UPDATE gives its file a name txn, and leaves no top.

    A table that was converted to WAL counts columns so that were added before: only `once` converted none is sure.
    """
    for each in lengths:
        span, suffixes = each.span, _suffixes(each.sizes, column.raw_name, "d")
        if span.parquet_size is not None:
            continue
        if len(suffixes) != 1:
            found.refuse(f"partition {span.name} has {len(suffixes)} files of column {column.name}")
        elif suffixes[0] > -1:
            top = each.top(column, suffixes[0])
            if top or (top is None and not once):
                found.refuse(f"partition {span.name}: where column {column.name} begins is not proven by its file")
            yield span.start, column.index, suffixes[0], 0


def _origin(column: TableColumn, metadata: TableMetadata) -> int:
    """Return the index of the column that was there first, where changes of its type have replaced it."""
    for _ in metadata.columns:
        if column.replaces is None:
            break
        column = metadata.columns[column.replaces]
    return column.index


def _stored(found: FoundVersions, column: TableColumn, lengths: list[_Lengths]) -> tuple[list[_Lengths], int]:
    """Return the partitions with a file of a column that an ALTER made, and its name txn; none with a refusal."""
    names = {each.span.start: _suffixes(each.sizes, column.raw_name, "d") for each in lengths}
    for each in lengths:
        if len(names[each.span.start]) > 1:
            many = len(names[each.span.start])
            found.refuse(f"partition {each.span.name} has {many} files of column {column.name}")
            return [], -1
    own = {name for found_names in names.values() for name in found_names}
    if len(own) == 1:
        return [each for each in lengths if names[each.span.start]], own.pop()
    found.refuse(
        f"column {column.name} has files of several versions: which of them is its own is not proven"
        if own
        else f"column {column.name} has no file, so that its name and where it begins are not known"
    )
    return [], -1


def _added_column(
    found: FoundVersions, column: TableColumn, lengths: list[_Lengths], *, whole: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Yield the entries of a column that an ALTER made; a `whole` one has the values of a column of the first day."""
    stored, name_txn = _stored(found, column, lengths)
    known = [(each.span, each.top(column, name_txn)) for each in stored]
    if not known:
        return
    if whole:
        known = [(span, 0 if top is None else top) for span, top in known]
    held = {span.start for span, _ in known}
    before = [each.span for each in lengths if each.span.start not in held]
    for span in before:
        if span.name_txn() > name_txn or (span.name_txn() < 0 and span.start > known[0][0].start):
            found.refuse(f"{span.directory} was written after column {column.name} was added, and has no file of it")
            return
    begins = next((span for span, _ in known if not before or span.start > before[-1].start), None)
    if begins is None:
        found.refuse(f"{before[-1].directory}, the last partition, has no file of column {column.name}")
        return
    tops = {span.start: top for span, top in known}
    gone = before if whole else _may_be_gone(before, [span for span, _ in known], name_txn, begins, tops[begins.start])
    found.evidence += [f"{span.directory} has no file of column {column.name}, and may have had one" for span in gone]
    found.lost += [LostValues(Lost.VALUES, column.name, span.name, span.rows) for span in gone]
    unproven = [span for span, top in known if top is None]
    if unproven and column.indexed:
        found.refuse(f"partition {unproven[0].name}: where column {column.name} begins is not proven by its file")
        return
    found.lost += [LostValues(Lost.VALUES, column.name, span.name, span.rows) for span in unproven]
    found.doubted += [
        f"column {column.name} counts as whole in {span.name}, where its last value is NULL: a partition that was "
        "split and squashed after the column was added would look the same"
        for span in (each.span for each in stored if not whole and each.ends_in_null(column, name_txn))
        if span.start <= begins.start and tops[span.start] == 0
    ]
    yield DEFAULT_PARTITION, column.index, name_txn, begins.start
    for span, top in known:
        if top is None or top or span.start < begins.start:
            yield span.start, column.index, name_txn, span.rows if top is None else top
        if top:
            found.doubted.append(
                f"{plural(top, 'row')} of {span.name} count as older than column {column.name}, whose file has no more "
                "values: one that was cut would look the same"
            )


def _may_be_gone(
    before: list[PartitionSpan], held: list[PartitionSpan], name_txn: int, begins: PartitionSpan, top: int | None
) -> list[PartitionSpan]:
    """Return which of the partitions `before`, without a file of an added column, may have had one.

    ADD COLUMN makes the file in the last partition at once: of those behind that one all had it. Where none of those
    that `held` it is so old, the column `begins` in one that was written since, and the one before may have been it.
    """
    made = min((span.start for span in held if span.name_txn() < name_txn), default=None)
    gone = [span for span in before if made is not None and span.start > made]
    return gone or ([] if top or begins.name_txn() < name_txn else before[-1:])


def _file(column: TableColumn, kind: str, name_txn: int) -> str:
    return f"{column.raw_name}.{kind}" + (f".{name_txn}" if name_txn > -1 else "")


def _suffixes(sizes: dict[str, int], raw_name: str, kind: str) -> list[int]:
    """Return the name txns of a column's files of a kind, ascending; -1 for the one without."""
    pattern = re.compile(re.escape(f"{raw_name}.{kind}") + r"(?:\.(\d+))?")
    found = (pattern.fullmatch(name) for name in sizes)
    return sorted(int(each[1]) if each[1] else -1 for each in found if each is not None)


def _sizes(directory: TableDirectory, folder: str) -> dict[str, int]:
    entries, _ = list_directory(directory.path / clean_line(folder) if folder else directory.path)
    return {entry.name: entry.path.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file}
