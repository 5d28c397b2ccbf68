"""What the record of a full check may stand for: the boot in which it was read, and files that did not change."""

from pathlib import Path

import pytest

from console import durable
from console.diagnosis.deep_record import DeepRecord, ReadColumn, mark_of


def test_what_was_read_in_another_boot_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power loss may take pages that were read from memory, and leave inode, size and time as they were."""
    column, boot, path = tmp_path / "f.d", tmp_path / "boot_id", tmp_path / "record.jsonl"
    column.write_bytes(bytes(8))
    boot.write_text("one\n")
    monkeypatch.setattr(durable, "_BOOT", boot)
    record = DeepRecord(path)
    record.keep("t", "2024-01-01", ReadColumn(1, mark_of((column,), ()), 8))
    record.write()
    found = []
    for name in ("one\n", "two\n", "one\n"):
        boot.write_text(name)
        found.append(DeepRecord(path).find("t", "2024-01-01", 1, mark_of((column,), ())) is not None)
    boot.unlink()
    assert (found, mark_of((column,), ())) == ([True, False, True], "")
