"""Versions: read from text and jar names, unknown where nothing tells, and what each does at a start."""

from pathlib import Path

import pytest

from console.questdb.server_version import Version, read_versions, version_of_build, version_of_jar
from console.questdb.version_behaviour import WORST, behaviour_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("9.3.4", (9, 3, 4)), ("9.4.0-SNAPSHOT", (9, 4, 0)), ("8.2", (8, 2, 0)), ("unknown", None), ("", None)],
)
def test_a_version_is_its_numbers(text: str, numbers: tuple[int, int, int] | None) -> None:
    found = Version.parse(text)
    assert (found.numbers if found else None) == numbers


def test_sources_of_a_version(tmp_path: Path) -> None:
    assert str(version_of_jar(tmp_path / "questdb-9.3.4-no-jre-bin.jar")) == "9.3.4"
    assert version_of_jar(tmp_path / "questdb.jar") is None
    assert str(version_of_build("Build Information: QuestDB 9.1.0, JDK 17.0.1, Commit Hash 9")) == "9.1.0"
    assert version_of_build("something else 1.2.3") is None
    found = read_versions(tmp_path)
    assert (found.last, found.seen, found.migration) == (None, (), None)


def test_an_unknown_version_is_the_worst() -> None:
    assert behaviour_of(None) is WORST
    assert behaviour_of(Version((8, 2, 0))).erases_without_sequencer
    assert not behaviour_of(Version((9, 1, 0))).erases_without_sequencer
    assert behaviour_of(Version((9, 3, 2))).file_locks_hold_wal
    assert not behaviour_of(Version((9, 3, 3))).file_locks_hold_wal
    assert behaviour_of(Version((7, 3, 10))).empties_missing_log
    assert behaviour_of(Version((8, 2, 0))).keeps_suspension
    assert not behaviour_of(Version((9, 0, 0))).keeps_suspension
    assert behaviour_of(Version((9, 4, 0))).drops_rows_by_rebase
    assert not behaviour_of(Version((9, 3, 4))).drops_rows_by_rebase
    assert not behaviour_of(Version((7, 4, 2))).empties_missing_log
