"""Files of a table as they must be: known to the byte before one is written."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.questdb.layout import TableDirectory
from console.recovery.steps.files import digest_of_new


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `at` an offset of a new file: `content`, or `length` bytes that the old file has from `old_at`."""

    at: int
    content: bytes = field(default=b"", repr=False)
    length: int = 0
    old_at: int = 0

    @property
    def end(self) -> int:
        return self.at + (len(self.content) or self.length)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file of a table: `path` below the table's directory, `size` in bytes, zero but for `parts` (ascending).

    `told` says in a few words what it will hold.
    """

    path: str
    size: int
    parts: tuple[Part, ...]
    told: str

    @classmethod
    def of(cls, path: str, content: bytes, told: str) -> "NewFile":
        return cls(path, len(content), (Part(0, content),) if content else (), told)

    def exists(self, table: TableDirectory) -> bool:
        return self._status(table) is not None

    def old_size(self, table: TableDirectory) -> int | None:
        """Return the bytes of what is in its place, None if nothing is."""
        status = self._status(table)
        return None if status is None else status.st_size

    def _status(self, table: TableDirectory) -> os.stat_result | None:
        try:
            return (table.path / self.path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None


def specs_of(
    files: Sequence[NewFile], table: TableDirectory, prefix: str
) -> tuple[list[Mapping[str, Any]], dict[str, bytes]]:
    """Return `files` as `replace_files` takes them, and the plan's attachments, whose names begin with `prefix`.

    Raises OSError if what a file keeps of its old content cannot be read.
    """
    specs: list[Mapping[str, Any]] = []
    attachments: dict[str, bytes] = {}
    for number, file in enumerate(files):
        name, at, content, pieces = f"{prefix}-{number}", 0, bytearray(), []
        for part in file.parts:
            piece: dict[str, Any] = {"at": part.at, "length": part.end - part.at}
            if part.content:
                piece |= {"from": {"attachment": name}, "from_at": at}
                content += part.content
                at += len(part.content)
            else:
                piece |= {"from": {"old": True}, "from_at": part.old_at}
            pieces.append(piece)
        if content:
            attachments[name] = bytes(content)
        spec: dict[str, Any] = {"name": f"{table.directory}/{file.path}", "size": file.size, "pieces": pieces}
        digest = digest_of_new(spec, attachments, table.path.parent)
        specs.append({**spec, "existed": file.exists(table), "sha256": digest})
    return specs, attachments
