"""Damage to symbol maps and indexes of real tables, and what a repair of it gives back."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Strike = Callable[[Path], object]


def gone(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def zeroed(path: Path) -> None:
    """Put zeros in place of all bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def cut(size: int) -> Strike:
    """Return what cuts a file to `size` bytes."""
    return lambda path: os.truncate(path, size)


def zeros(start: int, count: int) -> Strike:
    """Return what puts `count` zeros at `start`."""

    def strike(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[start : start + count] = bytes(count)
        path.write_bytes(bytes(content))

    return strike


@dataclass(frozen=True)
class Case:
    """`strikes` are (day or 0 for the table's directory, beginning of the file's name, what is done to it)."""

    action: str
    strikes: tuple[tuple[int, str, Strike], ...]
    names_lost: bool = False
    deep: bool = False
    refused: bool = False


SYMBOLS: dict[str, Case] = {
    "o_gone": Case("repair-symbols", ((0, "sx.o", gone),)),
    "o_zero": Case("repair-symbols", ((0, "sx.o", zeroed),)),
    "o_cut": Case("repair-symbols", ((0, "sx.o", cut(100)),)),
    "o_head": Case("repair-symbols", ((0, "sx.o", zeros(0, 64)),)),
    "k_gone": Case("repair-symbols", ((0, "sx.k", gone),)),
    "v_zero": Case("repair-symbols", ((0, "sx.v", zeroed), (0, "late_x.v", zeroed))),
    "kv_gone": Case("repair-symbols", ((0, "sx.k", gone), (0, "sx.v", gone), (0, "sy.k", cut(10)))),
    "okv_gone": Case("repair-symbols", ((0, "sx.o", gone), (0, "sx.k", gone), (0, "sx.v", gone))),
    "c_cut": Case("repair-symbols", ((0, "sy.c", cut(5)),)),
    "c_gone": Case("repair-symbols", ((0, "sy.c", gone), (0, "sy.o", gone))),
    "c_zeros": Case("repair-symbols", ((0, "sx.c", zeros(20, 30)),), deep=True),
    "all_gone": Case("repair-symbols", tuple((0, f"sy.{suffix}", gone) for suffix in "ockv"), names_lost=True),
}
INDEXES: dict[str, Case] = {
    "index_gone": Case("rebuild-index", ((1, "sx.k", gone), (2, "sx.v", gone), (4, "sx.k", gone), (4, "sx.v", gone))),
    "index_zero": Case("rebuild-index", ((1, "sx.v", zeroed), (2, "sx.k", zeroed), (5, "late_x.v", zeroed)), deep=True),
    "index_cut": Case("rebuild-index", ((5, "sx.v", cut(4000)), (5, "sx.k", cut(100)))),
    "keys_torn": Case("rebuild-index", ((1, "sx.d", zeros(0, 128)), (2, "sx.d", gone), (5, "sx.d", cut(8))), deep=True),
    "both_torn": Case("rebuild-index", ((1, "sx.d", cut(8)), (1, "sx.v", zeroed)), refused=True),
}
CASES = {**SYMBOLS, **INDEXES}
