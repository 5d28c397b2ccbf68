"""Findings about who owns a table's own files: one for all that the owner of `_txn` cannot write."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from console.diagnosis.findings.subject import TableFiles
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.questdb.column_files import column_path
from console.questdb.file_owner import FileOwner, difference, owner_of
from console.questdb.partition_columns import PartitionFault
from console.questdb.reading import DamageError
from console.questdb.table_metadata import TableMetadata
from console.text import plural

_NEEDED_TO_START = "_meta"


def owner_findings(files: TableFiles, metadata: TableMetadata, faults: Sequence[PartitionFault]) -> Iterator[Finding]:
    """Yield one finding about the files in the table's directory, and one about those of its partitions (`faults`)."""
    model = owner_of(files.txn.path)
    if model is not None and model.locked:
        message = "_txn cannot be written by its owner"
        yield _finding(files, message, model, model, Harm.DOES_NOT_START, Harm.STOPS_APPLYING)
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
        yield _finding(files, message, wrong[0], model, start, Harm.STOPS_APPLYING)
    if faults and model is not None and (first := owner_of(faults[0].file)) is not None:
        count = sum(fault.rows or 0 for fault in faults)
        message = (
            f"{plural(count, 'file')} in {plural(len(faults), 'partition')} cannot be written by the owner of _txn: "
            "QuestDB suspends the table if it applies rows there"
        )
        touched = any(files.incoming.touches(fault.partition) for fault in faults)
        last = any(fault.partition.last for fault in faults)
        harm = Harm.STOPS_APPLYING
        yield _finding(
            files, message, first, model, harm if touched else Harm.NONE, harm if touched or last else Harm.NONE
        )


def _finding(files: TableFiles, message: str, owner: FileOwner, model: FileOwner, start: Harm, write: Harm) -> Finding:
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
