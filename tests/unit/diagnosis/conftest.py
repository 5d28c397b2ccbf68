"""The captured database of both log formats, as the diagnosis tests break it."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import TableReport
from console.questdb.layout import DatabaseRoot, TableDirectory
from tests.data.samples import KINDS, sample_database
from tests.txn_file import put_seq_txn

Diagnose = Callable[[], TableReport]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseRoot:
    """A writable copy of the sample, once with V1 logs and once with V2."""
    return sample_database(request.param, tmp_path.resolve() / "sample")


@pytest.fixture
def altered(database: DatabaseRoot) -> TableDirectory:
    """The table with nine transactions, three of them structure changes, all applied."""
    return database.table("altered")


@pytest.fixture
def diagnosed(database: DatabaseRoot, altered: TableDirectory) -> Diagnose:
    """Return a function that diagnoses the altered table as it is now."""
    return lambda: diagnose_table(database, altered)


def put(path: Path, offset: int, form: str, *values: int) -> None:
    """Overwrite packed integers at `offset`."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def set_applied(table: TableDirectory, seq_txn: int) -> None:
    """Set the seqTxn of the current area of `_txn`, as if the later transactions were not applied."""
    put_seq_txn(table.path, seq_txn)


def record_place(table: TableDirectory, txn: int) -> tuple[Path, int, int]:
    """Return file, offset and size of the record of `txn`; a reader of its own."""
    log = table.sequencer / "_txnlog"
    version, _, _, part = struct.unpack("<iqqi", log.read_bytes()[:24])
    if version == 0:
        return log, 76 + 28 * (txn - 1), 28
    return table.sequencer / "_txn_parts" / str((txn - 1) // part), 60 * ((txn - 1) % part), 60


def zero_record(table: TableDirectory, txn: int) -> tuple[str, int]:
    """Zero a record and return its file, relative to the db directory, and offset."""
    path, offset, size = record_place(table, txn)
    put(path, offset, f"<{size}b", *[0] * size)
    return str(path.relative_to(table.path.parent)), offset
