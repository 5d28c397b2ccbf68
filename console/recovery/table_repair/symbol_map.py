"""A symbol map on disk, read past its damage: which names are sure, by `.o`, by `.c`, by the index in `.k` and `.v`.

The index maps the hash of a name (String.hashCode of Java, masked) to where its offset lies in `.o`. So a name can be
checked: its key must be among those of its hash. Names here are UTF-16LE bytes, as `.c` has them.
"""

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_files import column_path
from console.questdb.fields import Fields
from console.questdb.formats.table import SYMBOL_OFFSETS
from console.questdb.index_check import indexed_rows, missing_symbols
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import HEADER_SIZE
from console.recovery.table_repair.index_files import SYMBOL_BLOCK, IndexFiles, Numbers, encode_index

Name = bytes | None
MOST_SYMBOLS: Final = 1 << 24
_MOST_BYTES: Final = 1 << 30
_HASH_BITS: Final = 0x0FFFFFFF
_LENGTH: Final = struct.Struct("<i")
_MOST_CAPACITY: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class SymbolMap:
    """A symbol map as far as it can be read. `names` has each key's, None if it is not sure.

    `capacity`, `cached`, `has_null` are None if the header of `.o` is damaged. `buckets` has the hash of each key by
    the index, None if that is damaged; `block` how many offsets a block of it has. `offsets_whole`: `.o` is whole.
    """

    paths: dict[str, Path]
    count: int
    names: list[Name]
    capacity: int | None
    cached: bool | None
    has_null: bool | None
    buckets: Numbers | None
    block: int
    offsets_whole: bool

    @property
    def unknown(self) -> list[int]:
        return [key for key, name in enumerate(self.names) if name is None]


def mask_of(capacity: int) -> int:
    """Return the mask of the hashes of a symbol map (SymbolMapWriter: next power of 2 of half its capacity, - 1)."""
    half = max(1, capacity // 2)
    return (1 << (half - 1).bit_length()) - 1


def hashes_of(names: Sequence[bytes]) -> Numbers:
    """Return the hash of each name before it is masked (Hash.boundedHash of Chars.hashCode)."""
    lengths = np.array([len(name) // 2 for name in names], np.int64)
    units = np.frombuffer(b"".join(names), "<u2").astype(np.uint32)
    starts = np.cumsum(lengths) - lengths
    found = np.zeros(len(names), np.uint32)
    with np.errstate(over="ignore"):
        for at in range(int(lengths.max(initial=0))):
            longer = np.flatnonzero(lengths > at)
            found[longer] = found[longer] * np.uint32(31) + units[starts[longer] + at]
    return (found & np.uint32(_HASH_BITS)).astype(np.int64)


def index_of(names: Sequence[bytes], capacity: int, block: int) -> IndexFiles:
    """Return `.k` and `.v` of a symbol map with `names`, in the order of their keys; a server uses no first block."""
    keys = hashes_of(names) & mask_of(capacity)
    return encode_index(keys, HEADER_SIZE + 8 * np.arange(len(names)), block, unused=1)


def offsets_file(names: Sequence[bytes], capacity: int, *, cached: bool, has_null: bool) -> bytes:
    header = bytearray(HEADER_SIZE)
    struct.pack_into("<i", header, SYMBOL_OFFSETS.at("capacity"), capacity)
    struct.pack_into("<b", header, SYMBOL_OFFSETS.at("cached"), cached)
    struct.pack_into("<b", header, SYMBOL_OFFSETS.at("has_null"), has_null)
    ends = np.cumsum([0, *(4 + len(name) for name in names)]).astype("<i8")
    return bytes(header) + ends.tobytes()


def values_file(names: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(name) // 2) + name for name in names)


def read_symbol_map(table: Path, raw_name: str, count: int, name_txn: int, capacity: int | None) -> SymbolMap:
    """Return the symbol map of a column with `count` symbols; `capacity` is what `_meta` says.

    A file that is missing or damaged is none here. Raises DamageError for a column name or count that no file can
    have, OSError for a file that is there and cannot be read.
    """
    if not 0 <= count <= MOST_SYMBOLS:
        raise DamageError(f"{count:,} symbols of column {raw_name}")
    paths = {suffix: column_path(table, raw_name, suffix, name_txn) for suffix in "ockv"}
    header, offsets = _read_offsets(paths["o"], count)
    content = _read_values(paths["c"])
    names, whole = _names(offsets, content, count)
    buckets, block = _read_index(paths["k"], paths["v"], count)
    own = SYMBOL_OFFSETS.value("capacity", header) if header is not None else 0
    believed = own if 0 < own <= _MOST_CAPACITY else None
    if buckets is not None:
        believed = _best_capacity(names, buckets, believed, capacity)
        names = _checked(names, buckets, believed)
    if buckets is None or None in names:  # zeros in a name are zeros in the file, where others are damaged too
        names = [None if name is not None and "\0" in _text(name) else name for name in names]
    if buckets is None:
        names = _unique(names)
    return SymbolMap(
        paths, count, names, believed,
        None if header is None or not own else SYMBOL_OFFSETS.value("cached", header) != 0,
        None if header is None or not own else SYMBOL_OFFSETS.value("has_null", header) != 0,
        buckets, block, whole and own == believed,
    )  # fmt: skip


def _text(name: bytes) -> str:
    return name.decode("utf-16-le", "surrogatepass")


def _read_offsets(path: Path, count: int) -> tuple[Fields | None, Numbers]:
    """Return the header, None if it is cut, and the offsets that rise from 0, up to the first that does not."""
    try:
        with DbFile(path) as file:
            data = file.read(0, HEADER_SIZE)
            offsets = file.array(HEADER_SIZE, "<i8", count + 1).astype(np.int64)
    except FileNotFoundError:
        return None, np.empty(0, np.int64)
    rising = np.ones(len(offsets), np.bool_)
    if len(offsets):
        rising[0] = offsets[0] == 0
        rising[1:] = (np.diff(offsets) >= 4) & (np.diff(offsets) % 2 == 0) & (offsets[1:] <= _MOST_BYTES)
    good = len(rising) if rising.all() else int(np.argmin(rising))
    return (Fields(data) if len(data) == HEADER_SIZE else None), offsets[:good]


def _read_values(path: Path) -> bytes:
    try:
        with DbFile(path) as file:
            return file.read(0, min(file.size, _MOST_BYTES))
    except FileNotFoundError:
        return b""


def _names(offsets: Numbers, content: bytes, count: int) -> tuple[list[Name], bool]:
    """Return the names by `offsets`, behind them one after another by their own lengths; and if the offsets are all."""
    names: list[Name] = []
    places = offsets.tolist()
    for low, high in itertools.pairwise(places):
        name = _name_at(content, low)
        names.append(name if name is not None and low + 4 + len(name) == high else None)
    at, seen = (places[-1] if places else 0), {name for name in names if name is not None}
    while len(names) < count:
        name = _name_at(content, at)
        if not name or name in seen:  # zeros, or what is no name, from here on: nothing tells them from an empty name
            names += [None] * (count - len(names))
            break
        names.append(name)
        seen.add(name)
        at += 4 + len(name)
    return names, len(places) == count + 1


def _name_at(content: bytes, at: int) -> Name:
    if at + 4 > len(content):
        return None
    size = 2 * int(_LENGTH.unpack_from(content, at)[0])
    return content[at + 4 : at + 4 + size] if 0 <= size <= len(content) - at - 4 else None


def _unique(names: list[Name]) -> list[Name]:
    """Return the names without those that stand twice: neither is sure."""
    often: dict[bytes, int] = {}
    for name in names:
        if name is not None:
            often[name] = often.get(name, 0) + 1
    return [None if name is None or often[name] > 1 else name for name in names]


def _read_index(keys: Path, values: Path, count: int) -> tuple[Numbers | None, int]:
    """Return the hash of each key as the index of the map has it, None if it is not whole, and the size of a block."""
    try:
        with DbFile(keys) as k, DbFile(values) as v:
            block = read_index_header(k).block_values
            if count and missing_symbols(k, v, count, lambda _: None):
                return None, block
            buckets = np.full(count, -1, np.int64)
            for owners, places in indexed_rows(k, v, lambda _: None):
                at = (places - HEADER_SIZE) // 8
                inside = (at >= 0) & (at < count)
                buckets[at[inside]] = owners[inside]
            return buckets, block
    except (DamageError, FileNotFoundError):
        return None, SYMBOL_BLOCK


def _best_capacity(names: list[Name], buckets: Numbers, own: int | None, said: int | None) -> int | None:
    """Return the capacity by which most names have the hash that the index says; what is said comes first."""
    keys = [key for key, name in enumerate(names) if name is not None]
    hashes = hashes_of([name for name in names if name is not None])
    tried = [each for each in (own, said) if each]
    best, most = (tried[0] if tried else None), -1
    for capacity in (*tried, *(1 << power for power in range(1, 30))):
        fits = int(((hashes & mask_of(capacity)) == buckets[keys]).sum())
        if fits > most:
            best, most = capacity, fits
    return best


def _checked(names: list[Name], buckets: Numbers, capacity: int | None) -> list[Name]:
    """Return the names whose hash is the one that the index says of their key."""
    if capacity is None:
        return [None] * len(names)
    keys = np.array([key for key, name in enumerate(names) if name is not None], np.int64)
    hashes = hashes_of([name for name in names if name is not None]) & mask_of(capacity)
    wrong = set(keys[hashes != buckets[keys]].tolist())
    return [None if key in wrong else name for key, name in enumerate(names)]
