"""`_tab_index.d` of the db directory: the highest table id handed out. QuestDB gives the next table one more.

A table's id is in its `_meta`, in the registry and, for a WAL table, behind the `~` of its directory's name.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.wal_index import read_highest

TABLE_INDEX: Final = "_tab_index.d"
_LIMIT: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class TableIds:
    """`handed_out` is what the file says, None where it says nothing that can be; `highest` is that of the tables.

    `shared` has by id the directories of the tables that have it, where they are several.
    """

    handed_out: int | None
    highest: int
    shared: dict[int, tuple[str, ...]]

    @property
    def behind(self) -> bool:
        """Whether new tables would get ids that are in use. With commit mode sync ids are taken in batches."""
        return self.highest > (self.handed_out or 0)


def _id_of(table: TableDirectory) -> int:
    """Return the id of a table, 0 where it is not known; a directory's name cannot be damaged."""
    _, mangled, number = table.directory.rpartition("~")
    if mangled and number.isdecimal():
        return int(number)
    return 0 if table.problems else table.table_id or 0


def read_table_ids(database: DatabaseRoot) -> TableIds:
    """Return the ids of all tables, dropped ones that are still there included, and what the file says after that."""
    named: dict[int, list[str]] = defaultdict(list)
    for table in database.tables_and_views(dropped=True):
        table_id = _id_of(table)
        if 0 < table_id < _LIMIT:
            named[table_id].append(table.directory)
    index = read_highest(database.db / TABLE_INDEX)
    handed_out = None if index.problems else index.highest
    shared = {each: tuple(directories) for each, directories in named.items() if len(directories) > 1}
    return TableIds(handed_out, max(named, default=0), shared)
