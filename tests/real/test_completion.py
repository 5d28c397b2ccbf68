"""Completion in real shells: commands, actions, tables of the database, entries of the journal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.settings import QuestDBSettings, Settings
from tests.data.samples import sample_database

_BASH = """
source <(_WALMEDIC_COMPLETE=bash_source walmedic) || true
COMP_WORDS=({words} '') COMP_CWORD={count}
_walmedic_completion walmedic
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_FISH = "_WALMEDIC_COMPLETE=fish_source walmedic | source; complete --do-complete '{words} '"
_ZSH = """
autoload -U compinit; compinit -u -D
compadd() {{ print -rl -- $completions $completions_with_descriptions }}; _describe() {{ compadd }}; compdef() {{ : }}
eval "$(_WALMEDIC_COMPLETE=zsh_source walmedic)"
words=({words} '') CURRENT={number}
_walmedic_completion
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A `walmedic` on the path, a settings file that names a database, and a journal with one entry."""
    database = sample_database("v1", tmp_path / "root")
    (database.db / "tables.d.lock").touch()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/walmedic"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m console "$@"\n')
    script.chmod(0o755)
    (tmp_path / "walmedic.toml").write_text(f'state_dir = "{tmp_path}/state"\n[questdb]\ndb_root = "{database.root}"\n')
    questdb = QuestDBSettings(db_root=str(database.root))
    engine = Engine(Settings(state_dir=str(tmp_path / "state"), questdb=questdb, bare=True))
    plan = engine.plan("capture-evidence")
    engine.run(plan, plan.confirmation)
    return {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb",
        "WALMEDIC_CONFIG": str(tmp_path / "walmedic.toml"), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip


@pytest.mark.parametrize(("shell", "script"), [("bash", _BASH), ("zsh", _ZSH), ("fish", _FISH)])
def test_a_shell_completes(shell: str, script: str, environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    entry = next((tmp_path / "state/entries").iterdir()).name
    wanted = {
        "walmedic": "rehearse",
        "walmedic run": "restore-sequencer",
        "walmedic run restore-sequencer": "altered",
        "walmedic check": "altered",
        "walmedic undo": entry,
    }
    for words, completed in wanted.items():
        count = len(words.split())
        text = script.format(words=words, count=count, number=count + 1)
        done = subprocess.run(
            [shell, "-c", text], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert completed in done.stdout, (words, done.stdout[-2000:], done.stderr[-2000:])
