"""Findings about the sequencer's other files: `_wal_index.d`, `_meta`, structure changes, owners, and its copies."""

import itertools
import os
import stat
from collections.abc import Iterator

from console.diagnosis.crashes.lengths import length_of
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.diagnosis.table_facts import Sequencer, TableFacts
from console.errors import run_as_owner
from console.questdb.column_types import type_name
from console.questdb.formats.sequencer import SEQUENCER_META
from console.questdb.reading import Problem, ProblemKind
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.server_version import read_versions
from console.questdb.table_metadata import TableMetadata
from console.questdb.txn_log import LogState
from console.questdb.version_behaviour import behaviour_of
from console.table.copies import Worth, best_copy, worth_of
from console.table.log_parts import with_parts
from console.table.log_scan import scan_log
from console.text import clean_line, plural


def sequencer_findings(facts: TableFacts) -> Iterator[Finding]:
    """Yield what is wrong beside the log. Where the whole directory is gone there is nothing beside it."""
    if facts.sequencer.log.state is not LogState.NO_SEQUENCER:
        yield from _wal_index(facts)
        yield from _metadata(facts)
        yield from _changes(facts)
        yield from _owners(facts)


def _wal_index(facts: TableFacts) -> Iterator[Finding]:
    index = facts.sequencer.wal_index
    file = facts.relative(index.path)
    needed = facts.highest_wal
    if not index.present and index.problems and index.problems[0].kind is ProblemKind.UNREADABLE:
        message = f"_wal_index.d cannot be judged: {index.problems[0].what}"
        yield Finding(Code.UNREADABLE, Severity.RISK, message, file)
    elif index.highest is None:
        severity = Severity.RISK if needed else Severity.NOTE
        state = "is gone" if not index.present else "is cut"
        message = f"_wal_index.d {state}: the server makes it again as 0"
        message += (
            f", and the next writer would take wal1 again and overwrite WAL (wal{needed} exists)" if needed else ""
        )
        yield Finding(Code.WAL_INDEX_MISSING, severity, message, file, 0, evidence=f"highest WAL on disk: {needed}")
    elif index.highest < needed:
        message = (
            f"_wal_index.d says that wal{index.highest} was the last and wal{needed} exists: the next writer would "
            f"take wal{index.highest + 1} and can overwrite what is in it"
        )
        yield Finding(Code.WAL_INDEX_LOW, Severity.RISK, message, file, 0,
                      evidence=f"index {index.highest:,}, highest WAL {needed:,}")  # fmt: skip


def _metadata(facts: TableFacts) -> Iterator[Finding]:
    metadata = facts.sequencer.metadata
    file = facts.relative(facts.sequencer.path / "_meta")
    if isinstance(metadata, Problem):
        if metadata.kind is ProblemKind.MISSING:
            message = "the sequencer's _meta is gone: reads work, every write fails"
            yield Finding(Code.SEQUENCER_METADATA_MISSING, Severity.DAMAGE, message, file, start=Harm.STOPS_APPLYING)
        elif metadata.kind is ProblemKind.UNREADABLE:
            message = f"the sequencer's _meta cannot be judged: {metadata.what}"
            yield Finding(Code.UNREADABLE, Severity.RISK, message, file)
        else:
            message = f"the sequencer's _meta cannot be loaded, so every write fails: {metadata.what}"
            yield Finding(Code.SEQUENCER_METADATA_INVALID, Severity.DAMAGE, message, file, metadata.offset,
                          start=Harm.STOPS_APPLYING)  # fmt: skip
        return
    if metadata.suspended:
        yield from _suspension(facts, file)
    if metadata.dropped:
        message = "the sequencer's _meta says that the table was dropped: writes fail, and the sweep deletes its WAL"
        yield Finding(Code.SEQUENCER_METADATA_INVALID, Severity.DAMAGE, message, file, 8, start=Harm.DELETES_WAL)
    own_id = facts.metadata.table_id if isinstance(facts.metadata, TableMetadata) else facts.directory.table_id
    if own_id is not None and metadata.table_id not in (own_id, facts.directory.table_id):
        message = f"the sequencer's _meta is of table id {metadata.table_id:,}, the table's is {own_id:,}"
        yield Finding(Code.SEQUENCER_METADATA_INVALID, Severity.RISK, message, file, 24)
    current = facts.txn.current
    if current is not None and not metadata.dropped and metadata.structure_version < current.structure_version:
        same = isinstance(facts.metadata, TableMetadata) and _columns(metadata) == _columns(facts.metadata)
        message = (
            f"the sequencer's _meta is of structure version {metadata.structure_version:,} and the table is at "
            f"{current.structure_version:,}: "
        )
        message += "every ALTER fails" if same else "writers work with columns that the table no longer has so"
        severity, harm = (Severity.RISK, Harm.NONE) if same else (Severity.DAMAGE, Harm.STOPS_APPLYING)
        yield Finding(Code.SEQUENCER_METADATA_INVALID, severity, message, file, 8, start=harm)
    yield from _other_columns(facts, metadata, file)


def _other_columns(facts: TableFacts, metadata: SequencerMetadata, file: str) -> Iterator[Finding]:
    """Compare the columns of both `_meta` if both are of the structure version that `_txn` names.

    A sequencer that is ahead has an ALTER that is not applied yet. The checksum of the sequencer's columns says which
    of the two is damaged; if it fits, or there is none, neither can be made again from the other.
    """
    current, own = facts.txn.current, facts.metadata
    if current is None or isinstance(own, Problem) or own.problems or metadata.problems:
        return
    if own.metadata_version != current.metadata_version or metadata.structure_version != current.structure_version:
        return
    pairs = itertools.zip_longest(_columns(metadata), _columns(own))
    differ = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if differ is not None:
        there, here = ("nothing" if each is None else f"{each[0]} {type_name(each[1])}" for each in differ)
        message = f"the sequencer's _meta has {there} where the table's has {here}, at the same structure version"
        changed = metadata.read_order is not None and not metadata.tail_valid
        code = Code.SEQUENCER_METADATA_INVALID if changed else Code.TABLE_FILES_DISAGREE
        yield Finding(code, Severity.RISK, message, file)


def _columns(metadata: SequencerMetadata | TableMetadata) -> list[tuple[str, int]]:
    return [(column.name, column.type_code) for column in metadata.columns if not column.dropped]


def _suspension(facts: TableFacts, file: str) -> Iterator[Finding]:
    """Up to 8.2 a suspension is kept in the file, so that a start does not end it; later versions do not look there."""
    last = read_versions(facts.directory.path.parent).last
    if not behaviour_of(last).keeps_suspension:
        return
    which = f"QuestDB {last}" if last is not None else "a QuestDB of unknown version"
    message = f"the table is suspended, and {which} keeps that over a start: later writes are acknowledged, not applied"
    at = SEQUENCER_META.at("suspended")
    yield Finding(Code.TABLE_SUSPENDED, Severity.DAMAGE, message, file, at, start=Harm.NONE)


def _changes(facts: TableFacts) -> Iterator[Finding]:
    """A structure change that waits needs its content; one that is applied does not."""
    scan, structure = facts.sequencer.scan, facts.sequencer.structure
    if scan is None:
        return
    waiting = scan.changes.at(scan.changes.number <= scan.max_txn)
    for version, txn in zip(waiting.version.tolist(), waiting.number.tolist(), strict=True):
        change = structure.change(version)
        if isinstance(change, Problem):
            message = (
                f"seqTxn {txn:,} is a structure change that waits, and its content is not to be had: {change.what}"
            )
            yield Finding(Code.SEQUENCER_METADATA_INVALID, Severity.DAMAGE, message,
                          facts.relative(change.file), change.offset, txn, start=Harm.STOPS_APPLYING)  # fmt: skip
            return


def _owners(facts: TableFacts) -> Iterator[Finding]:
    """The server must be able to write: what it made belongs to the owner of `_txn`."""
    if not facts.owners or facts.owners[0].path.name != "_txn":
        return
    model = facts.owners[0]
    differing = [owner for owner in facts.owners[1:] if owner.differs(model)]
    if differing:
        first, alone = differing[0], len(differing) == 1
        message = (
            f"{plural(len(differing), 'file')} of the table {'belongs' if alone else 'belong'} to another owner than "
            f"its _txn: the server may not be able to write {'it' if alone else 'them'}"
        )
        evidence = f"{first.path.name}: {first.uid}:{first.gid}, _txn: {model.uid}:{model.gid}"
        yield Finding(Code.OWNERSHIP_DIFFERS, Severity.RISK, message, facts.relative(first.path), evidence=evidence)
        return
    locked = [owner for owner in facts.owners[1:] if owner.locked]
    if locked:
        message = f"{plural(len(locked), 'file')} of the table cannot be written by the owner"
        yield Finding(Code.OWNERSHIP_DIFFERS, Severity.RISK, message, facts.relative(locked[0].path),
                      evidence=f"mode {stat.S_IMODE(locked[0].mode):04o}")  # fmt: skip


def backup_findings(facts: TableFacts, broken: bool) -> Iterator[Finding]:
    """Yield the copies of the sequencer that lie in the table, and that they go with it where it is broken."""
    for backup in facts.backups:
        length = length_of(backup.log, backup.name)
        if length.unreadable:
            message = (
                f"the copy of the sequencer {clean_line(backup.name)} cannot be read as uid {os.geteuid()}, so what it "
                f"is worth is not known: before anything is repaired, {run_as_owner('its owner')}"
            )
            yield Finding(Code.UNREADABLE, Severity.RISK, message, facts.relative(backup.path))
            continue
        words = length.sentence if not backup.log.v2 else _v2_words(backup)
        message = f"a copy of the sequencer lies in the table: {clean_line(backup.name)}"
        verdict = facts.origins.log(backup.name)
        if not verdict.own:
            message += f"; it is not used, it {verdict.why}"
        yield Finding(Code.BACKUP_FOUND, Severity.NOTE, message, facts.relative(backup.path), evidence=words)
    if broken and facts.backups:
        alone = len(facts.backups) == 1
        message = (
            f"{plural(len(facts.backups), 'copy', 'copies')} of the sequencer {'lies' if alone else 'lie'} inside the "
            f"table's own directory: DROP TABLE would erase {'it' if alone else 'them'} too, even where it answers "
            "that there is no such table"
        )
        yield Finding(Code.IN_TABLE_BACKUP_AT_RISK, Severity.RISK, message, facts.relative(facts.backups[0].path))


def _v2_words(backup: Sequencer) -> str:
    return f"header {backup.log.max_txn or 0:,}, {plural(len(backup.log.parts), 'part')}"


def best_backup(facts: TableFacts) -> Sequencer | None:
    """Return the copy to restore from: the one that a plan takes. What is not proven to be the table's is none."""
    if facts.applied is None:
        return None
    own = [backup for backup in (*facts.backups, *facts.guarded) if facts.origins.log(backup.name).own]
    worths = [_worth(facts, backup) for backup in own]
    best = best_copy(worth for worth in worths if worth is not None)
    return next((backup for backup in own if backup.name == best), None)


def log_serves(facts: TableFacts) -> bool:
    """Return whether the log in place can be the base of its repair, as the plan decides it: it reaches what is applied
    by its header or by records. If nothing is known to be applied, it is not refused here."""
    if facts.applied is None or not facts.origins.log(facts.sequencer.name).own:
        return True
    return _worth(facts, facts.sequencer) is not None


def _worth(facts: TableFacts, backup: Sequencer) -> Worth | None:
    log, scan = with_parts(backup.log, backup.path), backup.scan
    if log is not backup.log:
        scan = scan_log(log, facts.inventory, facts.applied, dedup=facts.dedup)
    return worth_of(backup.name, scan, facts.inventory) if scan is not None else None
