"""What each finding code means, what QuestDB does with it, and what to do: the registry behind docs/findings.md.

The finding itself names file, offset and rows; these sentences hold for every finding of the code. Files that a power
loss can take are as QuestDB 9.1.0 treats them, unless a version is named.
"""

from dataclasses import dataclass
from typing import Final

from console.diagnosis.model import Code


@dataclass(frozen=True, slots=True)
class Meaning:
    """Three sentences without their full stops: what was found, what `server` does, what `to_do`."""

    what: str
    server: str
    to_do: str


_WRITES_FAIL: Final = "reads work, every write fails"
_RESTORE: Final = "restore-sequencer where a copy lies in the table, else rebuild-sequencer"
_LOG: Final = "repair-log"
_NOT_STARTED: Final = "do not start QuestDB before it is repaired"
_METADATA: Final = f"repair-metadata; {_NOT_STARTED}"
_STATE: Final = f"repair-table-state; {_NOT_STARTED}"
_PARTITION: Final = "repair-partition: from a copy, with NULL for lost values, up to the last whole row, or set aside"
_SYMBOLS: Final = "repair-symbols; write nothing before"
_INDEX: Final = "rebuild-index; with QuestDB up and the column whole also REINDEX TABLE … LOCK EXCLUSIVE"

MEANINGS: Final[dict[Code, Meaning]] = {
    # The sequencer: txn_seq and its log.
    Code.SEQUENCER_MISSING: Meaning(
        "the directory txn_seq is gone",
        f"{_WRITES_FAIL}, and the table is not listed; 8.2 and before erase the table at a start",
        _RESTORE,
    ),
    Code.LOG_MISSING: Meaning(
        "txn_seq/_txnlog is gone", f"{_WRITES_FAIL}; a start puts an empty file in its place", _RESTORE
    ),
    Code.LOG_EMPTY: Meaning("txn_seq/_txnlog is too short for a header", _WRITES_FAIL, _RESTORE),
    Code.LOG_HEADER_ZEROED: Meaning(
        "the header of txn_seq/_txnlog is zeros",
        "takes it for an empty log: writes are acknowledged and never applied, and the WAL purge deletes what waits",
        f"{_RESTORE}; {_LOG} where the records are whole",
    ),
    Code.LOG_VERSION_UNKNOWN: Meaning(
        "the header of txn_seq/_txnlog names a version that is not known", _WRITES_FAIL, "walmedic bundle, and ask"
    ),
    Code.LOG_MAX_TXN_PAST_END: Meaning(
        "the header of txn_seq/_txnlog counts records that the file does not hold",
        "can crash as it applies, at every start",
        _LOG,
    ),
    Code.LOG_MAX_TXN_BELOW_APPLIED: Meaning(
        "the header of txn_seq/_txnlog counts fewer transactions than the table has applied",
        "new transactions get numbers that are applied already: they are acknowledged and never applied",
        _RESTORE,
    ),
    Code.LOG_RECORD_ZEROED: Meaning(
        "records of transactions that wait are zeros",
        "applying stops there; what is committed after it is acknowledged and not applied",
        _LOG,
    ),
    Code.LOG_RECORD_INVALID: Meaning(
        "records of transactions that wait hold what no server writes", "applying stops there, or the server crashes",
        _LOG,
    ),
    Code.LOG_UNKNOWN_SEGMENT: Meaning(
        "a record names a WAL id that was never handed out", "applying stops there", _LOG
    ),
    Code.LOG_STRUCTURE_VERSION_REGRESS: Meaning(
        "the log's structure changes do not continue from the table's own version", "applying stops there", _LOG
    ),
    Code.LOG_TAIL_UNLOGGED: Meaning(
        "events on disk that no record of the log names: a commit that was cut off, or a log that lost its end",
        "never applies them, and the WAL purge deletes them",
        "nothing if the commit was not acknowledged to the writer; else the repair that check advises, or salvage-wal",
    ),
    Code.LOG_PART_MISSING: Meaning(
        "a part file of a chunked log (txn_seq/_txn_parts) is gone", "applying stops there", _RESTORE
    ),
    Code.WAL_INDEX_MISSING: Meaning(
        "txn_seq/_wal_index.d is gone or cut", "makes it again as 0: the next writer takes a WAL id that is in use",
        "raise-wal-index",
    ),
    Code.WAL_INDEX_LOW: Meaning(
        "txn_seq/_wal_index.d is lower than the highest WAL on disk",
        "the next writer can overwrite what waits in a WAL directory",
        "raise-wal-index",
    ),
    Code.SEQUENCER_METADATA_MISSING: Meaning("txn_seq/_meta is gone", _WRITES_FAIL, _RESTORE),
    Code.SEQUENCER_METADATA_INVALID: Meaning(
        "txn_seq/_meta is damaged, or of another table, or says that the table was dropped", _WRITES_FAIL, _RESTORE
    ),
    Code.SEQUENCER_FOREIGN: Meaning(
        "txn_seq is of another table, or of an earlier life of this one",
        "applies what is not the table's, or nothing",
        f"{_RESTORE}; {_NOT_STARTED}",
    ),
    Code.BACKUP_FOUND: Meaning("copies of txn_seq lie inside the table", "does not look at them", "keep them"),
    Code.IN_TABLE_BACKUP_AT_RISK: Meaning(
        "the only copies of what is lost lie inside the table", "DROP TABLE deletes them with it", "capture-evidence"
    ),
    # The WAL.
    Code.SEGMENT_MISSING: Meaning(
        "a WAL segment that the log names is gone", "applying stops there",
        "put it back if there is a copy; else repair-log, without its transactions",
    ),
    Code.SEGMENT_EVENT_TRUNCATED: Meaning(
        "the event file of a segment, or its index, is cut or damaged",
        "applying stops there, or crashes the server",
        "repair-log; salvage-wal exports what is whole",
    ),
    Code.SEGMENT_DATA_TORN: Meaning(
        "columns of a segment are shorter than its events say, or hold pages of zeros",
        "applying stops there, or applies zeros without an error",
        "repair-log, without those transactions; salvage-wal exports what is whole",
    ),
    Code.WAL_AT_RISK_OF_PURGE: Meaning(
        "WAL that holds rows and that nothing protects from the purge", "deletes it within half a purge interval",
        "the repair that check advises, before QuestDB starts",
    ),
    Code.WAL_FOREIGN: Meaning(
        "a WAL directory is of another table, or of an earlier life of this one",
        "applies its rows if the log names it",
        "move it out of the table",
    ),
    # _txn and the table's other metadata.
    Code.TABLE_TXN_INVALID: Meaning(
        "_txn is gone, damaged, or contradicts itself",
        "reads hang; a start can take the table for empty and delete its partitions",
        _STATE,
    ),
    Code.TABLE_TXN_BEHIND: Meaning(
        "_txn is older than the table's other files", "deletes what it does not name, and applies rows again", _STATE
    ),
    Code.TABLE_TXN_MISCOUNTED: Meaning(
        "_txn counts other transactions as applied, or other symbols, than the table has",
        "applies transactions twice, or skips some and deletes their WAL; with symbols, reads fail or names mix",
        _STATE,
    ),
    Code.TRANSACTIONS_SKIPPED: Meaning(
        "RESUME WAL FROM TXN skipped transactions whose WAL is still on disk",
        "never applies them, and the WAL purge deletes them",
        "salvage-wal writes their rows as files; repair-table-state has QuestDB apply them after all",
    ),
    Code.LAG_OVERFLOW: Meaning(
        "the lag transactions in _txn have no lag rows", "counts transactions as applied that are not",
        "restart QuestDB before anything is written",
    ),
    Code.TABLE_METADATA_MISSING: Meaning(
        "_meta is gone", "can neither read nor write the table; an empty one keeps the whole server down", _METADATA
    ),
    Code.TABLE_METADATA_INVALID: Meaning(
        "_meta is damaged, older than _txn, or contradicts the sequencer",
        "does not start, rewrites the table as of another version, or reads hang", _METADATA,
    ),
    Code.COLUMN_VERSIONS_MISSING: Meaning("_cv is gone", "reads and writes fail", _METADATA),
    Code.COLUMN_VERSIONS_INVALID: Meaning(
        "_cv is damaged, or not the one that _txn needs", "reads hang, or show wrong columns", _METADATA
    ),
    Code.TABLE_FILES_DISAGREE: Meaning(
        "_txn, _meta, _cv or txn_seq are of different states of the table", "reads hang, or writes fail",
        "what check advises: the file that is damaged or older is repaired",
    ),
    Code.TODO_INVALID: Meaning(
        "_todo_ is cut", "no writer opens the table", "stop QuestDB, move _todo_ out of the table, start QuestDB"
    ),
    Code.TODO_PENDING: Meaning(
        "_todo_ has the next writer end a TRUNCATE that was cut off, or put an older _meta back",
        "deletes every partition, or fails and suspends the table; with an older _meta, reads time out",
        "stop QuestDB, move _todo_ out of the table, start QuestDB; nothing where it is a note",
    ),
    Code.CONVERSION_HALF_DONE: Meaning(
        "a conversion between WAL and no WAL was begun", "a start ends it: unapplied WAL is deleted, or applied twice",
        "convert-table, which keeps the WAL",
    ),
    # Partitions and columns.
    Code.PARTITION_MISSING: Meaning(
        "the directory of a partition that _txn names is gone",
        "reads of it fail; a write into it suspends the table, or drops the partition",
        f"{_PARTITION}; other partitions can be read",
    ),
    Code.PARTITION_ROWS_DIFFER: Meaning(
        "_txn counts other rows than the columns of a partition hold, or has another oldest one",
        "reads fail, or show rows that do not exist",
        _STATE,
    ),
    Code.PARTITION_UNREADABLE: Meaning(
        "the server fails on a partition, or counts other rows than it should have", "reads of it fail", _PARTITION
    ),
    Code.SOFT_LINK: Meaning(
        "a partition or a table is a soft link", "reads through it", "nothing: it is read, and never written through"
    ),
    Code.SOFT_LINK_BROKEN: Meaning(
        "a partition or a table is a soft link to what is not there: its disk is not mounted, or lost",
        "drops the partition; forgets the table, or does not start",
        "mount the disk and check again; if it is lost: repair-partition --partition NAME, or move the link of the "
        "table out of db/",
    ),
    Code.COLUMN_FILE_MISSING: Meaning(
        "a column file of a partition is gone",
        "the partition cannot be read; a write can put a file of zeros in its place", _PARTITION,
    ),
    Code.COLUMN_FILE_SHORT: Meaning(
        "a column file is shorter than its rows", "reads fail; a write fills the rest with zeros", _PARTITION
    ),
    Code.COLUMN_FILE_INVALID: Meaning(
        "a column file has the right length and content that no server writes",
        "reads fail or give other values; a write there can crash the server", _PARTITION,
    ),
    Code.TIMESTAMPS_INVALID: Meaning(
        "timestamps of a partition are not in order, or outside of it",
        "min, max and filters by time are wrong, without an error", _PARTITION,
    ),
    Code.PARQUET_FILE_INVALID: Meaning(
        "a partition's data.parquet is damaged", "a query on it fails, and can kill the server", _PARTITION
    ),
    Code.PARQUET_FORMAT_OLD: Meaning(
        "a partition was converted to Parquet by QuestDB 8.1 or 8.2",
        "8.1 and 8.2 cannot read it; later versions can crash or suspend the table on it",
        "salvage-table exports its rows; do so before an upgrade",
    ),
    Code.SUSPECT_VALUES: Meaning(
        "zeros where the rest of the column has none: perhaps a page that never reached the disk",
        "shows them without an error", "compare the values with their source",
    ),
    Code.SYMBOL_MAP_MISSING: Meaning(
        "a file of a symbol map is gone", "the table cannot be read, or suspends at the next write", _SYMBOLS
    ),
    Code.SYMBOL_MAP_SHORT: Meaning(
        "a file of a symbol map is shorter than its symbols",
        "names are empty, filters find nothing, and the next new symbol suspends the table", _SYMBOLS,
    ),
    Code.SYMBOL_MAP_INVALID: Meaning(
        "the content of a symbol map contradicts itself, or _txn", "names or filters are wrong", _SYMBOLS
    ),
    Code.SYMBOL_KEYS_UNKNOWN: Meaning(
        "rows have symbol keys that the symbol map does not know", "shows them as an empty symbol, without an error",
        "rebuild-index, which has the keys from a whole index; else repair-partition: NULL for these values",
    ),
    Code.INDEX_FILE_MISSING: Meaning("a file of a bitmap index is gone", "filters on the column fail", _INDEX),
    Code.INDEX_FILE_INVALID: Meaning(
        "a bitmap index does not agree with its column", "filters on the column find other rows", _INDEX
    ),
    Code.OWNERSHIP_DIFFERS: Meaning(
        "files of the table belong to another user, or cannot be written by their owner",
        "cannot open them: the table suspends", "repair-ownership, with QuestDB stopped",
    ),
    # The database, views, the server.
    Code.REGISTRY_INVALID: Meaning(
        "tables.d and the tables' _name do not agree, or two directories share a name",
        "a table may not be listed, or by another name",
        "repair-registry if tables.d is damaged; else what the finding says",
    ),
    Code.RESTORE_PENDING: Meaning(
        "a file _restore lies in the data root", "the next start rolls all tables back to the checkpoint",
        "do not start QuestDB; move _restore away if the restore is not wanted",
    ),
    Code.CHECKPOINT_LEFT: Meaning(
        "a checkpoint was not released", "a start of a copy rolls back to it; disk space is not given back",
        "CHECKPOINT RELEASE, once QuestDB runs",
    ),
    Code.VIEW_BEHIND: Meaning(
        "a materialised view is behind its base table", "refreshes it later", "nothing, or REFRESH MATERIALIZED VIEW"
    ),
    Code.VIEW_FILES_INVALID: Meaning(
        "the definition or state of a view is damaged, or the view is invalid",
        "does not refresh it: its rows get stale", "REFRESH MATERIALIZED VIEW … FULL, or make the view again",
    ),
    Code.TABLE_SUSPENDED: Meaning(
        "the server has suspended the table", "acknowledges writes and applies none",
        "repair what stopped it, then resume-wal",
    ),
    Code.APPLY_DISABLED: Meaning(
        "cairo.wal.apply.enabled is false", "acknowledges writes and applies none",
        "set it to true in server.conf and restart QuestDB",
    ),
    Code.APPLY_STANDS_STILL: Meaning(
        "transactions wait, the table is not suspended, and nothing is applied", "says nothing",
        "look at its log and load; if it does not move on, restart QuestDB",
    ),
    Code.SERVER_DISAGREES: Meaning(
        "the server says something else than the files", "works with what it has in memory", "restart QuestDB"
    ),
    Code.UNLISTED_BY_SERVER: Meaning(
        "the server does not list a table whose files are there", "answers that the table does not exist",
        "what check advises for the table; if nothing is damaged, restart QuestDB",
    ),
    Code.NO_TABLES: Meaning(
        "no table was found", "makes an empty database at a start", "look whether the data root is the right one"
    ),
    Code.TABLE_SET_ASIDE: Meaning(
        "set-table-aside moved a table out of QuestDB's sight, and that was not undone",
        "does not know the table; a writer may make a new one of its name",
        "walmedic undo of that entry, once the table can be repaired or is to be read",
    ),
    Code.TABLE_IDS_LOW: Meaning(
        "_tab_index.d is below the highest table id, or two tables have the same id",
        "gives new tables ids that other tables have; nothing is lost by that alone",
        "repair-registry, with QuestDB stopped; ids that are given twice already stay so",
    ),
    Code.TABLE_DIRECTORY_GONE: Meaning(
        "the registry names a table whose directory is not in the db directory",
        "does not know the table; a writer may make a new one of its name",
        "put the directory back from a copy; if it was removed on purpose, repair-registry forgets it",
    ),
    Code.DROPPED_TABLE_BACK: Meaning(
        "the registry says that a table was dropped, and the table's own log does not: a directory that was put "
        "back, or a DROP TABLE that a crash cut short",
        "deletes the directory at a start",
        "move the directory out of the db directory, with QuestDB stopped; in the db directory of a new data root a "
        "QuestDB reads it",
    ),
    Code.WAL_RENAMED: Meaning(
        "a directory with WAL segments has a name that QuestDB does not know, and the WAL after which it is named is "
        "not there",
        "applies nothing of it, and stops where the log names it",
        "give it its name back, with QuestDB stopped; its rows are not counted before that",
    ),
    Code.ENTRY_UNFINISHED: Meaning(
        "an action of walmedic was cut off in the middle, or an undo", "may see files of before and after the action",
        "run the action again, which finishes it, or walmedic undo ENTRY; nothing else is done before that",
    ),
    Code.UNREADABLE: Meaning(
        "a file could not be read: permission, an I/O error, or a format that is not known",
        "depends on the file", "run walmedic as the owner of the files, or look at the disk",
    ),
    Code.CRASH_LOG_INVALID: Meaning(
        "an hs_err log is empty, cut, or none at all", "does not read it", "nothing: its cause stays unknown"
    ),
}  # fmt: skip
