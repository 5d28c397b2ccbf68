"""QuestDB's jar by its Maven coordinates, from a repository that a real HTTP server, or a directory, holds."""

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from console import paths
from console.questdb.layout import DatabaseRoot
from console.questdb.server_version import Version, VersionsOnDisk
from console.recovery.server import binary
from console.recovery.server.coordinates import NoBinaryError, jar_of
from console.recovery.store.state import StateDir
from console.settings import QuestDBSettings, Settings, load
from tests.unit.recovery.test_rehearsal_binary import java_of

VERSION = "9.3.2"
PROPERTIES = "META-INF/maven/org.questdb/questdb/pom.properties"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one release, whose checksum is as Maven publishes it."""
    folder = tmp_path / "repository/org/questdb/questdb" / VERSION
    folder.mkdir(parents=True)
    jar = folder / f"questdb-{VERSION}.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("io/questdb/ServerMain.class", b"")
        archive.writestr(PROPERTIES, f"version={VERSION}\n")
    (folder / f"{jar.name}.sha1").write_text(hashlib.sha1(jar.read_bytes()).hexdigest())  # noqa: S324
    return tmp_path / "repository"


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on loopback; yield its URL and the paths that are asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", asked
        finally:
            server.shutdown()
            thread.join()


def jar_in(repository: Path) -> Path:
    return next(repository.rglob("*.jar"))


def wanted(text: str = VERSION) -> Version:
    version = Version.parse(text)
    assert version is not None
    return version


def test_a_jar_is_fetched_once_and_kept(repository: Path, cache: Path) -> None:
    with served(repository) as (url, asked):
        jar = jar_of(wanted(), url)
        before = len(asked)
        assert jar_of(wanted(), url) == jar
    assert before
    assert len(asked) == before
    assert jar.read_bytes() == jar_in(repository).read_bytes()
    assert sorted(path.name for path in cache.iterdir()) == [jar.name]


def test_a_directory_is_a_repository_too(repository: Path) -> None:
    assert jar_of(wanted(), repository.as_uri()).is_file()


@pytest.mark.parametrize("kind", ["sha512", "sha256", "sha1"])
def test_a_jar_whose_strongest_checksum_differs_is_not_taken(repository: Path, cache: Path, kind: str) -> None:
    jar = jar_in(repository)
    jar.with_name(f"{jar.name}.{kind}").write_text(hashlib.new(kind, b"another").hexdigest() + "  questdb.jar\n")
    with pytest.raises(NoBinaryError, match=rf"the {kind} of its [\d,]+ bytes is not the published one"):
        jar_of(wanted(), repository.as_uri())
    assert not list(cache.iterdir())


@pytest.mark.parametrize("content", [None, "", "<html>not a checksum</html>", "0" * 39])
def test_a_jar_without_a_checksum_is_not_taken(repository: Path, content: str | None) -> None:
    path = next(repository.rglob("*.sha1"))
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoBinaryError, match="with a checksum"):
        jar_of(wanted(), repository.as_uri())


def test_a_jar_of_another_version_is_not_taken(repository: Path) -> None:
    jar, path = jar_in(repository), next(repository.rglob("*.sha1"))
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr(PROPERTIES, "version=9.3.1\n")
    path.write_text(hashlib.sha1(jar.read_bytes()).hexdigest())  # noqa: S324
    with pytest.raises(NoBinaryError, match=r"is not QuestDB 9\.3\.2"):
        jar_of(wanted(), repository.as_uri())


@pytest.mark.parametrize(
    ("version", "allowed", "said"),
    [
        ("9.4.0-SNAPSHOT", "file:///nowhere", "no release"),
        (VERSION, "ftp://example.org/maven", "must be mvn"),
        (VERSION, "yes", "must be mvn"),
        (VERSION, "https://name:word@example.org/maven", "no name or password"),
        (VERSION, "file:///nowhere", "with a checksum"),
        (VERSION, "http://127.0.0.1:1/", "cannot be reached"),
        (VERSION, "http://127.0.0.1:none/", "broke off"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(version: str, allowed: str, said: str) -> None:
    with pytest.raises(NoBinaryError, match=said) as caught:
        jar_of(wanted(version), allowed)
    assert "word@" not in str(caught.value)


def test_nothing_is_fetched_unless_the_settings_allow_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root/db/t~1").mkdir(parents=True)
    (tmp_path / "root/db/t~1/_txn").touch()
    database, state = DatabaseRoot.locate(tmp_path / "root"), StateDir(tmp_path / "state")
    monkeypatch.setattr(binary, "read_versions", lambda _: VersionsOnDisk(wanted(), (VERSION,), None))
    java = str(java_of(tmp_path, "17"))
    with served(repository) as (url, asked):
        with pytest.raises(NoBinaryError, match=r"questdb\.maven, or --maven"):
            binary.server_binary(Settings(questdb=QuestDBSettings(java=java)), database, state)
        assert not asked
        environment = {"WALMEDIC_QUESTDB_MAVEN": url, "WALMEDIC_QUESTDB_JAVA": java}
        found, origin = binary.server_binary(load(environment=environment), database, state)
    assert (found.jar.name, origin) == (f"questdb-{VERSION}.jar", f"Maven, org.questdb:questdb:{VERSION}")
