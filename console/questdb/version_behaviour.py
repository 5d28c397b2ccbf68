"""What a start of QuestDB does to damaged tables, by version: the one place where versions decide something.

Measured on 7.3.10, 7.4.2, 8.2.0, 9.1.0, 9.3.2 and 9.3.4; between two of them the change is taken from the sources
(TableSequencerImpl, TableTransactionLogFile, WalPurgeJob). A version that is not known counts as the worst of them.
"""

from dataclasses import dataclass, replace
from typing import Final

from console.questdb.server_version import Version


@dataclass(frozen=True, slots=True)
class StartBehaviour:
    """What the first seconds after a start do.

    `erases_without_sequencer`: a table whose `txn_seq` is missing counts as dropped, and its
    directory is deleted. `empties_missing_log`: a missing or empty `_txnlog` is made anew at transaction 0, so that the
    purge deletes all WAL. `file_locks_hold_wal`: the purge takes no WAL whose lock file another process holds.
    `keeps_suspension`: a table whose sequencer `_meta` says that it is suspended stays so. `drops_rows_by_rebase`:
    REBASE WAL is a statement, and gives unapplied rows up (from the pull request: no such version was measured).
    """

    erases_without_sequencer: bool
    empties_missing_log: bool
    file_locks_hold_wal: bool
    keeps_suspension: bool
    drops_rows_by_rebase: bool = False


_OLDEST: Final = StartBehaviour(
    erases_without_sequencer=True, empties_missing_log=True, file_locks_hold_wal=True, keeps_suspension=True
)
_V74: Final = replace(_OLDEST, empties_missing_log=False)
_V90: Final = replace(_V74, erases_without_sequencer=False, keeps_suspension=False)
_V933: Final = replace(_V90, file_locks_hold_wal=False)
_V94: Final = replace(_V933, drops_rows_by_rebase=True)
_SINCE: Final = (((0, 0, 0), _OLDEST), ((7, 4, 0), _V74), ((9, 0, 0), _V90), ((9, 3, 3), _V933), ((9, 4, 0), _V94))
WORST: Final = replace(_OLDEST, file_locks_hold_wal=False)
"""Of a version that is not known: whatever any version would do."""


def behaviour_of(version: Version | None) -> StartBehaviour:
    """Return what a start of `version` does; None is a version that is not known."""
    if version is None:
        return WORST
    return next(behaviour for since, behaviour in reversed(_SINCE) if version.numbers >= since)
