"""Findings that belong to no single table: the registry, a checkpoint, and the order to go back to one."""

from collections.abc import Iterator
from pathlib import Path

from console.diagnosis.model import Code, Finding, Harm, Severity
from console.questdb.aside import tables_aside
from console.questdb.checkpoint import TRIGGER, Checkpoint, read_checkpoint
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import ProblemKind
from console.questdb.soft_links import broken_links, links_in
from console.questdb.table_ids import TABLE_INDEX, read_table_ids
from console.questdb.table_name import name_of_directory, read_table_name
from console.questdb.table_txn import read_table_txn
from console.text import clean_line

_DAMAGED = (ProblemKind.INVALID, ProblemKind.SHORT)


def root_findings(database: DatabaseRoot) -> Iterator[Finding]:
    registry = database.registry()
    # Measured on 8.2.0, 9.1.0 and 9.3.4: one that is gone, empty or all zeros is made anew from the table directories.
    empty = registry.stamp is not None and not registry.stamp.size
    for problem in registry.problems:
        if problem.kind in _DAMAGED:
            message = f"the registry of WAL tables is damaged: {problem.what}"
            severity, harm = (Severity.NOTE, Harm.NONE) if empty else (Severity.DAMAGE, Harm.DOES_NOT_START)
            yield Finding(Code.REGISTRY_INVALID, severity, message, problem.file.name, problem.offset, start=harm)
    for doubles in database.doubles():
        directories = " and ".join(clean_line(each.directory) for each in doubles)
        message = f"{directories} are all called {doubles[0].name}, and the registry does not say which is the table"
        yield Finding(Code.REGISTRY_INVALID, Severity.DAMAGE, message, doubles[0].directory, start=Harm.FORGETS_TABLE)
    yield from _table_ids(database)
    yield from _not_there(database)
    checkpoint = read_checkpoint(database.root, database.db)
    if checkpoint.trigger is not None:
        harm = Harm.ROLLS_BACK if checkpoint.left is not None else Harm.DOES_NOT_START
        what = f"the checkpoint in {checkpoint.left.name}" if checkpoint.left is not None else "a checkpoint"
        message = f"{TRIGGER} lies in the data root: it orders the next start to go back to {what}"
        yield Finding(Code.RESTORE_PENDING, Severity.RISK, message, str(checkpoint.trigger), start=harm)
    elif checkpoint.left is not None:
        yield _left(checkpoint, checkpoint.left)


def _table_ids(database: DatabaseRoot) -> Iterator[Finding]:
    """Measured on 9.3.4: of a file that is gone QuestDB makes zeros, and gives new tables the ids of others."""
    ids = read_table_ids(database)
    if ids.behind:
        said = f"says {ids.handed_out:,}" if ids.handed_out is not None else "names no id"
        message = f"{TABLE_INDEX} {said}, and there is a table with the id {ids.highest:,}: new tables get ids in use"
        yield Finding(Code.TABLE_IDS_LOW, Severity.RISK, message, TABLE_INDEX, 0)
    for each, directories in ids.shared.items():
        message = f"{' and '.join(map(clean_line, directories))} have the same table id, {each:,}"
        yield Finding(Code.TABLE_IDS_LOW, Severity.NOTE, message, directories[0])


def _not_there(database: DatabaseRoot) -> Iterator[Finding]:
    """Yield the tables that were set aside, and those that the registry names and whose directory has gone."""
    for aside in tables_aside(database.db):
        message = f"{aside.name} was set aside: QuestDB does not see it until set-table-aside is undone"
        yield Finding(Code.TABLE_SET_ASIDE, Severity.RISK, message, str(aside.path.relative_to(database.db)))
    broken = dict(broken_links(links_in(database.db)))
    registered = database.registry().live() if broken else {}
    for link, target in broken.items():
        if link.name not in registered and "~" not in link.name:
            continue  # no table's
        message = (
            f"{clean_line(name_of_directory(link.name))} lies in {clean_line(target)} by a soft link, and that is not "
            "there: mount that disk (a volume of QuestDB)"
        )
        yield Finding(Code.SOFT_LINK_BROKEN, Severity.DAMAGE, message, link.name, start=Harm.FORGETS_TABLE)
    for entry in database.gone():
        message = f"the registry names {clean_line(entry.name)} in {clean_line(entry.directory)}, which is not there"
        yield Finding(Code.TABLE_DIRECTORY_GONE, Severity.RISK, message, entry.directory)
    for path in database.not_dropped():
        name, txn = clean_line(read_table_name(path) or name_of_directory(path.name)), read_table_txn(path).current
        rows = f"{txn.rows:,} rows" if txn is not None else "its rows cannot be counted"
        message = (
            f"{name} in {clean_line(path.name)} ({rows}): the registry says that it was dropped, its own log does not"
        )
        yield Finding(Code.DROPPED_TABLE_BACK, Severity.DAMAGE, message, path.name, start=Harm.ERASES_TABLE)


def _left(checkpoint: Checkpoint, left: Path) -> Finding:
    """A checkpoint is gone back to without an order only by a server of another instance than it names."""
    message = f"a checkpoint was not released ({left.name}/)"
    if not checkpoint.instance or checkpoint.configured in ("", checkpoint.instance):
        return Finding(Code.CHECKPOINT_LEFT, Severity.NOTE, message, str(left))
    message += f"; it is of the instance {checkpoint.instance}, and server.conf names {checkpoint.configured}"
    return Finding(Code.CHECKPOINT_LEFT, Severity.RISK, message, str(left), start=Harm.ROLLS_BACK)
