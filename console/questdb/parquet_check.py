"""Every page of a Parquet partition, as far as pyarrow can decode it: the footer, the rows, each column chunk."""

from collections.abc import Callable, Iterator
from pathlib import Path

from console.questdb.value_check import Advance
from console.text import clean_line


def can_read_parquet() -> bool:
    """Return whether pyarrow, which is optional, is installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


def parquet_problems(
    path: Path, rows: int, advance: Advance, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, str, int]]:
    """Yield (column, what is wrong, rows concerned) of the `wanted` columns of a Parquet file of `rows` rows.

    One column chunk is in memory at a time. Raises OSError if the file cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as stream, pyarrow.PythonFile(stream, mode="r") as source:
            file = pyarrow.parquet.ParquetFile(source)
            if file.metadata.num_rows != rows:
                yield "", f"it has {file.metadata.num_rows:,} rows, and _txn counts {rows:,}", rows
            for group in range(file.metadata.num_row_groups):
                described = file.metadata.row_group(group)
                for column in range(described.num_columns):
                    name = described.column(column).path_in_schema.split(".")[0]
                    if not wanted(name):
                        continue
                    try:
                        file.read_row_group(group, [name])
                    except (pyarrow.ArrowException, OSError) as error:
                        what = f"row group {group} cannot be decoded ({clean_line(str(error), 120)})"
                        yield clean_line(name), what, described.num_rows
                    advance(described.column(column).total_compressed_size)
    except pyarrow.ArrowException as error:
        yield "", f"its footer cannot be decoded ({clean_line(str(error), 120)})", rows
