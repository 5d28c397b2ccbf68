"""Damages to a table's `_txn`, `_meta` and `_cv`, as power losses make them; its columns, log and WAL stay whole."""

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console.questdb.formats.table import TXN_PARTITION, TXN_PARTITIONS, TXN_RECORD, TXN_SYMBOL
from console.questdb.table_txn import TxnArea, read_table_txn

Strike = Callable[[Path, random.Random], None]


def gone(txn: Path, rng: random.Random) -> None:
    """No `_txn`."""
    del rng
    txn.unlink()


def zeros(txn: Path, rng: random.Random) -> None:
    """All of it zeros, as long as before."""
    del rng
    txn.write_bytes(bytes(txn.stat().st_size))


def cut_to_96(txn: Path, rng: random.Random) -> None:
    """Cut to 96 bytes (questdb issue 1427)."""
    del rng
    txn.write_bytes(txn.read_bytes()[:96])


def wiped_to_96(txn: Path, rng: random.Random) -> None:
    """96 bytes of zeros."""
    del rng
    txn.write_bytes(bytes(96))


def empty(txn: Path, rng: random.Random) -> None:
    """No byte."""
    del rng
    txn.write_bytes(b"")


def noise(txn: Path, rng: random.Random) -> None:
    """Its first sector holds another file's bytes."""
    content = bytearray(txn.read_bytes())
    content[:512] = rng.randbytes(512)
    txn.write_bytes(content)


def partitions_zeroed(txn: Path, rng: random.Random) -> None:
    """The partition table is zeros, the header is whole."""
    del rng
    area = _area(txn)
    at = area.base + TXN_RECORD.size + TXN_SYMBOL.size * len(area.symbols) + TXN_PARTITIONS.size
    content = bytearray(txn.read_bytes())
    content[at : at + TXN_PARTITION.size * len(area.partitions)] = bytes(TXN_PARTITION.size * len(area.partitions))
    txn.write_bytes(content)


def too_many_rows(txn: Path, rng: random.Random) -> None:
    """The last partition has more rows than its columns."""
    area = _area(txn)
    content = bytearray(txn.read_bytes())
    struct.pack_into(
        "<q", content, area.base + TXN_RECORD.at("transient_rows"), area.transient_rows + rng.randint(1, 5000)
    )
    txn.write_bytes(content)


def too_few_symbols(txn: Path, rng: random.Random) -> None:
    """Each symbol column has fewer symbols than its rows use."""
    del rng
    area = _area(txn)
    content = bytearray(txn.read_bytes())
    for at in range(len(area.symbols)):
        struct.pack_into("<ii", content, area.base + TXN_RECORD.size + TXN_SYMBOL.size * at, 3, 3)
    txn.write_bytes(content)


def version_back(txn: Path, rng: random.Random) -> None:
    """The version points at the other area."""
    del rng
    content = bytearray(txn.read_bytes())
    struct.pack_into("<q", content, 0, struct.unpack_from("<q", content)[0] - 1)
    txn.write_bytes(content)


def record_zeroed(txn: Path, rng: random.Random) -> None:
    """The current record is zeros, header and other area are whole."""
    del rng
    area = _area(txn)
    content = bytearray(txn.read_bytes())
    content[area.base : area.base + TXN_RECORD.size] = bytes(TXN_RECORD.size)
    txn.write_bytes(content)


def first_page_zeroed(path: Path, rng: random.Random) -> None:
    """Its first page is zeros."""
    del rng
    content = path.read_bytes()
    path.write_bytes(bytes(min(4096, len(content))) + content[4096:])


def cut_short(path: Path, rng: random.Random) -> None:
    """Cut somewhere."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(min(len(content), 120))])


STRIKES: Final[tuple[Strike, ...]] = (
    gone, zeros, cut_to_96, wiped_to_96, empty, noise, partitions_zeroed, too_many_rows, version_back, record_zeroed,
)  # fmt: skip
"""On `_txn`."""
OTHER_STRIKES: Final[tuple[Strike, ...]] = (gone, first_page_zeroed, cut_short)
"""On `_meta` and `_cv`."""


def struck(table: Path, rng: random.Random) -> str:
    """Damage one or two of a table's own files; return how."""
    files = rng.choice((("_txn",), ("_txn",), ("_txn",), ("_meta",), ("_meta", "_txn"), ("_cv",)))
    said = []
    for name in files[::-1]:
        strike = rng.choice(STRIKES if name == "_txn" else OTHER_STRIKES)
        strike(table / name, rng)
        said.append(f"{name} {strike.__name__}")
    return ", ".join(said)


def _area(txn: Path) -> TxnArea:
    area = read_table_txn(txn.parent).current
    assert area is not None
    return area
