"""The sequencer that a table must have, by all the evidence there is: copies of logs, the server's log, the rows."""

from collections.abc import Sequence

from console.recovery.sequencer import rows, server_log
from console.recovery.sequencer.candidates import ordered
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.recovery.sequencer.other_values import contradicted
from console.recovery.sequencer.sources import Sources
from console.recovery.sequencer.target import SequencerTarget, compute
from console.recovery.sequencer.whole_rows import by_whole_rows
from console.settings import Settings
from console.table.inventory import Index
from console.table.memory import TableMemory
from console.table.torn import Wholeness, check_rows
from console.table.zero_columns import ZeroShares


def reconstruct(
    table: TableOnDisk, base: LogSource | None, copies: Sequence[LogSource], settings: Settings
) -> SequencerTarget:
    """Return it, built on `base` (None: on filler); of `copies` the better ones count first."""
    strongest = ordered(table, [source for source in copies if source.verdict.own])
    if base is not None:
        strongest = (base, *(source for source in strongest if source is not base))
    lines, lines_name = server_log.lines_of(settings, table)
    compare = rows.RowComparison(table)
    memory = TableMemory()
    zeros = ZeroShares((table.metadata, table.txn, table.path))

    def check(events: Index) -> Wholeness:
        return check_rows(table.inventory, events, zeros, memory)

    return compute(
        table,
        Sources(base, strongest, lines, lines_name),
        look=by_whole_rows(table, compare, zeros, memory) if compare.possible else None,
        why_no_look=lambda: compare.why_not,
        check=check,
        shared_keys=compare.shared_keys,
        contradicted=lambda applied, back: contradicted(table, applied, back, check),
    )
