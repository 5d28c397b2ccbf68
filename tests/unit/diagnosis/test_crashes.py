"""One crash tied to its file; many grouped by cause; headers held against the files' true lengths."""

import subprocess
import sys
from pathlib import Path

import pytest

from console.diagnosis.crashes.groups import CrashWatch, examine, relative_to_db
from console.diagnosis.crashes.places import crash_logs_in, crash_logs_of, pid_in
from console.diagnosis.crashes.tie import Confidence, Tie, tie, title_of
from console.diagnosis.model import Code
from console.errors import WalmedicError
from console.questdb import hs_err
from tests.data.samples import sample_database
from tests.unit.crash_text import INDEX, INDEX_OPEN, LOG, Mapped, crash_text, write_log
from tests.unit.diagnosis.conftest import put

BASE = 0x7F0000000000
OFFSET = 0x0CB261F4
SHORT = 213_016_576
TITLE = "SIGSEGV MemoryCR.getLong ← TableTransactionLogV1.open"


def tied(text: str) -> Tie:
    return tie(hs_err.parse(text.encode(), Path("x"), every_mapping=True))


def test_the_incident_s_register_is_the_header_s_last_record(tmp_path: Path) -> None:
    text = crash_text((Mapped(LOG, BASE, SHORT),), fault=BASE + OFFSET, rdx=OFFSET)
    found = tied(text)
    assert (found.confidence, found.accused, found.accused_offset) == (Confidence.HIGH, LOG, OFFSET)
    assert (found.seq_txn, found.innocent) == (7_607_751, False)
    (group,) = examine([write_log(tmp_path, text)]).groups
    assert (group.title, group.count, group.seq_txn) == (TITLE, 1, 7_607_751)
    assert (group.file, group.offset) == ("market_orderbook~19/txn_seq/_txnlog", OFFSET)
    assert "one page short at seqTxn 7,607,751" in group.explanation


def test_without_an_address_of_the_kernel_rax_holds_it() -> None:
    found = tied(crash_text((Mapped(LOG, BASE, SHORT),), fault=BASE + OFFSET, rdx=OFFSET, kernel=True))
    assert (found.confidence, found.seq_txn) == (Confidence.HIGH, 7_607_751)


def test_where_no_register_holds_the_offset_a_record_s_start_is_weaker_evidence() -> None:
    mapped = (Mapped(LOG, BASE, SHORT), Mapped(LOG.replace("orderbook~19", "trades~8"), BASE - 0x100000, 4096))
    found = tied(crash_text(mapped, fault=BASE + OFFSET, rdx=0))
    assert (found.confidence, found.accused, found.seq_txn) == (Confidence.MEDIUM, LOG, 7_607_751)
    nearest = tied(crash_text(mapped, fault=BASE + OFFSET + 1, rdx=0))
    assert (nearest.confidence, nearest.accused) == (Confidence.LOW, LOG)


def test_an_address_that_no_program_can_have_is_looked_for_in_every_register() -> None:
    offset = 76 + 28 * 9_999_999_999
    start = (1 << 47) - 0x1000000
    text = crash_text((Mapped(LOG, start, 4096),), fault=start + offset, rdx=0, kernel=True)
    found = tied(text.replace("RAX=", "RBX=", 1).replace("RBX=0x00007f0143f3a580", "RAX=0x0000000000000000", 1))
    assert (found.confidence, found.accused, found.seq_txn) == (Confidence.MEDIUM, LOG, 10_000_000_000)


def test_a_crash_that_leads_nowhere_is_reported() -> None:
    found = tied(crash_text((), fault=BASE, rdx=0, stack=()))
    assert (found.confidence, found.guilty, found.seq_txn) == (Confidence.NONE, "", None)


def test_a_negative_number_of_transactions_is_read_before_the_file() -> None:
    rdx = 76 - 28 * (1 << 40)
    found = tied(crash_text((Mapped(LOG, BASE, 4096),), fault=BASE + rdx, rdx=rdx))
    assert (found.accused_offset, found.seq_txn) == (rdx, None)


def test_the_index_beside_the_log_is_an_innocent_neighbour(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "station")
    table = database.table("altered")
    log, index = str(table.sequencer / "_txnlog"), str(table.sequencer / "_txnlog.meta.i")
    version = 1 << 24
    put(table.sequencer / "_txnlog", 76 + 28 * 8, "<q", version)
    mapped = (Mapped(index, BASE, 4096), Mapped(log, BASE + 0x2000, 4096))
    text = crash_text(mapped, fault=BASE + 8 * version, rdx=8 * version, stack=(INDEX_OPEN,))
    (group,) = examine([write_log(tmp_path, text)], database).groups
    assert (group.file, group.offset, group.seq_txn) == (f"{table.directory}/txn_seq/_txnlog", 76 + 28 * 8, 9)
    assert group.accused == f"{table.directory}/txn_seq/_txnlog.meta.i"
    assert group.confidence is Confidence.HIGH
    assert "is not damaged" in group.explanation


def test_an_innocent_index_without_any_log_left(tmp_path: Path) -> None:
    text = crash_text((Mapped(INDEX, BASE, 4096),), fault=BASE + 80_000, rdx=80_000, stack=(INDEX_OPEN,))
    (group,) = examine([write_log(tmp_path, text)]).groups
    assert (group.offset, group.seq_txn, group.confidence) == (None, None, Confidence.MEDIUM)


def test_the_accused_header_is_held_against_live_file_and_copies(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "station")
    table = database.table("altered")
    backup = table.path / "txn_seq.backup.20251110_032600"
    table.sequencer.rename(backup)
    put(backup / "_txnlog", 4, "<q", 200)
    at = 76 + 28 * 199
    path = str(table.sequencer / "_txnlog")
    text = crash_text((Mapped(path, BASE, 4096),), fault=BASE + at, rdx=at)
    report = examine([write_log(database.root, text)])  # the log's own surroundings lead to the database
    (group,) = report.groups
    assert [(length.file, length.size, length.max_txn) for length in group.lengths] == [
        (f"{table.directory}/txn_seq/_txnlog", None, None),
        (f"{table.directory}/{backup.name}/_txnlog", 4096, 200),
    ]
    assert group.lengths[1].short_by == at + 28 - 4096
    assert "one page short" in group.lengths[1].sentence
    assert backup.name in group.explanation


def test_many_logs_have_few_causes(tmp_path: Path) -> None:
    for pid in range(261):
        start = BASE + pid * 0x10000000  # every process has its own addresses
        write_log(tmp_path, crash_text((Mapped(LOG, start, SHORT),), fault=start + OFFSET, rdx=OFFSET, pid=pid), pid)
    cut = crash_text((), fault=1, rdx=1)
    write_log(tmp_path, cut[: cut.index("siginfo")], 999)
    (tmp_path / "hs_err_pid1000.log").write_bytes(b"")
    report = examine(crash_logs_in(tmp_path))
    assert report.total == 262
    assert [(group.count, group.seq_txn) for group in report.groups] == [(262, 7_607_751)]
    assert [finding.code for finding in report.findings] == [Code.CRASH_LOG_INVALID] * 2


def test_a_log_is_read_again_only_where_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = hs_err.read

    def noted(path: Path, *, every_mapping: bool = False) -> hs_err.CrashLog:
        read.append(path)
        return real(path, every_mapping=every_mapping)

    monkeypatch.setattr(hs_err, "read", noted)
    text = crash_text((Mapped(LOG, BASE, SHORT),), fault=BASE + OFFSET, rdx=OFFSET)
    first, second = write_log(tmp_path, text, 1), write_log(tmp_path, text, 2)
    watch = CrashWatch(None)
    assert watch.refresh([first, second]).total == 2
    assert watch.refresh([first, second]).total == 2
    assert read == [first, second]
    second.write_text(text + "more")
    assert watch.refresh([second]).total == 1
    assert read == [first, second, second]


def test_logs_of_the_usual_size_are_grouped_however_many(tmp_path: Path) -> None:
    filler = "Event: 1.5 Thread 0x00007f01987917b0 nmethod 2109 0x00007f018d901d90\n" * 3000
    text = crash_text((Mapped(LOG, BASE, SHORT),), fault=BASE + OFFSET, rdx=OFFSET)
    text = text.replace("Dynamic libraries:", f"{filler}\nDynamic libraries:")
    assert len(text) > 200_000  # as real ones are
    first = write_log(tmp_path, text, 0)
    for pid in range(1, 1_000):  # benchmarks/crash_logs.py has ten thousand
        (tmp_path / f"hs_err_pid{pid}.log").hardlink_to(first)
    report = examine(crash_logs_in(tmp_path))
    assert [(group.count, group.seq_txn) for group in report.groups] == [(1_000, 7_607_751)]


def test_paths_of_mappings_are_shown_from_the_table_on() -> None:
    assert relative_to_db(LOG) == "market_orderbook~19/txn_seq/_txnlog"
    assert relative_to_db("/a/db/t~1/2025-01-01/p.d") == "t~1/2025-01-01/p.d"
    assert relative_to_db("/usr/lib/x") == "/usr/lib/x"


def test_titles_are_the_same_for_every_compilation_tier() -> None:
    frame = "io.questdb.cairo.vm.api.MemoryCR.getLong(J)J"
    interpreted = crash_text((), fault=1, rdx=1).replace(
        f"J 2009 c1 {frame} io.questdb@9.1.0 (52 bytes) @ 0x00007f018d8dfc0e [0x1+0x4e]",
        "V  [libjvm.so+0xed430c]  Unsafe_GetLong+0x12c\nj  sun.misc.Unsafe.getLong(J)J+4 jdk.unsupported@17.0.15\n"
        f"j  {frame}+48 io.questdb@9.1.0",
    )
    assert "Unsafe_GetLong" in interpreted
    assert title_of(hs_err.parse(interpreted.encode(), Path("x"))) == TITLE


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WalmedicError, match="no such file"):
        crash_logs_in(tmp_path / "none")


@pytest.mark.parametrize("named", ["root", "db", "places"])
def test_logs_are_found_where_the_official_packages_put_and_rename_them(tmp_path: Path, named: str) -> None:
    database = sample_database("v1", tmp_path.resolve() / "station")
    text = crash_text((Mapped(LOG, BASE, SHORT),), fault=BASE + OFFSET, rdx=OFFSET)
    for place in ("hs_err_pid1.log", "db/hs_err_pid+2.log", "db/crash+3.log", "db/crash+4.log"):
        (database.root / place).write_text(text)
    (database.db / "crash+5.log").symlink_to(database.db / "crash+4.log")
    (database.db / "crashed.txt").write_text(text)
    if named == "places":
        logs = crash_logs_of(database)
    else:
        logs = crash_logs_in(database.root if named == "root" else database.db)
    assert len(logs) == len(set(logs)) == (3 if named == "db" else 4)
    assert examine(logs, database).total == len(logs)
    assert {pid_in(path.name) for path in logs} == ({None, 2} if named == "db" else {None, 1, 2})


def test_logs_are_found_where_the_running_server_writes_them(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "station")
    database.lock.touch()
    elsewhere = tmp_path / "var"
    elsewhere.mkdir()
    for name in ("fatal_12%.txt", "fatal_x%.txt", "fatal_99%.txt.old"):
        (elsewhere / name).write_text(crash_text((), fault=1, rdx=1))
    hold = "import fcntl,sys,time;f=open(sys.argv[1]);fcntl.flock(f,fcntl.LOCK_EX);print(flush=True);time.sleep(60)"
    option = "-XX:ErrorFile=../var/fatal_%p%%.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(database.lock), option], stdout=subprocess.PIPE, cwd=database.root
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert [path.name for path in crash_logs_of(database)] == ["fatal_12%.txt"]
    finally:
        process.kill()
        process.wait()
    assert crash_logs_of(database) == ()


COLUMN = Mapped("/data/hot/db/t~1/2025-01-01/price.d", BASE + 0x100000, 65_536)


@pytest.mark.parametrize(
    ("signal", "code", "said"),
    [
        ("SIGBUS (0x7)", "2 (BUS_ADRERR)", "the file was cut while it was mapped"),
        ("SIGSEGV (0xb)", "2 (SEGV_ACCERR)", "was not allowed"),
    ],
)
def test_a_fault_inside_a_mapping_is_not_past_its_end(tmp_path: Path, signal: str, code: str, said: str) -> None:
    text = crash_text((Mapped(LOG, BASE, 4096), COLUMN), fault=COLUMN.start + 40_960, rdx=0, stack=())
    text = text.replace("SIGSEGV (0xb)", signal).replace("1 (SEGV_MAPERR)", code)
    (group,) = examine([write_log(tmp_path, text)]).groups
    assert (group.file, group.offset) == ("t~1/2025-01-01/price.d", 40_960)
    assert group.confidence is Confidence.HIGH
    assert said in group.explanation
    assert "past the end" not in group.explanation


def test_a_crash_in_native_code_names_the_java_code_that_called_it(tmp_path: Path) -> None:
    text = crash_text((), fault=1, rdx=1)
    head, _, rest = text.partition("Native frames: ")
    _, _, tail = rest.partition("\n\n\n")
    text = (
        head.replace("# J 2009 c1 io.questdb.cairo.vm.api.MemoryCR.getLong(J)J", "# C  [libc.so.6+0x152a89]")
        + "Native frames: (J=compiled Java code, j=interpreted, Vv=VM code, C=native code)\n"
        + "C  [libc.so.6+0x152a89]\nC  [libquestdb.so+0x2000]  Java_io_questdb_std_Vect_copy+0x10\n\n"
        + "Java frames: (J=compiled Java code, j=interpreted, Vv=VM code)\n"
        + "J 4000  io.questdb.std.Vect.memcpy0(JJJ)V io.questdb@9.1.0 (0 bytes) @ 0x00007f018d8dfc0e [0x1+0x4e]\n"
        + "j  io.questdb.cairo.VarcharTypeDriver.o3sort(JJJJ)V+14 io.questdb@9.1.0\n"
        + "j  io.questdb.cairo.TableWriter.processWalBlock(J)V+92 io.questdb@9.1.0\n\n\n"
        + tail
    )
    (group,) = examine([write_log(tmp_path, text)]).groups
    assert group.title == "SIGSEGV Vect.memcpy0 ← VarcharTypeDriver.o3sort"
    assert (
        "native code (libc.so.6), called from Vect.memcpy0 ← VarcharTypeDriver.o3sort ← TableWriter.processWalBlock"
        in (group.explanation)
    )


@pytest.mark.parametrize(("maps", "full"), [(65_529, True), (900, False)])
def test_memory_that_the_machine_refuses_is_distinguished_from_too_many_mappings(
    tmp_path: Path, maps: int, full: bool
) -> None:
    lines = "\n".join(f"{BASE + n * 8192:x}-{BASE + n * 8192 + 4096:x} rw-p 00000000 00:00 0" for n in range(maps))
    text = f"""#
# There is insufficient memory for the Java Runtime Environment to continue.
# Native memory allocation (mmap) failed to map 2097152 bytes. Error detail: committing reserved memory.
# Possible reasons:
#   The system is out of physical RAM or swap space
#
#  Out of Memory Error (os_linux.cpp:2832), pid=8369, tid=8373
#
# JRE version: OpenJDK Runtime Environment (17.0.15+6) (build 17.0.15+6)
#

---------------  S U M M A R Y ------------

Time: Sun Nov  9 21:27:03 2025 UTC elapsed time: 1.959252 seconds (0d 0h 0m 1s)

---------------  P R O C E S S  ---------------

Dynamic libraries:
{lines}

/proc/sys/vm/max_map_count (maximum number of memory map areas a process may have): 65530
END.
"""
    (group,) = examine([write_log(tmp_path, text)]).groups
    assert group.title.startswith("Out of Memory Error")
    assert ("vm.max_map_count" in group.explanation) is full
    assert "No file is damaged" in group.explanation
    if not full:
        assert "failed to map 2097152 bytes" in group.explanation
