"""What will hurt when the power fails, seen beforehand: by the files and limits of this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.probes.precautions import precautions
from console.questdb.layout import DatabaseRoot
from console.settings import GuardSettings, QuestDBSettings, Settings


def _said(tmp_path: Path, conf: str | None, jar: str = "", guard: str = "") -> str:
    root = tmp_path / "root"
    (root / "db" / "trades~1").mkdir(parents=True, exist_ok=True)
    (root / "db" / "trades~1" / "_txn").write_bytes(bytes(64))
    if conf is not None:
        (root / "conf").mkdir(exist_ok=True)
        (root / "conf" / "server.conf").write_text(conf)
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        questdb=QuestDBSettings(db_root=str(root)),
        guard=GuardSettings(to=guard),
    )
    settings = replace(settings, questdb=replace(settings.questdb, jar=jar))
    return "\n".join(check.said for check in precautions(settings, DatabaseRoot.locate(root)))


def test_a_commit_that_is_not_flushed_is_named_unless_it_is_set_otherwise(tmp_path: Path) -> None:
    for conf, warned in (("", True), ("cairo.commit.mode=nosync\n", True), ("cairo.commit.mode=sync\n", False)):
        assert ("nosync" in _said(tmp_path, conf)) is warned


def test_a_copy_without_configuration_says_nothing_of_it(tmp_path: Path) -> None:
    said = _said(tmp_path, None)
    assert "nosync" not in said
    assert "backup" not in said


def test_a_backup_counts_once_its_root_holds_one(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    conf = f"cairo.sql.backup.root={backups}\n"
    assert "no backup is known" in _said(tmp_path, conf)
    (backups / "2026-11-29").mkdir()
    assert "no backup is known" not in _said(tmp_path, conf)


def test_copies_on_the_disk_of_the_data_are_named(tmp_path: Path) -> None:
    assert "on the disk of the data" in _said(tmp_path, "", guard=str(tmp_path / "guard"))
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system for both")
    assert "on the disk of the data" not in _said(tmp_path, "", guard="/dev/shm/walmedic-none")
