"""A `_meta` by which no row can be read: every repair that needs rows is refused, and says which column it is."""

import shutil
import struct
from pathlib import Path

import pytest

from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.settings import QuestDBSettings, Settings
from tests.data.samples import sample_database


def _zeroed(data: bytearray) -> None:
    data[:] = bytes(len(data))


def _unknown_type(data: bytearray) -> None:
    struct.pack_into("<i", data, 128 + 32, 99)


def _no_timestamp(data: bytearray) -> None:
    struct.pack_into("<i", data, 8, 77)


@pytest.mark.parametrize(
    ("damage", "told"),
    [(_zeroed, "no columns"), (_unknown_type, "sym has the unknown type 99"), (_no_timestamp, "column 77 of")],
)
@pytest.mark.parametrize("action", ["rebuild-sequencer", "convert-table"])
def test_it_is_refused_by_name(tmp_path: Path, damage: object, told: str, action: str) -> None:
    root = sample_database("v1", tmp_path / "root")
    table = next(each for each in root.tables() if each.directory.startswith("altered~"))
    shutil.rmtree(table.path / "txn_seq")
    data = bytearray((table.path / "_meta").read_bytes())
    assert callable(damage)
    damage(data)
    (table.path / "_meta").write_bytes(data)
    questdb = QuestDBSettings(db_root=str(tmp_path / "root"))
    engine = Engine(Settings(state_dir=str(tmp_path / "state"), questdb=questdb, bare=True))
    refused = engine.plan(action, table.name).refused
    assert [each for each in refused if each.code is RefusalCode.TABLE_UNREADABLE and told in each.reason], refused
