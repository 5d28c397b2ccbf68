"""Two logs of one table: of one life, whatever is damaged in them, or gone on differently since one was put back."""

from pathlib import Path

import numpy as np
import pytest

from console.questdb.txn_log import RECORD, TxnLog, read_log
from console.table.log_life import fork_of
from tests.data.logs import v1_log_chunks

_MANY = 40_000  # more than are compared at once


def _log(folder: Path, records: np.ndarray, created_us: int = 1_700_000_000_000_000) -> TxnLog:
    folder.mkdir()
    (folder / "_txnlog").write_bytes(b"".join(v1_log_chunks(len(records), created_us, iter([records]))))
    return read_log(folder)


@pytest.fixture
def records() -> np.ndarray:
    """Commits of one segment, a microsecond apart."""
    made = np.zeros(_MANY, RECORD)
    made["wal_id"], made["segment_txn"] = 1, np.arange(_MANY)
    made["commit_us"] = 1_700_000_100_000_000 + np.arange(_MANY)
    return made


@pytest.mark.parametrize("fork", [1, 2, 20_000, _MANY])
def test_where_every_record_differs_from_one_on_the_lives_part(tmp_path: Path, records: np.ndarray, fork: int) -> None:
    other = records.copy()
    other["commit_us"][fork - 1 :] += 7
    assert fork_of(_log(tmp_path / "one", records), _log(tmp_path / "other", other)) == fork
    longer = np.concatenate((other, other[-1:]))
    assert fork_of(_log(tmp_path / "longer", longer), read_log(tmp_path / "one")) == fork


def test_a_record_that_is_damaged_is_no_other_life(tmp_path: Path, records: np.ndarray) -> None:
    damaged = records.copy()
    damaged["commit_us"][5] += 7
    damaged["wal_id"][30_000:30_100] = 0
    damaged["wal_id"][-3:] = -9
    one = _log(tmp_path / "one", records)
    assert fork_of(one, _log(tmp_path / "damaged", damaged)) is None
    assert fork_of(one, _log(tmp_path / "shorter", records[:10])) is None


def test_a_log_that_was_made_at_another_time_is_not_compared(tmp_path: Path, records: np.ndarray) -> None:
    other = records.copy()
    other["commit_us"] += 7
    one = _log(tmp_path / "one", records)
    assert fork_of(one, _log(tmp_path / "other", other, created_us=1_700_000_000_000_001)) is None
