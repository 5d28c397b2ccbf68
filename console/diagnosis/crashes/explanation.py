"""The sentence that explains a crash: what the log says, held against the files as they are now."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from console.diagnosis.crashes.lengths import LogLength, missing_bytes, shortfall
from console.diagnosis.crashes.tie import Confidence, Tie
from console.questdb.layout import TableDirectory
from console.questdb.reading import DbFile
from console.questdb.txn_log import HEADER_SIZE, RECORD, RECORD_SIZE, read_log
from console.text import plural


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the damage is, how sure that is, and one sentence."""

    offset: int | None
    seq_txn: int | None
    confidence: Confidence
    sentence: str


def explain(tie: Tie, table: TableDirectory | None, lengths: tuple[LogLength, ...]) -> Explanation:
    """Return what the tie means; `lengths` are the table's own log and its copies, the own one first."""
    if tie.confidence is Confidence.NONE:
        return Explanation(None, None, tie.confidence, "no file could be tied to this crash")
    if tie.innocent:
        return _innocent(tie, table, lengths)
    if PurePosixPath(tie.accused).name == "_txnlog":
        return _past_the_log(tie, lengths)
    sentence = "the server read past the end of this file's mapping"
    return Explanation(tie.accused_offset, None, tie.confidence, sentence)


def _past_the_log(tie: Tie, lengths: tuple[LogLength, ...]) -> Explanation:
    at, txn, mapped = tie.accused_offset, tie.seq_txn, tie.mapped or 0
    if at is None or txn is None:
        sentence = "the log's header holds a number of transactions that cannot be: the server read before the file"
        return Explanation(at, None, tie.confidence, sentence)
    on_record = (at - HEADER_SIZE) % RECORD_SIZE == 0
    missing = missing_bytes(txn, mapped)
    if not on_record or not missing:
        sentence = f"the server read offset {at:,} of the log, of which {plural(mapped, 'byte')} were mapped"
        return Explanation(at, txn, Confidence.LOW, sentence)
    agreeing = [length for length in lengths if length.max_txn == txn]
    sentence = (
        f"{shortfall(missing)} at seqTxn {txn:,}: the header counted {plural(txn, 'transaction')} and the file held "
        f"{plural(mapped, 'byte')}, so the server read the structure version of the last one past the file's end; "
        "the zeros before it are not the damage"
    )
    if agreeing:
        sentence += f" ({agreeing[0].file} still says so)"
    return Explanation(at, txn, tie.confidence, sentence)


def _innocent(tie: Tie, table: TableDirectory | None, lengths: tuple[LogLength, ...]) -> Explanation:
    """The structure version of the log's last record sent the server past the end of the index beside it."""
    neighbour = PurePosixPath(tie.accused).name
    said = (
        f"{neighbour} is an innocent neighbour: the server looked up structure version {tie.version:,} in it, a number "
        "that it took from the last record of _txnlog"
    )
    for index, length in enumerate(lengths):
        if table is None or length.max_txn is None or length.max_txn < 1:
            continue
        at = HEADER_SIZE + RECORD_SIZE * (length.max_txn - 1)
        record = _record(table, index, at)
        if record is not None and record[0] == tie.version:
            sentence = f"{said}, where it still is ({length.file}, seqTxn {length.max_txn:,})"
            return Explanation(at, length.max_txn, tie.confidence, sentence)
        if record is None or record[1] == 0:
            # Not in the file, or zeros: it was read past the end, out of whatever was mapped there.
            grown = "" if record is None else ", which that start has since filled up with zeros"
            sentence = (
                f"{said}, past the end of that file{grown}: its header counts {plural(length.max_txn, 'transaction')}"
            )
            return Explanation(at, length.max_txn, Confidence.MEDIUM, sentence)
    return Explanation(None, None, Confidence.MEDIUM, f"{said}; the log that it was in is not there any more")


def _record(table: TableDirectory, index: int, at: int) -> tuple[int, int] | None:
    """Return (structure version, walId) of the record at `at` in one of the table's logs; None where none."""
    folders = [table.sequencer, *table.sequencer_backups()]
    if index >= len(folders) or read_log(folders[index]).v2:
        return None
    try:
        with DbFile(folders[index] / "_txnlog") as file:
            records = file.array(at, RECORD, 1)
    except OSError:
        return None
    return (int(records["structure_version"][0]), int(records["wal_id"][0])) if len(records) else None
