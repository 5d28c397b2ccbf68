"""Crash logs: what is read of a whole one, and that nothing cut, empty or foreign is ever more than a problem."""

import datetime
import random
from pathlib import Path

import pytest

from console.questdb import hs_err
from console.questdb.reading import ProblemKind
from tests.unit.crash_text import LOG, Mapped, crash_text, write_log

BASE = 0x7F19FA027000
TEXT = crash_text((Mapped(LOG, BASE, 4096),), fault=BASE + 0x41314CF030, rdx=0x41314CF030)


def test_a_whole_log(tmp_path: Path) -> None:
    log = hs_err.read(write_log(tmp_path, TEXT))
    assert (log.signal, log.pid, log.si_code) == ("SIGSEGV", 4711, 1)
    assert log.si_addr == BASE + 0x41314CF030
    assert log.registers["RDX"] == 0x41314CF030
    assert [frame.short for frame in log.stack] == [
        "MemoryCR.getLong", "TableTransactionLogV1.open", "TableTransactionLog.open",
    ]  # fmt: skip
    assert log.at == datetime.datetime(2025, 11, 10, 2, 27, 3, tzinfo=datetime.UTC).timestamp()
    assert "17.0.16+8" in log.java
    assert log.mappings == (hs_err.MappedFile(BASE, BASE + 4096, 0, LOG),)
    assert log.problems == ()
    assert log.is_crash


def test_a_zone_that_is_not_known_leaves_the_file_s_own_time(tmp_path: Path) -> None:
    path = write_log(tmp_path, TEXT.replace(" EST ", " XYZ "))
    log = hs_err.read(path)
    assert log.at is None
    assert log.time == pytest.approx(path.stat().st_mtime)


@pytest.mark.parametrize("wrong", ["Sun Feb 31 21:27:03 2025", "Sun 9v1  9 21:27:03 2025", "Sun Nov  9 25:27:03 2025"])
def test_a_time_that_no_clock_shows_is_none(wrong: str) -> None:
    log = hs_err.parse(TEXT.replace("Sun Nov  9 21:27:03 2025", wrong).encode(), Path("x"), 5.0)
    assert (log.at, log.time) == (None, 5.0)


def test_every_mapping_only_where_it_is_asked_for() -> None:
    column = Mapped("/data/hot/db/t~1/2025-01-01/price.d", BASE + 0x10000, 4096)
    data = crash_text((Mapped(LOG, BASE, 4096), column), fault=1, rdx=1).encode()
    assert [m.path for m in hs_err.parse(data, Path("x")).mappings] == [LOG]
    assert [m.path for m in hs_err.parse(data, Path("x"), every_mapping=True).mappings] == [LOG, column.path]


def test_nothing_of_the_command_line_is_taken() -> None:
    log = hs_err.parse(crash_text((), fault=1, rdx=1, command="-Dpg.password=quest1").encode(), Path("x"))
    assert "quest1" not in repr(log)


def test_escape_sequences_do_not_get_through() -> None:
    hostile = crash_text((Mapped("/data/db/\x1b[31mt~1/txn_seq/_txnlog", BASE, 4096),), fault=1, rdx=1)
    log = hs_err.parse(hostile.encode(), Path("x"))
    assert "\x1b" not in log.mappings[0].path


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, b"\n\n", b"hello", bytes(range(256)) * 40, b"# JRE version: 17\n"])
def test_what_is_no_crash_log_is_a_problem(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hs_err_pid1.log"
    path.write_bytes(data)
    log = hs_err.read(path)
    assert not log.is_crash
    assert len(log.problems) == 1


def test_a_folder_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = write_log(tmp_path / "real", TEXT)
    (tmp_path / "link").symlink_to("real")
    log = hs_err.read(tmp_path / "link" / path.name)
    assert (log.path, log.pid, log.problems) == (tmp_path / "link" / path.name, 4711, ())


def test_a_log_that_is_gone_or_a_link(tmp_path: Path) -> None:
    missing = hs_err.read(tmp_path / "hs_err_pid1.log")
    assert missing.problems[0].kind is ProblemKind.MISSING
    (tmp_path / "hs_err_pid2.log").symlink_to("/etc/passwd")
    assert hs_err.read(tmp_path / "hs_err_pid2.log").problems[0].kind is ProblemKind.UNREADABLE


def test_cut_anywhere_it_says_what_is_missing() -> None:
    data = TEXT.encode()
    for size in range(0, len(data), 37):
        log = hs_err.parse(data[:size], Path("x"))
        assert log.problems
    assert hs_err.parse(data[:-1], Path("x")).problems == ()  # the last newline is no loss


def test_mutations_never_raise() -> None:
    rng = random.Random(20251109)
    data = TEXT.encode()
    for _ in range(2000):
        mutant = bytearray(data)
        for _ in range(rng.randint(1, 40)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        hs_err.parse(bytes(mutant), Path("x"), every_mapping=True)
