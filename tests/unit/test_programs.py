"""What `make test` says or does where a system program is missing: one sentence, or the package manager as root."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import programs
from tests.other_user import CHECKOUT, for_others


def _bare(tmp_path: Path, *scripts: tuple[str, str]) -> dict[str, str]:
    """Return an environment whose PATH has nothing but `scripts` (name, text)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in scripts:
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": str(folder)}


def _run(environment: dict[str, str], *before: str) -> "subprocess.CompletedProcess[str]":
    python, folder = Path(sys.executable), CHECKOUT
    if before:
        python, folder = for_others(python), for_others(folder)
    argv = [*before, str(python), "-m", "tests.programs"]
    return subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_without_a_package_manager_one_sentence_names_what_to_install(tmp_path: Path) -> None:
    ended = _run(_bare(tmp_path))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "install tmux, strace, " in ended.stderr


def test_root_installs_what_is_missing_and_goes_on(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root installs")
    makes = "import os, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[0]).parent\n"
    makes += "if sys.argv[1] == 'install':\n"
    programs = (
        "tmux",
        "strace",
        "dbus-daemon",
        "unshare",
        "setpriv",
        "systemd",
        "openssl",
        "redis-server",
        "podman",
        "crun",
    )
    makes += f" for name in {programs}:\n"
    makes += "  (folder / name).touch(0o755)\n"
    ended = _run(_bare(tmp_path, ("apt-get", makes)))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("installing tmux, strace, ")


def test_where_installing_fails_the_sentence_has_the_command(tmp_path: Path) -> None:
    ended = _run(_bare(tmp_path, ("apt-get", "raise SystemExit(100)")))
    assert ended.returncode == 1
    assert "run `apt-get install -y -qq --no-install-recommends tmux strace " in ended.stderr


def test_whoever_is_not_root_gets_a_sentence_and_nothing_is_run() -> None:
    if os.geteuid():
        pytest.skip("only root becomes another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be entered by its user alone
        Path(folder).chmod(0o755)
        environment = _bare(Path(folder), ("dnf", "raise AssertionError('it was run')"))
        ended = _run({**environment, "PYTHONDONTWRITEBYTECODE": "1"}, "/usr/bin/setpriv", "--reuid", "65534")
    assert ended.returncode == 1
    assert "it was run" not in ended.stderr
    assert "run `dnf install -y -q tmux strace dbus-daemon " in ended.stderr


def test_a_program_beside_path_counts() -> None:
    assert "systemd" not in programs.missing(lambda name: None if name == "systemd" else f"/usr/bin/{name}") or (
        not Path("/lib/systemd/systemd").exists()
    )
    assert programs.missing(lambda name: f"/usr/bin/{name}") == []
