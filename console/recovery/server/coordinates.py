"""QuestDB's jar by its Maven coordinates `org.questdb:questdb:VERSION`, only where the settings allow it.

`questdb.maven` is `mvn` (Maven with its own settings: repositories, mirrors, proxies) or the URL of a repository in
Maven's layout. What comes is taken only if the checksum that the repository publishes beside it is right, and the jar
says that it is this version. It is kept in the cache, so that it is fetched once.
"""

import contextlib
import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console import paths
from console.errors import WalmedicError
from console.questdb.server_version import Version, version_of_jar
from console.services.command import run
from console.text import clean_line

MAVEN: Final = "mvn"
_URL: Final = re.compile(r"(https?|file)://[^\s@]+")
_RELEASE: Final = re.compile(r"\d+(\.\d+){1,2}")
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:copy"
_CHECKSUMS: Final = ("sha512", "sha256", "sha1")
"""Strongest first; a repository has at least the last."""
_LONGEST: Final = 2 << 30
_CHUNK: Final = 1 << 20
_TIMEOUT: Final = 60.0
"""Seconds without a byte."""
_MAVEN_TIMEOUT: Final = 1800.0


class NoBinaryError(WalmedicError):
    """It is not known which QuestDB the station runs, or it cannot be had or run here."""


def jar_of(version: Version, allowed: str) -> Path:
    """Return the jar of `version`, out of the cache or fetched as `allowed` says. Raises NoBinaryError."""
    if not _RELEASE.fullmatch(str(version)):
        raise NoBinaryError(f"QuestDB {version} is no release, so no repository has it; name its jar with questdb.jar")
    if allowed != MAVEN and not _URL.fullmatch(allowed):
        raise NoBinaryError(
            f"questdb.maven must be {MAVEN}, or the URL of a Maven repository that begins with https://, http:// or "
            "file:// and holds no name or password; Maven's own settings may have those"
        )
    folder = paths.cache_dir()
    jar = folder / f"questdb-{version}.jar"
    if jar.is_file() and _is_version(jar, version):
        return jar
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: what a broken download leaves behind is never taken for the jar.
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
            fetched = Path(scratch) / jar.name
            _by_maven(fetched, version) if allowed == MAVEN else _by_url(fetched, version, allowed)
            if not _is_version(fetched, version):
                raise NoBinaryError(f"what {_from(allowed)} has as {_named(version)} is not QuestDB {version}")
            fetched.replace(jar)
    except OSError as error:
        raise NoBinaryError(f"the cache {folder} cannot be used ({error.strerror or error})") from error
    return jar


def _by_maven(target: Path, version: Version) -> None:
    """Have Maven fetch the jar; it fails where the checksum differs or is missing."""
    if shutil.which(MAVEN) is None:
        raise NoBinaryError(f"questdb.maven is {MAVEN}, and there is no {MAVEN} on PATH; install Maven, or give a URL")
    command = (MAVEN, "--batch-mode", "--quiet", "--strict-checksums", _PLUGIN)
    wanted = (f"-Dartifact=org.questdb:questdb:{version}", f"-DoutputDirectory={target.parent}")
    ended = run((*command, *wanted), _MAVEN_TIMEOUT)
    if ended.status or not target.is_file():
        said = (ended.output + ended.error).strip().splitlines()
        why = clean_line(said[0], 300) if said else f"it ended with status {ended.status}"
        raise NoBinaryError(f"Maven could not fetch {_named(version)}: {why}; run `{MAVEN}` alone to see more")


def _by_url(target: Path, version: Version, repository: str) -> None:
    address = f"{repository.rstrip('/')}/org/questdb/questdb/{version}/{target.name}"
    kind, expected = _checksum(address, version, repository)
    digest = hashlib.new(kind)
    with target.open("wb") as file:

        def keep(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        size = _read(address, keep, _LONGEST, repository)
    if digest.hexdigest() != expected:
        raise NoBinaryError(
            f"{_named(version)} from {_from(repository)} is damaged or was changed: the {kind} of its {size:,} bytes "
            "is not the published one; try again, or name a jar with questdb.jar"
        )


def _checksum(address: str, version: Version, repository: str) -> tuple[str, str]:
    """Return kind and hexadecimal digits of the strongest checksum that the repository has of a file."""
    for kind in _CHECKSUMS:
        parts: list[bytes] = []
        with contextlib.suppress(FileNotFoundError):
            _read(f"{address}.{kind}", parts.append, _CHUNK, repository)
            words = b"".join(parts).decode("ascii", "replace").split()
            if words and re.fullmatch(r"[0-9a-fA-F]+", words[0]) and len(words[0]) == 2 * hashlib.new(kind).digest_size:
                return kind, words[0].lower()
    raise NoBinaryError(f"{_from(repository)} has no {_named(version)} with a checksum; name a jar with questdb.jar")


def _read(address: str, take: Callable[[bytes], object], most: int, repository: str) -> int:
    """Give the bytes at `address` to `take` and return how many. Raises FileNotFoundError, NoBinaryError."""
    size = 0
    try:
        # `_URL` allows http, https and file only
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:  # noqa: S310
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise NoBinaryError(f"{_from(repository)} sends more than {most:,} bytes; it is no such repository")
                take(chunk)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(address) from error
        raise NoBinaryError(f"{_from(repository)} answers {error.code}; see questdb.maven") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise error.reason from error
        raise NoBinaryError(f"{_from(repository)} cannot be reached: {clean_line(str(error.reason), 200)}") from error
    except (http.client.HTTPException, ValueError, TimeoutError, ConnectionError) as error:
        raise NoBinaryError(f"{_from(repository)} broke off: {clean_line(str(error), 200)}") from error
    return size


def _is_version(jar: Path, version: Version) -> bool:
    found = version_of_jar(jar)
    return found is not None and found.numbers == version.numbers


def _named(version: Version) -> str:
    return f"org.questdb:questdb:{version}"


def _from(allowed: str) -> str:
    return "Maven" if allowed == MAVEN else clean_line(allowed, 200)
