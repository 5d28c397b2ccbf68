"""The field tables on files of real servers of several versions: each byte has a name, each field its first version."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest

from console.diagnosis.inspection import FileKind, Inspector
from console.questdb.fields import Fields
from console.questdb.formats.database import REGISTRY_REST
from console.questdb.formats.model import Since
from console.questdb.formats.segment import EVENT, EVENT_HEADER
from console.questdb.formats.table import META_COLUMN, META_HEADER, TXN_HEADER, TXN_PARTITION
from console.questdb.reading import Problem
from console.questdb.registry import read_registry
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.versions import binary_of

pytestmark = pytest.mark.faults  # it fetches servers of other versions

VERSIONS = {"8.2.0": (8, 2, 0), "9.1.0": (9, 1, 0), "9.3.4": (9, 3, 4)}
_ROWS = "SELECT timestamp_sequence('2025-01-01{}', {}000000L), x, 's'||(x%{}), 'v'||x FROM long_sequence({})"
_TABLE = "CREATE TABLE {} (ts TIMESTAMP, a LONG, s SYMBOL INDEX, v VARCHAR) TIMESTAMP(ts) PARTITION BY DAY {}"
_STATEMENTS = (
    _TABLE.format("keyed", "WAL DEDUP UPSERT KEYS(ts,a)"),
    f"INSERT INTO keyed {_ROWS.format('', 60, 5, 3000)}",
    f"INSERT INTO keyed {_ROWS.format('T12', 60, 7, 200)}",
    "ALTER TABLE keyed ADD COLUMN n SYMBOL",
    "UPDATE keyed SET a = 5 WHERE a = 3",
    "ALTER TABLE keyed CONVERT PARTITION TO PARQUET LIST '2025-01-02'",
    "ALTER TABLE keyed ALTER COLUMN v SET PARQUET(rle_dictionary)",
    "INSERT INTO keyed (ts,a,n) SELECT timestamp_sequence('2025-01-01T12', 61000000L), x, 'n' FROM long_sequence(9)",
    _TABLE.format("kept", "TTL 300 WEEKS WAL"),
    f"INSERT INTO kept {_ROWS.format('', 60, 5, 3000)}",
    "CREATE MATERIALIZED VIEW hourly AS (SELECT ts, sum(a) AS total FROM kept SAMPLE BY 1h) PARTITION BY DAY",
    "CREATE VIEW some AS (SELECT ts, a FROM kept)",
    "ALTER VIEW some AS (SELECT ts FROM kept)",
    "CREATE TABLE money (ts TIMESTAMP, d DECIMAL(10,2)) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "CREATE TABLE plain (ts TIMESTAMP, a LONG) TIMESTAMP(ts) PARTITION BY MONTH",
)


@dataclass(frozen=True)
class Made:
    version: Since
    db: Path


@pytest.fixture(scope="module", params=sorted(VERSIONS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A database with what that version can make; a statement that it does not know is left out."""
    root = tmp_path_factory.mktemp("version") / "root"
    with PrivateServer(root, binary_of(request.param), settings=SERVER) as server:
        for statement in _STATEMENTS:
            try:
                server.query(statement)
            except psycopg.DatabaseError:
                assert VERSIONS[request.param] < (9, 3, 4), statement
        wait_until_applied(server)
        server.kill()
    return Made(VERSIONS[request.param], root / "db")


def test_every_byte_has_a_name_and_is_normal(made: Made) -> None:
    kinds = set()
    for path in sorted(made.db.rglob("*")):
        if not path.is_file():
            continue
        with Inspector(path) as inspector:
            at = 0
            kinds.add(inspector.kind)
            while at < inspector.size and inspector.kind is not FileKind.OTHER:
                view = inspector.record_at(at)
                assert view is not None, (path, at)
                named = view.offset
                for field in view.fields:
                    assert field.is_normal, (path, field)
                    assert field.offset == named, (path, view.title, field)
                    named = field.end
                assert named == min(view.offset + view.size, inspector.size), (path, view.title)
                at = view.offset + view.size
    assert {FileKind.SEGMENT_EVENTS, FileKind.TABLE_TXN, FileKind.TABLE_METADATA, FileKind.REGISTRY} <= kinds


def _of_metadata(db: Path) -> dict[str, set[int]]:
    """Return the values of all `_meta` for the fields that some version added."""
    seen: dict[str, set[int]] = {"minor_version": set(), "ttl": set(), "partition_by": set(), "parquet_encoding": set()}
    for path in db.glob("*/_meta"):
        data = Fields(path.read_bytes())
        header = META_HEADER.read(data)
        for name in ("minor_version", "ttl", "partition_by"):
            seen[name].add(header[name])
        columns = META_COLUMN.array(data, META_HEADER.size, header["columns"])
        created = columns[:4]  # what 8.2 adds by ALTER has a random number there
        seen["parquet_encoding"] |= set(created["parquet_encoding"].tolist())
    return seen


def test_a_field_is_used_from_its_version_on(made: Made) -> None:
    """What is said to be newer than the server is zero in all its files; what is said to be there is used."""
    seen = _of_metadata(made.db)
    fields = {name: META_HEADER[name].since for name in ("minor_version", "ttl")}
    fields["parquet_encoding"] = META_COLUMN["parquet_encoding"].since
    for name, since in fields.items():
        assert any(seen[name]) == (made.version >= since), (name, seen[name])
    units = {code.value for code in META_HEADER["partition_by"].codes if made.version >= code.since}
    assert seen["partition_by"] <= units
    assert (6 in seen["partition_by"]) == (6 in units)


def test_a_capacity_is_known_or_unknown_and_never_random(made: Made) -> None:
    """8.2 stores a random number for a column that ALTER added: a copy of the table must not ask for that capacity."""
    (keyed,) = (path.parent for path in made.db.glob("keyed~*/_meta"))
    metadata = read_table_metadata(keyed)
    assert not isinstance(metadata, Problem)
    added = metadata.symbols[-1]
    assert added.raw_name == "n"
    assert added.symbol_capacity == (256 if made.version >= (9, 0, 0) else None)


def test_codes_and_bits_are_those_of_the_version(made: Made) -> None:
    kinds = {entry.kind for entry in read_registry(made.db).entries}
    known = {code.value for code in REGISTRY_REST["type"].codes if made.version >= code.since}
    assert kinds == known - {0}
    types = set()
    for path in made.db.glob("*/wal*/*/_event"):
        data = Fields(path.read_bytes())
        at = EVENT_HEADER.size
        while (length := EVENT.value("length", data, at)) > 0:
            types.add(EVENT.value("type", data, at))
            at += length
    assert types <= {code.value for code in EVENT["type"].codes if made.version >= code.since}
    assert (5 in types) == (made.version >= (9, 3, 0))
    squashes = parquet = 0
    for path in made.db.glob("*/_txn"):
        table = read_table_txn(path.parent)
        assert table.current is not None
        data = Fields(path.read_bytes())
        header = TXN_HEADER.read(data)
        end = table.current.base + 136 + 8 * len(table.current.symbols)
        stored = TXN_PARTITION.array(data, end, len(table.current.partitions))["rows"]
        squashes += int(TXN_PARTITION["rows"].bit("squashes").of(stored).sum())
        parquet += int(np.count_nonzero(TXN_PARTITION["rows"].bit("parquet").of(stored)))
        assert header["version"] == table.current.txn
    assert parquet
    assert not squashes or made.version >= TXN_PARTITION["rows"].bit("squashes").since
