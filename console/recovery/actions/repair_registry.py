"""repair-registry: a damaged `tables.d.N` is emptied, since QuestDB makes it again from the directories of the tables.

Measured on 9.1.0: garbage in it keeps the server from starting, or it starts and calls tables by names of before a
rename. One that is empty is made again right, renamed tables included, from `_name` in each directory. But a dropped
table comes back so, if its directory was not purged yet: that is the one thing that is written into it.

Beside it lies `_tab_index.d`, the highest table id handed out: where tables have higher ones, it is set to the highest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from console.digests import digest_of
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.log_encoding import encode_wal_index
from console.questdb.reading import Problem, ProblemKind, list_directory
from console.questdb.registry import REGISTRY, RegistryEntry, TableKind, encode_registry
from console.questdb.table_ids import TABLE_INDEX, TableIds, read_table_ids
from console.questdb.table_name import encode_table_name, name_of_directory, read_table_name
from console.questdb.txn_log import ends_with_drop
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.gate.finishing import moved_on
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Plan, Refusal, Requirement, RowsLost, Stage
from console.recovery.plans import make_plan, mark_of
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.steps.table_files import replace_files
from console.recovery.store.journal import Entry
from console.recovery.table_repair.new_files import NewFile, specs_of
from console.recovery.table_repair.planning import stamp_of, written_claims
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="repair-registry",
    title="Repair the registry of tables",
    danger=Danger.DATA,
    needs_table=False,
    summary=(
        "Empties a damaged tables.d.N but for dropped tables: QuestDB makes it again from the table directories. Each "
        "_name that is missing there is written first. Sets _tab_index.d to the highest table id."
    ),
    undo="The old files are put back, byte for byte, until a table was created, renamed or dropped.",
    offline=True,
)
STEPS = table_files.STEPS
_DAMAGED = (ProblemKind.INVALID, ProblemKind.SHORT)


@dataclass(frozen=True, slots=True)
class _Named:
    """A table directory, and the name that QuestDB gives it without a registry; `write`: once its `_name` is there.

    `dropped`: its log ends with the drop, or what of the registry can be read says so.
    """

    table: TableDirectory
    name: str
    write: bool
    dropped: bool


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty where the registry is whole, refused where two directories would get one name."""
    del table
    database = context.database
    registry = database.registry()
    damage = next((problem for problem in registry.problems if problem.kind in _DAMAGED), None)
    readable = damage is None or (registry.stamp is not None and not registry.stamp.size)
    gone, ids = database.gone(), read_table_ids(database)
    # A table that is gone may come back with its disk: it is forgotten by a plan of its own.
    whole = registry.path is None or (readable and not (gone and not ids.behind) and not database.doubles())
    if whole and not ids.behind:
        return make_plan(SPEC, context.target(), why="Nothing to do: the registry of tables is whole.")
    tables = _names(database)
    facts = [Fact(TABLE_INDEX, stamp_of(database.db / TABLE_INDEX))]
    if registry.path is not None:
        facts += [Fact(registry.path.name, stamp_of(registry.path))]
    facts += [Fact(f"{each.table.directory}/_name", stamp_of(each.table.path / "_name")) for each in tables]
    refused = () if whole else tuple(_refusals(tables))
    wrong = None if whole or registry.path is None else registry.path.name
    stages, attachments = ((), {}) if refused else _stages(_new_files(wrong, tables, ids), mark_of(facts))
    return make_plan(
        SPEC,
        context.target(),
        why=_why(wrong, damage, gone),
        stages=stages,
        facts=facts,
        rows_lost=RowsLost.exact(0),
        refused=refused,
        requirements=() if whole else (_told(tables, distinct=not refused),),
        warnings=() if whole else _warnings(tables),
        attachments=attachments,
        disk_needed=sum(change.size or 0 for stage in stages for change in stage.changes),
    )


def _why(file: str | None, damage: Problem | None, gone: Sequence[RegistryEntry]) -> str:
    if file is None:
        return f"{TABLE_INDEX} is below the highest table id: new tables would get ids of tables that there are"
    if damage is None and gone:
        return f"{file} names {clean_line(gone[0].directory)}, which is not there: it will be forgotten"
    return f"{file} is damaged: {damage.what if damage is not None else 'tables of one name'}"


def _names(database: DatabaseRoot) -> list[_Named]:
    """Return what each directory is called without the registry, or must be by what of it can be read."""
    found = []
    for table in database.tables_and_views(dropped=True):
        own, dropped = read_table_name(table.path), table.dropped or ends_with_drop(table.sequencer) is True
        found.append(_Named(table, own or table.raw_name, own is None and table.registered and not dropped, dropped))
    return found


def _entries(tables: list[_Named]) -> list[RegistryEntry]:
    """Return the entries that keep dropped tables dropped: added, and removed."""
    return [
        RegistryEntry(each.name, each.table.directory, each.table.table_id or 0, TableKind.WAL, removed, 0)
        for each in tables
        if each.dropped
        for removed in (False, True)
    ]


def _refusals(tables: list[_Named]) -> list[Refusal]:
    if not any((each.table.path / "_txn").exists() for each in tables):
        reason = "no directory has a table whose owner a new registry could get"
        return [Refusal(RefusalCode.RESULT_UNKNOWN, reason, "move the registry away: QuestDB makes a new one")]
    live = [each for each in tables if not each.dropped]
    count = Counter(each.name.lower() for each in live)
    for each in live:
        if count[each.name.lower()] > 1:
            same = [clean_line(e.table.directory) for e in live if e.name.lower() == each.name.lower()]
            reason = f"{' and '.join(same)} are both called {clean_line(each.name)}, and the registry says no more"
            instead = "move the directory that is not the table out of the db directory, then plan again"
            return [Refusal(RefusalCode.RESULT_UNKNOWN, reason, instead)]
    return []


def _told(tables: list[_Named], *, distinct: bool) -> Requirement:
    live = [each for each in tables if not each.dropped]
    read = sum(each.write for each in live)
    proof = f"{plural(len(live) - read, 'table')} by _name, {read:,} by what of the registry can be read"
    return Requirement("each table directory has a name of its own", distinct, proof)


def _warnings(tables: list[_Named]) -> tuple[str, ...]:
    renamed = [
        f"{clean_line(each.table.directory)} is called {clean_line(each.name)} by its _name, and "
        f"{each.table.name} by what of the registry can be read: QuestDB takes the first"
        for each in tables
        if each.table.registered and not each.dropped and each.name != each.table.raw_name
    ]
    guessed = [
        f"{clean_line(each.table.directory)} has no readable _name and no entry: QuestDB calls it "
        f"{clean_line(name_of_directory(each.table.directory))}, also if it was renamed"
        for each in tables
        if not each.write
        and not each.dropped
        and not each.table.registered
        and read_table_name(each.table.path) is None
    ]
    return (*renamed, *guessed)


def _new_files(registry: str | None, tables: list[_Named], ids: TableIds) -> list[tuple[TableDirectory, NewFile]]:
    """Return the files to write, in order: each `_name` that is missing comes before the registry that has it.

    `registry` is the name of the damaged one, None where it is whole. A path is below the table's directory; the owner
    of a file of the db directory will be that of a table.
    """
    owner = next((each.table for each in tables if (each.table.path / "_txn").exists()), tables[0].table)
    files = []
    if registry is not None:
        missing = [each for each in tables if each.write]
        files += [
            (each.table, NewFile.of("_name", encode_table_name(each.name), f"the name {clean_line(each.name)}"))
            for each in missing
        ]
        dropped = sum(each.dropped for each in tables)
        told = f"no entry but of {plural(dropped, 'dropped table')}" if dropped else "no entry"
        files.append((owner, NewFile.of(f"../{registry}", encode_registry(_entries(tables)), told)))
    if ids.behind:
        told = f"the highest table id, {ids.highest:,}"
        files.append((owner, NewFile.of(f"../{TABLE_INDEX}", encode_wal_index(ids.highest), told)))
    return files


def _stages(files: list[tuple[TableDirectory, NewFile]], mark: str) -> tuple[tuple[Stage, ...], dict[str, bytes]]:
    stages: list[Stage] = []
    attachments: dict[str, bytes] = {}
    for number, (table, file) in enumerate(files):
        path = file.path.removeprefix("../") if file.path.startswith("../") else f"{table.directory}/{file.path}"
        (spec,), attached = specs_of((file,), table, f"files-{number}")
        kind = "overwrite" if file.exists(table) else "create"
        change = Change(kind, path, after=file.told, size=file.size)
        stages.append(
            replace_files(number, table.directory, mark, [{**spec, "name": path}], f"write {path}", (change,))
        )
        attachments |= attached
    return tuple(stages), attachments


def world(database: DatabaseRoot, plan: Plan) -> str:
    """Return a stamp of what changes with the tables that there are: unchanged means an empty registry."""
    del plan
    entries, _ = list_directory(database.db)
    names = sorted(entry.name for entry in entries if entry.is_directory or entry.name.startswith(f"{REGISTRY}."))
    ids = read_table_ids(database)
    return digest_of(names, str(max(ids.highest, ids.handed_out or 0)))


def undo_refusals(context: PlanContext, entry: Entry, plan: Plan) -> tuple[Refusal, ...]:
    """Return why the old registry can no longer be put back: it does not have the tables of since."""
    same = world(context.database, plan) == entry.intent.get("world")
    return () if same else (moved_on(entry.id),)


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that the files are as planned, that the registry can be read, and that each table has its own name."""
    problems: tuple[Problem, ...] = run.database.registry().problems
    names = [each.name.lower() for each in _names(run.database) if not each.dropped]
    twice, ids = len(names) - len(set(names)), read_table_ids(run.database)
    return (
        *written_claims(plan, run),
        Claim(ClaimKey.FILES_WHOLE, "the registry of tables", "no finding",
              problems[0].what if problems else "no finding", not problems),
        Claim.same(ClaimKey.FILES_WHOLE, "table directories without a name of their own", 0, twice),
        Claim.same(ClaimKey.FILES_WHOLE, "table ids above the one handed out last", 0, int(ids.behind)),
    )  # fmt: skip
