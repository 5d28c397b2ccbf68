"""The statements of a copy: the original's definition as its `_meta` has it, and the copying of a stretch.

`_meta` and not SHOW CREATE TABLE, which leaves names unquoted and needs a server that knows the table; that the two
tables are shown alike is proven afterwards. TTL and DEDUP come last: with them a table that is being filled could drop
what is not yet compared, or rearrange equal timestamps.
"""

from typing import Any

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.partition_rows import TableRows
from console.questdb.symbol_files import map_settings
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.recovery.actions.copy_table.missing import Gap
from console.recovery.actions.copy_table.stretches import Stretch
from console.recovery.server.sql import Server, SqlError, quoted


def create_statement(name: str, original: TableRows) -> str:
    """Return the statement that makes an empty table like the original, without TTL and DEDUP.

    Raises DamageError, OSError.
    """
    metadata, timestamp = original.metadata, original.timestamp
    columns = ", ".join(_column(original, column) for column in original.columns)
    return (
        f"CREATE TABLE {quoted(name)} ({columns}) timestamp({quoted(timestamp.raw_name)}) "
        f"PARTITION BY {metadata.partition_unit} WAL "
        f"WITH maxUncommittedRows={metadata.max_uncommitted_rows}, o3MaxLag={metadata.o3_max_lag_us}us"
    )


def finish_statements(name: str, metadata: TableMetadata) -> list[str]:
    """Return the statements that give the filled table the original's TTL and DEDUP."""
    found = []
    if metadata.ttl:
        found.append(
            f"ALTER TABLE {quoted(name)} SET TTL {abs(metadata.ttl)} {'HOUR' if metadata.ttl > 0 else 'MONTH'}S"
        )
    keys = [column for column in metadata.columns if column.dedup_key and not column.dropped]
    if keys:
        listed = ", ".join(quoted(column.raw_name) for column in keys)
        found.append(f"ALTER TABLE {quoted(name)} DEDUP ENABLE UPSERT KEYS({listed})")
    return found


def shown_alike(server: Server, table: str, copy: str) -> bool:
    """Return whether the server shows both tables' definitions alike but for their names. Raises SqlError.

    QuestDB before 9.0 has no SHOW CREATE TABLE: there it is the columns, with types, indexes, capacities and keys.
    """
    try:
        original, copied = (server.rows(f"SHOW CREATE TABLE {quoted(name)}")[0]["ddl"] for name in (table, copy))
    except SqlError:
        columns, copies = (server.rows(f"SHOW COLUMNS FROM {quoted(name)}") for name in (table, copy))
        return len(columns) == len(copies) and all(map(_columns_alike, columns, copies))
    return str(original).removeprefix(f"CREATE TABLE '{table}'") == str(copied).removeprefix(f"CREATE TABLE '{copy}'")


def _columns_alike(column: dict[str, Any], copy: dict[str, Any]) -> bool:
    """An ALTER before 9.0 writes a block capacity for columns without an index, and no settings for new symbols."""
    left_out = [] if column["indexed"] else ["indexBlockCapacity"]
    if not column["symbolCapacity"]:
        left_out += ["symbolCapacity", "symbolCached"]
    return all(copy.get(key) == value for key, value in column.items() if key not in left_out)


def _column(original: TableRows, column: TableColumn) -> str:
    definition = f"{quoted(column.raw_name)} {column.type_name}"
    if column.tag is ColumnTag.SYMBOL:
        capacity, cached = column.symbol_capacity, column.cached
        if capacity is None:  # its `_meta` was written by an ALTER before 9.0; the map has both
            name_txn = original.versions.symbol_name_txn(column.index)
            capacity, cached = map_settings(column_path(original.table, column.raw_name, "o", name_txn))
        definition += f" CAPACITY {max(2, capacity)} {'CACHE' if cached else 'NOCACHE'}"
        if column.indexed:
            definition += f" INDEX CAPACITY {column.index_capacity}"
    return definition


def copy_statement(source: str, target: str, columns: list[str], timestamp: str, nanos: bool, part: Stretch) -> str:
    names = ", ".join(quoted(column) for column in columns)
    rows = f"SELECT {names} FROM {quoted(source)} {_where(timestamp, nanos, part)}"  # noqa: S608 - quoted
    return f"INSERT INTO {quoted(target)} ({names}) {rows}"


def gap_statement(source: str, target: str, columns: list[str], timestamp: str, nanos: bool, gap: Gap) -> str:
    """Return the statement that copies the missing rows of a stretch, which come one after another in it."""
    statement = copy_statement(source, target, columns, timestamp, nanos, gap.stretch)
    return statement if gap.whole else f"{statement} LIMIT {gap.first}, {gap.first + gap.missing}"


def count_statement(table: str, timestamp: str, nanos: bool, part: Stretch) -> str:
    return f"SELECT count() AS n FROM {quoted(table)} {_where(timestamp, nanos, part)}"  # noqa: S608 - quoted


def _where(timestamp: str, nanos: bool, part: Stretch) -> str:
    kind = "timestamp_ns" if nanos else "timestamp"
    at = quoted(timestamp)
    return f"WHERE {at} >= cast({part.low} AS {kind}) AND {at} < cast({part.high} AS {kind})"


def free_name(name: str, taken: set[str]) -> str:
    lower = {each.lower() for each in taken}
    found, number = name, 1
    while found.lower() in lower:
        number += 1
        found = f"{name}{number}"
    return found
