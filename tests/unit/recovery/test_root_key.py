"""What a database is known by: another device number after a reboot is the same one, a snapshot is not."""

import os
from pathlib import Path

import pytest

from console.recovery.store.places import RootKey, root_key

KEY = RootKey(device=1, inode=7, filesystem=99, db="/data/db")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (RootKey(2, 7, 99, "/data/db"), True),  # mounted anew, with another device number
        (RootKey(1, 7, 99, "/mnt/db"), True),  # seen at another path
        (RootKey(2, 7, 99, "/snapshot/db"), False),
        (RootKey(1, 8, 99, "/data/db"), False),  # put in its place
        (RootKey(1, 7, 98, "/data/db"), False),  # another disk that was given the number
        (RootKey(2, 7, 0, "/data/db"), False),
        (RootKey(1, 7), True),  # as an older journal has it
    ],
)
def test_one_directory_of_one_file_system(other: RootKey, *, same: bool) -> None:
    assert (other == KEY, other == KEY) == (same, same)


def test_it_is_read_back_as_it_was_recorded(tmp_path: Path) -> None:
    key = root_key(tmp_path)
    assert RootKey.of_record({**key.record(), "action": "repair-log"}) == key
    assert (key.inode, key.filesystem) == (tmp_path.stat().st_ino, os.statvfs(tmp_path).f_fsid)
    assert RootKey.of_record({"device": key.device, "inode": key.inode}) == key
