"""walmedic as a process whose streams are closed, full, ASCII or gone: one sentence, and the right exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from console.questdb.layout import DatabaseRoot
from tests.data.samples import sample_database

_WALMEDIC = [sys.executable, "-m", "console"]


@pytest.fixture
def broken(tmp_path: Path) -> DatabaseRoot:
    """A database with one table that has lost its sequencer, and two that are well."""
    database = sample_database("v1", tmp_path.resolve() / "station")
    shutil.rmtree(database.table("altered").sequencer)
    return database


def _called(
    tmp_path: Path,
    *words: str,
    stdout: int | IO[bytes] = subprocess.PIPE,
    before: str = "",
    variables: dict[str, str] | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    """Run walmedic with `words`; `before` is shell that comes first, such as `exec <&-;`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("WALMEDIC_", "LC_", "LANG"))
    }
    own = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    argv = ["sh", "-c", f'{before} exec "$@"', "sh", *_WALMEDIC, *words, "--detailed-exitcode"]
    environment.update(own | (variables or {}))
    return subprocess.run(argv, stdout=stdout, stderr=subprocess.PIPE, env=environment, check=False, timeout=120)


def test_a_reader_that_goes_away_does_not_make_a_broken_table_healthy(broken: DatabaseRoot, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    for words in (["check"], ["check", "--json"]):
        ended = _called(tmp_path, *words, "--db-root", str(broken.root), stdout=write_end)
        assert (ended.returncode, ended.stderr) == (1, b"")
    shutil.rmtree(broken.table("altered").path)
    for path in broken.db.glob("tables.d.[0-9]*"):
        path.unlink()  # it names the table, and QuestDB makes it anew
    assert _called(tmp_path, "check", "--db-root", str(broken.root), stdout=write_end).returncode == 0
    assert _called(tmp_path, "--help", stdout=write_end).returncode == 0
    os.close(write_end)


def test_a_full_disk_behind_standard_output_is_reported_and_is_never_healthy(
    broken: DatabaseRoot, tmp_path: Path
) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = _called(tmp_path, "check", "--db-root", str(broken.root), stdout=full)
        assert ended.returncode == 1
        assert ended.stderr == (
            b"walmedic: standard output cannot be written (No space left on device); its reader has less\n"
        )
        ended = _called(tmp_path, "check", "kinds", "--db-root", str(broken.root), stdout=full)
        assert ended.returncode == 8
        assert _called(tmp_path, "journal", stdout=full).returncode == 8
        # Standard error is full as well: there is nobody to tell.
        assert (
            _called(tmp_path, "check", "--db-root", str(broken.root), stdout=full, before="exec 2>&1;").returncode == 1
        )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(broken: DatabaseRoot, tmp_path: Path, closed: str) -> None:
    root = str(broken.root)
    ended = _called(tmp_path, "check", "--db-root", root, before=f"exec {closed};")
    assert (ended.returncode, ended.stderr) == (1, b"")
    ended = _called(tmp_path, "run", "capture-evidence", "--db-root", root, before=f"exec {closed};")
    assert ended.returncode == 8  # it was not confirmed
    assert b"Traceback" not in ended.stderr
    if "2>&-" not in closed:
        assert ended.stderr.count(b"\n") == 1
        assert b"not confirmed" in ended.stderr
    console = _called(tmp_path, "--db-root", root, before=f"exec {closed};")
    assert (console.returncode, b"Traceback" in console.stderr) == (8, False)


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "iso-8859-1:strict"},
    ],
    ids=["C", "ascii", "latin-1"],
)
def test_a_terminal_without_unicode_gets_all_that_it_can_show(
    broken: DatabaseRoot, tmp_path: Path, variables: dict[str, str]
) -> None:
    root = str(broken.root)
    for words in (["check"], ["doctor"], ["plan", "rebuild-sequencer", "altered"], ["journal"]):
        ended = _called(tmp_path, *words, "--db-root", root, variables=variables)
        assert b"unexpected" not in ended.stderr
        assert b"walmedic: " not in ended.stderr
    said = _called(tmp_path, "check", "--db-root", root, variables=variables).stdout
    assert b"x BROKEN" in said
    assert b"+ HEALTHY" in said
    document = json.loads(
        _called(tmp_path, "check", "--json", "--db-root", root, variables=variables).stdout.decode("ascii")
    )
    assert document["schema"] == 1


@pytest.mark.parametrize("columns", ["0", "-3", "none", "99999999999999999999", "1"])
def test_a_width_that_is_none_is_not_believed(broken: DatabaseRoot, tmp_path: Path, columns: str) -> None:
    for words in (["check", "--db-root", str(broken.root)], ["--help"], ["plan", "--help"]):
        ended = _called(tmp_path, *words, variables={"COLUMNS": columns, "LINES": columns})
        assert ended.returncode == (1 if words[0] == "check" else 0), ended
        assert len(ended.stdout) > 200


_NOTED = """
import signal, sys
begun, set_handler = sys.argv.pop(1), signal.signal
def noted(*words):
    signal.signal = set_handler
    before = set_handler(*words)
    open(begun, "w").close()
    return before
signal.signal = noted
from console.__main__ import main
main()
"""


def test_ctrl_c_at_any_early_moment_is_a_sentence(broken: DatabaseRoot, tmp_path: Path) -> None:
    """From the first bytecode of ours on; how far the program has come in that time depends on the machine."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "WALMEDIC_DB_ROOT": ""}
    environment.pop("WALMEDIC_DB_ROOT")
    begun = tmp_path / "begun"
    argv = [sys.executable, "-c", _NOTED, str(begun)]
    for pause in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        begun.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*argv, "check", "--db-root", str(broken.root), "--detailed-exitcode"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
            # A run in the background ignores SIGINT, and so would the program.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(0.005 + pause)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert b"Traceback" not in said, (pause, said)
        stopped = (8, b"stopped; nothing was done\n"), (8, b"stopped; nothing more is done\n")
        assert (process.returncode, said.lstrip()) in (*stopped, (1, b""), (-signal.SIGINT, b"")), pause


def test_settings_that_are_no_file_are_never_waited_for(broken: DatabaseRoot, tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for place, what in (
        (pipe, b"it is a pipe"),
        (folder, b"walmedic.toml: cannot be read"),  # a directory stands for the file in it
        (Path("/dev/zero"), b"it is a device"),
    ):
        ended = _called(tmp_path, "check", "--config", str(place), "--db-root", str(broken.root))
        assert ended.returncode == 8
        assert ended.stderr.count(b"\n") == 1
        assert what in ended.stderr
    (tmp_path / "state/walmedic").mkdir(parents=True, exist_ok=True)
    (tmp_path / "state/walmedic/walmedic.log").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "state/walmedic/walmedic.log")
    assert _called(tmp_path, "check", "--db-root", str(broken.root)).returncode == 1


_DEEP = "[" * 90 + "]" * 90
_HOSTILE = {
    "brackets": "[" * 200_000,
    "nested-without-end": "x = " + "[" * 200_000,
    "nested-text": f"station = {_DEEP}",
    "nested-streams": f"[redis]\nstreams = {_DEEP}",
    "nested-port": f"[redis]\nport = {_DEEP}",
    "nested-name": f"[redis]\nstreams = [{{ name = {_DEEP} }}]",
    "nested-units": "[services]\nunits = [{ name = [[1]], role = [[2]] }]",
    "twice": "station = 'x'\n" * 2,
    "long": "#" * (2 << 20),
    "digits": "[questdb]\npg_port = " + "9" * 5_000,
}


@pytest.mark.parametrize("kind", list(_HOSTILE))
def test_hostile_settings_are_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "walmedic.toml"
    place.write_text(_HOSTILE[kind])
    place.chmod(0o600)
    ended = _called(tmp_path, "doctor", "--config", str(place))
    assert ended.returncode == 8
    assert ended.stderr.count(b"\n") == 1
    assert str(place).encode() in ended.stderr
    assert b"unexpected" not in ended.stderr
    assert len(ended.stderr) < 700


@pytest.mark.parametrize("kind", ["pipe", "folder", "brackets"])
def test_a_journal_that_is_none_is_never_waited_for(broken: DatabaseRoot, tmp_path: Path, kind: str) -> None:
    state = tmp_path / "own"
    state.mkdir(mode=0o700)
    place = state / "journal.jsonl"
    if kind == "pipe":
        os.mkfifo(place, 0o600)
    elif kind == "folder":
        place.mkdir(mode=0o700)
    else:
        place.write_bytes(b"[" * 200_000 + b"\n")
        place.chmod(0o600)
    for words in (["journal", "--verify"], ["plan", "repair-log", "altered"], ["check"], ["doctor"]):
        ended = _called(tmp_path, *words, "--db-root", str(broken.root), "--state-dir", str(state))
        assert b"unexpected" not in ended.stderr + ended.stdout, words
        assert ended.returncode != 0 or words[0] == "doctor", words
        assert words[0] == "journal" or ended.stderr.count(b"\n") <= 1
