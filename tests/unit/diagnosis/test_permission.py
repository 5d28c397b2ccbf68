"""What another user owns is not absent: said in one sentence, with whom to run as."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot, TableDirectory
from tests.data.samples import sample_database
from tests.other_user import CHECKOUT, for_others

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
_USER = 65534


@pytest.fixture
def database() -> Iterator[DatabaseRoot]:
    """A database of another user, in a place that this one may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        found = sample_database("v1", Path(folder) / "station")
        for path in (found.root, *found.root.rglob("*")):
            os.chown(path, _USER, _USER)
        (Path(folder) / "state").mkdir()
        os.chown(Path(folder) / "state", _USER, _USER)
        yield found


_AS_ANOTHER = ("--reuid", str(_USER), "--regid", str(_USER), "--clear-groups")
_AS_WEAK_ROOT = ("--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
"""Root as in a container that takes these powers from it: a mode of 0 closes a file of another user to it."""


def _answer(database: DatabaseRoot, *words: str, who: tuple[str, ...] = _AS_ANOTHER) -> tuple[int, str, str]:
    state = database.root.parent / "state"
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state)}
    argv = ["setpriv", *who]
    argv += [str(for_others(Path(sys.executable))), "-m", "console", *words, "--db-root", str(database.root)]
    argv += ["--detailed-exitcode"]
    ended = subprocess.run(
        argv, env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False, timeout=120, cwd=for_others(CHECKOUT),
    )  # fmt: skip
    return ended.returncode, ended.stdout, ended.stderr


def _closed(path: Path) -> None:
    os.chown(path, 0, 0)
    path.chmod(0)


@pytest.mark.parametrize("closed", ["the folder", "its log"])
def test_a_copy_of_another_user_is_not_reported_as_missing(database: DatabaseRoot, closed: str) -> None:
    table = database.table("altered")
    copy = table.path / "txn_seq.backup"
    shutil.move(table.sequencer, copy)
    _closed(copy if closed == "the folder" else copy / "_txnlog")
    code, out, _ = _answer(database, "check", "altered", "--json")
    assert code == 1
    findings = {finding["code"]: finding for finding in json.loads(out)["tables"][0]["findings"]}
    messages = [finding["message"] for finding in json.loads(out)["tables"][0]["findings"]]
    assert any(f"txn_seq.backup cannot be read as uid {_USER}" in message for message in messages)
    assert "no such file" not in out
    assert "backup-found" not in findings


def test_a_plan_that_meets_a_closed_folder_ends_in_one_sentence(database: DatabaseRoot) -> None:
    table = database.table("altered")
    copy = table.path / "txn_seq.backup"
    shutil.move(table.sequencer, copy)
    _closed(copy)
    for action in ("capture-evidence", "restore-sequencer", "rebuild-sequencer"):
        code, _, err = _answer(database, "plan", action, "altered")
        assert code == 8, action
        assert "unexpected" not in err
        assert err.count("\n") <= 1


def test_a_root_that_may_not_be_entered_is_not_reported_as_the_wrong_one(database: DatabaseRoot) -> None:
    _closed(database.root)
    code, _, err = _answer(database, "check")
    assert code == 8
    assert f"cannot be read as uid {_USER}; run walmedic as root or as the owner" in err


@pytest.mark.parametrize("closed", ["the root", "the database", "a copy", "_txn"])
def test_root_that_may_not_read_is_not_sent_to_root(database: DatabaseRoot, closed: str) -> None:
    table = database.table("altered")
    if closed == "a copy":
        shutil.move(table.sequencer, table.path / "txn_seq.backup")
    place = {
        "the root": database.root, "the database": database.db, "a copy": table.path / "txn_seq.backup",
        "_txn": table.path / "_txn",
    }[closed]  # fmt: skip
    place.chmod(0)
    os.chown(database.root.parent / "state", 0, 0)
    for words in (("check", "altered"), ("plan", "repair-log", "altered"), ("plan", "repair-ownership", "altered")):
        _, out, err = _answer(database, *words, who=_AS_WEAK_ROOT)
        said = " ".join((out + err).split())
        assert "as root" not in said, (words, said)
        if words[0] == "check":
            assert "run walmedic as" in said
            assert "CAP_DAC_OVERRIDE" in said


def _first(path: Path, pattern: str) -> Path:
    return sorted(path.glob(pattern))[0]


_CLOSED: dict[str, Callable[[TableDirectory], Path]] = {
    "a WAL column": lambda table: _first(table.path, "wal1/*/*.d"),
    "an event file": lambda table: _first(table.path, "wal1/*/_event"),
    "a segment": lambda table: _first(table.path, "wal1/[0-9]"),
    "a WAL": lambda table: table.path / "wal1",
    "_txn": lambda table: table.path / "_txn",
    "_meta": lambda table: table.path / "_meta",
    "_cv": lambda table: table.path / "_cv",
    "the sequencer": lambda table: table.sequencer,
    "its log": lambda table: table.sequencer / "_txnlog",
    "the table": lambda table: table.path,
    "the registry": lambda table: _first(table.path.parent, "tables.d.[0-9]*"),
}


@pytest.mark.parametrize("what", _CLOSED)
def test_what_is_closed_is_unknown_and_no_plan_rests_on_it(database: DatabaseRoot, what: str) -> None:
    _closed(_CLOSED[what](database.table("altered")))
    code, out, err = _answer(database, "check", "altered", "--json")
    assert code == 1, err
    report = json.loads(out)["tables"][0]
    assert report["verdict"] == "unknown"
    assert report["rows_unapplied"] is None
    assert "unreadable" in {finding["code"] for finding in report["findings"]}
    assert not [finding for finding in report["findings"] if finding["severity"] == "damage"]
    assert report["next_step"]["action"] is None
    assert "owner of the database" in report["next_step"]["reason"]
    code, out, err = _answer(database, "plan", "rebuild-sequencer", "altered", "--json")
    assert code == 8, err
    plan = json.loads(out)
    assert "permission" in {refusal["code"] for refusal in plan["refused"]}
    assert plan["rows_lost"]["kind"] == "unknown"


@pytest.mark.parametrize("what", ["a WAL", "the table"])
def test_a_salvage_of_what_is_closed_counts_nothing(database: DatabaseRoot, what: str) -> None:
    _closed(_CLOSED[what](database.table("altered")))
    code, out, err = _answer(database, "plan", "salvage-wal", "altered", "--json")
    assert code == 8, err
    plan = json.loads(out)
    assert {refusal["code"] for refusal in plan["refused"]} & {"permission", "wal-not-read"}
    assert plan["rows_lost"]["kind"] == "unknown"
    assert "an unknown number of rows" in plan["why"]
