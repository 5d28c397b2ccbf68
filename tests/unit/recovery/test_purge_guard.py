"""The block in server.conf that holds the purge: there once, and taken out byte for byte."""

from pathlib import Path

import pytest

from console.recovery.server.purge_guard import (
    CONFIGURATION,
    Guard,
    GuardError,
    guard_of,
    hold_by_configuration,
    let_go_by_configuration,
)


@pytest.fixture(params=[b"", b"pg.password=x\n", b"cairo.wal.purge.interval=1000", b"# caf\xe9\r\na=b\r\n"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data root with a server.conf."""
    (tmp_path / "conf").mkdir()
    (tmp_path / CONFIGURATION).write_bytes(request.param)
    (tmp_path / CONFIGURATION).chmod(0o640)
    return tmp_path


def test_it_is_there_once_and_goes_byte_for_byte(root: Path) -> None:
    file = root / CONFIGURATION
    before, status = file.read_bytes(), file.stat()
    for _ in range(2):
        hold_by_configuration(root)
        assert file.read_bytes().startswith(before)
        assert file.read_bytes().splitlines()[-1] == b"cairo.wal.purge.interval=31536000000"
        assert file.read_bytes().count(b"31536000000") == 1
    for _ in range(2):
        let_go_by_configuration(root)
        assert file.read_bytes() == before
    assert (file.stat().st_mode, file.stat().st_uid, file.stat().st_gid) == (
        status.st_mode, status.st_uid, status.st_gid,
    )  # fmt: skip
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_lines_added_meanwhile_stay(root: Path) -> None:
    file = root / CONFIGURATION
    before, mode = file.read_bytes(), file.stat().st_mode
    hold_by_configuration(root)
    file.write_bytes(file.read_bytes() + b"http.enabled=false\n")
    let_go_by_configuration(root)
    assert file.read_bytes() == before + b"http.enabled=false\n"
    assert file.stat().st_mode == mode
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("left", [20, 60, 80])
def test_what_a_cut_off_write_left_goes_too(root: Path, left: int) -> None:
    file = root / CONFIGURATION
    before = file.read_bytes()
    hold_by_configuration(root)
    file.write_bytes(file.read_bytes()[: len(before) + left])
    let_go_by_configuration(root)
    assert file.read_bytes() == before


def test_without_the_file_there_is_no_such_guard(tmp_path: Path) -> None:
    assert guard_of(None, tmp_path) is None
    with pytest.raises(GuardError):
        hold_by_configuration(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / CONFIGURATION).touch()
    assert guard_of(None, tmp_path) is Guard.CONFIGURATION
