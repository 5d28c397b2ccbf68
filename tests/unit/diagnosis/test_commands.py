"""`check`, `inspect` and `crashes` as scripts use them: exit codes, one JSON document, nothing written anywhere."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from console.cli import run
from console.questdb.layout import DatabaseRoot
from tests.data.samples import sample_database
from tests.unit.crash_text import LOG, Mapped, crash_text, write_log
from tests.unit.diagnosis.conftest import put, set_applied

BASE = 0x7F0000000000


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseRoot:
    """The V1 sample; walmedic's own files go elsewhere."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return sample_database("v1", tmp_path.resolve() / "station")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command with --json; return its exit code and its document, which is all that it wrote."""
    capsys.readouterr()
    code = run([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    return code, document


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return total.hexdigest()


def test_check_of_healthy_tables(database: DatabaseRoot, capsys: pytest.CaptureFixture[str]) -> None:
    before = digest(database.root)
    code, document = answer(capsys, "check", "--db-root", str(database.root))
    assert code == 0
    assert [table["verdict"] for table in document["tables"]] == ["healthy"] * 3
    assert set(document["tables"][0]) >= {
        "table", "directory", "wal", "verdict", "can_read", "can_write", "applied_txn", "logged_txn", "rows_applied",
        "rows_unapplied", "rows_at_risk", "findings", "next_step", "blocked_steps",
    }  # fmt: skip
    assert any("SQL" in reason for reason in document["left_out"])
    assert digest(database.root) == before


def test_no_control_character_of_a_name_is_printed(database: DatabaseRoot, capsys: pytest.CaptureFixture[str]) -> None:
    (database.db / "a\x1b[2Jb").symlink_to("nowhere")
    assert run(["check", "--db-root", str(database.root)])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "ab: it is a symbolic link" in printed


def test_check_of_the_db_directory_itself_and_of_one_table(
    database: DatabaseRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = answer(capsys, "check", "kinds", "--db-root", str(database.db))
    assert (code, [table["table"] for table in document["tables"]]) == (0, ["kinds"])


def test_check_of_a_broken_table(database: DatabaseRoot, capsys: pytest.CaptureFixture[str]) -> None:
    table = database.table("altered")
    set_applied(table, 7)
    shutil.rmtree(table.sequencer)
    code, document = answer(capsys, "check", "altered", "--db-root", str(database.root))
    assert code == 1
    (report,) = document["tables"]
    assert (report["verdict"], report["rows_unapplied"]) == ("broken", 2)
    assert report["findings"][0]["code"] == "sequencer-missing"
    assert set(report["findings"][0]) == {
        "code", "severity", "file", "offset", "seq_txn", "message", "evidence", "partition", "column", "start", "write",
        "rows",
    }  # fmt: skip
    assert report["next_step"]["action"] == "rebuild-sequencer"
    assert {"action", "reason"} == set(report["blocked_steps"][0])
    assert [txn["rows"] for segment in report["waiting"] for txn in segment["listed"]] == [1, 1]
    assert run(["check", "--db-root", str(database.root)]) == 1
    shown = capsys.readouterr().out
    assert "BROKEN" in shown
    assert "rebuild-sequencer" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("arguments", [["check", "nope"], ["check", "--db-root", "/nowhere"]])
def test_check_of_what_is_not_there(
    database: DatabaseRoot, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    arguments = arguments if "--db-root" in arguments else [*arguments, "--db-root", str(database.root)]
    assert run(arguments) == 8
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_inspect_a_record_and_its_neighbours(database: DatabaseRoot, capsys: pytest.CaptureFixture[str]) -> None:
    log = database.table("altered").sequencer / "_txnlog"
    code, document = answer(capsys, "inspect", str(log), "--txn", "5", "--around", "1")
    assert code == 0
    assert [record["seq_txn"] for record in document["records"]] == [4, 5, 6]
    code, document = answer(capsys, "inspect", str(log), "--offset", "0x4c")
    assert (document["asked"]["seq_txn"], document["asked"]["field"]["name"]) == (1, "structure version")
    assert document["records"][0]["seq_txn"] == 1
    assert (document["kind"], document["record_count"]) == ("transaction log V1", 9)


def test_inspect_tells_the_findings_of_the_whole_file(
    database: DatabaseRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    table = database.table("altered")
    backup = table.path / "txn_seq.backup.1"
    shutil.copytree(table.sequencer, backup)
    for log in (table.sequencer / "_txnlog", backup / "_txnlog"):
        put(log, 4, "<q", 5000)
        code, document = answer(capsys, "inspect", str(log))
        assert code == 1
        assert "log-max-txn-past-end" in [finding["code"] for finding in document["findings"]]


def test_inspect_with_wrong_usage(database: DatabaseRoot, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(database.table("altered").sequencer / "_txnlog")
    for wrong in (["--offset", "zz"], ["--offset", "-4"], ["--txn", "0"], ["--txn", "1", "--offset", "1"], ["--bad"]):
        assert run(["inspect", log, *wrong]) == 16
    assert run(["inspect", log + ".none"]) == 8
    capsys.readouterr()


def test_crashes(database: DatabaseRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = answer(capsys, "crashes", str(database.root))
    assert (code, document["total"], document["crashes"]) == (0, 0, [])
    at = 0x0CB261F4
    write_log(database.root, crash_text((Mapped(LOG, BASE, 213_016_576),), fault=BASE + at, rdx=at))
    (database.root / "hs_err_pid2.log").write_bytes(b"\0\0")
    code, document = answer(capsys, "crashes", str(database.root))
    assert code == 1
    (cause,) = document["crashes"]
    assert (cause["offset"], cause["seq_txn"], cause["confidence"]) == (at, 7_607_751, "high")
    assert cause["file"] == "market_orderbook~19/txn_seq/_txnlog"
    assert [finding["code"] for finding in document["findings"]] == ["crash-log-invalid"]
    assert run(["crashes", "--db-root", str(database.root)]) == 1
    assert "7,607,751" in capsys.readouterr().out
    assert run(["crashes", str(tmp_path / "none")]) == 8
    capsys.readouterr()


def test_a_root_without_tables_is_not_healthy(
    tmp_path: Path, database: DatabaseRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the disk is not mounted, or only the server's own tables are there."""
    for table in database.tables():
        shutil.rmtree(table.path)
    for words in ([], ["--deep"]):
        code, document = answer(capsys, "check", *words, "--db-root", str(database.root))
        assert (code, document["tables"]) == (1, [])
        assert {finding["code"] for finding in document["findings"]} == {"no-tables", "table-directory-gone"}


def test_a_file_that_is_not_of_the_family_is_not_found_right(
    database: DatabaseRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    other = database.root / "notes.txt"
    other.write_text("hello")
    assert run(["inspect", str(other)]) == 1
    assert "not one of the files that walmedic decodes" in capsys.readouterr().out


def test_whole_files_are_not_called_readable_where_no_server_was_asked(
    database: DatabaseRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--db-root", str(database.root)]) == 0
    text = capsys.readouterr().out
    assert text.count("files ok") == 3
    assert "reads" not in text
    assert "writes" not in text
