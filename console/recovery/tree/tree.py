"""Writing under a database root: by directory descriptors from the root down, never through a link, always durable.

Every path is relative to the root. Each component is opened with O_NOFOLLOW from the one before, so that a swap
between check and use cannot lead elsewhere; other devices and targets with more than one hard link are refused. A new
file is written beside under a name of its own, synced, renamed, and its directory synced. A failed fsync is final: the
error goes up, nothing is retried as if it had worked.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from console.errors import WalmedicError
from console.recovery.tree.pieces import OnBytes, Owner, Piece, allocate, copy_piece, hand_over
from console.text import clean_line

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN_FILES = ("_txn", "_meta", "_cv")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePathError(WalmedicError):
    """A path that walmedic does not write to: a link, another device, several hard links, outside the root."""


def parts_of(relative: str) -> tuple[str, ...]:
    """Return the components of a relative path. Raises UnsafePathError for absolute ones, `..`, and empty ones."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or any(part in ("..", ".") or "\0" in part for part in parts):
        raise UnsafePathError(f"{clean_line(relative)!r} is not a path inside the database root")
    return parts


class Tree:
    """A database root, opened once. Raises UnsafePathError and OSError (which names the relative path)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._device = os.fstat(self._fd).st_dev

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- looking -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def directory(self, parts: Sequence[str]) -> Iterator[int]:
        """Yield a descriptor of the directory at `parts`; no component may be a link or on another device."""
        current = os.dup(self._fd)
        try:
            for index, part in enumerate(parts):
                try:
                    following = os.open(part, _DIRECTORY, dir_fd=current)
                except OSError as error:
                    shown = clean_line("/".join(parts[: index + 1]))
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        raise UnsafePathError(
                            f"{shown} is a link or no directory; walmedic follows no links under a database root"
                        ) from error
                    raise OSError(error.errno, error.strerror, shown) from error
                os.close(current)
                current = following
                if os.fstat(current).st_dev != self._device:
                    shown = clean_line("/".join(parts[: index + 1]))
                    raise UnsafePathError(
                        f"{shown} is on another device than the database root; that is not written to"
                    )
            yield current
        finally:
            os.close(current)

    @contextlib.contextmanager
    def _parent(self, relative: str) -> Iterator[tuple[int, str]]:
        *folder, name = parts_of(relative)
        with self.directory(folder) as descriptor, _named(relative):
            yield descriptor, name

    def status(self, relative: str) -> os.stat_result | None:
        try:
            with self._parent(relative) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def exists(self, relative: str) -> bool:
        return self.status(relative) is not None

    def names(self, relative: str) -> list[str]:
        with self.directory(parts_of(relative)) as descriptor:
            return sorted(os.listdir(descriptor))  # noqa: PTH208 - by descriptor

    def read(self, relative: str, limit: int = 1 << 20) -> bytes:
        """Return up to `limit` bytes of a regular file."""
        with self._parent(relative) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UnsafePathError(f"{clean_line(relative)} is not a regular file")
                return os.pread(descriptor, limit, 0)
            finally:
                os.close(descriptor)

    def owner_of_table(self, directory: str) -> Owner:
        """Return the owner that new files of a table get: that of `_txn`; if it is gone, of `_meta` or `_cv`.

        Raises FileNotFoundError where it has none of them.
        """
        txn = next((found for name in _OWN_FILES if (found := self.status(f"{directory}/{name}")) is not None), None)
        folder = self.status(directory)
        if txn is None or folder is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", f"{directory}/_txn")
        return Owner(txn.st_uid, txn.st_gid, stat.S_IMODE(txn.st_mode) & 0o777, stat.S_IMODE(folder.st_mode) & 0o2777)

    def owner_of_directory(self, relative: str) -> Owner:
        """Return the owner that directories beside those in `relative` get. Raises FileNotFoundError."""
        folder = self.status(relative)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such directory", clean_line(relative))
        mode = stat.S_IMODE(folder.st_mode) & 0o2777
        return Owner(folder.st_uid, folder.st_gid, mode & 0o666, mode)

    def refuse_unsafe_target(self, relative: str, *, shared: bool = False) -> None:
        """Raise UnsafePathError where `relative` is there and is not a plain file or directory of our own device.

        With `shared` a file may have other hard links: for a rename, which writes to no file.
        """
        status = self.status(relative)
        if status is None:
            return
        shown = clean_line(relative)
        if status.st_dev != self._device:
            raise UnsafePathError(f"{shown} is on another device than the database root; that is not written to")
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and not shared:
            raise UnsafePathError(f"{shown} has {status.st_nlink} hard links: a write would reach the others too")
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UnsafePathError(f"{shown} is a link or a special file; walmedic does not write to it")

    # ---- changing ------------------------------------------------------------------------------------------------

    def make_directory(self, relative: str, owner: Owner) -> None:
        """Make a directory; one that is there already is taken as it is."""
        with self._parent(relative) as (folder, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            descriptor = os.open(name, _DIRECTORY, dir_fd=folder)
            try:
                hand_over(descriptor, owner, owner.directory_mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(folder)

    def write_new(
        self,
        relative: str,
        size: int,
        pieces: Sequence[Piece],
        owner: Owner,
        on_bytes: OnBytes | None = None,
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Write a file of `size` bytes, zero but for `pieces`, beside under its own name, and sync it.

        Blocks are allocated first, so that neither this nor a server that maps the file meets a full disk later. An
        own leftover of that name is replaced; the caller renames. With `mtime_ns` that is the file's time, synced too:
        stamps of a table rest on it.
        """
        self.remove_file(relative)
        with self._parent(relative) as (folder, name):
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
            try:
                if size:
                    allocate(descriptor, size)
                for piece in pieces:
                    copy_piece(descriptor, piece, on_bytes)
                hand_over(descriptor, owner, owner.file_mode)
                if mtime_ns is not None:
                    os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(folder)

    def rename(self, old: str, new: str, *, shared: bool = False) -> None:
        """Rename `old` (with `shared` also a file with other links) to `new`, which is free; sync both directories."""
        self.refuse_unsafe_target(old, shared=shared)
        if self.exists(new):
            raise UnsafePathError(f"{clean_line(new)} is already there; nothing is renamed over it")
        self._rename(old, new)

    def replace(self, new: str, target: str, *, shared: bool = False) -> None:
        """Rename the file `new` over the file `target` (there or not), and sync the directory.

        With `shared` the target may have other hard links, which keep the old content.
        """
        self.refuse_unsafe_target(new)
        self.refuse_unsafe_target(target, shared=shared)
        self._rename(new, target)

    def _rename(self, old: str, new: str) -> None:
        with self._parent(old) as (old_folder, old_name), self._parent(new) as (new_folder, new_name):
            os.rename(old_name, new_name, src_dir_fd=old_folder, dst_dir_fd=new_folder)
            os.fsync(new_folder)
            if parts_of(old)[:-1] != parts_of(new)[:-1]:
                os.fsync(old_folder)

    def set_owner(self, relative: str, uid: int, gid: int, mode: int) -> None:
        """Give a plain file or a directory, which may not be open to us, its owner and mode, durably."""
        with self._parent(relative) as (folder, name):
            place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                status = os.fstat(place)
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise UnsafePathError(f"{clean_line(relative)} is a link or a special file; its owner stays")
                if status.st_dev != self._device:
                    raise UnsafePathError(f"{clean_line(relative)} is on another device; its owner stays")
                itself = f"/proc/self/fd/{place}"  # the very file, whatever stands under its name by now
                if (status.st_uid, status.st_gid) != (uid, gid):
                    os.chown(itself, uid, gid)
                if stat.S_IMODE(os.fstat(place).st_mode) != mode:
                    os.chmod(itself, mode)  # noqa: PTH101 - by descriptor
                with contextlib.suppress(PermissionError):  # an undo may close it to us
                    _sync(itself)
            finally:
                os.close(place)

    def remove_file(self, relative: str) -> None:
        """Remove a plain file with no other hard links; nothing happens where there is none."""
        if not self.exists(relative):
            return
        self.refuse_unsafe_target(relative)
        with self._parent(relative) as (folder, name):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def remove_directory(self, relative: str) -> None:
        """Remove a directory that walmedic made itself (its name carries `.walmedic-`), with the files in it."""
        if ".walmedic-" not in parts_of(relative)[-1]:
            raise UnsafePathError(f"{clean_line(relative)} was not made by walmedic and is not removed")
        if not self.exists(relative):
            return
        for name in self.names(relative):
            self._remove(f"{relative}/{name}")
        self._rmdir(relative)

    def remove_empty(self, relative: str) -> None:
        """Remove a directory of walmedic's own, and those in it, where no file is left in any of them."""
        if ".walmedic-" in parts_of(relative)[-1] and self.exists(relative) and not self._holds_files(relative):
            self.remove_directory(relative)

    def _is_directory(self, relative: str) -> bool:
        status = self.status(relative)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _holds_files(self, relative: str) -> bool:
        inner = [f"{relative}/{name}" for name in self.names(relative)]
        return any(not self._is_directory(each) or self._holds_files(each) for each in inner)

    def _remove(self, relative: str) -> None:
        if not self._is_directory(relative):
            self.remove_file(relative)
            return
        for name in self.names(relative):
            self._remove(f"{relative}/{name}")
        self._rmdir(relative)

    def _rmdir(self, relative: str) -> None:
        with self._parent(relative) as (folder, name):
            os.rmdir(name, dir_fd=folder)
            os.fsync(folder)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(relative: str) -> Iterator[None]:
    """Make an OSError name the path relative to the root, not only its last component."""
    try:
        yield
    except OSError as error:
        if error.filename == clean_line(relative):
            raise
        raise OSError(error.errno, error.strerror or str(error), clean_line(relative)) from error
