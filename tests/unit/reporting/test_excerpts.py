"""What a bundle shows of logs: no row, no literal, no dumped memory, and the crash among a thousand other lines."""

import pytest

from console.reporting import excerpts
from tests.unit.crash_text import LOG, Mapped, crash_text


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            "[12] could not process line data 4 [table=t, errno=2, mangledLine=`t,s=R0W p=1.5\\x0A`, ex=no file]",
            "ex=no file]",
        ),
        ("parse error [table=t, line=1, error=x, mangledLine=`t,s=a`R0W p=1`]", "error=x"),
        ("data 3 [errorId=a-1, mangledLine=`t,s=R0W p=", "errorId=a-1"),
        (
            "[7] could not parse measurement, INVALID at 3, line (may be mangled due to partial parsing): 't,s=R0W'",
            "at 3",
        ),
        ("cast error for column; line protocol value: R0W", "cast error for column"),
        ("cast error [value=R0W, type=6]", "cast error"),
        ("fin [id=1, sql=`INSERT INTO t VALUES ('R0W', 17.25)`, principal=admin]", "INSERT INTO t VALUES (…)"),
        ("fin [id=1, sql=`UPDATE t SET p = 17.25 WHERE s = 'R0W'`, principal=admin]", "UPDATE t SET (…)"),
        ("exec [q=`SELECT * FROM t WHERE s = 'it''s R0W' LIMIT 5`]", "SELECT * FROM t WHERE s = '…' LIMIT 5`]"),
        ("exec [fd=1, sql=SELECT * FROM t WHERE s = 'R0W", "SELECT * FROM t WHERE s = '…'"),
        ("could not open [file=/data/hot/db/t~1/txn_seq/_wal_index.d, errno=2]", "_wal_index.d, errno=2]"),
    ],
)
def test_no_row_and_no_literal_of_a_server_log(line: str, kept: str) -> None:
    shown = excerpts.server_log(f"before\n{line}\nafter\n")
    assert "R0W" not in shown
    assert "17.25" not in shown
    assert kept in shown
    assert shown.startswith("before\n")
    assert shown.endswith("\nafter\n")


def test_a_crash_log_without_memory_and_foreign_variables() -> None:
    text = crash_text((Mapped(LOG, 0x1000, 4096),), fault=0x1004, rdx=4)
    dumped = (
        "Register to memory mapping:\n\n"
        'RAX=0x1 is an oop: java.lang.String {0x1} "s3cret string"\n\n'
        "XMM[0]=0x6162636465666768 0x0\n\n"
        "Top of Stack: (sp=0x00007f010b2fae00)\n0x00007f010b2fae00:   7365637265740000 1122334455667788\n\n"
        "Instructions: (pc=0x1)\n0x1:   90 90\n\n"
        'Stack slot to memory mapping:\nstack at sp + 0 slots: "s3cret slot"\n\nFramesize: 0\nBufferBlob x\n\n'
    )
    more = "Environment Variables:\nJAVA_HOME=/usr/lib/jvm\nMY_THING=s3cret variable\nLANG=C\n\nSignal Handlers:\n"
    text = text.replace("Top of Stack: (sp=0x00007f010b2fae00)\n", dumped).replace("END.", more + "END.")
    shown = excerpts.crash_log(text)
    assert "s3cret" not in shown
    assert "7365637265740000" not in shown
    assert "6162636465666768" not in shown
    for kept in (
        "siginfo:",
        "RDX=0x",
        "Instructions: (pc=0x1)\n0x1:   90 90",
        "P R O C E S S",
        LOG,
        "JAVA_HOME=",
        "END.",
    ):
        assert kept in shown


def test_what_comes_again_and_again_does_not_push_out_what_came_once() -> None:
    noise = [f"2026-11-23T12:15:{n % 60:02d}.{n:06d}Z I http-server connected [fd={n}]" for n in range(50_000)]
    noise[100] = "2026-11-23T12:15:00Z A fatal error has been detected"
    noise[25_000] = "2026-11-23T12:25:00Z E the one error"
    shown = excerpts.thinned("\n".join(noise))
    assert "A fatal error" in shown
    assert "the one error" in shown
    assert noise[0] in shown
    assert noise[-1] in shown
    assert shown.count("\n") < 60
    assert "repeated lines not shown" in shown


def test_excerpts_are_cut_at_lines() -> None:
    text = "".join(f"line {n}\n" for n in range(10_000))
    first, cut = excerpts.beginning(text, 1_000)
    assert cut
    assert first.startswith("line 0\n")
    assert all(line.startswith(("line ", "…")) for line in first.splitlines())
    last, cut = excerpts.end(text, 1_000)
    assert cut
    assert last.endswith("line 9999\n")
    assert excerpts.end("short\n") == ("short\n", False)
