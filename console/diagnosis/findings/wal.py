"""Findings about the WAL segments: what no record names, events that are cut, what the purge would delete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.table_facts import TableFacts
from console.questdb.reading import ProblemKind
from console.questdb.registry import TableKind
from console.questdb.segment import EventType
from console.questdb.txn_log import STRUCTURE_CHANGE
from console.table.inventory import carries_rows
from console.table.ledger import Evidence
from console.table.log_scan import LogScan
from console.table.unapplied import State, Unapplied, by_segment
from console.table.unrecorded import log_is_older
from console.text import plural

_MOST: Final = 20
_UNNAMED: Final = {
    True: "the log is older than the WAL, since its writer went on, or the log never gave out its id",
    False: "its writer ended before QuestDB acknowledged it, or the log is an older one: it is not known which",
}


def wal_findings(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    yield from _truncated(facts, unapplied)
    yield from _not_counted(facts, unapplied)
    yield from _unlogged(facts, unapplied)
    yield from _lost(facts)
    yield from _renamed(facts)
    if not unapplied.exact:
        bound = unapplied.bound(facts.inventory)
        message = f"how many rows wait cannot be known exactly, at most {bound:,}: {unapplied.why}"
        where = facts.relative(facts.directory.path)
        yield Finding(
            Code.LOG_TAIL_UNLOGGED, Severity.NOTE, message, where, evidence="an upper bound, from the segments"
        )
    if unapplied.lost:
        message = (
            f"of {plural(unapplied.lost, 'transaction')} that the log's header counts nothing is left on disk: purged "
            "or lost WAL, a structure change, or a header that is too high"
        )
        yield Finding(Code.LOG_TAIL_UNLOGGED, Severity.NOTE, message, facts.relative(facts.sequencer.log.path))


def _truncated(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Segments whose events cannot be read to the end that their header promises."""
    needed = unapplied.state != State.APPLIED
    scan = facts.sequencer.scan
    wanted: set[tuple[int, int]] = set()
    if scan is not None:
        slices = facts.inventory.slices()
        wanted = {(slices[at][0], slices[at][1]) for at in np.flatnonzero(scan.wanted).tolist()}
    for (wal, segment), low, high in _slices(facts):
        read = facts.inventory.segments[wal, segment]
        broken = [problem for problem in read.problems if problem.file.name in ("_event", "_event.i")]
        if not broken:
            continue
        if read.max_txn is None and broken[0].kind is ProblemKind.MISSING and (wal, segment) not in wanted:
            continue  # a segment's directory is made before its files: nothing was ever in it
        matters = bool(needed[low:high].any()) or (wal, segment) in wanted or not high > low
        unreadable = int((facts.inventory.events["type"][low:high] == EventType.UNREADABLE).sum())
        what = f"; {plural(unreadable, 'transaction')} of it cannot be decoded" if unreadable else ""
        if read.copied:
            what += f"; the guard has a copy of the first {plural(len(read.events) - read.beyond, 'transaction')}"
        message = f"the events of wal{wal}/{segment} are damaged: {broken[0].what}{what}"
        severity = Severity.DAMAGE if matters and not facts.gone else Severity.RISK if matters else Severity.NOTE
        indexed = read.whole and all(problem.file.name == "_event.i" for problem in broken)
        first = low + int(np.argmax(needed[low:high])) if high > low else low
        if severity is Severity.DAMAGE and indexed and bool(facts.inventory.events["opens"][first]):
            severity = Severity.RISK  # the server looks up the first of what it applies, and reads on from there
            what = "; applying stops where it has to begin with that one"
        yield Finding(Code.SEGMENT_EVENT_TRUNCATED, severity, message, facts.relative(broken[0].file), broken[0].offset)


def _not_counted(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Events that a record of the log names, and that the header of their file does not count."""
    behind = unapplied.waiting & (unapplied.seq_txn > 0) & facts.inventory.events["beyond"]
    for wal, segment, places in by_segment(facts.inventory, behind)[:_MOST]:
        read = facts.inventory.segments[wal, segment]
        message = (
            f"the header of wal{wal}/{segment}/_event ends at transaction {read.max_txn}, and the log names "
            f"{plural(len(places), 'transaction')} behind it: the server cannot open the segment there"
        )
        file, number = facts.relative(read.path / "_event"), int(unapplied.seq_txn[places[0]])
        yield Finding(Code.SEGMENT_EVENT_TRUNCATED, Severity.DAMAGE, message, file, 0, number)


def _slices(facts: TableFacts) -> Iterator[tuple[tuple[int, int], int, int]]:
    for wal, segment, low, high in facts.inventory.slices():
        yield (wal, segment), low, high


def _unlogged(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Segment transactions that no record names: the missing tail, or the last words of a writer that was killed."""
    inventory, scan = facts.inventory, facts.sequencer.scan
    if scan is None:
        return
    log = facts.relative(facts.sequencer.log.path)
    if scan.beyond:
        yield _behind_the_header(facts, scan)
    named = np.zeros(len(inventory), np.bool_)
    named[scan.named.event] = True
    missing = unapplied.waiting & ~named & (unapplied.source == facts.sequencer.name)
    unnamed = unapplied.state == State.UNNAMED
    older = bool(unnamed.any()) and log_is_older(inventory, unnamed, facts.sequencer.wal_index.highest)
    several = len(np.unique(inventory.events["wal"][unnamed])) > 1  # rarely do two writers die at that moment
    several = several or _written_anew(facts, scan)
    for wal, segment, places in by_segment(inventory, missing | unnamed)[:_MOST]:
        events = inventory.events[places]
        rows = int((events["end"] - events["start"])[carries_rows(events)].sum())
        low, high = int(events["txn"][0]), int(events["txn"][-1])
        which = f"transaction {low:,}" if low == high else f"transactions {low:,} to {high:,}"
        doubtful = older or several or _before_boot(facts.directory.path / f"wal{wal}" / str(segment) / "_event")
        severity = Severity.DAMAGE if bool(missing[places].any()) else Severity.RISK if doubtful else Severity.NOTE
        statements = int((events["type"] == EventType.SQL).sum())
        what = f"{plural(rows, 'row')} and {plural(statements, 'statement')}" if statements else plural(rows, "row")
        message = f"no record of the log names wal{wal}/{segment} {which} ({what})"
        if severity is not Severity.DAMAGE:
            message += f": {_UNNAMED[older]}; QuestDB does not apply it, and its purge deletes it"
        place = facts.relative(facts.directory.path / f"wal{wal}" / str(segment) / "_event")
        read = facts.inventory.segments[wal, segment].events
        offset = int(read["offset"][low]) if low < len(read) and read["offset"][low] >= 0 else None
        yield Finding(Code.LOG_TAIL_UNLOGGED, severity, message, place, offset, evidence=f"log: {log}", rows=rows)


def _written_anew(facts: TableFacts, scan: LogScan) -> bool:
    """Return whether the files are a copy without their times: `_name` seems to be of after the last commit."""
    try:
        last = facts.sequencer.log.records(scan.max_txn, scan.max_txn)
        name_us = (facts.directory.path / "_name").lstat().st_mtime_ns // 1000
    except OSError:
        return False
    if not len(last) or int(last["wal_id"][0]) == STRUCTURE_CHANGE:
        return False  # a RENAME writes that file as well, when it is applied
    return name_us > int(last["commit_us"][0]) + 1_000_000


def _before_boot(events: Path) -> bool:
    """Return whether the machine was started since a file was written: a power loss can keep it and lose a later one.

    The record of a commit is written after its event. Without a power loss an acknowledged commit has its record.
    """
    try:
        return events.lstat().st_mtime < psutil.boot_time()
    except OSError:
        return False


def _behind_the_header(facts: TableFacts, scan: LogScan) -> Finding:
    """Whole records that the header does not count: never acknowledged, or lost by the header."""
    first = scan.first_beyond or scan.max_txn + 1
    path, at = facts.sequencer.log.offset_of(first)
    end = f"behind the end that the header gives ({scan.max_txn:,})"
    if scan.change_cut_off:
        severity, rows = Severity.NOTE, None
        message = (
            f"the record of seqTxn {first:,}, an ALTER, lies {end}: it was never acknowledged, or the header lost it. "
            "QuestDB writes its next transaction in that place; no row is lost"
        )
    else:
        last = max(scan.max_txn, scan.applied)
        rows = int(facts.inventory.rows[scan.named.event[scan.believed & (scan.named.number > last)]].sum())
        severity = Severity.RISK if scan.cut_off else Severity.DAMAGE
        many = f"{plural(scan.beyond, 'whole record')} with {plural(rows, 'row')}"
        message = f"{many} from seqTxn {first:,} on {'lies' if scan.beyond == 1 else 'lie'} {end}"
        if scan.cut_off:
            message += ": QuestDB was killed before it acknowledged it, or the header is too low; it is not known which"
    return Finding(Code.LOG_TAIL_UNLOGGED, severity, message, facts.relative(path), at, first)


def _lost(facts: TableFacts) -> Iterator[Finding]:
    """Segments and WALs of which only the lock file is there, and of which no record of a log above applied tells."""
    yield from _emptied(facts)
    scan = facts.sequencer.scan
    if scan is not None and facts.applied is not None and scan.max_txn > facts.applied:
        return
    for wal, number in facts.inventory.lost[:_MOST]:
        path = facts.directory.path / (f"wal{wal}" if number < 0 else f"wal{wal}/{number}")
        if path.exists() or not path.with_name(f"{path.name}.lock").exists():
            continue  # a server's purge removes both, one after the other
        if number >= 0 and _later_named(facts, wal, number):
            continue  # the purge was cut off between the two
        place = path.relative_to(facts.directory.path)
        message = (
            f"{place}.lock is there and {place} is not: QuestDB's purge removes both, so something else removed "
            f"{place}; which transactions it held is not known"
        )
        yield Finding(Code.SEGMENT_MISSING, Severity.RISK, message, facts.relative(path))


def _renamed(facts: TableFacts) -> Iterator[Finding]:
    for each in facts.unseen:
        if each.evidence is Evidence.RENAMED:
            path = facts.directory.path / each.place
            yield Finding(Code.WAL_RENAMED, Severity.RISK, f"{each.place} {each.why}", facts.relative(path))


def _later_named(facts: TableFacts, wal: int, segment: int) -> bool:
    """Return whether the log names a later segment of a WAL: then it has named all that was in this one before."""
    scan, events = facts.sequencer.scan, facts.inventory.events
    if scan is None or not facts.origins.log(facts.sequencer.name).own:
        return False
    return bool(((events["wal"] == wal) & (events["segment"] > segment) & (scan.seq > 0)).any())


def _emptied(facts: TableFacts) -> Iterator[Finding]:
    """Yield WALs without a segment that are younger than the sequencer: it never gave out their ids."""
    highest = facts.sequencer.wal_index.highest
    for wal in facts.inventory.directories:
        if highest is not None and wal.id > highest and not wal.segments and not wal.lost:
            message = (
                f"wal{wal.id} has no segment, and the sequencer is older than it, as it never gave out its id: which "
                "transactions were committed since is not known"
            )
            yield Finding(Code.SEGMENT_MISSING, Severity.RISK, message, facts.relative(wal.path))


def conversion_findings(facts: TableFacts, unapplied: Unapplied) -> Iterator[Finding]:
    """Yield what a conversion that was asked for (TableConverter) does at the next start."""
    if not facts.conversion.present:
        return
    file = facts.relative(facts.conversion.path)
    if facts.conversion.target is not TableKind.NON_WAL:
        message = "a conversion marker lies in the table, which changes nothing: it is a WAL table already"
        yield Finding(Code.WAL_AT_RISK_OF_PURGE, Severity.NOTE, message, file, 0)
        return
    waiting = unapplied.waiting | unapplied.unsure
    message = (
        "a conversion marker lies in the table: the next start makes it a table without WAL and deletes every walN"
    )
    count = int(waiting.sum())
    if count:
        message += f"; {plural(count, 'transaction')} with {plural(unapplied.bound(facts.inventory), 'row')} in them "
        message += "are not applied" if unapplied.exact else "may not be applied"
    yield Finding(Code.WAL_AT_RISK_OF_PURGE, Severity.DAMAGE if count else Severity.NOTE, message, file, 0)


def purge_findings(facts: TableFacts, clock: PurgeClock) -> Iterator[Finding]:
    """Yield what the server's next purge sweep would destroy."""
    if not clock.runs:
        return
    names = [f"wal{wal}" for wal in clock.wals] + [f"wal{wal}/{segment}" for wal, segment in clock.segments]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    message = (
        f"the server's next purge sweep deletes {shown}: {plural(clock.transactions, 'transaction')} with "
        f"{plural(clock.rows, 'row')} in {'it' if len(names) == 1 else 'them'} "
        f"{'are' if clock.sure else 'may'} not {'' if clock.sure else 'be '}applied"
    )
    where = facts.relative(
        facts.directory.path / (f"wal{clock.wals[0]}" if clock.wals else f"wal{clock.segments[0][0]}")
    )
    yield Finding(Code.WAL_AT_RISK_OF_PURGE, Severity.DAMAGE, message, where)
