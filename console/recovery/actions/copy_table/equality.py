"""Whether two tables hold the same rows: each partition, each column, value by value, from the files of both.

Bounded: a chunk of one column at a time. What the server says of both (counts, least and greatest timestamp) is claimed
apart from it, by SQL.
"""

from collections.abc import Callable

import numpy as np

from console.questdb.partition_rows import Partition, TableRows
from console.questdb.reading import DamageError
from console.questdb.row_values import ArrayValues, BytesValues, FixedValues, Values

OnRows = Callable[[str, int], None]


def different(original: TableRows, copy: TableRows, on_rows: OnRows | None = None) -> list[str]:
    """Return in which partitions and columns the two differ, in words; empty where they are equal.

    Rows of a partition in Parquet are only counted: its values are in no column file.
    """
    found: list[str] = []
    mine = {partition.start: partition for partition in original.partitions}
    theirs = {partition.start: partition for partition in copy.partitions}
    names = [column.raw_name for column in original.columns]
    if names != [column.raw_name for column in copy.columns]:
        return ["the columns differ"]
    for start in sorted(mine.keys() | theirs.keys()):
        name = original.partitioning.name(start)
        one, other = mine.get(start), theirs.get(start)
        if one is None or other is None or one.rows != other.rows:
            found.append(f"{name}: {one.rows if one else 0:,} rows, {other.rows if other else 0:,} in the copy")
            continue
        if not one.parquet:
            found += [f"{name}: {each}" for each in different_columns(original, one, copy, other)]
        if on_rows is not None:
            on_rows(name, one.rows)
    return found


def different_columns(original: TableRows, one: Partition, copy: TableRows, other: Partition) -> list[str]:
    """Return which columns of two partitions of as many rows differ, in words."""
    return [
        f"column {original.columns[at].name} differs{where}"
        for at in range(len(original.columns))
        if (where := _column(original, one, copy, other, at)) is not None
    ]


def _column(original: TableRows, one: Partition, copy: TableRows, other: Partition, at: int) -> str | None:
    mine, theirs = original.columns[at], copy.columns[at]
    if mine.type_code != theirs.type_code:
        return f" in type ({mine.type_name}, {theirs.type_name})"
    try:
        for first, values in original.chunks(one, mine):
            if not equal(values, copy.values(other, theirs, first, first + len(values))):
                return f" in the rows {first:,} to {first + len(values):,}"
    except DamageError as damage:
        return f" or cannot be read ({damage.what})"
    return None


def equal(one: Values, other: Values) -> bool:
    """Return whether two columns of values are equal, bit for bit but for what lies under nulls."""
    if len(one) != len(other) or (one.null != other.null).any():
        return False
    match one, other:
        case FixedValues(), FixedValues():
            return one.values[~one.null].tobytes() == other.values[~one.null].tobytes()
        case BytesValues(), BytesValues():
            return bool((np.diff(one.offsets) == np.diff(other.offsets)).all()) and (
                _used(one).tobytes() == _used(other).tobytes()
            )
        case ArrayValues(), ArrayValues():
            same = bool((one.shapes == other.shapes).all())
            return same and one.values.tobytes() == other.values.tobytes()
        case _:
            return False


def _used(values: BytesValues) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    found: np.ndarray[tuple[int], np.dtype[np.uint8]] = values.data[int(values.offsets[0]) : int(values.offsets[-1])]
    return found
