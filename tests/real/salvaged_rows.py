"""Rows of a salvage and rows of a server, made comparable: text by column, nulls as nothing."""

import base64
import csv
import io
import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, SalvageSettings, Settings

Row = dict[str, str]


def salvage_engine(root: Path, state: Path, form: str) -> Engine:
    """Return an engine that salvages into `state`."""
    salvage = SalvageSettings(format=form)
    questdb = QuestDBSettings(db_root=str(root))
    return Engine(Settings(state_dir=str(state), questdb=questdb, salvage=salvage, bare=True))


def salvaged(root: Path, state: Path, form: str, table: str | None = None) -> dict[str, dict[str, Any]]:
    """Run salvage-table; return the manifests by table, each with its rows under `values`."""
    engine = salvage_engine(root, state, form)
    plan = engine.plan("salvage-table", table)
    assert plan.refused == ()
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    found = {}
    for stage in plan.stages:
        folder = Path(str(stage.parameters["to"])) / f"{stage.parameters['name']}-{result.entry}"
        manifest = json.loads((folder / "manifest.json").read_bytes())
        values = [row for said in manifest["files"] for row in rows_of(folder / said["file"])]
        found[str(manifest["table"])] = {**manifest, "values": values}
    return found


def rows_of(path: Path) -> list[Row]:
    """Return the rows of a file, values as text."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    table = pyarrow.parquet.read_table(path)
    columns = {field.name: _column(table.column(field.name), field) for field in table.schema}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(column: Any, field: Any) -> list[str]:
    if pyarrow.types.is_timestamp(field.type):
        stamps = column.cast(pyarrow.int64()).to_pylist()
        unit = field.type.unit
        return ["" if v is None else str(np.datetime_as_string(np.datetime64(v, unit), timezone="UTC")) for v in stamps]
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return json.dumps(value)
        case _:
            return str(value)


def shown(server: PrivateServer, table: str) -> list[Row]:
    """Return what SELECT shows of a table, in its order: by the export, BINARY by the wire as base64."""
    columns = server.query(f"select \"column\", type from table_columns('{table}')")
    names = [name for name, kind in columns if kind not in ("LONG128", "BINARY")]
    query = urllib.parse.quote("select " + ", ".join(names) + f" from {table}")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/exp?query={query}") as answer:
        rows = list(csv.DictReader(io.StringIO(answer.read().decode(), newline="")))
    for name in (name for name, kind in columns if kind == "BINARY"):
        with server.connect() as connection:
            blobs = connection.execute(f"select {name} from {table}".encode(), binary=True).fetchall()
        for row, (blob,) in zip(rows, blobs, strict=True):
            row[name] = "" if blob is None else base64.b64encode(blob).decode()
    return rows


def kinds_of(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the type of each column that both a salvage and the export show."""
    return {each["name"]: each["type"] for each in manifest["columns"] if each["type"] != "LONG128"}


def same(kind: str, mine: str, theirs: str) -> bool:
    """Return whether a salvaged value is what the server shows."""
    if kind in ("VARCHAR", "STRING", "SYMBOL"):  # the export escapes a backslash and a line's end
        return mine.replace("\\", "\\\\").replace("\n", "\\n") == theirs
    if kind.startswith("GEOHASH") or "[]" in kind:
        theirs = "" if theirs == "null" else theirs
    if "[]" in kind and mine and theirs:
        return bool(json.loads(mine) == json.loads(theirs))
    if kind in ("FLOAT", "DOUBLE") and mine and theirs:
        number = np.float32 if kind == "FLOAT" else np.float64
        return number(mine).tobytes() == number(theirs).tobytes()
    return mine == theirs


def differences(manifest: dict[str, Any], expected: list[Row]) -> dict[str, list[int]]:
    """Return by column the rows whose values differ; the rows are compared one by one in the server's order."""
    values = manifest["values"]
    assert len(values) == len(expected) == manifest["rows"]
    return {
        name: wrong
        for name, kind in kinds_of(manifest).items()
        if (wrong := [at for at, row in enumerate(values) if not same(kind, row[name], expected[at][name])])
    }
