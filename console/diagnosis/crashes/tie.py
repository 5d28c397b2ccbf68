"""Ties one crash of the Java machine to a file, an offset and a transaction: a heuristic, with its confidence in words.

Measured on HotSpot 17, 21 and 25 (x86-64, first compiler tier): in `MemoryCR.getLong` RDX holds the offset asked for
and the fault address is the mapping's start plus RDX; where the kernel gives no address (SI_KERNEL) RAX holds it. The
list of mappings then names the file. Other tiers may use other registers, so the stack and the arithmetic of records
have to agree before a tie is called sure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from console.questdb.hs_err import CrashLog, MappedFile
from console.questdb.txn_log import HEADER_SIZE, RECORD_SIZE

_WORD: Final = 1 << 64
_SI_KERNEL: Final = 128
_LOG: Final = "_txnlog"
_STRUCTURE_INDEX: Final = "_txnlog.meta.i"
_FAR: Final = 1 << 40
_CANONICAL: Final = 1 << 47


class Confidence(StrEnum):
    """How sure a tie is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Tie:
    """What one crash log says by itself. Paths are as the mappings have them, on the machine that crashed.

    `accused` is the file whose mapping was read past, at `accused_offset`, `mapped` bytes of it being there; `guilty`
    is the file that made the server read there: the same one, or the log beside an accused innocent neighbour.
    """

    confidence: Confidence
    why: str
    accused: str = ""
    accused_offset: int | None = None
    mapped: int | None = None
    guilty: str = ""
    version: int | None = None  # structure version that the server looked up, where the accused is the innocent index
    inside: bool = False  # the fault lies within the mapping: nothing was read past it
    signal: str = ""

    @property
    def innocent(self) -> bool:
        return bool(self.accused) and self.accused != self.guilty

    @property
    def seq_txn(self) -> int | None:
        at = self.accused_offset
        if self.innocent or at is None or at < HEADER_SIZE or PurePosixPath(self.accused).name != _LOG:
            return None
        return (at - HEADER_SIZE) // RECORD_SIZE + 1


def title_of(crash: CrashLog) -> str:
    """Return e.g. `SIGSEGV MemoryCR.getLong ← TableTransactionLogV1.open`: the same for every tier of compilation."""
    own = [frame for frame in crash.stack if frame.method.startswith("io.questdb.")]
    if not own or crash.out_of_memory:
        frame = crash.problematic_frame
        at = frame.find(" 0x")
        return f"{crash.signal} {frame[:at] if at > 0 else frame}".strip()
    caller = next((frame for frame in own[1:] if ".cairo.vm." not in frame.method), None)
    return f"{crash.signal} {own[0].short}" + (f" ← {caller.short}" if caller else "")


def tie(crash: CrashLog) -> Tie:
    """Return what the log's registers, mappings and stack agree on."""
    if (found := _by_address(crash)) is not None:
        return found
    expected = _expected_file(crash)
    for fault, register, offset, mapping in _hits(crash):
        name = PurePosixPath(mapping.path).name
        fits = not expected or name == expected
        if not fits and register != "RDX":
            continue
        confidence = Confidence.LOW
        if fits and expected:
            confidence = Confidence.HIGH if register == "RDX" else Confidence.MEDIUM
        elif fits and register == "RDX":
            confidence = Confidence.MEDIUM
        why = f"{fault} − {register} is the start of a mapping, which the log lists as this file"
        why += ", and it is the file that the stack's code reads" if fits and expected else ""
        return _made(confidence, why, mapping, offset)
    return (
        _by_arithmetic(crash, expected)
        or _by_neighbourhood(crash, expected)
        or Tie(Confidence.NONE, "neither registers nor mappings lead to a file of the database")
    )


def _by_address(crash: CrashLog) -> Tie | None:
    """Return the tie where the kernel's address lies inside a file's mapping. A SIGBUS is about that very page."""
    if not crash.si_addr or crash.si_code == _SI_KERNEL:
        return None
    for mapping in crash.mappings:
        if mapping.start <= crash.si_addr < mapping.end:
            offset = crash.si_addr - mapping.start + mapping.offset
            why = "the fault's address lies inside the mapping of this file"
            found = Tie(Confidence.HIGH, why, mapping.path, offset, mapping.size, mapping.path)
            return replace(found, inside=True, signal=crash.signal)
    return None


def _expected_file(crash: CrashLog) -> str:
    """Return the name of the file that the innermost code of the sequencer reads; empty where the stack has none."""
    for frame in crash.stack:
        if ".wal.seq." not in frame.method:
            continue
        if frame.method.endswith("TableTransactionLog.open"):
            return _STRUCTURE_INDEX
        if "TableTransactionLogV1" in frame.method:
            return _LOG
        return ""
    return ""


def _faults(crash: CrashLog) -> Iterator[tuple[str, int]]:
    if crash.si_addr and crash.si_code != _SI_KERNEL:
        yield "si_addr", crash.si_addr
    if "RAX" in crash.registers:
        yield "RAX", crash.registers["RAX"]


def _hits(crash: CrashLog) -> Iterator[tuple[str, str, int, MappedFile]]:
    """Yield (fault's name, register, offset in the file, mapping) where fault − register is a mapping's start."""
    starts = {mapping.start: mapping for mapping in crash.mappings}
    first = [name for name in ("RDX",) if name in crash.registers]
    rest = [name for name in crash.registers if name not in ("RDX", "RAX", "RIP", "RSP", "EFLAGS", "ERR", "TRAPNO")]
    for names in (first, rest):
        for fault, address in _faults(crash):
            for name in names:
                value = crash.registers[name]
                mapping = starts.get((address - value) % _WORD)
                # A register that holds the address itself, or zero, says nothing about an offset.
                if mapping is not None and value:
                    yield fault, name, _signed(value) + mapping.offset, mapping


def _by_arithmetic(crash: CrashLog, expected: str) -> Tie | None:
    """Return the tie where one mapped log alone has a record boundary at the fault (1 of 28 offsets is one)."""
    if expected != _LOG:
        return None
    found = {}
    for address in _possible_addresses(crash):
        for mapping in crash.mappings:
            offset = address - mapping.start + mapping.offset
            is_log = PurePosixPath(mapping.path).name == _LOG
            if is_log and offset >= mapping.size and not (offset - HEADER_SIZE) % RECORD_SIZE:
                found[mapping.path, offset] = mapping
    if len(found) != 1:
        return None
    why = "no register holds the offset; of the logs that were mapped it is the one with a record's start at the fault"
    (((_, offset), mapping),) = found.items()
    return _made(Confidence.MEDIUM, why, mapping, offset)


def _possible_addresses(crash: CrashLog) -> set[int]:
    """Return the fault's address; where the kernel gave none the registers that hold an address no program can have.

    x86-64 raises a general protection fault, which has no address, for one that is not canonical.
    """
    if crash.si_code != _SI_KERNEL:
        return {crash.si_addr} if crash.si_addr else set()
    return {value for value in crash.registers.values() if _CANONICAL <= value < _WORD - _CANONICAL}


def _by_neighbourhood(crash: CrashLog, expected: str) -> Tie | None:
    """Return the weakest tie: the nearest mapping that ends below the fault."""
    if not crash.si_addr or crash.si_code == _SI_KERNEL:
        return None
    below = [
        mapping
        for mapping in crash.mappings
        if mapping.start <= crash.si_addr < mapping.end + _FAR
        and (not expected or mapping.path.endswith(f"/{expected}"))
    ]
    if not below:
        return None
    nearest = max(below, key=lambda mapping: mapping.start)
    why = "no register holds the offset; it is the nearest mapped file below the fault, which may be chance"
    return _made(Confidence.LOW, why, nearest, crash.si_addr - nearest.start + nearest.offset)


def _made(confidence: Confidence, why: str, mapping: MappedFile, offset: int) -> Tie:
    path = PurePosixPath(mapping.path)
    if path.name == _STRUCTURE_INDEX:
        guilty = str(path.with_name(_LOG))
        return Tie(confidence, why, mapping.path, offset, mapping.size, guilty, version=offset // 8)
    return Tie(confidence, why, mapping.path, offset, mapping.size, mapping.path)


def _signed(value: int) -> int:
    return value - _WORD if value >> 63 else value
