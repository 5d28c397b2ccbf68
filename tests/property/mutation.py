"""Damage for readers: seeded mutations of the files of a directory, and a watch over what a reader does with them."""

import os
import random
import resource
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from console.questdb import reading

_INTERESTING: Final = (
    0, 1, -1, -2, 2, 8, 13, 27, 28, 76, 255, 4095, 4096, 1 << 15, (1 << 16) - 1, 1 << 20, (1 << 31) - 1, -(1 << 31),
    1 << 31, 1 << 32, 1 << 44, 1 << 62, (1 << 63) - 1, -(1 << 63), -(1 << 40),
)  # fmt: skip
_SPARSE: Final = 96 << 20


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Return `data` with one to four damages: bits, fields of telling values, zeros, cuts, growth, moved pieces."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        _MUTATIONS[dice.randrange(len(_MUTATIONS))](changed, dice)
    return bytes(changed)


def _at(data: bytearray, dice: random.Random, size: int) -> int:
    """Return an offset with room for `size` bytes, mostly near the start, where the headers are."""
    room = max(1, len(data) - size + 1)
    return dice.randrange(min(room, 160)) if dice.random() < 0.6 else dice.randrange(room)


def _flip(data: bytearray, dice: random.Random) -> None:
    if data:
        data[_at(data, dice, 1)] ^= 1 << dice.randrange(8)


def _set(data: bytearray, dice: random.Random) -> None:
    size = dice.choice((1, 2, 4, 8))
    value = dice.choice(_INTERESTING) + dice.choice((0, 0, 0, -1, 1))
    at = _at(data, dice, size)
    data[at : at + size] = struct.pack("<Q", value & (1 << 64) - 1)[:size]


def _zero(data: bytearray, dice: random.Random) -> None:
    at, size = _at(data, dice, 1), dice.choice((1, 4, 8, 28, 60, 512, 4096))
    data[at : at + size] = bytes(len(data[at : at + size]))


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[_at(data, dice, 0) :]


def _grow(data: bytearray, dice: random.Random) -> None:
    data += dice.randbytes(dice.choice((1, 3, 28, 100))) if dice.random() < 0.5 else bytes(4096)


def _move(data: bytearray, dice: random.Random) -> None:
    size = dice.choice((4, 8, 28, 64))
    here, there = _at(data, dice, size), _at(data, dice, size)
    data[here : here + size] = data[there : there + size]


def _noise(data: bytearray, dice: random.Random) -> None:
    at, size = _at(data, dice, 1), dice.choice((1, 2, 8, 32))
    data[at : at + size] = dice.randbytes(len(data[at : at + size]))


_MUTATIONS: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    _flip, _set, _set, _zero, _cut, _grow, _move, _noise,
)  # fmt: skip


class Folder:
    """A directory that holds `files` but for the damage of the moment."""

    def __init__(self, path: Path, files: Mapping[str, bytes]) -> None:
        self.path = path
        self._files = dict(files)
        self._changed: set[str] = set(files)
        self._restore()

    def damage(self, dice: random.Random, names: list[str]) -> str:
        """Undo the damage before, damage one to three of `names` anew, and return what was done, for a message."""
        self._restore()
        done = []
        for name in dice.sample(names, min(len(names), dice.choice((1, 1, 2, 3)))):
            self._changed.add(name)
            path = self.path / name
            kind = dice.random()
            path.unlink()
            if kind < 0.02:
                done.append(f"{name} removed")
            elif kind < 0.03:
                path.mkdir()
                done.append(f"{name} a directory")
            elif kind < 0.04:
                path.symlink_to("/etc/passwd")
                done.append(f"{name} a symlink")
            elif kind < 0.05:
                os.mkfifo(path)
                done.append(f"{name} a pipe")
            else:
                path.write_bytes(mutate(self._files[name], dice))
                if kind > 0.99:
                    os.truncate(path, _SPARSE)
                done.append(f"{name} changed")
        return ", ".join(done)

    def _restore(self) -> None:
        for name in self._changed:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(self._files[name])
        self._changed.clear()


@dataclass
class Watch:
    """What readers did with files: how often they opened one, and what they must not do, in words."""

    opened: int = 0
    wrong: list[str] = field(default_factory=list)


@contextmanager
def watched(root: Path) -> Iterator[Watch]:
    """Look over the shoulder of `os`: nothing outside `root`, nothing for writing, no read past the end of a file.

    Nobody writes the files, so that looking again needs no pause.
    """
    watch, inside = Watch(), f"{root}/"
    real_open, real_pread, real_preadv = os.open, os.pread, os.preadv

    def open_(path: Any, flags: int, *args: Any, **more: Any) -> int:
        watch.opened += 1
        folder = more.get("dir_fd")
        whole = os.fspath(path) if folder is None else f"{Path(f'/proc/self/fd/{folder}').readlink()}/{path}"
        if not whole.startswith(inside):
            watch.wrong.append(f"{path} opened")
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) or not flags & os.O_NOFOLLOW:
            watch.wrong.append(f"{path} opened with flags {flags:#x}")
        return real_open(path, flags, *args, **more)

    def pread(fd: int, count: int, offset: int) -> bytes:
        if offset < 0 or offset + count > os.fstat(fd).st_size:
            watch.wrong.append(f"{count} bytes read at {offset} of {os.fstat(fd).st_size}")
        return real_pread(fd, count, offset)

    def preadv(fd: int, buffers: Any, offset: int, *more: Any) -> int:
        count = sum(len(each) for each in buffers)
        if offset < 0 or offset + count > os.fstat(fd).st_size:
            watch.wrong.append(f"{count} bytes read at {offset} of {os.fstat(fd).st_size}")
        return real_preadv(fd, buffers, offset, *more)

    pauses = reading.PAUSES
    os.open, os.pread, os.preadv = open_, pread, preadv
    reading.PAUSES = (0.0,)  # type: ignore[misc, assignment]
    try:
        yield watch
    finally:
        os.open, os.pread, os.preadv = real_open, real_pread, real_preadv
        reading.PAUSES = pauses  # type: ignore[misc]


def peak_mib() -> float:
    """Return this process's highest resident size so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
