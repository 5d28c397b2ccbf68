"""`_tab_index.d` of the db directory: the highest table id handed out. QuestDB gives the next table one more.

A table's id is in its `_meta`, in the registry and, for a WAL table, behind the `~` of its directory's name.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from console.questdb.aside import tables_aside
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import ProblemKind
from console.questdb.table_name import id_of_directory
from console.questdb.wal_index import read_highest

TABLE_INDEX: Final = "_tab_index.d"
_LIMIT: Final = 1 << 24
"""No server has made so many tables: a higher id is damage."""


@dataclass(frozen=True, slots=True)
class TableIds:
    """`handed_out` is what the file says, None where it says nothing that can be; `behind`: new tables would get ids
    that are in use.

    `highest` is that of the tables, dropped ones, those of the registry and those set aside included. `shared` has by
    id the directories of the tables that have it, where they are several.
    """

    handed_out: int | None
    behind: bool
    highest: int
    shared: dict[int, tuple[str, ...]]


def read_table_ids(database: DatabaseRoot) -> TableIds:
    """Return the ids of all tables, and what the file says after that: a server raises it first.

    With commit mode sync ids are taken in batches, so that it may lie far above.
    """
    named: dict[int, list[str]] = defaultdict(list)
    for table in database.tables_and_views(dropped=True):
        if 0 < (table_id := _id_of(table)) < _LIMIT:
            named[table_id].append(table.directory)
    registry = database.registry()
    elsewhere = [*registry.live(), *registry.dropped(), *(aside.path.name for aside in tables_aside(database.db))]
    highest = max([*named, *(each for name in elsewhere if (each := id_of_directory(name)) < _LIMIT)], default=0)
    index = read_highest(database.db / TABLE_INDEX)
    handed_out = None if index.problems else index.highest
    unreadable = any(problem.kind is ProblemKind.UNREADABLE for problem in index.problems)
    shared = {each: tuple(directories) for each, directories in named.items() if len(directories) > 1}
    return TableIds(handed_out, highest > (handed_out or 0) and not unreadable, highest, shared)


def _id_of(table: TableDirectory) -> int:
    """Return the id of a table, 0 where it is not known."""
    return id_of_directory(table.directory) or (0 if table.problems else table.table_id or 0)
