"""Every page of a Parquet partition, as far as pyarrow can decode it: the footer, the rows, each column chunk."""

from collections.abc import Callable, Iterator
from pathlib import Path

from console.questdb.parquet_rows import check_column, read_layout
from console.questdb.reading import DamageError
from console.questdb.value_check import Advance
from console.text import clean_line


def parquet_problems(
    path: Path, rows: int, advance: Advance, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, str, int]]:
    """Yield (column, what is wrong, rows concerned) of the `wanted` columns of a Parquet file of `rows` rows.

    One column chunk is in memory at a time. Raises OSError if the file cannot be read.
    """
    try:
        layout = read_layout(path)
    except DamageError as damage:
        yield "", f"its footer cannot be decoded ({damage.what})", rows
        return
    if layout.rows != rows:
        yield "", f"it has {layout.rows:,} rows, and _txn counts {rows:,}", rows
    for group in layout.groups:
        for chunk in group.chunks:
            if not wanted(chunk.name):
                continue
            try:
                check_column(path, group, chunk.name)
            except DamageError as damage:
                what = f"row group {group.number} cannot be decoded ({damage.what})"
                yield clean_line(chunk.name), what, group.rows
            advance(max(0, chunk.size))
