"""`walmedic inspect` names a byte of every file of a partition, and of the small files that hold a text."""

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from console.cli import run
from console.exit_codes import ExitCode
from console.questdb.partition_rows import TableRows
from tests.data.samples import sample_database
from tests.unit.test_browser_column import _FILES, _PARTITIONS


def inspected(capsys: pytest.CaptureFixture[str], path: Path, offset: int) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["inspect", str(path), "--offset", str(offset), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("table", "name"), _FILES)
def test_a_byte_of_a_column_belongs_to_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, name: str
) -> None:
    sample_database("v1", tmp_path)
    path = tmp_path / "db" / table / _PARTITIONS[table] / name
    code, document = inspected(capsys, path, 0)
    kind = "offsets of the values of a column" if ".i" in name else "values of a column"
    assert (code, document["kind"]) == (0, kind)
    column = name.split(".")[0]
    assert document["asked"]["title"].startswith("row ")
    assert document["asked"]["title"].endswith(f" of {column}")
    assert document["asked"]["field"] is not None
    assert f"{TableRows(tmp_path / 'db' / table).partitions[0].rows:,} rows" in document["summary"]


@pytest.mark.parametrize(
    ("where", "said"), [(-1, "belongs to no row"), (0, "lies outside of"), (99, "lies outside of")]
)
def test_a_byte_behind_the_rows_is_said_to_be_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: int, said: str
) -> None:
    sample_database("v1", tmp_path)
    path = tmp_path / "db" / "kinds~6" / _PARTITIONS["kinds~6"] / "price.d"
    with path.open("ab") as file:
        file.write(bytes(64))
    code, document = inspected(capsys, path, path.stat().st_size + where)
    assert code == ExitCode.REFUSED
    assert said in document["error"]["message"]


def test_a_byte_of_a_parquet_partition_belongs_to_a_column_or_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"n": [7, 8, 9], "s": ["a", "b", "c"]}), path)
    size = path.stat().st_size
    code, document = inspected(capsys, path, 4)
    assert (code, document["kind"], document["asked"]["field"]["name"]) == (0, "partition in Parquet", "n")
    for offset, name in ((0, "magic number"), (size - 9, "footer"), (size - 8, "length of the footer"),
                         (size - 1, "magic number")):  # fmt: skip
        _, document = inspected(capsys, path, offset)
        assert document["asked"]["field"]["name"] == name


@pytest.mark.parametrize(("name", "label"), [("_name", "name"), ("_checkpoint_meta.d", "instance")])
@pytest.mark.parametrize("text", ["orders", "", "caf\u00e9 \U0001f642"])
def test_a_file_of_one_text_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, label: str, text: str
) -> None:
    units = text.encode("utf-16-le")
    (tmp_path / name).write_bytes(struct.pack("<i", len(units) // 2) + units + b"\0")
    code, document = inspected(capsys, tmp_path / name, 0)
    assert (code, document["asked"]["field"]["name"], document["asked"]["field"]["value"]) == (0, label, text)


@pytest.mark.parametrize(
    "content", [b"\x07", struct.pack("<i", 99), struct.pack("<i", -9), struct.pack("<i", 1) + b"ab!"]
)
def test_a_damaged_name_is_said_to_be_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "_name").write_bytes(content)
    code, document = inspected(capsys, tmp_path / "_name", 0)
    assert code == 1
    assert not all(field["is_normal"] for field in document["asked"]["fields"])


def test_the_order_to_go_back_to_a_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_restore").touch()
    capsys.readouterr()
    assert run(["inspect", str(tmp_path / "_restore")]) == 0
    assert "order to go back to the checkpoint" in capsys.readouterr().out
