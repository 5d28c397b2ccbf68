"""Where a file holds nothing but zeros: holes, room allocated and never written, pages that a power loss took."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.reading import DbFile

_CHUNK: Final = 4 << 20
_FINE: Final = 1 << 20
_MOST_DATA: Final = 2 << 30
"""Bytes that are looked at; what lies beyond, holes aside, is not known to be zeros."""
_MOST_RUNS: Final = 100_000


def zero_runs(file: DbFile) -> NDArray[np.int64]:
    """Return the runs of zeros of `file` as (n, 2) offsets, from and to (exclusive), ascending, apart from each other.

    Runs shorter than 1 KiB (64 bytes in files up to 1 MiB) may be left out. Raises OSError where the device fails.
    """
    block = 32 if file.size <= _FINE else 512
    runs: list[tuple[int, int]] = []
    at = looked = 0
    buffer = bytearray(min(_CHUNK, max(block, file.size)))
    while at < file.size and looked < _MOST_DATA and len(runs) < _MOST_RUNS:
        data = file.next_data(at) // block * block
        if data > at:
            _join(runs, at, min(data, file.size))
            at = data
            continue
        got = file.read_into(at, memoryview(buffer)[: min(len(buffer), file.size - at)])
        if not got:
            break
        for first, end in _blocks(np.frombuffer(buffer, np.uint8, got), block):
            _join(runs, at + first, at + end)
        at += got
        looked += got
    return np.array([_widened(file, *run, block) for run in runs], np.int64).reshape(-1, 2)


def _join(runs: list[tuple[int, int]], first: int, end: int) -> None:
    if runs and runs[-1][1] == first:
        runs[-1] = (runs[-1][0], end)
    elif end > first:
        runs.append((first, end))


def _blocks(data: NDArray[np.uint8], block: int) -> list[tuple[int, int]]:
    """Return the runs of whole zero blocks in `data`; a shorter one at the end counts too."""
    whole = len(data) // block
    zero = ~data[: whole * block].reshape(whole, block).view(np.uint64).any(axis=1)
    if len(data) > whole * block:
        zero = np.append(zero, not data[whole * block :].any())
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    return [(first * block, min(end * block, len(data))) for first, end in edges.reshape(-1, 2).tolist()]


def _widened(file: DbFile, first: int, end: int, block: int) -> tuple[int, int]:
    """Return the run to its very first and last zero byte."""
    before = file.read(max(0, first - block), min(block, first))
    after = file.read(end, block)
    return first - (len(before) - len(before.rstrip(b"\0"))), end + (len(after) - len(after.lstrip(b"\0")))
