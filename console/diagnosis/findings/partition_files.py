"""Findings about partitions and their files: presence, length, both ends, owner."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from console.diagnosis.findings.subject import TableFiles
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.questdb.column_files import column_path
from console.questdb.file_owner import FileOwner, difference, owner_of
from console.questdb.partition_columns import STATE_FAULTS, FaultKind, PartitionFault
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, list_directory
from console.questdb.soft_links import broken_links
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.text import clean_line, plural

_OF_FILES: Final = {
    FaultKind.ROWS_DIFFER: (Code.PARTITION_ROWS_DIFFER, Harm.SHOWS_WRONG_ROWS),
    FaultKind.FIRST_DIFFERS: (Code.PARTITION_ROWS_DIFFER, Harm.SHOWS_WRONG_ROWS),
    FaultKind.TIMES_INVALID: (Code.TIMESTAMPS_INVALID, Harm.SHOWS_WRONG_ROWS),
    FaultKind.INDEX_MISSING: (Code.INDEX_FILE_MISSING, Harm.STOPS_APPLYING),
    FaultKind.INDEX_INVALID: (Code.INDEX_FILE_INVALID, Harm.STOPS_APPLYING),
    FaultKind.FILE_MISSING: (Code.COLUMN_FILE_MISSING, Harm.FILLS_WITH_ZEROS),
    FaultKind.FILE_SHORT: (Code.COLUMN_FILE_SHORT, Harm.FILLS_WITH_ZEROS),
    FaultKind.FILE_INVALID: (Code.COLUMN_FILE_INVALID, Harm.CRASHES),
    FaultKind.PARQUET_INVALID: (Code.PARQUET_FILE_INVALID, Harm.CRASHES),
}


def partition_file_findings(files: TableFiles, area: TxnArea, metadata: TableMetadata) -> Iterator[Finding]:
    """Yield what is wrong with the partitions that `_txn` names; those found whole before are not looked at again."""
    table = files.directory.path
    partitions = PartitionFiles(table, area, metadata, files.versions, owner_of(table / "_txn"))
    there = partitions.directories()
    owners: list[PartitionFault] = []
    for span in partitions.spans:
        if span in files.checked and span.directory in there:
            continue
        whole = True
        for fault in partitions.faults((span,)):
            whole = False
            if fault.kind is FaultKind.OWNER_DIFFERS:
                owners.append(fault)
            else:
                yield _finding(files, fault)
        if whole:
            files.checked.add(span)
    yield from owner_findings(files, metadata, owners)
    yield from _links(files, partitions.links())


def _links(files: TableFiles, links: Sequence[Path]) -> Iterator[Finding]:
    """Note the partitions that are soft links: they are read as QuestDB reads them, and never written through."""
    broken = dict(broken_links(links))
    for link, target in broken.items():
        message = (
            f"partition {clean_line(link.name)} lies in {clean_line(target)} by a soft link, and that is not there: "
            "its disk is not mounted, or lost"
        )
        yield Finding(
            Code.SOFT_LINK_BROKEN, Severity.DAMAGE, message, files.relative(link), partition=clean_line(link.name),
            start=Harm.DROPS_PARTITION,
        )  # fmt: skip
    links = [link for link in links if link not in broken]
    if not links:
        return
    count, target = plural(len(links), "partition"), clean_line(os.path.realpath(links[0]))
    message = f"{count} of the table lie elsewhere by a soft link, the first in {target}; walmedic writes nothing there"
    if len(links) == 1:
        message = (
            f"partition {clean_line(links[0].name)} lies in {target} by a soft link; walmedic writes nothing there"
        )
    yield Finding(Code.SOFT_LINK, Severity.NOTE, message, files.relative(links[0]))


def _finding(files: TableFiles, fault: PartitionFault) -> Finding:
    span, file = fault.partition, files.relative(fault.file)
    if fault.kind is FaultKind.UNREADABLE:
        message = f"{_place(fault)}: {fault.what}"
        return Finding(Code.UNREADABLE, Severity.RISK, message, file, partition=span.name, column=fault.column)
    if fault.kind is FaultKind.PARTITION_MISSING:
        return _missing(span, fault, file)
    if fault.kind is FaultKind.PARQUET_OLD:
        message = (
            f"partition {span.name} is in the Parquet format of QuestDB 8: 8.1 and 8.2 cannot read it, and later "
            "versions can crash or suspend the table on it; export its rows with salvage-table before an upgrade"
        )
        return Finding(Code.PARQUET_FORMAT_OLD, Severity.RISK, message, file, partition=span.name, rows=fault.rows)
    if fault.kind is FaultKind.FILE_MISSING and (later := _later_file(fault.file)):
        message = (
            f"{_place(fault)}: {later} is there in place of {clean_line(fault.file.name)}: _txn and _cv are of before "
            "a change of the column; reads fail, and QuestDB makes that change again or loses it"
        )
        return Finding(
            Code.TABLE_TXN_BEHIND, Severity.DAMAGE, message, file, partition=span.name, column=fault.column,
            rows=fault.rows, start=Harm.LOSES_COLUMNS,
        )  # fmt: skip
    code, harm = _OF_FILES[fault.kind]
    opened = files.incoming.touches(span) or fault.kind in STATE_FAULTS
    return Finding(
        code, Severity.DAMAGE, _message(fault), file, fault.offset, partition=span.name, column=fault.column,
        rows=fault.rows, start=harm if opened else Harm.NONE, write=harm if opened or span.last else Harm.NONE,
    )  # fmt: skip


def _later_file(missing: Path) -> str:
    """Return the later version of a missing column file that is there in its place, empty if there is none.

    A writer removes the version before only when `_txn` and `_cv` name the later one.
    """
    stem, _, suffix = missing.name.rpartition(".")
    stem, own = (stem, int(suffix)) if suffix.isdecimal() else (missing.name, -1)
    names = (each.name.rpartition(".") for each in list_directory(missing.parent)[0])
    later = [int(end) for start, _, end in names if start == stem and end.isdecimal() and int(end) > own]
    return clean_line(f"{stem}.{max(later)}") if later else ""


def _place(fault: PartitionFault) -> str:
    where = f"partition {fault.partition.name}"
    return f"{where}, column {fault.column}" if fault.column else where


def _message(fault: PartitionFault) -> str:
    place, span = _place(fault), fault.partition
    match fault.kind:
        case FaultKind.FIRST_DIFFERS:
            return f"{place}: {fault.what}: one of the two is wrong"
        case FaultKind.ROWS_DIFFER:
            return f"partition {span.name} does not hold the {plural(span.rows, 'row')} that _txn counts: {fault.what}"
        case FaultKind.TIMES_INVALID:
            return f"{place}: {fault.what}: its timestamps are damaged; filters by time are wrong, without an error"
        case FaultKind.INDEX_MISSING:
            return f"{place}: its index is missing or empty; filters on it fail"
        case FaultKind.INDEX_INVALID:
            return f"{place}: its index is damaged: {fault.what}; filters on it fail or miss rows"
        case FaultKind.FILE_INVALID:
            return f"{place}: {fault.what}; reads fail, and a write into the partition can crash QuestDB"
        case FaultKind.PARQUET_INVALID:
            return f"{place}: data.parquet is damaged: {fault.what}; a query on it fails or crashes QuestDB"
        case FaultKind.FILE_MISSING:
            missing = (
                "the file is a symbolic link, which is not followed"
                if fault.file.is_symlink()
                else "the file is missing"
            )
            return f"{place}: {missing}, and {_needs(fault)} it; QuestDB cannot read the column there"
        case _:
            size, needed = fault.size or 0, fault.needed or 0
            return f"{place}: the file has {size:,} bytes, and {_needs(fault)} {needed:,}; reads fail or give zeros"


def _needs(fault: PartitionFault) -> str:
    count = fault.partition.rows
    return f"{count:,} rows need" if count != 1 else "1 row needs"


def _missing(span: PartitionSpan, fault: PartitionFault, file: str) -> Finding:
    message = f"partition {span.name} is missing: _txn names the directory {span.directory} with {span.rows:,} rows"
    effect = Harm.DROPS_PARTITION
    if fault.others:
        message += f", and {', '.join(map(clean_line, fault.others[:3]))} is there instead"
        effect = Harm.DELETES_DIRECTORY
    return Finding(
        Code.PARTITION_MISSING, Severity.DAMAGE, message, file, partition=span.name, rows=fault.rows, start=effect
    )


_NEEDED_TO_START = "_meta"


def owner_findings(files: TableFiles, metadata: TableMetadata, faults: Sequence[PartitionFault]) -> Iterator[Finding]:
    """Yield one finding about the files in the table's directory, and one about those of its partitions (`faults`)."""
    model = owner_of(files.txn.path)
    if model is not None and model.locked:
        message = "_txn cannot be written by its owner"
        yield _owner_finding(files, message, model, model, Harm.DOES_NOT_START, Harm.STOPS_APPLYING)
    own = [owner for path in _named(files, metadata) if (owner := owner_of(path)) is not None]
    wrong = [owner for owner in own if model is not None and (owner.differs(model) or owner.locked)]
    if wrong and model is not None:
        message = (
            f"{plural(len(wrong), 'file')} of the table cannot be written by the owner of _txn: QuestDB suspends the "
            "table if it applies rows"
        )
        start = Harm.STOPS_APPLYING if files.incoming.any else Harm.NONE
        if any(owner.path.name == _NEEDED_TO_START for owner in wrong):
            start = Harm.DOES_NOT_START
        yield _owner_finding(files, message, wrong[0], model, start, Harm.STOPS_APPLYING)
    if faults and model is not None and (first := owner_of(faults[0].file)) is not None:
        count = sum(fault.rows or 0 for fault in faults)
        message = (
            f"{plural(count, 'file')} in {plural(len(faults), 'partition')} cannot be written by the owner of _txn: "
            "QuestDB suspends the table if it applies rows there"
        )
        touched = any(files.incoming.touches(fault.partition) for fault in faults)
        last = any(fault.partition.last for fault in faults)
        harm = Harm.STOPS_APPLYING
        yield _owner_finding(
            files, message, first, model, harm if touched else Harm.NONE, harm if touched or last else Harm.NONE
        )


def _owner_finding(
    files: TableFiles, message: str, owner: FileOwner, model: FileOwner, start: Harm, write: Harm
) -> Finding:
    return Finding(
        Code.OWNERSHIP_DIFFERS, Severity.RISK, message, files.relative(owner.path), evidence=difference(owner, model),
        start=start, write=write,
    )  # fmt: skip


def _named(files: TableFiles, metadata: TableMetadata) -> Iterator[Path]:
    """Yield the table's directory and the files in it that a writer opens; a copy beside them is none of those."""
    table = files.directory.path
    yield table
    for name in ("_meta", "_cv", "_todo_"):
        yield table / name
    for column in metadata.symbols:
        name_txn = files.versions.symbol_name_txn(column.index)
        with suppress(DamageError):
            yield from [column_path(table, column.raw_name, suffix, name_txn) for suffix in "ockv"]
