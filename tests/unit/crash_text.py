"""Text of a HotSpot crash log, laid out as 17, 21 and 25 write it, with what a test wants to be in it."""

from dataclasses import dataclass
from pathlib import Path

WORD = 1 << 64
LOG = "/data/hot/db/market_orderbook~19/txn_seq/_txnlog"
INDEX = "/data/hot/db/market_orderbook~19/txn_seq/_txnlog.meta.i"
V1_OPEN = "io.questdb.cairo.wal.seq.TableTransactionLogV1.open(Lio/questdb/std/str/Path;)J+92 io.questdb@9.1.0"
LOG_OPEN = "io.questdb.cairo.wal.seq.TableTransactionLog.open(Lio/questdb/std/str/Path;)V+57 io.questdb@9.1.0"
INDEX_OPEN = "io.questdb.cairo.wal.seq.TableTransactionLog.open(Lio/questdb/std/str/Path;)V+89 io.questdb@9.1.0"


@dataclass(frozen=True)
class Mapped:
    """One line of `Dynamic libraries`: where a file is mapped and how long."""

    path: str
    start: int
    size: int


def crash_text(
    mapped: tuple[Mapped, ...],
    *,
    fault: int,
    rdx: int,
    stack: tuple[str, ...] = (V1_OPEN, LOG_OPEN),
    kernel: bool = False,
    pid: int = 4711,
    time: str = "Sun Nov  9 21:27:03 2025 EST",
    command: str = "-Xmx80g io.questdb/io.questdb.ServerMain -d /data/hot",
) -> str:
    """Return a log of a fault at address `fault` with RDX `rdx`; `kernel`: as where the kernel gives no address."""
    code, address = ("128 (SI_KERNEL)", 0) if kernel else ("1 (SEGV_MAPERR)", fault)
    frames = "\n".join(f"j  {frame}" for frame in stack)
    lines = "\n".join(
        f"{m.start:x}-{m.start + m.size:x} rw-s 00000000 fe:00 {1000 + n}                   {m.path}"
        for n, m in enumerate(mapped)
    )
    return f"""#
# A fatal error has been detected by the Java Runtime Environment:
#
#  SIGSEGV (0xb) at pc=0x00007f018d8dfc0e, pid={pid}, tid={pid + 26}
#
# JRE version: OpenJDK Runtime Environment Temurin-17.0.16+8 (17.0.16+8) (build 17.0.16+8)
# Problematic frame:
# J 2009 c1 io.questdb.cairo.vm.api.MemoryCR.getLong(J)J io.questdb@9.1.0 (52 bytes) @ 0x00007f018d8dfc0e
#

---------------  S U M M A R Y ------------

Command Line: {command}

Host: a host
Time: {time} elapsed time: 1.959252 seconds (0d 0h 0m 1s)

---------------  T H R E A D  ---------------

Current thread (0x00007f01987917b0):  JavaThread "wal-apply_0" [_thread_in_Java, id=4737]

Native frames: (J=compiled Java code, j=interpreted, Vv=VM code, C=native code)
J 2009 c1 io.questdb.cairo.vm.api.MemoryCR.getLong(J)J io.questdb@9.1.0 (52 bytes) @ 0x00007f018d8dfc0e [0x1+0x4e]
{frames}
v  ~StubRoutines::call_stub


siginfo: si_signo: 11 (SIGSEGV), si_code: {code}, si_addr: 0x{address:016x}

Registers:
RAX=0x{fault % WORD:016x}, RBX=0x00007f0143f3a580, RCX=0x00007f0143f27b30, RDX=0x{rdx % WORD:016x}
RSP=0x00007f010b2fae00, RBP=0x00007f010b2faef8, RSI=0x0000000000000000, RDI=0x0000000000000004

Top of Stack: (sp=0x00007f010b2fae00)

---------------  P R O C E S S  ---------------

Dynamic libraries:
55da620ea000-55da620eb000 r--p 00000000 fe:00 314792                     /usr/lib/jvm/bin/java
{lines}
7f19bd700000-7f19bd704000 ---p 00000000 00:00 0
END.
"""


def write_log(folder: Path, text: str, pid: int = 4711) -> Path:
    """Write a log under the name that the JVM gives it."""
    path = folder / f"hs_err_pid{pid}.log"
    path.write_text(text)
    return path
