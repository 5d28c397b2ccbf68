"""Materialised views on a table, and what filler in its log does to them.

A view refreshes from the transactions after the one it has seen. Filler there hides rows from it in silence (measured:
15 rows of 25, status valid). A record that names a WAL which is not on disk makes the server refresh the view in full
instead (MatViewRefreshJob: "could not read WAL transactions, falling back to full refresh").
"""

from dataclasses import dataclass
from pathlib import Path

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.view_state import read_view
from console.text import clean_line

Runs = tuple[tuple[int, int], ...]
"""Inclusive (first, last) ranges of transaction ids, ascending."""


@dataclass(frozen=True, slots=True)
class DependentView:
    """A view on the table and the base transaction after which it needs real records (-1: it never refreshed)."""

    name: str
    needs_after: int


@dataclass(frozen=True, slots=True)
class FillerRule:
    """`at`: the transaction of the one filler record that must name a WAL that never was (`wal`); None: not needed."""

    at: int | None
    wal: int | None
    warnings: tuple[str, ...]

    @classmethod
    def of(
        cls, views: tuple[DependentView, ...], filled: tuple[tuple[int, int], ...], applied: int, highest_wal: int
    ) -> "FillerRule":
        """Return the rule for a log in which only the runs `filled` are real records up to `applied`."""
        hole = _highest_hole(filled, applied)
        behind = [view for view in views if 0 <= view.needs_after < hole]
        if not behind:
            return cls(None, None, ())
        names = ", ".join(view.name for view in behind[:5])
        warning = (
            f"{names} had not seen all applied transactions, and their records are lost: the log gets a mark that "
            "makes the server refresh them in full; should it not, REFRESH MATERIALIZED VIEW … FULL does"
        )
        return cls(hole, highest_wal + 1, (warning,))


def _highest_hole(filled: Runs, applied: int) -> int:
    """Return the highest transaction up to `applied` without a real record, 0 where there is none."""
    top = applied
    for first, last in reversed(filled):
        if last < top:
            return top
        top = min(top, first - 1)
    return max(0, top)


def views_of(db: Path, table: TableDirectory, applied: int) -> tuple[DependentView, ...]:
    """Return the views on `table` that are not yet at `applied`; a view whose state cannot be read counts as at 0."""
    found = []
    for each in DatabaseRoot(db.parent, db).tables():
        if not each.is_view:
            continue
        view = read_view(each.path)
        if view.definition is None or view.definition.base_table.lower() != table.raw_name.lower():
            continue
        needs = view.state.needs_records_after if view.state is not None else -1
        if view.state is not None and view.state.invalid:
            continue  # an invalid view refreshes in full anyway
        if needs < applied:
            found.append(DependentView(clean_line(each.name), needs))
    return tuple(found)
