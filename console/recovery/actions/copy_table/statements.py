"""The statements of a copy: the original's definition as its `_meta` has it, and the copying of a stretch.

`_meta` and not SHOW CREATE TABLE, which leaves names unquoted and needs a server that knows the table; that the two
tables are shown alike is proven afterwards. TTL and DEDUP come last: with them a table that is being filled could drop
what is not yet compared, or rearrange equal timestamps.
"""

from console.questdb.column_types import ColumnTag
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.recovery.actions.copy_table.missing import Gap
from console.recovery.actions.copy_table.stretches import Stretch
from console.recovery.server.sql import Server, SqlError, quoted


def create_statement(name: str, metadata: TableMetadata) -> str:
    """Return the statement that makes an empty table like the original, without TTL and DEDUP."""
    timestamp = metadata.timestamp
    columns = ", ".join(_column(column) for column in metadata.columns if not column.dropped)
    return (
        f"CREATE TABLE {quoted(name)} ({columns}) timestamp({quoted(timestamp.raw_name if timestamp else '')}) "
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


def shown_definition(server: Server, name: str) -> str:
    """Return what the server shows of a table's definition, without its name. Raises SqlError.

    QuestDB before 9.0 has no SHOW CREATE TABLE: there it is the columns, with types, indexes, capacities and keys.
    """
    try:
        (row,) = server.rows(f"SHOW CREATE TABLE {quoted(name)}")
    except SqlError:
        return repr([sorted(column.items()) for column in server.rows(f"SHOW COLUMNS FROM {quoted(name)}")])
    return str(row["ddl"]).removeprefix(f"CREATE TABLE '{name}'")


def _column(column: TableColumn) -> str:
    definition = f"{quoted(column.raw_name)} {column.type_name}"
    if column.tag is ColumnTag.SYMBOL:
        if column.symbol_capacity is not None:
            definition += f" CAPACITY {max(2, column.symbol_capacity)}"
        definition += " CACHE" if column.cached else " NOCACHE"
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
