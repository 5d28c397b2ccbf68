"""Block files (`_mv`, `_mv.s`): BlockFileReader, BlockFileUtils. formats/database.py has the fields."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.database import BLOCK, BLOCK_FILE, BLOCK_REGION
from console.questdb.reading import DamageError, Problem, ProblemKind, join_problems, read_small

_UNCHECKED: Final = 12
"""Bytes at the start of a region that its checksum leaves out."""
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
    problems: tuple[Problem, ...]


def parse_blocks(data: bytes) -> tuple[int, tuple[Block, ...]]:
    """Return version and blocks in the bytes of a block file. Raises DamageError: bounds, checksum, empty file."""
    fields = Fields(data)
    header = BLOCK_FILE.read(fields)
    version = header["version"]
    if version <= 0:
        raise DamageError(f"version {version:,}: nothing was ever committed to it", 0)
    which = "a" if version & 1 else "b"
    start, length = BLOCK_FILE.size + header[f"{which}_offset"], header[f"{which}_length"]
    if start < BLOCK_FILE.size or length < _UNCHECKED:
        raise DamageError(f"a region of {length:,} bytes at offset {start:,}", BLOCK_FILE.at(f"{which}_offset"))
    fields.need(start, length)
    end, region = start + length, BLOCK_REGION.read(fields, start)
    if zlib.crc32(data[start + _UNCHECKED : end]) != region["checksum"]:
        raise DamageError("its checksum does not fit its content", start)
    blocks: list[Block] = []
    at = start + BLOCK_REGION.size
    for _ in range(min(region["blocks"], _MAX_BLOCKS)):
        if at >= end:
            break
        size = BLOCK.value("length", fields, at)
        if size < BLOCK.size or at + size > end:
            raise DamageError(f"a block of {size:,} bytes at offset {at:,}", at)
        body = at + BLOCK.size
        blocks.append(Block(BLOCK.value("type", fields, at), Fields(data[body : at + size], body)))
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
        return BlockFile(path, None, (), join_problems(file.problem))
    try:
        version, blocks = parse_blocks(file.data)
    except DamageError as damage:
        return BlockFile(path, None, (), (damage.problem(path),))
    return BlockFile(path, version, blocks, join_problems(file.problem))
