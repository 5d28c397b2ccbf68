"""Why the server suspended a table, read from its own words (`errorTag` and `errorMessage` of `wal_tables()`)."""

import re
from enum import StrEnum
from typing import Final


class Cause(StrEnum):
    """What stopped the server. `UNKNOWN`: it says nothing, or something about the WAL, which is looked at anyway."""

    UNKNOWN = "unknown"
    DISK_FULL = "disk-full"
    OPEN_FILES = "open-files"
    MEMORY = "memory"
    PERMISSION = "permission"
    OWN_FILES = "own-files"  # files of the table itself: symbol maps, indexes, columns, partitions


_SIGNS: Final = (
    (Cause.DISK_FULL, ("disk full", "no space left")),
    (Cause.OPEN_FILES, ("too many open files",)),
    (Cause.MEMORY, ("out of mmap areas", "out of memory", "cannot allocate memory", "could not mmap")),
    (Cause.PERMISSION, ("permission denied", "operation not permitted", "read-only file system")),
)
_ERRNO: Final = {28: Cause.DISK_FULL, 24: Cause.OPEN_FILES, 12: Cause.MEMORY, 13: Cause.PERMISSION, 1: Cause.PERMISSION}
_OWN: Final = (
    "symbol column map", "unknown format", "does not exist in table directory", "outside of file boundary",
    "unsafe memory access", "assertionerror", "invalid column size", "index is corrupt",
)  # fmt: skip
_NUMBER: Final = re.compile(r"(?:^|\s|\()\[(\d{1,3})\]|errno[=:]\s*(\d{1,3})")


def cause_of(error: str, directory: str) -> Cause:
    lowered = error.lower()
    found = next((cause for cause, signs in _SIGNS if any(sign in lowered for sign in signs)), None)
    if found is not None:
        return found
    numbers = [int(first or second) for first, second in _NUMBER.findall(lowered)]
    named = next((_ERRNO[number] for number in numbers if number in _ERRNO), None)
    if named is not None:
        return named
    file = own_file(error, directory)
    if file is not None:
        return Cause.UNKNOWN if file.startswith(("wal", "txn_seq")) else Cause.OWN_FILES
    return Cause.OWN_FILES if any(sign in lowered for sign in _OWN) else Cause.UNKNOWN


def own_file(error: str, directory: str) -> str | None:
    found = re.search(rf"/{re.escape(directory)}/([^\s,;:\])>'\"]+)", error)
    return found[1] if found else None
