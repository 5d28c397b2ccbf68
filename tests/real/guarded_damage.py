"""Damages of a power loss to what the guard copies: a table's own files, its sequencer, both at once, symbol maps."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.real.state_damage import STRIKES, struck

Strike = Callable[[Path, random.Random], None]


def sequencer_gone(table: Path, rng: random.Random) -> None:
    """No `txn_seq`."""
    del rng
    shutil.rmtree(table / "txn_seq")


def log_zeroed(table: Path, rng: random.Random) -> None:
    """The log is zeros, as long as before."""
    del rng
    log = table / "txn_seq/_txnlog"
    log.write_bytes(bytes(log.stat().st_size))


def first_page_zeroed(table: Path, rng: random.Random) -> None:
    """The log lost its first page."""
    del rng
    log = table / "txn_seq/_txnlog"
    content = log.read_bytes()
    log.write_bytes(bytes(min(4096, len(content))) + content[4096:])


def log_cut(table: Path, rng: random.Random) -> None:
    """The log ends somewhere."""
    log = table / "txn_seq/_txnlog"
    log.write_bytes(log.read_bytes()[: rng.randrange(76, 600)])


def files_gone(table: Path, rng: random.Random) -> None:
    """The log's metadata and structure changes are gone."""
    for name in rng.sample(["_meta", "_txnlog.meta.i", "_txnlog.meta.d", "_wal_index.d"], 2):
        (table / "txn_seq" / name).unlink()


def symbol_map_lost(table: Path, rng: random.Random) -> None:
    """The names of a symbol column are gone or zeros; in half of the cases the index of the names as well."""
    values = rng.choice(_values_files(table))
    if rng.random() < 0.5:
        values.unlink()
    else:
        values.write_bytes(bytes(values.stat().st_size))
    if rng.random() < 0.5:
        for letter in "kvo":
            values.with_name(re.sub(r"\.c(?=(\.\d+)?$)", f".{letter}", values.name)).unlink()


def _values_files(table: Path) -> list[Path]:
    return sorted(path for path in table.iterdir() if re.search(r"\.c(\.\d+)?$", path.name))


SEQUENCER: Final[tuple[Strike, ...]] = (sequencer_gone, log_zeroed, first_page_zeroed, log_cut, files_gone)


def strike(table: Path, rng: random.Random) -> str:
    """Damage a table's own files, its sequencer, `_txn` and its sequencer, or a symbol map; return how."""
    which = rng.randrange(4 if _values_files(table) else 3)
    if which == 3:
        symbol_map_lost(table, rng)
        return "symbol_map_lost"
    if which == 0:
        return struck(table, rng)
    chosen = rng.choice(SEQUENCER)
    chosen(table, rng)
    said = chosen.__name__
    if which == 2:
        other = rng.choice(STRIKES[:6])
        other(table / "_txn", rng)
        said += f", _txn {other.__name__}"
    return said
