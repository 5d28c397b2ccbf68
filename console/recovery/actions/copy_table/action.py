"""copy-table: a new table with the original's rows and definition, and its name where it can be freed.

The right form of "export, drop, recreate": nothing is exported through a client, and nothing is dropped.
"""

from collections.abc import Iterator, Sequence

from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError, said_of
from console.questdb.view_state import views_on
from console.records import to_json
from console.recovery.actions.copy_table import steps
from console.recovery.actions.copy_table.earlier import (
    EarlierCopy,
    earlier_copy,
    later_entries,
    written_by_others,
)
from console.recovery.actions.copy_table.refusals import refusals_of, sequencer_blocks
from console.recovery.actions.copy_table.server_state import COPY_DIRECTORY, EXPECTED, names_of, rows_of
from console.recovery.actions.copy_table.statements import (
    copy_statement,
    create_statement,
    finish_statements,
    free_name,
)
from console.recovery.actions.copy_table.steps import NOT_FREED
from console.recovery.actions.copy_table.stretches import Stretch, stretches
from console.recovery.actions.copy_table.swapping import Swap, swap_plan
from console.recovery.actions.salvage import steps as salvage_steps
from console.recovery.actions.salvage.steps import salvage_claims
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import (
    ActionSpec,
    Change,
    Claim,
    Danger,
    Fact,
    Outcome,
    Plan,
    Refusal,
    Requirement,
    RowsLost,
    Stage,
)  # fmt: skip
from console.recovery.plans import make_plan, refused_plan
from console.recovery.salvage.selection import UNAPPLIED, Selection, select_rows
from console.recovery.server.sql import Server, SqlError
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import notes_of
from console.recovery.store.journal import Entry
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="copy-table",
    title="Copy the table to a new one",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Copies what is applied into a new table, compares every value, and gives it the old name where that can be "
        "freed; the old directory stays."
    ),
    undo="The names go back and the copy is dropped, as long as nothing was written to it; the old table is as it was.",
)
STEPS = (*steps.STEPS, *salvage_steps.STEPS)
_EXTRA = 0.10
_BETTER = (
    "restore-sequencer or rebuild-sequencer bring back the rows that are not applied, too, and copy nothing: better "
    "where they are open"
)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused where the table cannot be read, moves, or needs no copy."""
    directory = context.database.table(table or "")
    target = context.target(directory)
    server = Server(context.settings.questdb)
    try:
        refused = list(refusals_of(context, directory, server))
        names = names_of(context.database)
        earlier = earlier_copy(context, directory.directory, names)
        if earlier is not None:
            refused = [each for each in refused if each.code is not RefusalCode.TAKES_WRITES]
            if earlier.swapped:
                refused.append(_swapped(directory, earlier))
        if refused:
            return refused_plan(SPEC, target, *refused)
        rows = TableRows(directory.path)
        views = [view.name for view in views_on(context.database, directory)]
        if earlier is not None:
            return _swap(context, directory, rows, earlier, set(names.values()), views)
        return _made(context, directory, rows, stretches(rows), set(names.values()), views)
    except (DamageError, OSError) as error:
        return refused_plan(SPEC, target, _unreadable(directory, said_of(error, directory.path)))
    except SqlError as error:
        return refused_plan(
            SPEC,
            target,
            Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server"),
        )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Say which table the writer goes to, and prove that both tables are there as they are to be."""
    given = next(stage.parameters for stage in plan.stages if "copy" in stage.parameters)
    server = Server(run.settings.questdb)
    names = names_of(run.database)
    ours, table, copy = str(run.recall(COPY_DIRECTORY)), str(given["table"]), str(given["copy"])
    swap = any(stage.step == "swap-names" for stage in plan.stages) and run.recall(NOT_FREED) is None
    expected = table if swap else copy
    name = clean_line(expected)
    row = server.wal_table(names.get(ours, copy))
    writes = row is not None and not row["suspended"] and int(row["sequencerTxn"]) >= int(row["writerTxn"])
    found, there = names.get(ours, "none"), (run.database.db / str(plan.directory) / "_txn").is_file()
    wanted, counted = int(run.recall(EXPECTED, 0)), rows_of(server, expected) if found == expected else 0
    claims = [
        Claim(ClaimKey.COPY_NAME, "the writer's table", name, clean_line(found), found == expected),
        Claim(ClaimKey.COPY_WRITES, "it takes rows and applies them", "yes", "yes" if writes else "no", writes),
        Claim.same(ClaimKey.COPY_ROWS, f"rows under the name {name}", wanted, counted, name),
        Claim(
            ClaimKey.OLD_DIRECTORY, f"the old directory {plan.directory}", "there", "there" if there else "gone", there
        ),
    ]
    if (why := run.recall(NOT_FREED)) is not None:
        claims.append(Claim.note(ClaimKey.NAME_FREED, "the old name", f"not freed: {clean_line(str(why), 160)}"))
    for stage in plan.stages:
        if stage.step == "salvage-rows":
            claims += salvage_claims(stage, run, whole=True)
    return tuple(claims)


def undo_refusals(context: PlanContext, entry: Entry, plan: Plan) -> list[Refusal]:
    """Return what stands against taking a copy back: rows written to it since, or no server to tell."""
    del plan
    noted = notes_of(context.state, entry.id)
    if not noted:
        return []
    undone = context.journal.undone()
    for later, _ in later_entries(context.journal, context.state, entry.id):
        if later.id not in undone and later.result is Outcome.DONE:
            reason = f"entry {later.id} went on with the copy: it gave it the old name"
            return [Refusal(RefusalCode.LATER_ENTRY, reason, f"walmedic undo {later.id} first")]
    server = Server(context.settings.questdb)
    try:
        server.prove_ours(context.database.db)
        name = names_of(context.database).get(str(noted.get(COPY_DIRECTORY)))
        since = written_by_others(context.journal, context.state, entry.id, server, name) if name is not None else 0
    except WalmedicError as error:
        return [Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server")]
    if not since:
        return []
    took = f"{clean_line(str(name))} took {plural(since, 'transaction')} since entry {entry.id}"
    reason = f"{took}; to take it back would put them out of reach"
    return [
        Refusal(
            RefusalCode.MOVED_ON, reason, "continue with the copy; the old table is still there under its other name"
        )
    ]


def _swapped(directory: TableDirectory, earlier: EarlierCopy) -> Refusal:
    reason = (
        f"its copy is called {clean_line(earlier.name)} and has every row of {directory.name} (entry {earlier.entry})"
    )
    return Refusal(RefusalCode.COPIED_ALREADY, reason, f"nothing: the writer continues with {clean_line(earlier.name)}")


def _swap(
    context: PlanContext, directory: TableDirectory, rows: TableRows, earlier: EarlierCopy, taken: set[str],
    views: list[str],
) -> Plan:  # fmt: skip
    selection = select_rows(directory, UNAPPLIED, context.settings)
    swap = Swap(
        directory, rows, earlier, free_name(f"{directory.raw_name}_old", taken), sequencer_blocks(directory), selection,
        _lost(selection, rows.txn.lag_rows), views,
    )  # fmt: skip
    return swap_plan(context, SPEC, swap, tuple(_salvage(context, directory, selection)))


def _made(
    context: PlanContext,
    directory: TableDirectory,
    rows: TableRows,
    parts: list[Stretch],
    taken: set[str],
    views: list[str],
) -> Plan:
    selection = select_rows(directory, UNAPPLIED, context.settings)
    lost = _lost(selection, rows.txn.lag_rows)
    copy, old = free_name(f"{directory.raw_name}_copy", taken), free_name(f"{directory.raw_name}_old", taken)
    blocked = sequencer_blocks(directory)
    largest = max((part.rows for part in parts), default=0) / max(1, rows.txn.rows)
    stages = tuple(_stages(context, directory, rows, parts, selection, copy, "" if blocked else old))
    warnings = [_BETTER]
    if selection.rows:
        warnings.append(
            f"{plural(selection.rows, 'row')} are unapplied and not copied: exported as files, load them yourself"
        )
    if selection.gone:
        warnings.append(
            f"of {plural(selection.gone, 'transaction')} that the log counts as not applied nothing is left on disk"
        )
    if rows.txn.lag_rows:
        warnings.append(
            f"{plural(rows.txn.lag_rows, 'row')} lie in the table's lag: applied by count, yet in no SELECT; "
            f"{selection.lag_rows:,} of them are salvaged with the rest"
        )
    earlier = [name for name in taken if name.lower().startswith(f"{directory.raw_name.lower()}_copy")]
    if earlier:
        warnings.append(f"there is {clean_line(', '.join(sorted(earlier)))} already, perhaps from an earlier copy")
    if blocked:
        warnings.append(
            f"the name cannot be freed now ({blocked}): the writer's new target is {clean_line(copy)}; once the "
            f"sequencer opens again, copy-table gives it the name {directory.name}"
        )
    if views and not blocked:
        warnings.append(f"materialised views on it become invalid by the rename: {', '.join(views)}")
    facts = (Fact(directory.directory, digest_of([rows.txn.txn, rows.txn.rows, rows.txn.applied_txn])),)
    return make_plan(
        SPEC,
        context.target(directory),
        why=(
            f"Copies {plural(rows.txn.rows, 'row')} of {plural(len(rows.partitions), 'partition')} to "
            f"{clean_line(copy)} and compares every value; {directory.directory} is left as it is."
        ),
        stages=stages,
        facts=facts,
        rows_lost=lost,
        requirements=(
            Requirement("the table can be read", True, f"{plural(rows.txn.rows, 'row')} applied"),
            Requirement("nothing is unapplied", lost.value == 0, f"{lost.value or 0:,} rows wait in its WAL"),
            Requirement("its name can be freed", not blocked, blocked or "the sequencer opens"),
        ),
        warnings=warnings,
        disk_needed=int(_size(directory) * (1 + _EXTRA + 2 * largest)) + (selection.bound if selection.choices else 0),
    )  # fmt: skip


def _stages(
    context: PlanContext, directory: TableDirectory, rows: TableRows, parts: Sequence[Stretch], selection: Selection,
    copy: str, old: str,
) -> Iterator[Stage]:  # fmt: skip
    name, nanos = directory.raw_name, rows.partitioning.nanos
    given = {
        "table": name, "directory": directory.directory, "copy": copy, "version": rows.txn.txn, "rows": rows.txn.rows,
    }  # fmt: skip
    yield from _salvage(context, directory, selection)
    create = create_statement(copy, rows)
    yield Stage("create", f"make {clean_line(copy)}, empty", "create-copy", given, (Change("sql", clean_line(create)),))
    columns = [column.raw_name for column in rows.columns]
    copied = {
        **given, "columns": columns, "timestamp": rows.timestamp.raw_name, "nanos": nanos,
        "stretches": to_json(parts),
    }  # fmt: skip
    shown = tuple(
        Change("sql", clean_line(copy_statement(name, copy, columns, rows.timestamp.raw_name, nanos, part)), size=None)
        for part in (*parts[:1], *parts[-1:])[: len(parts)]
    )
    yield Stage(
        "copy", f"copy {plural(len(parts), 'stretch', 'stretches')}, one after another", "copy-stretches", copied, shown
    )
    yield Stage("compare", "compare every partition and column with the original", "compare-tables", given)
    finish = tuple(Change("sql", clean_line(statement)) for statement in finish_statements(copy, rows.metadata))
    yield Stage("finish", "give it TTL and DEDUP of the original", "finish-copy", given, finish)
    if old:
        title = f"{directory.name} becomes {clean_line(old)}, {clean_line(copy)} becomes {directory.name}"
        renames = (Change("rename", name, name, old), Change("rename", copy, copy, name))
        yield Stage("swap", title, "swap-names", {**given, "old": old}, renames)


def _salvage(context: PlanContext, directory: TableDirectory, selection: Selection) -> Iterator[Stage]:
    if not selection.choices:
        return
    parameters = {
        "name": directory.directory, "directory": directory.directory, "source": "", "rows": UNAPPLIED,
        "to": str(context.state.root / "salvage"), "format": context.settings.salvage.format,
    }  # fmt: skip
    title = f"salvage {plural(selection.rows, 'row')} that are not applied"
    yield Stage("salvage", title, "salvage-rows", parameters, (Change("create", str(parameters["to"])),))


def _lost(selection: Selection, lag_rows: int) -> RowsLost:
    """Return the rows that the copy will not have: in the WAL, or in the table's lag."""
    if selection.unread:
        return RowsLost("unknown", None)
    gone = max(0, lag_rows - selection.lag_rows)  # of the lag, where its WAL is not there
    return RowsLost("bound" if selection.unsure else "exact", selection.rows + gone)


def _size(directory: TableDirectory) -> int:
    """Return the bytes of the partitions."""
    folders = [p for p in directory.path.iterdir() if p.is_dir() and not p.name.startswith(("wal", "txn_seq"))]
    return sum(file.lstat().st_size for folder in folders for file in folder.iterdir())


def _unreadable(directory: TableDirectory, what: str) -> Refusal:
    return Refusal(
        RefusalCode.TABLE_UNREADABLE,
        f"{directory.name}: {clean_line(what)}",
        "capture-evidence, then repair it first",
        action="capture-evidence",
    )
