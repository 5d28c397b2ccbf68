"""Findings about `_meta`, `_cv` and the files of the partitions: the quick check of a whole table.

Looked at are presence, lengths, owners, headers, and the first and last entries; deep_files reads every value.

What a start does with each was measured on QuestDB 8.2.0, 9.1.0 and 9.3.4. A table without WAL is judged the same way.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from console.diagnosis.findings.conversion import half_done
from console.diagnosis.findings.partition_files import partition_file_findings
from console.diagnosis.findings.subject import TableFiles
from console.diagnosis.findings.symbol_maps import symbol_count_findings, symbol_map_findings
from console.diagnosis.model import Code, Finding, Harm, Part, Severity
from console.diagnosis.server.liveness import Life, lock_held
from console.questdb.column_types import ColumnTag
from console.questdb.conversion import read_conversion
from console.questdb.formats.table import META_HEADER, TODO, TXN_RECORD
from console.questdb.metadata_history import contradictions, image_at, never_wal, read_history
from console.questdb.partition_spans import contradiction
from console.questdb.reading import Problem, ProblemKind, read_small
from console.questdb.structure_log import read_structure_log
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_name import read_table_name
from console.questdb.table_txn import TxnArea
from console.questdb.todo import Pending, Task, read_pending, restored_metadata
from console.table.later_traces import later_directories, metadata_newer
from console.table.txn_state import columns_before
from console.table.uncounted import rows_behind
from console.text import clean_line, plural

_MOST = 50
"""Findings about single files of one table; what is beyond is reported as a number."""

_NOT_THERE = "walmedic reads it and writes nothing there"

_NAME_NOTHING = {
    Code.TABLE_TXN_INVALID, Code.TABLE_METADATA_MISSING, Code.TABLE_METADATA_INVALID, Code.UNREADABLE,
}  # fmt: skip
_NAME_NO_FILES = {Code.COLUMN_VERSIONS_MISSING, Code.COLUMN_VERSIONS_INVALID, Code.TABLE_FILES_DISAGREE}


def table_file_findings(files: TableFiles) -> Iterator[Finding]:
    """Yield what is wrong with the table's own files and with those of its partitions."""
    if os.path.exists(files.directory.path / "_view"):  # noqa: PTH110 (closed: False)
        return  # a view has no rows of its own
    yield from _metadata(files)
    if other := list(_other_settings(files)):
        yield from other
        return
    yield from _identity(files)
    yield from _todo(files)
    if files.directory.path.is_symlink():
        message = f"the table lies in {clean_line(str(files.directory.path.resolve()))} by a soft link; {_NOT_THERE}"
        yield Finding(Code.SOFT_LINK, Severity.NOTE, message, files.directory.directory)
    area, metadata = files.txn.current, files.metadata
    if area is None or files.txn.problems:
        yield from _unusable_versions(files, None)
        return
    if isinstance(metadata, Problem) or damage_of(metadata) is not None:
        return
    if what := contradiction(area, metadata):
        yield Finding(
            Code.TABLE_TXN_INVALID, Severity.DAMAGE, f"_txn contradicts itself: {what}", files.relative(files.txn.path),
            area.base, area.seq_txn, start=Harm.DELETES_PARTITIONS,
        )  # fmt: skip
        return
    found = list(_versions(files, area, metadata))
    yield from found
    if not any(finding.severity is Severity.DAMAGE for finding in found):
        yield from _bounded(symbol_map_findings(files, area, metadata))
        yield from symbol_count_findings(files, area, metadata)
        yield from _bounded(partition_file_findings(files, area, metadata))


def parts_seen(findings: Iterable[Finding]) -> frozenset[Part]:
    """Return what was looked at, by what was found: the files of partitions are named by `_txn`, `_meta` and `_cv`."""
    findings = tuple(findings)
    codes = {finding.code for finding in findings if finding.severity is not Severity.NOTE}
    if codes & _NAME_NOTHING:
        return frozenset()
    if any(finding.code in _NAME_NO_FILES and finding.severity is Severity.DAMAGE for finding in findings):
        return frozenset({Part.COLUMN_VERSIONS})
    return frozenset({Part.COLUMN_VERSIONS, Part.PARTITION_FILES, Part.SYMBOL_FILES})


def damage_of(metadata: TableMetadata | Problem) -> Problem | None:
    """Return what is damaged about `_meta`; None where it is whole, or may not be read.

    A column of a type that is not known here is none: a newer QuestDB has more types.
    """
    problems = (metadata,) if isinstance(metadata, Problem) else metadata.problems
    header = not isinstance(metadata, Problem)
    for problem in problems:
        if problem.kind is ProblemKind.UNREADABLE:
            return None
        if not header or problem.offset is None or problem.offset < META_HEADER.size:
            return problem
    return None


def _metadata(files: TableFiles) -> Iterator[Finding]:
    if (problem := damage_of(files.metadata)) is not None:
        missing = problem.kind is ProblemKind.MISSING
        code = Code.TABLE_METADATA_MISSING if missing else Code.TABLE_METADATA_INVALID
        message = "_meta is missing" if missing else f"_meta is damaged: {problem.what}"
        of_another = problem.offset == META_HEADER.at("table_id")
        effect = (
            "every read fails, and rows go in by its columns"
            if of_another
            else "QuestDB can neither read nor write the table"
        )
        yield Finding(
            code, Severity.DAMAGE, f"{message}; {effect}", files.relative(problem.file), problem.offset,
            start=Harm.REWRITES_TABLE,
        )  # fmt: skip
    if isinstance(files.metadata, TableMetadata):
        yield from _indexed(files, files.metadata)


def _other_settings(files: TableFiles) -> Iterator[Finding]:
    """Tell what `_meta` says otherwise than its history, in a WAL table that nothing is being done to."""
    table, metadata, area = files.directory, files.metadata, files.txn.current
    if isinstance(metadata, Problem) or damage_of(metadata) is not None or area is None or files.txn.problems:
        return
    if never_wal(table, metadata):
        message = "_meta calls it a WAL table, and neither the registry nor txn_seq nor a WAL directory is there"
        yield Finding(Code.TABLE_METADATA_INVALID, Severity.DAMAGE, f"{message}: QuestDB does not list it",
                      files.relative(metadata.path), META_HEADER.at("wal"), start=Harm.FORGETS_TABLE)  # fmt: skip
        return
    if read_conversion(table.path).present or half_done(table) or metadata.metadata_version != area.metadata_version:
        return
    history = read_history(table.sequencer, read_structure_log(table.sequencer))
    own = image_at(metadata.path)
    if history is None or own is None or history.first.metadata(0).table_id != metadata.table_id:
        return
    said = list(contradictions(history, own, metadata, area))
    if said:
        message = f"_meta contradicts the sequencer: {'; '.join(map(clean_line, said))}"
        yield Finding(Code.TABLE_METADATA_INVALID, Severity.DAMAGE, message, files.relative(metadata.path),
                      start=Harm.MISAPPLIES)  # fmt: skip


def _indexed(files: TableFiles, metadata: TableMetadata) -> Iterator[Finding]:
    """Tell a column that has an index and cannot have one (measured on 9.1.0)."""
    for column in metadata.columns:
        if column.indexed and not column.dropped and column.tag is not ColumnTag.SYMBOL:
            message = (
                f"_meta gives column {column.name} an index, which only a SYMBOL can have: QuestDB does not open the "
                "table, and its tables() fails for every table"
            )
            yield Finding(Code.TABLE_METADATA_INVALID, Severity.DAMAGE, message, files.relative(metadata.path),
                          column=column.name, start=Harm.REWRITES_TABLE)  # fmt: skip


def _identity(files: TableFiles) -> Iterator[Finding]:
    """Compare id and name of a table in the registry with `_meta` and `_name`. A `_name` that is gone is no damage."""
    table, metadata = files.directory, files.metadata
    if not table.registered or isinstance(metadata, Problem) or damage_of(metadata) is not None:
        return
    if table.table_id is not None and metadata.table_id != table.table_id:
        message = f"the registry lists the table with id {table.table_id:,}, and its _meta has {metadata.table_id:,}"
        yield Finding(Code.REGISTRY_INVALID, Severity.RISK, message, files.relative(metadata.path), 16)
    name = read_table_name(table.path)
    if name is not None and name != table.raw_name:
        message = f"the registry calls the table {table.name}, and its _name says {clean_line(name)}"
        yield Finding(Code.REGISTRY_INVALID, Severity.NOTE, message, files.relative(table.path / "_name"))


def _todo(files: TableFiles) -> Iterator[Finding]:
    """A `_todo_` that is cut keeps every writer away; one that is missing or zeros the server makes again (9.1.0)."""
    file = read_small(files.directory.path / "_todo_")
    if file.present and len(file.data) < TODO.at("count"):
        message = f"_todo_ is cut: it has {len(file.data):,} bytes; QuestDB reads the table, and suspends it at a write"
        yield Finding(Code.TODO_INVALID, Severity.DAMAGE, message, files.relative(file.path), 0,
                      start=Harm.STOPS_APPLYING if files.incoming.any else Harm.NONE)  # fmt: skip
    elif files.txn.current is not None and not files.txn.problems:
        pending = read_pending(files.directory.path, files.txn.current.txn)
        if pending is not None:
            yield from _pending(files, files.txn.current, pending, files.relative(file.path))


def _pending(files: TableFiles, area: TxnArea, pending: Pending, file: str) -> Iterator[Finding]:
    """What a writer left half done. A `_meta.prev` of the version that `_txn` names heals an ALTER that was cut off."""
    at = TODO.size
    if pending.task is Task.TRUNCATE:
        message = (
            "_todo_ says that a TRUNCATE was cut off: the next writer deletes every partition, or fails at that and "
            "the table takes no row any more (9.1.0)"
        )
        yield Finding(Code.TODO_PENDING, Severity.DAMAGE, message, file, at, start=Harm.DELETES_PARTITIONS)
        return
    restored = restored_metadata(files.directory.path, pending)
    if restored is None:
        return
    if isinstance(restored, Problem) and restored.kind is ProblemKind.UNREADABLE:
        yield Finding(
            Code.UNREADABLE, Severity.RISK, f"{pending.previous}: {restored.what}", files.relative(restored.file)
        )
        return
    damage = damage_of(restored)
    if damage is None and not isinstance(restored, Problem) and restored.metadata_version == area.metadata_version:
        message = (
            f"_todo_ says that an ALTER was cut off: the next writer puts {pending.previous} back, and all is well"
        )
        yield Finding(Code.TODO_PENDING, Severity.NOTE, message, file, at)
        return
    what = "is damaged" if isinstance(restored, Problem) or damage else f"has version {restored.metadata_version}"
    message = (
        f"_todo_ has the next writer replace _meta by {pending.previous}, which {what}; _txn needs version "
        f"{area.metadata_version}"
    )
    yield Finding(Code.TODO_PENDING, Severity.DAMAGE, message, file, at, start=Harm.REWRITES_TABLE)


def _unusable_versions(files: TableFiles, needed: int | None) -> Iterator[Finding]:
    """Tell that `_cv` cannot be read, or is older than the version that `_txn` needs (None: that is not known)."""
    versions, file = files.versions, files.relative(files.versions.path)
    problem = versions.problems[0] if versions.problems else None
    if problem is not None and problem.kind is ProblemKind.UNREADABLE:
        yield Finding(Code.UNREADABLE, Severity.RISK, f"_cv: {problem.what}", file)
    elif versions.version is None or versions.version < (needed or 0):
        missing = problem is not None and problem.kind is ProblemKind.MISSING
        code = Code.COLUMN_VERSIONS_MISSING if missing else Code.COLUMN_VERSIONS_INVALID
        what = problem.what if problem else f"its version is {versions.version}, and _txn needs {needed}"
        message = "_cv is missing" if missing else f"_cv is damaged: {what}"
        message += "; it says which files hold the columns that were added or changed"
        # Of a table that never had such a column a writer that opens makes it anew (9.1.0). Until then nothing is read,
        # and a table that has nothing to apply takes no row either.
        yield Finding(code, Severity.DAMAGE, message, file,
                      start=Harm.NONE if needed == 0 else Harm.LOSES_COLUMNS)  # fmt: skip


def _versions(files: TableFiles, area: TxnArea, metadata: TableMetadata) -> Iterator[Finding]:
    """Compare the versions of `_cv` and `_meta` with those that `_txn` names: a reader waits until they are equal."""
    yield from _unusable_versions(files, area.column_version)
    if (versions := files.versions).version is not None and versions.version > area.column_version:
        yield from _ahead(files, area, versions.version, metadata)
    if metadata.metadata_version == area.metadata_version and len(metadata.symbols) != len(area.symbols):
        message = (
            f"_meta has {plural(len(metadata.symbols), 'symbol column')}, and _txn counts the symbols of "
            f"{len(area.symbols):,}: one of them is not of this state of the table"
        )
        yield Finding(Code.TABLE_FILES_DISAGREE, Severity.DAMAGE, message, files.relative(metadata.path),
                      start=Harm.DELETES_DIRECTORY)  # fmt: skip
    if newer := metadata_newer(files.directory.path, metadata, area):
        message = f"{newer}: an ALTER was applied, _txn is of before it; reads time out, a WAL table is suspended"
        at = area.base + TXN_RECORD.at("metadata_version")
        yield Finding(Code.TABLE_FILES_DISAGREE, Severity.DAMAGE, message, files.relative(files.txn.path), at,
                      area.seq_txn, start=Harm.STOPS_APPLYING)  # fmt: skip
    if not metadata.wal:  # of a WAL table txn_findings says so
        later, unnamed = later_directories(files.directory.path, metadata, area)
        if how := newer or later:
            message = (
                f"_txn is set back: {how}; the first writer deletes the partition directories that it does not name"
            )
            yield Finding(Code.TABLE_TXN_BEHIND, Severity.DAMAGE, message, files.relative(files.txn.path), area.base,
                          start=Harm.DROPS_PARTITION)  # fmt: skip
        elif unnamed:
            yield from _unnamed(files, metadata, unnamed)
    yield from _behind(files, metadata, area)
    if metadata.metadata_version < area.metadata_version:
        message = (
            f"_meta is older than _txn: its version is {metadata.metadata_version}, and _txn needs "
            f"{area.metadata_version}; reads wait for it until they time out"
        )
        yield Finding(Code.TABLE_METADATA_INVALID, Severity.DAMAGE, message, files.relative(metadata.path), 32,
                      start=Harm.REWRITES_TABLE)  # fmt: skip


def _unnamed(files: TableFiles, metadata: TableMetadata, name: str) -> Iterator[Finding]:
    """Tell a partition, of a table without WAL, that `_txn` does not name, if it has rows."""
    column = metadata.timestamp
    if column is None:
        return
    folder = files.directory.path / name
    times = read_small(folder / f"{column.raw_name}.d", 8)
    if not any(times.data):
        return  # a directory that a writer had only begun
    if _made_by_server(folder, files.directory.path.parent):
        message = f"{clean_line(name)} has rows of a time that _txn has no partition of: a writer may commit them yet"
        yield Finding(Code.TABLE_FILES_DISAGREE, Severity.NOTE, message, files.relative(folder))
        return
    message = (
        f"{clean_line(name)} has rows of a time that _txn has no partition of: never committed, or _txn is of before "
        "them; the first writer deletes the directory: move it out of the table to keep it"
    )
    yield Finding(Code.TABLE_FILES_DISAGREE, Severity.RISK, message, files.relative(folder), partition=clean_line(name),
                  start=Harm.DELETES_DIRECTORY)  # fmt: skip


def _behind(files: TableFiles, metadata: TableMetadata, area: TxnArea) -> Iterator[Finding]:
    """Tell rows behind those that `_txn` counts, unless the WAL has them, or a server may commit them yet."""
    rows, path = rows_behind(files.directory.path, metadata, area)
    if not rows or _made_by_server(path, files.directory.path.parent):
        return
    message = (
        f"behind the rows that _txn counts lie {plural(rows, 'more row')} of rising times: never committed, or _txn is "
        "of before them; the next writer overwrites them: copy the directory to keep them"
    )
    yield Finding(Code.TABLE_FILES_DISAGREE, Severity.NOTE, message, files.relative(path),
                  partition=clean_line(path.parent.name))  # fmt: skip


def _made_by_server(folder: Path, db: Path) -> bool:
    """Return whether a file or directory may be the work of the server that runs: it was changed since its start."""
    held = lock_held(db)
    if held.life is Life.ALIVE and not held.pids:
        return True  # its processes are not to be seen here
    try:
        made = folder.lstat().st_mtime
        return any(psutil.Process(pid).create_time() <= made for pid in held.pids)
    except (OSError, psutil.Error):
        return False


def _ahead(files: TableFiles, area: TxnArea, version: int, metadata: TableMetadata) -> Iterator[Finding]:
    """`_cv` is newer than `_txn`: a writer died between the two, or `_txn` points at the state before.

    Measured on 9.1.0: a read never ends, a few of them stop the whole server, and the change is not applied again.
    """
    other = files.txn.other
    back = other is not None and other.txn > area.txn and other.column_version == version
    if not back and columns_before(files.directory.path, metadata, area):
        message = (
            f"_cv has version {version}, and _txn names {area.column_version}: a change was cut off between the two, "
            "and the files of the version before are all there"
        )
        yield Finding(Code.COLUMN_VERSIONS_INVALID, Severity.DAMAGE, message, files.relative(files.versions.path),
                      start=Harm.HANGS)  # fmt: skip
        return
    if back and other is not None:
        message = (
            f"_txn points at its older area: {area.rows:,} rows of seqTxn {area.seq_txn:,}; the other area has "
            f"{other.rows:,} rows of seqTxn {other.seq_txn:,} and is the one that _cv belongs to"
        )
        code, harm = Code.TABLE_FILES_DISAGREE, Harm.DELETES_DIRECTORY
    elif metadata.wal:
        return  # txn_findings says so
    else:
        message = f"_txn is set back: it names version {area.column_version} of _cv, which has {version}"
        code, harm = Code.TABLE_TXN_BEHIND, Harm.HANGS
    yield Finding(code, Severity.DAMAGE, message, files.relative(files.txn.path), 0, area.seq_txn, start=harm)


def _bounded(findings: Iterator[Finding]) -> Iterator[Finding]:
    rest: dict[Code, list[Finding]] = {}
    for number, finding in enumerate(findings):
        if number < _MOST:
            yield finding
        else:
            rest.setdefault(finding.code, []).append(finding)
    for code, more in rest.items():
        harms = [next((h for h in harm if h is not Harm.NONE), Harm.NONE) for harm in
                 ([each.start for each in more], [each.write for each in more])]  # fmt: skip
        message = f"{plural(len(more), 'more finding')} of this kind"
        yield Finding(code, more[0].severity, message, more[0].file, start=harms[0], write=harms[1])
