"""Block files (`_mv`, `_mv.s`): BlockFileReader, BlockFileUtils. All integers are little-endian.

Header of 40 bytes: i64 version, offset (from the header's end) and length of region A, the same of B; an odd version
means A, 0 an empty file. A region is an i32 CRC-32 (of all but its first 12 bytes), an i32 block count, then
blocks: i32 length (of the whole block), i32 type, payload.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.reading import DamageError, FileStamp, Problem, ProblemKind, join_problems, read_small

_HEADER_SIZE: Final = 40
_ATTEMPTS: Final = 8
_MAX_BLOCKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Block:
    """One block; `fields` gives its payload, with offsets of the file in errors."""

    type: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class BlockFile:
    """The blocks of the region in force; `version` is None where the file is missing or damaged."""

    path: Path
    version: int | None
    blocks: tuple[Block, ...]
    stamp: FileStamp | None
    problems: tuple[Problem, ...]


def parse_blocks(data: bytes) -> tuple[int, tuple[Block, ...]]:
    """Return version and blocks in the bytes of a block file. Raises DamageError: bounds, checksum, empty file."""
    fields = Fields(data)
    fields.need(0, _HEADER_SIZE)
    version = fields.i64(0)
    if version <= 0:
        raise DamageError(f"version {version:,}: nothing was ever committed to it", 0)
    at = 8 if version & 1 else 24
    start, length = _HEADER_SIZE + fields.i64(at), fields.i64(at + 8)
    if start < _HEADER_SIZE or length < 12:
        raise DamageError(f"a region of {length:,} bytes at offset {start:,}", at)
    fields.need(start, length)
    end = start + length
    if zlib.crc32(data[start + 12 : end]) != fields.i32(start) & 0xFFFFFFFF:
        raise DamageError("its checksum does not fit its content", start)
    blocks: list[Block] = []
    at = start + 8
    for _ in range(min(fields.i32(start + 4), _MAX_BLOCKS)):
        if at >= end:
            break
        size = fields.i32(at)
        if size < 8 or at + size > end:
            raise DamageError(f"a block of {size:,} bytes at offset {at:,}", at)
        blocks.append(Block(fields.i32(at + 4), Fields(data[at + 8 : at + size], at + 8)))
        at += size
    return version, tuple(blocks)


def read_block_file(path: Path) -> BlockFile:
    """Return the block file `path`, read again where it is being written (version or checksum move)."""
    result = _read_once(path)
    for _ in range(_ATTEMPTS - 1):
        if not result.problems or result.problems[0].kind in (ProblemKind.MISSING, ProblemKind.UNREADABLE):
            break
        again = _read_once(path)
        if again == result:
            break
        result = again
    return result


def _read_once(path: Path) -> BlockFile:
    file = read_small(path)
    if not file.present:
        return BlockFile(path, None, (), None, join_problems(file.problem))
    try:
        version, blocks = parse_blocks(file.data)
    except DamageError as damage:
        return BlockFile(path, None, (), file.stamp, (damage.problem(path),))
    return BlockFile(path, version, blocks, file.stamp, join_problems(file.problem))
