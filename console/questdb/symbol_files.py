"""Files of the symbol maps of a table: their lengths, headers and ends, for the symbols that `_txn` counts.

A symbol map is `<column>.o` (capacity, offsets), `.c` (values), `.k` and `.v` (an index from hash to key),
SymbolMapWriter. The values themselves are not read, but for the length of the first and the last one; the index of a
small map is read whole.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_files import column_path
from console.questdb.column_versions import ColumnVersions
from console.questdb.fields import Fields
from console.questdb.formats.table import INDEX_HEADER, SYMBOL_OFFSETS
from console.questdb.index_check import missing_symbols
from console.questdb.reading import DamageError, DbFile, Problem, ProblemKind, problem_of
from console.questdb.symbol_values import HEADER_SIZE
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.text import plural

_OFFSET: Final = 8
_LENGTH: Final = 4
_FEW: Final = 512
"""Symbols of a map whose whole index is read: some pages. That of a larger one only the full check reads."""
_MANY: Final = 32
"""Symbols whose hashes fill both halves of the keys of their index for sure."""


@dataclass(frozen=True, slots=True)
class SymbolFault:
    """One file of a symbol map that is missing, too short, damaged or unreadable; `suffix` is `o`, `c`, `k` or `v`.

    Of one that is not `proven` another file says other than it.
    """

    column: str
    problem: Problem
    suffix: str = ""
    proven: bool = True


def symbol_faults(
    table: Path, area: TxnArea, metadata: TableMetadata, versions: ColumnVersions
) -> Iterator[SymbolFault]:
    """Yield what is wrong with the symbol maps, the first damage of each file."""
    symbols = metadata.symbols
    counts = area.symbols["count"].tolist()
    for column, count in zip(symbols, counts, strict=False):
        name_txn = versions.symbol_name_txn(column.index)
        try:
            paths = {suffix: column_path(table, column.raw_name, suffix, name_txn) for suffix in "ockv"}
        except DamageError as damage:
            problem = Problem(ProblemKind.UNREADABLE, f"_meta gives {damage.what}", table / "_meta")
            yield SymbolFault(column.name, problem)
            continue
        found = False
        for suffix, problem in _map_problems(paths, count):
            found = True
            yield SymbolFault(column.name, problem, suffix)
        if not found and (differs := _other_capacity(paths, count, column.symbol_capacity)) is not None:
            yield SymbolFault(column.name, differs, "o", proven=False)


def _map_problems(paths: dict[str, Path], count: int) -> Iterator[tuple[str, Problem]]:
    """Yield (suffix, problem) of the files of one map that holds `count` symbols or more."""
    with ExitStack() as stack:
        files: dict[str, DbFile] = {}
        for suffix, path in paths.items():
            try:
                files[suffix] = stack.enter_context(DbFile(path))
            except OSError as error:
                yield suffix, problem_of(error, path)
        checks = (("o", _offsets), ("c", _values), ("k", _keys), ("v", _blocks))
        for suffix, check in checks:
            if suffix not in files:
                continue
            try:
                check(files, count)
            except (DamageError, OSError) as error:
                yield suffix, problem_of(error, paths[suffix])


def _need(file: DbFile, needed: int, count: int) -> None:
    if file.size < needed:
        what = f"it is {file.size:,} bytes long, and {count:,} symbols need {needed:,}"
        raise DamageError(what, file.size, ProblemKind.SHORT)


def _offsets(files: dict[str, DbFile], count: int) -> None:
    """Check the header of `.o`, and the offsets of the first value and of the end of the last one."""
    file = files["o"]
    _need(file, HEADER_SIZE + _OFFSET * (count + 1), count)
    capacity = _capacity(file)
    if capacity <= 0:
        raise DamageError(f"it says a capacity of {capacity:,} symbols", 0)
    keys, most = _hashes(files), 1 << max(0, capacity // 2 - 1).bit_length()
    if keys > most or (count >= _MANY and 0 < keys <= most // 2):
        what = f"it says a capacity of {capacity:,} symbols, and the index beside it has {keys:,} keys"
        raise DamageError(what, 0)
    if count and _offset(file, 0):
        raise DamageError(f"its first symbol begins at offset {_offset(file, 0):,}", HEADER_SIZE)
    if count and _offset(file, count) < _LENGTH * count:
        what = f"its symbols end at offset {_offset(file, count):,}: too few bytes for {count:,}"
        raise DamageError(what, HEADER_SIZE + _OFFSET * count)


def map_settings(offsets: Path) -> tuple[int, bool]:
    """Return a map's capacity, and whether the server keeps its values in memory. Raises OSError, DamageError."""
    with DbFile(offsets) as file:
        head = Fields(file.read(0, SYMBOL_OFFSETS.size))
    return SYMBOL_OFFSETS.value("capacity", head), SYMBOL_OFFSETS.value("cached", head) == 1


def _capacity(file: DbFile) -> int:
    return SYMBOL_OFFSETS.value("capacity", Fields(file.read(0, SYMBOL_OFFSETS.size)))


def _hashes(files: dict[str, DbFile]) -> int:
    """Return one more than the greatest hash in the index of a map, 0 if not known.

    At most the power of 2 that is not below half the capacity, which is one itself but for the default of server.conf.
    """
    try:
        return read_index_header(files["k"]).keys if "k" in files else 0
    except DamageError:
        return 0


def _other_capacity(paths: dict[str, Path], count: int, wanted: int | None) -> Problem | None:
    """Return that `.o` has another capacity than `_meta`, if the hashes in the index do not say which is right."""
    if wanted is None or count >= _MANY:
        return None
    try:
        with DbFile(paths["o"]) as file:
            capacity = _capacity(file)
    except OSError as error:
        return problem_of(error, paths["o"])
    if capacity == wanted:
        return None
    what = f"it says a capacity of {capacity:,} symbols, and _meta {wanted:,}"
    return Problem(ProblemKind.INVALID, what, paths["o"], 0)


def _values(files: dict[str, DbFile], count: int) -> None:
    """Check `.c`: i32 length in UTF-16 units and the units, at each offset; the first and the last one are compared."""
    if not count or "o" not in files:
        return
    offsets, file = files["o"], files["c"]
    end = _offset(offsets, count)
    _need(file, max(0, end), count)
    for key in {0, count - 1}:
        low, high = _offset(offsets, key), _offset(offsets, key + 1)
        if not 0 <= low < high <= end:
            continue  # damage of `.o`
        stored = file.array(low, "<i4", 1)
        if not len(stored) or low + _LENGTH + 2 * int(stored[0]) != high:
            raise DamageError(f"symbol {key:,} has not the length that its offsets say", low)


def _keys(files: dict[str, DbFile], count: int) -> None:
    header = read_index_header(files["k"])
    if count and not header.keys:
        raise DamageError(f"it names no key, and there are {count:,} symbols", INDEX_HEADER.at("keys"))


def _blocks(files: dict[str, DbFile], count: int) -> None:
    if "k" not in files:
        return
    try:
        header = read_index_header(files["k"])
    except DamageError:
        return  # reported already
    _need(files["v"], header.value_bytes, count)
    if 0 < count <= _FEW and (missing := missing_symbols(files["k"], files["v"], count, lambda _: None)):
        raise DamageError(f"it does not name {plural(missing, 'symbol')} of {count:,}, or names them twice")


def has_more_symbols(offsets: Path, count: int) -> bool:
    """Return whether a map's `.o` has the end of a symbol behind the first `count`. Raises OSError, DamageError."""
    with DbFile(offsets) as file:
        return _offset(file, count + 1) > max(0, _offset(file, count))


def _offset(file: DbFile, key: int) -> int:
    """Return where the value of a key begins, -1 if the file does not say."""
    found = file.array(HEADER_SIZE + _OFFSET * key, "<i8", 1)
    return int(found[0]) if len(found) else -1
