"""Which files belong to the evidence of a table, while a server that lives takes some of them away."""

import os
from pathlib import Path

import pytest

from console.recovery.evidence import selection as evidence_selection
from tests.data.samples import sample_database


def test_a_wal_that_is_purged_while_it_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sample_database("v1", tmp_path)
    table = next(each for each in database.tables() if each.directory == "hourly~7")
    listed = os.listdir

    def with_purged(path: Path) -> list[str]:
        return [*listed(path), "purged"]

    before = evidence_selection.select(table)
    monkeypatch.setattr("os.listdir", with_purged)
    assert evidence_selection.select(table) == before
