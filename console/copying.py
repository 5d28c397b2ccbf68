"""Copying a file: blocks shared where the file system can (FICLONE), else its data, and its holes left as holes."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_BLOCK = 4 << 20
_NO_REFLINK = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)

OnBlock = Callable[[bytes], None]


def reflink(reading: int, writing: int) -> bool:
    """Make the empty file `writing` share the blocks of `reading`; return False where the file system cannot."""
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def blocks_of(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Read the bytes from `start` to `end` in blocks. Stops where the file ends before: the caller sees that."""
    while start < end and (block := os.pread(descriptor, min(_BLOCK, end - start), start)):
        yield block
        start += len(block)


def write_at(descriptor: int, content: bytes, at: int) -> None:
    """Write all of `content` at an offset. Raises OSError."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def copy_data(reading: int, writing: int, size: int, on_block: OnBlock | None = None) -> None:
    """Copy `size` bytes into the empty file `writing`. `on_block` gets all of them in order, holes as zeros.

    A source that became shorter meanwhile ends the copy: the caller finds that by its size. Raises OSError.
    """
    os.ftruncate(writing, size)
    done = 0
    for start, end in _stretches(reading, size):
        if on_block is not None:
            for block in blocks_of(reading, done, start):
                on_block(block)
        done = start
        for block in blocks_of(reading, start, end):
            write_at(writing, block, done)
            done += len(block)
            if on_block is not None:
                on_block(block)
        if done < end:
            return
    if on_block is not None:
        for block in blocks_of(reading, done, size):
            on_block(block)


def _stretches(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that are no holes, as (start, end) in bytes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            if error.errno != errno.EINVAL:
                raise
            start, end = end, size  # a file system that knows no holes
        if start < size:
            yield start, end
