"""The stages of a conversion there and back, as steps of conversion_steps, and what the table must hold in each."""

from console.questdb.conversion import MARKER
from console.questdb.layout import TableDirectory
from console.questdb.partitioning import Partitioning
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import TxnArea
from console.records import to_json
from console.recovery.actions.convert_table.cost import Cost
from console.recovery.actions.convert_table.ttl import ttl_stages
from console.recovery.model import Change, Stage
from console.recovery.server.expectation import Expectation, rows_now
from console.text import plural


def names_aside(directory: TableDirectory) -> list[str]:
    """Return the names that the conversion would delete: the sequencer, and all that begins like a WAL."""
    names = [f"wal{wal.id}" for wal in directory.wals()]
    names += [path.name for path in directory.path.glob("wal*[0-9].lock") if path.is_file()]
    return sorted([*names, *([SEQUENCER] if directory.sequencer.exists() else [])])


def held_now(directory: TableDirectory, area: TxnArea, metadata: TableMetadata) -> Expectation:
    """Return what the table holds now, which is what it must hold then: no log is read for it."""
    partitioning = Partitioning.of(metadata)
    return Expectation(
        table=directory.raw_name,
        directory=directory.directory,
        rows=area.rows,
        min_ts=area.min_ts if area.rows else None,
        max_ts=area.max_ts if area.rows else None,
        partitions=rows_now(area, partitioning),
        applied_txn=0,
        logged_txn=0,
        exact=True,
        why="",
        nanos=partitioning.nanos,
        timestamp=metadata.timestamp.raw_name if metadata.timestamp is not None else "",
    )


def conversion_stages(
    directory: TableDirectory, metadata: TableMetadata, cost: Cost, expected: Expectation, names: list[str], mark: str
) -> tuple[Stage, ...]:
    """Return what is done, in order; `mark` names the directory that the WAL is set aside in."""
    table = directory.directory
    aside = f"{table}/convert.walmedic-{mark}.old"
    convert = {"directory": table, "expected": to_json(expected), "names": names, "aside": aside}
    waiting = plural(cost.transactions, "waiting transaction")
    salvage = Stage(
        "salvage",
        f"write the rows of {waiting}{' and of the lag' if cost.lag_rows else ''} to files and read them back",
        "salvage-before",
        {"directory": table},
        (Change("create", "salvage in the state directory, as CSV with a manifest"),),
    )
    renames = tuple(Change("rename", f"{table}/{name}", f"{table}/{name}", f"{aside}/{name}") for name in names)
    changed = (
        Change("overwrite", f"{table}/_meta", "WAL", "no WAL"),
        Change("overwrite", f"{table}/_txn", "its sequencer transaction", "0"),
        Change("overwrite", "tables.d.*", "lists it", "made anew by the server"),
    )
    back = (
        Change("create", f"{table}/{SEQUENCER}", after="a new log at transaction 0, made by the server"),
        Change("overwrite", f"{table}/_meta", "no WAL", "WAL"),
        Change("overwrite", "tables.d.*", "does not list it", "lists it"),
    )
    return (
        *((salvage,) if cost.any else ()),
        Stage("keep", "keep _txn, _meta, _cv and the registry as they are", "keep-state", {"directory": table}),
        Stage(
            "aside",
            f"set {', '.join(names[:4])}{' …' if len(names) > 4 else ''} aside: a conversion deletes them",
            "set-wal-aside",
            {"directory": table, "aside": aside, "names": names},
            renames,
        ),
        Stage(
            "to-plain",
            "convert to a plain table: marker 0, a start on loopback that applies and purges nothing",
            "convert-by-server",
            {**convert, "wal": False},
            (Change("create", f"{table}/{MARKER}", after="byte 0"), *changed),
        ),
        _clear(table, "between-starts", "after the first conversion"),
        Stage(
            "to-wal",
            "convert back to a WAL table: marker 1, another such start",
            "convert-by-server",
            {**convert, "wal": True},
            (Change("create", f"{table}/{MARKER}", after="byte 1"), *back),
        ),
        _clear(table, "before-writes", "after the second, before any write"),
        *ttl_stages(table, metadata),
    )


def _clear(table: str, name: str, when: str) -> Stage:
    return Stage(
        name,
        f"check the lag's transaction count {when}: at -1 the first write would be lost in silence",
        "clear-lag",
        {"directory": table, "when": when},
        (Change("overwrite", f"{table}/_txn", "lag transactions -1, where 9.1.0 left that", "0"),),
    )
