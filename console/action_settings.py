"""What single actions, and the guard, are told by settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SalvageSettings:
    """What salvage-wal and salvage-table write: `to` a directory (empty: in the state directory), `format` csv or
    parquet. Of WAL alone: `rows` unapplied or all; `wal` a directory that holds `walN` copied from a table (empty: the
    table itself)."""

    to: str = ""
    format: str = "csv"
    rows: str = "unapplied"
    wal: str = ""


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """What repair-partition does: `partition` a name (empty: each damaged one), `choice` copy, null, whole-rows,
    drop-rows or set-aside (empty: what loses the fewest rows), `source` a directory to look for copies in (empty: the
    table's)."""

    partition: str = ""
    choice: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The guard's copies: `to` a directory (empty: in the state directory), one `every` seconds, `most_mib` in all."""

    to: str = ""
    every: int = 3
    most_mib: int = 1024
