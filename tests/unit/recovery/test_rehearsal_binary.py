"""Which QuestDB and Java a rehearsal takes: the station's own, by settings, command line, memory or unit file."""

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.server_processes import CommandLine, parse
from console.recovery.server import binary
from console.recovery.server.binary import note_running, running, server_binary
from console.recovery.server.coordinates import NoBinaryError
from console.recovery.server.jvm import java_version
from console.recovery.store.state import StateDir
from console.settings import QuestDBSettings, Settings

MAIN = "io.questdb/io.questdb.ServerMain"


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    (tmp_path / "root/db/t~1").mkdir(parents=True)
    (tmp_path / "root/db/t~1/_txn").touch()
    return DatabaseRoot.locate(tmp_path / "root")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    path = tmp_path / "questdb-9.1.0.jar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("io/questdb/ServerMain.class", b"")
    return path


def java_of(folder: Path, version: str) -> Path:
    """Return an executable that answers `-version` as a Java does."""
    path = folder / f"java-{version}"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
    path.chmod(0o755)
    return path


@contextmanager
def process(*arguments: str, cwd: Path | None = None) -> Iterator[None]:
    """Run a process with the command line of a server: what /proc shows, with nothing of a server behind it."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            f"/opt/java/bin/java -Xmx1g -p /opt/q/questdb.jar -m {MAIN} -d /var/q",
            CommandLine("/opt/q/questdb.jar", "/opt/java/bin/java", "/var/q"),
        ),
        (f"java -p questdb.jar -m {MAIN} -d data", CommandLine("/here/questdb.jar", "java", "/here/data")),
        (
            "java -cp /a/lib.jar:/b/questdb-9.jar io.questdb.ServerMain -d /q -f",
            CommandLine("/b/questdb-9.jar", "java", "/q"),
        ),
        (f"/opt/rt/bin/java -m {MAIN} -d /q", CommandLine("", "/opt/rt/bin/java", "/q")),
        (f"java -p q.jar -m {MAIN}", None),
        ("java -jar other.jar -d /q", None),
        (f"{MAIN} -d", None),
    ],
)
def test_a_command_line_names_jar_java_and_root(words: str, expected: CommandLine | None) -> None:
    assert parse(words.split(), Path("/here")) == expected


def test_the_settings_come_first(database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path) -> None:
    java = java_of(tmp_path, "17.0.9")
    settings = Settings(questdb=QuestDBSettings(jar=str(jar), java=str(java)))
    with process("-p", "/other.jar", "-m", MAIN, "-d", str(database.root)):
        found, origin = server_binary(settings, database, state)
    assert (found.jar, found.java, origin) == (jar, java, "settings")


def test_the_running_server_of_this_root_is_taken_and_remembered(
    database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path
) -> None:
    java = java_of(tmp_path, "21")
    settings = Settings(questdb=QuestDBSettings(java=str(java)))
    (tmp_path / "alias").symlink_to(database.root)
    with process("-p", jar.name, "-m", MAIN, "-d", str(tmp_path / "alias"), cwd=jar.parent):
        found, origin = server_binary(settings, database, state)
        line = running(database)
        assert line is not None
        assert line.java == str(Path(sys.executable).resolve())  # the process's own executable, not its first word
    assert (found.jar, origin) == (jar, "the running server")
    assert running(database) is None
    found, origin = server_binary(settings, database, state)
    assert (found.jar, origin) == (jar, "the server last seen there")


def test_a_server_on_another_root_is_not_taken(
    database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path
) -> None:
    (tmp_path / "second/db").mkdir(parents=True)
    with process("-p", str(jar), "-m", MAIN, "-d", str(tmp_path / "second")):
        assert note_running(database, state) is None
        with pytest.raises(NoBinaryError, match=r"questdb\.jar in the settings file.*--jar"):
            server_binary(Settings(), database, state)


def test_the_unit_file_is_read_where_nothing_runs(
    database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = java_of(tmp_path, "17")
    unit = tmp_path / "questdb.service"
    unit.write_text(
        f"[Service]\nExecStart=-{java} -Xmx1g \\\n    -p {jar} \\\n    -m {MAIN} -d {database.root}\nRestart=always\n"
    )
    line = CommandLine(str(jar), str(java), str(database.root))
    assert binary.of_unit_file(unit, database) == [line]
    monkeypatch.setattr(binary, "_unit_files", lambda settings, root: binary.of_unit_file(unit, root))
    found, origin = server_binary(Settings(), database, state)
    assert (found.jar, found.java, origin) == (jar, java, "the unit file")
    with pytest.raises(NoBinaryError):
        server_binary(replace(Settings(), bare=True), database, state)


def test_what_is_no_questdb_is_refused(database: DatabaseRoot, state: StateDir, tmp_path: Path) -> None:
    other = tmp_path / "other.jar"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.class", b"")
    (tmp_path / "text.jar").write_text("text")
    for path, why in (
        (other, "holds no QuestDB"),
        (tmp_path / "text.jar", "not a zip"),
        (tmp_path / "gone", "No such"),
    ):
        with pytest.raises(NoBinaryError, match=why):
            server_binary(Settings(questdb=QuestDBSettings(jar=str(path))), database, state)


@pytest.mark.parametrize(("output", "version"), [("17.0.9", 17), ("1.8.0_402", 8), ("25", 25), ("21-ea", 21)])
def test_the_feature_release_of_a_java(tmp_path: Path, output: str, version: int) -> None:
    assert java_version(java_of(tmp_path, output)) == version


@pytest.mark.parametrize("output", ["11.0.2", "1.8.0"])
def test_an_old_java_is_refused(
    database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path, output: str
) -> None:
    settings = Settings(questdb=QuestDBSettings(jar=str(jar), java=str(java_of(tmp_path, output))))
    with pytest.raises(NoBinaryError, match="17 or later"):
        server_binary(settings, database, state)


def test_a_java_that_is_none_is_refused(database: DatabaseRoot, state: StateDir, jar: Path, tmp_path: Path) -> None:
    for java, why in ((tmp_path / "absent", "there is no Java"), (Path("/bin/true"), "no Java that answers")):
        with pytest.raises(NoBinaryError, match=why):
            server_binary(Settings(questdb=QuestDBSettings(jar=str(jar), java=str(java))), database, state)


def test_a_memory_that_is_damaged_is_none(database: DatabaseRoot, state: StateDir, jar: Path) -> None:
    with process("-p", str(jar), "-m", MAIN, "-d", str(database.root)):
        deadline = time.monotonic() + 5
        while note_running(database, state) is None:
            assert time.monotonic() < deadline
    (kept,) = (state.root / "servers").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_bytes(os.urandom(40))
    with pytest.raises(NoBinaryError):
        server_binary(Settings(), database, state)
