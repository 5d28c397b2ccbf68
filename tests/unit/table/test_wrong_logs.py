"""A log that is wrong throughout costs little memory, in a check and in the repairs' plans."""

import multiprocessing
from pathlib import Path

import pytest

from benchmarks.own_process import in_own_process
from benchmarks.wrong_logs import WORK, WRONG, measured, write_table
from tests.data.samples import KINDS, Kind

_MEGABYTES = 40
_MOST_MIB = 64  # kept as arrays, the records alone would take twice that


@pytest.mark.faults
@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("kind", WRONG)
def test_memory_does_not_grow_with_what_is_wrong_in_a_log(tmp_path: Path, kind: str, version: Kind) -> None:
    root = tmp_path / "root"
    writing = multiprocessing.get_context("spawn").Process(target=write_table, args=(root, version, kind, _MEGABYTES))
    writing.start()
    writing.join()
    assert writing.exitcode == 0
    grown = {work: round(in_own_process(measured, work, root)[0], 1) for work in WORK}
    assert max(grown.values()) < _MOST_MIB, grown
