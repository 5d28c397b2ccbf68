"""Damages of a power loss to what the guard copies: a table's own files, its sequencer, or both at once."""

import random
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


SEQUENCER: Final[tuple[Strike, ...]] = (sequencer_gone, log_zeroed, first_page_zeroed, log_cut, files_gone)


def strike(table: Path, rng: random.Random) -> str:
    """Damage a table's own files, its sequencer, or `_txn` and its sequencer; return how."""
    which = rng.randrange(3)
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
