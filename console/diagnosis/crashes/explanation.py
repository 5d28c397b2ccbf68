"""The sentence that explains a crash: what the log says, held against the files as they are now."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from console.diagnosis.crashes.lengths import LogLength, missing_bytes, shortfall
from console.diagnosis.crashes.tie import Confidence, Tie
from console.questdb.hs_err import CrashLog
from console.questdb.layout import TableDirectory
from console.questdb.reading import DbFile
from console.questdb.txn_log import HEADER_SIZE, RECORD, RECORD_SIZE, read_log
from console.text import plural

_USUAL_MAPS, _FULL = 65_530, 0.97
_SHOWN_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the damage is, how sure that is, and one sentence."""

    offset: int | None
    seq_txn: int | None
    confidence: Confidence
    sentence: str


def without_file(log: CrashLog) -> str:
    """Return what a log says where it leads to no file: memory that the machine refused, or native code and its caller.

    Mappings count against vm.max_map_count, 65,530 by default: a server with many columns and partitions comes there,
    and the machine then refuses every mapping as if it had no memory (errno 12).
    """
    if log.out_of_memory:
        many, most = log.map_count, log.max_map_count
        if many is not None and many > _FULL * (most or _USUAL_MAPS):
            limit = f"{most:,}" if most else "65,530 by default"
            return (
                f"the process had {many:,} mappings, and vm.max_map_count allows {limit}: the machine refused one more "
                "(errno 12). No file is damaged by that: sysctl -w vm.max_map_count=1048576, and keep it in "
                "/etc/sysctl.d"
            )
        wording = f" ({log.reason})" if log.reason else ""
        return (
            f"the machine refused memory to the process{wording}: look at free memory, the limits of the service "
            "(MemoryMax, ulimit -v) and vm.overcommit_memory. No file is damaged by that"
        )
    frames = [frame.short for frame in log.stack if frame.method.startswith("io.questdb.")][:_SHOWN_FRAMES]
    native = log.problematic_frame.partition("[")[2].partition("+")[0] if log.problematic_frame[:1] == "C" else ""
    if native and frames:
        return f"it crashed in native code ({native}), called from {' ← '.join(frames)}; no file could be tied to it"
    return "no file could be tied to this crash"


def explain(tie: Tie, table: TableDirectory | None, lengths: tuple[LogLength, ...], otherwise: str = "") -> Explanation:
    """Return what the tie means; `lengths` are the table's own log and its copies, the own one first.

    `otherwise` is the text where no file is tied to the crash.
    """
    if tie.confidence is Confidence.NONE:
        return Explanation(None, None, tie.confidence, otherwise or "no file could be tied to this crash")
    if tie.inside:
        return _inside(tie)
    if tie.innocent:
        return _innocent(tie, table, lengths)
    if PurePosixPath(tie.accused).name == "_txnlog":
        return _past_the_log(tie, lengths)
    sentence = "the server read past the end of this file's mapping"
    return Explanation(tie.accused_offset, None, tie.confidence, sentence)


def _inside(tie: Tie) -> Explanation:
    """The address lies within the mapping: the file, or the disk under it, did not have what the mapping promised."""
    if tie.signal == "SIGBUS":
        sentence = (
            "the server read inside this file's mapping, and there was nothing behind it any more: the file was cut "
            "while it was mapped, the disk is full, or it cannot be read there (look at the kernel's log)"
        )
    else:
        sentence = "the server was not allowed what it did inside this file's mapping, which is there: no short file"
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
    wording = (
        f"{neighbour} is not damaged: QuestDB read a bad structure version ({tie.version:,}) from the last record of "
        "_txnlog and looked it up there"
    )
    for index, length in enumerate(lengths):
        if table is None or length.max_txn is None or length.max_txn < 1:
            continue
        at = HEADER_SIZE + RECORD_SIZE * (length.max_txn - 1)
        record = _record(table, index, at)
        if record is not None and record[0] == tie.version:
            sentence = f"{wording}, where it still is ({length.file}, seqTxn {length.max_txn:,})"
            return Explanation(at, length.max_txn, tie.confidence, sentence)
        if record is None or record[1] == 0:
            # Not in the file, or zeros: it was read past the end, out of whatever was mapped there.
            grown = "" if record is None else ", which that start has since filled up with zeros"
            counted = plural(length.max_txn, "transaction")
            sentence = f"{wording}, past the end of that file{grown}: its header counts {counted}"
            return Explanation(at, length.max_txn, Confidence.MEDIUM, sentence)
    return Explanation(None, None, Confidence.MEDIUM, f"{wording}; the log that it was in is not there any more")


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
