"""Whether evidence is still as it was captured: what is listed in its manifest, with sizes; and every byte, by hash."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.text import clean_line

_BLOCK: Final = 4 << 20
_THREADS: Final = 4

OnBytes = Callable[[int, int], None]
"""Called with the bytes read so far and in all."""


def manifest_digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def files_for(manifest: Mapping[str, Any], directory: str) -> list[Mapping[str, Any]]:
    """Return the files of a capture that a repair of one table rests on: the table's own, and what lies around."""
    tables = [f"db/{each}/" for each in manifest["tables"] if each != directory]
    return [item for item in manifest["files"] if not str(item["path"]).startswith(tuple(tables))]


def listed_damage(folder: Path, files: Sequence[Mapping[str, Any]]) -> str:
    """Return the first of `files` that is gone or of another size, empty if all are there. Nothing is read."""
    for item in files:
        name = clean_line(str(item["path"]))
        try:
            status = (folder / str(item["path"])).lstat()
        except FileNotFoundError:
            return f"{name} is gone"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if not stat.S_ISREG(status.st_mode):
            return f"{name} is no regular file"
        if status.st_size != item["size"]:
            return f"{name} has {status.st_size:,} bytes, {item['size']:,} were captured"
    return ""


def read_damage(folder: Path, files: Sequence[Mapping[str, Any]], on_bytes: OnBytes | None = None) -> str:
    """Return what `listed_damage` does, or the first of `files` whose content is another; all of it is read."""
    found = listed_damage(folder, files)
    if found:
        return found
    done, total = 0, sum(int(item["size"]) for item in files)

    def check(item: Mapping[str, Any]) -> str:
        try:
            digest = _digest(folder / str(item["path"]))
        except OSError as error:
            return f"{clean_line(str(item['path']))} cannot be read ({error.strerror})"
        return "" if digest == item["sha256"] else f"{clean_line(str(item['path']))} was changed"

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for item, problem in zip(files, pool.map(check, files), strict=True):
            found = found or problem
            done += int(item["size"])
            if on_bytes is not None:
                on_bytes(done, total)
    return found


def verify_capture(folder: Path, on_bytes: OnBytes | None = None) -> Claim:
    """Return whether every file of a capture still hashes as its manifest says."""
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    problem = read_damage(folder, files, on_bytes)
    expected = f"{len(files):,} files"
    what = "every captured file reads back as it was copied"
    return Claim(ClaimKey.EVIDENCE_WHOLE, what, expected, problem or expected, not problem)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
