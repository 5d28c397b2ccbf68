"""Crash logs of HotSpot (`hs_err_pid*.log` of Java 17, 21 and 25), read tolerantly: cut, empty or foreign is a problem.

Layout seen in real logs of 17.0.15, 21 and 25: a `#` header with signal, pid and problematic frame; SUMMARY with the
time; THREAD with the stacks, `siginfo` and registers; PROCESS with `Dynamic libraries:`, which is
the kernel's list of mappings. Only what says where the crash was is taken; secrets of the command line are not.
"""

import datetime
import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.questdb.reading import DbFile, Problem, ProblemKind, problem_of
from console.text import clean_line

MOST_BYTES: Final = 8 << 20
"""Most that is read of one log; the largest real ones are some 300 KB."""
MOST_MAPPINGS: Final = 50_000
_PATH_MAX: Final = 4096  # of Linux
_HEAD: Final = 64 << 10
_TOP: Final = 4 << 10
_STACK_LIMIT: Final = 64
_WORD: Final = 1 << 64

_SIGNAL = re.compile(
    rb"^#\s+(SIG[A-Z0-9]+|[A-Z][A-Z_]+) \((0x[0-9a-f]+)\) at pc=(0x[0-9a-f]+)(?: \(sent by kill\))?, "
    rb"pid=(\d+), tid=(\d+)",
    re.M,
)
_FATAL = re.compile(rb"^#  (Internal Error|Out of Memory Error|There is insufficient memory)[^\n]*", re.M)
_REASON = re.compile(rb"^# (Native memory allocation[^\n]*)", re.M)
_LIMIT = re.compile(rb"max_map_count[^\n:]*:\s*(\d{1,12})")
_PID = re.compile(rb"\bpid=(\d+)")
_JRE = re.compile(rb"^# JRE version: ([^\n]*)", re.M)
_FRAME = re.compile(rb"^# Problematic frame:\r?\n# ([^\n]*)", re.M)
_SIGINFO = re.compile(
    rb"^siginfo: si_signo: (\d+)(?: \((\w+)\))?, si_code: (-?\d+)(?: \(\w+\))?, si_addr: (0x[0-9a-f]+)", re.M
)
_REGISTERS = re.compile(rb"^Registers:\r?\n(.*?)\r?\n\s*\r?\n", re.M | re.S)
_REGISTER = re.compile(rb"\b([A-Z][A-Z0-9]{1,6}) ?=(0x[0-9a-f]{1,16})\b")
_TIME = re.compile(
    rb"^Time: (\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})(?: (\S.*?))? elapsed time: [\d.]+ seconds", re.M
)
_STACK = re.compile(rb"^[jJ][ \t]+(?:\d+%?\s+(?:\w+\s+)?)?([\w.$/<>+]+(?:\.<init>|\.<clinit>)?)\(", re.M)
_MAPPING = re.compile(
    rb"^([0-9a-f]{4,16})-([0-9a-f]{4,16}) ([r-])([w-])[x-]s ([0-9a-f]{8,16}) [0-9a-f]+:[0-9a-f]+ (\d+) +(/[^\n]*)", re.M
)
_LIBRARIES = b"Dynamic libraries:"
_SEQUENCER = b"/txn_seq"
_END = b"END."
_BLANK = b"\0\r\n\t "
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

# Zone abbreviations as the JVM's strftime prints them; an unknown one makes the time unknown, never wrong by hours.
_ZONES: Final = {
    "UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "WET": 0, "WEST": 1, "BST": 1, "MSK": 3, "JST": 9, "KST": 9, "SGT": 8,
    "HKT": 8, "AEST": 10, "AEDT": 11,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MappedFile:
    """One shared mapping of a file: `start` inclusive, `end` exclusive, `offset` of its first byte in the file."""

    start: int
    end: int
    offset: int
    path: str

    @property
    def size(self) -> int:
        """Bytes mapped: whole pages."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Frame:
    """One Java frame: `method` with class and package."""

    method: str

    @property
    def short(self) -> str:
        """Class and method without the package, e.g. `MemoryCR.getLong`."""
        return ".".join(self.method.split(".")[-2:])


@dataclass(frozen=True, slots=True)
class CrashLog:
    """What one log says. Numbers that it does not hold are None; `problems` say what is missing and why.

    `at` is seconds since the epoch by the log's own clock (None where its zone is not known), `modified` the file's
    mtime. `mappings` are shared mappings of files, which is how QuestDB maps its own: those of the sequencers, or all.
    """

    path: Path
    modified: float
    signal: str = ""
    pid: int | None = None
    si_code: int | None = None
    si_addr: int | None = None
    registers: Mapping[str, int] = field(default_factory=dict)
    problematic_frame: str = ""
    stack: tuple[Frame, ...] = ()
    at: float | None = None
    java: str = ""
    mappings: tuple[MappedFile, ...] = ()
    problems: tuple[Problem, ...] = ()
    reason: str = ""  # what the JVM could not get, where it ended for want of memory
    map_count: int | None = None  # mappings of the process, at least
    max_map_count: int | None = None  # what the kernel allows

    @property
    def out_of_memory(self) -> bool:
        """Return whether the JVM ended because the machine refused memory."""
        return "memory" in self.signal.lower()

    @property
    def is_crash(self) -> bool:
        return bool(self.signal)

    @property
    def time(self) -> float:
        """Return when it crashed: by the log, else by the file's mtime."""
        return self.modified if self.at is None else self.at


def read(path: Path, *, every_mapping: bool = False) -> CrashLog:
    """Return what the log at `path` says. Never raises: an unreadable, empty or foreign file is a problem.

    Mappings of sequencer files only, unless `every_mapping`: there may be thousands of columns, and logs.
    """
    try:
        with _opened(path) as file:
            data = file.read(0, MOST_BYTES)
            return parse(data, path, file.stamp.mtime_ns / 1e9, every_mapping=every_mapping)
    except OSError as error:
        return CrashLog(path, 0.0, problems=(problem_of(error, path),))


def _opened(path: Path) -> DbFile:
    """Open a log. Its folder may be reached through links (it is the operator's word); the log itself may be none."""
    try:
        return DbFile(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    return DbFile(path.parent.resolve() / path.name)


def parse(data: bytes, path: Path, modified: float = 0.0, *, every_mapping: bool = False) -> CrashLog:
    """Return what the bytes of a log say; `path` and `modified` (epoch seconds) are only noted. See `read`."""
    if not data[:_TOP].strip(_BLANK) and not data.strip(_BLANK):
        what = "it is empty" if not data else "it holds nothing but zeros and blanks"
        return CrashLog(path, modified, problems=(Problem(ProblemKind.SHORT, what, path, 0),))
    head = data[:_HEAD]
    signal = _SIGNAL.search(head, 0, _TOP)
    fatal = None if signal else _FATAL.search(head, 0, _TOP)
    if signal is None and fatal is None:
        what = "it is no crash log of HotSpot: it names no signal and no fatal error"
        return CrashLog(path, modified, problems=(Problem(ProblemKind.INVALID, what, path, 0),))
    # `siginfo` follows the stacks and the registers follow it: both may lie past the head on a long stack.
    siginfo = _line(_SIGINFO, b"siginfo: ", data)
    after = siginfo.end() if siginfo else 0
    libraries = data.rfind(_LIBRARIES, after)  # from the end, which is nearer
    mappings: tuple[MappedFile, ...] = ()
    if libraries >= 0:
        mappings = _mappings(data, libraries, len(data)) if every_mapping else _sequencer_mappings(data, libraries)
    missing = _missing(data, libraries, without_address=signal is not None and siginfo is None)
    ended = signal or fatal
    pid = _PID.search(head, 0, _TOP)
    return CrashLog(
        path=path,
        modified=modified,
        signal=_text(ended[1]) if ended else "",
        pid=_number(pid[1]) if pid else None,
        si_code=_number(siginfo[3]) if siginfo else None,
        si_addr=_address(siginfo[4]) if siginfo else None,
        registers=_registers(data, after),
        problematic_frame=_text(_group(_FRAME, b"# Problematic frame:", head)),
        stack=_stack(data, siginfo.start() if siginfo else len(head)),
        at=_time(head),
        java=_text(_group(_JRE, b"# JRE version: ", head)),
        mappings=mappings,
        problems=tuple(Problem(ProblemKind.SHORT, what, path, len(data)) for what in missing),
        reason=_text(_group(_REASON, b"# Native memory allocation", head)),
        map_count=_count(data, libraries) if fatal is not None and libraries >= 0 else None,
        max_map_count=_limit(data) if fatal is not None else None,
    )


def _missing(data: bytes, libraries: int, *, without_address: bool) -> Iterator[str]:
    """Yield what a log lacks; `libraries` is where its list of mapped files begins, negative if there is none."""
    if without_address:
        yield "it ends before the fault address"
    if libraries < 0:
        yield "it ends before the list of mapped files"
    elif len(data) < MOST_BYTES and not data[-_TOP:].rstrip().endswith(_END):
        yield "it is cut: it has no end mark"


def _number(digits: bytes) -> int | None:
    return int(digits) if len(digits) < 12 else None


def _count(data: bytes, libraries: int) -> int:
    """Return how many mappings the log lists: the lines of the block."""
    end = data.find(b"\n\n", libraries)
    return data.count(b"\n", libraries, end if end > 0 else len(data))


def _limit(data: bytes) -> int | None:
    found = _LIMIT.search(data, max(0, data.rfind(b"max_map_count")))
    return int(found[1]) if found else None


def _text(value: bytes, limit: int = 500) -> str:
    return clean_line(value.decode("utf-8", "replace"), limit)


def _line(pattern: re.Pattern[bytes], start: bytes, data: bytes) -> re.Match[bytes] | None:
    """Return the match of `pattern` on the first line that begins with `start`: far cheaper than searching for it."""
    at = 0 if data.startswith(start) else data.find(b"\n" + start) + 1
    return pattern.match(data, at) if at or data.startswith(start) else None


def _group(pattern: re.Pattern[bytes], start: bytes, data: bytes) -> bytes:
    found = _line(pattern, start, data)
    return found[1] if found else b""


def _address(value: bytes) -> int:
    return int(value, 16) % _WORD


def _registers(data: bytes, after: int) -> dict[str, int]:
    """Return the integer registers of the block that follows the fault (x86-64 and aarch64 print them alike)."""
    block = _line(_REGISTERS, b"Registers:", data[after : after + 16_384])
    if block is None:
        return {}
    return {name.decode(): _address(value) for name, value in _REGISTER.findall(block[1])}


def _stack(data: bytes, end: int) -> tuple[Frame, ...]:
    """Return the Java frames before the fault's registers, innermost first, without repeats of the second listing."""
    frames: list[Frame] = []
    start = data.find(b"Native frames:", 0, end)
    if start < 0:
        start = data.find(b"Java frames:", 0, end)
    if start < 0:
        return ()
    stop = data.find(b"Java frames:", start + 16, end)
    if stop > 0 and _STACK.search(data, start, stop) is None:
        start, stop = stop, -1  # it crashed in native code: the Java frames that called it are listed on their own
    for found in _STACK.finditer(data, start, stop if stop > 0 else end):
        frames.append(Frame(_text(found[1]).replace("/", ".")))
        if len(frames) == _STACK_LIMIT:
            break
    return tuple(frames)


def _time(head: bytes) -> float | None:
    """Return epoch seconds; None where the zone is not known."""
    found = _line(_TIME, b"Time: ", head)
    if found is None:
        return None
    hours = _ZONES.get(_text(found[2] or b"").upper())
    month, day, hour, minute, second, year = found[1][4:7], *map(int, re.findall(rb"\d+", found[1][8:]))
    if hours is None or month not in _MONTHS:
        return None
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    try:
        moment = datetime.datetime(year, _MONTHS.index(month) + 1, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None
    return moment.timestamp()


def _sequencer_mappings(data: bytes, start: int) -> tuple[MappedFile, ...]:
    """Return the mappings of files of any `txn_seq*`, found by name: a fraction of what reading all lines costs."""
    found: list[MappedFile] = []
    at = data.find(_SEQUENCER, start)
    while at >= 0 and len(found) < MOST_MAPPINGS:
        begin, end = data.rfind(b"\n", start, at) + 1, data.find(b"\n", at)
        end = len(data) if end < 0 else end
        found.extend(_mappings(data, begin, end))
        at = data.find(_SEQUENCER, end)
    return tuple(found)


def _mappings(data: bytes, start: int, end: int) -> tuple[MappedFile, ...]:
    """Return the shared file mappings that the lines of `data` from `start` to `end` list, in their order."""
    found: list[MappedFile] = []
    for line in _MAPPING.finditer(data, start, end):
        low, high = _address(line[1]), _address(line[2])
        if high <= low:
            continue
        name = line[7].rstrip(b"\r")
        name = name.removesuffix(b" (deleted)")[: 4 * _PATH_MAX]  # a damaged log's line may be megabytes
        path = clean_line(name.decode("utf-8", "replace"), _PATH_MAX)
        found.append(MappedFile(low, high, _address(line[5]), path))
        if len(found) == MOST_MAPPINGS:
            break
    return tuple(found)
