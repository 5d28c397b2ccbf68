"""convert-table: a fresh sequencer by the server's own conversion, to a plain table and back, its WAL kept."""

from collections.abc import Iterator

from console.diagnosis.findings.conversion import half_done
from console.diagnosis.model import Verdict
from console.diagnosis.table import TableDiagnosis, examine_table
from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.conversion import MARKER, read_conversion
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.questdb.version_behaviour import behaviour_of
from console.questdb.view_state import views_on
from console.records import of_json
from console.recovery.actions.convert_table import steps as conversion_steps
from console.recovery.actions.convert_table.cost import Cost, cost_of, other_markers
from console.recovery.actions.convert_table.stages import conversion_stages, held_now, names_aside
from console.recovery.actions.convert_table.steps import is_converted, registry_files
from console.recovery.actions.convert_table.ttl import ttl_claim
from console.recovery.actions.sequencer_repair import planning
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext, action_module
from console.recovery.gate.start_checks import own_start_refusals
from console.recovery.model import ActionSpec, Claim, Danger, Fact, Plan, Refusal, Requirement, RowsLost
from console.recovery.plans import make_plan, mark_of, refused_plan
from console.recovery.server.binary import server_binary, version_to_start
from console.recovery.server.coordinates import NoBinaryError
from console.recovery.server.expectation import Expectation
from console.recovery.steps.steps import RunContext
from console.text import plural

SPEC = ActionSpec(
    id="convert-table",
    title="Convert the table and back",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Converts the table to non-WAL and back with QuestDB itself. Applied rows stay; unapplied rows are exported "
        "first."
    ),
    undo=(
        "Sequencer, WAL, _txn, _meta and registry are put back byte for byte, until the station's server has started "
        "on the result."
    ),
    offline=True,
    needs_evidence=True,
    proves=True,
)
STEPS = conversion_steps.STEPS
_CONF = (
    "server.conf needs no change: cairo.wal.enabled.default only says what CREATE TABLE makes; what a table is lies in "
    "its own _meta and in tables.d"
)
_BETTER = ("restore-sequencer", "rebuild-sequencer", "repair-log")
_NO_LAG = "0 transactions, 0 rows"
_DISK = 16 << 20


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty for a table that is well, refused where a conversion cannot be made or taken back."""
    directory = context.database.table(table or "")
    target = context.target(directory)
    if directory.wal is False:
        reason = f"{directory.name} is no WAL table; ALTER TABLE … SET TYPE WAL and a restart make it one"
        return refused_plan(
            SPEC,
            target,
            Refusal(RefusalCode.NOT_WAL, reason, "nothing: there is no sequencer to be repaired"),
        )
    if directory.is_view:
        reason = f"{directory.name} is a materialised view: what it holds is made from its base table"
        instead = "rebuild-sequencer; or refresh it in full once its base table is well"
        return refused_plan(SPEC, target, Refusal(RefusalCode.IS_VIEW, reason, instead))
    diagnosis = examine_table(directory)
    area, metadata = diagnosis.facts.txn.current, diagnosis.facts.metadata
    if area is None or not isinstance(metadata, TableMetadata):
        reason = f"_txn or _meta of {directory.name} cannot be read: the server's conversion writes both"
        return refused_plan(
            SPEC, target, Refusal(RefusalCode.TABLE_UNREADABLE, reason, "restore them from a backup first")
        )
    if metadata.unusable:
        reason = f"_meta of {directory.name}: {metadata.unusable}"
        return refused_plan(
            SPEC, target, Refusal(RefusalCode.TABLE_UNREADABLE, reason, "restore _meta from a backup first")
        )
    half = half_done(directory)
    report = context.report(directory.directory)
    if not half and report is not None and report.verdict is not Verdict.BROKEN:
        return make_plan(
            SPEC, target,
            why=f"Nothing to do: {directory.name} is {report.verdict.value}.", stages=(), facts=_facts(directory),
        )  # fmt: skip
    return _planned(context, directory, metadata, diagnosis, held_now(directory, area, metadata), half)


def _planned(
    context: PlanContext,
    directory: TableDirectory,
    metadata: TableMetadata,
    diagnosis: TableDiagnosis,
    expected: Expectation,
    half: str,
) -> Plan:
    cost = cost_of(diagnosis, lambda: _rows_by_rebuild(context, directory))
    origin, found = _binary(context)
    refused = [] if found else [Refusal(RefusalCode.NO_BINARY, origin, "name the station's jar: questdb.jar, or --jar")]
    refused += [*own_start_refusals(context, directory), *_version_refusals(context, directory)]
    if others := other_markers(context.database, directory):
        refused.append(
            Refusal(
                RefusalCode.CONVERSION_PENDING,
                f"{', '.join(others[:5])} has a marker _convert too: a start for {directory.name} would convert it as "
                "well, and delete its WAL",
                f"convert-table for {others[0]} first, or remove its marker yourself",
                action="convert-table",
            )
        )
    facts = _facts(directory)
    names = names_aside(directory)
    begins = f"{half[0].upper()}{half[1:]}. A start would delete its WAL, or apply it all again. " if half else ""
    lost = (
        f"{plural(cost.transactions, 'transaction')} that wait are written to files and kept as WAL, and are not in "
        "the table any more"
        if cost.any
        else "no rows are unapplied, so none are lost"
    )
    return make_plan(
        SPEC,
        context.target(directory),
        why=(
            f"{begins}The table keeps its {plural(expected.rows, 'applied row')} and begins anew at transaction 0; "
            f"{lost}."
        ),
        stages=conversion_stages(directory, metadata, cost, expected, names, mark_of(facts)),
        facts=facts,
        rows_lost=cost.rows,
        refused=refused,
        requirements=(
            Requirement("the station's QuestDB can be started here", found, origin),
            Requirement("how many rows wait is known exactly", cost.rows.kind == "exact", cost.why or "from the WAL"),
        ),
        warnings=tuple(_warnings(context, directory, cost, half)),
        disk_needed=_DISK,
    )


def _version_refusals(context: PlanContext, directory: TableDirectory) -> Iterator[Refusal]:
    """A conversion starts a server on the table without its sequencer, and an older one then drops the table."""
    version, origin = version_to_start(context.settings, context.database, context.state)
    if behaviour_of(version).erases_without_sequencer:
        which = f"QuestDB {version} ({origin})" if version is not None else "QuestDB, of unknown version,"
        yield Refusal(
            RefusalCode.VERSION_CANNOT_CONVERT,
            f"{which} deletes a table whose sequencer is missing, and a conversion sets the sequencer of "
            f"{directory.name} aside",
            "rebuild-sequencer, which starts no server; or copy-table with the table's own server",
            action="rebuild-sequencer",
        )


def _warnings(context: PlanContext, directory: TableDirectory, cost: Cost, half: str) -> Iterator[str]:
    if better := _better(context, directory, cost, half):
        yield better
    if cost.lag_rows:
        yield (
            f"{plural(cost.lag_rows, 'row')} of them lie in the table's lag: applied by count, yet in no SELECT; a "
            "conversion drops the lag, so they are written to files with the rest"
        )
    if cost.others:
        yield f"{plural(cost.others, 'transaction')} without rows (UPDATE, TRUNCATE, …) will not be made either"
    views = [view.name for view in views_on(context.database, directory)]
    if views:
        yield (
            f"materialised views on it: {', '.join(views)}; its transaction numbers begin anew, so that each needs "
            "REFRESH MATERIALIZED VIEW … FULL after the first start"
        )
    yield _CONF
    yield "the first start of the station's server proves the table (start-server); keep the writer frozen until then"


def _rows_by_rebuild(context: PlanContext, directory: TableDirectory) -> RowsLost | None:
    """Return the unapplied rows by all the evidence that a rebuild of the sequencer has, None where it is not sure."""
    case = planning.open_case(context, SPEC, directory.raw_name)
    if isinstance(case, Plan):
        return None
    target = case.target(None)
    return None if target.refusals else target.rows_unapplied


def _better(context: PlanContext, directory: TableDirectory, cost: Cost, half: str) -> str:
    if not cost.any or half:
        return ""
    for action in _BETTER:
        try:
            other = action_module(action).plan(context, directory.directory)
        except WalmedicError:
            continue
        if other.needed and not other.refused and other.rows_lost.kind == "exact":
            return (
                f"{action} is better here: it loses {other.rows_lost.value:,} rows and brings back "
                f"{other.rows_back:,}; convert only if neither backup nor WAL is enough"
            )
    return ""


def _binary(context: PlanContext) -> tuple[str, bool]:
    try:
        binary, origin = server_binary(context.settings, context.database, context.state)
    except NoBinaryError as error:
        return str(error), False
    return f"{binary.jar} ({origin})", True


def _facts(directory: TableDirectory) -> tuple[Fact, ...]:
    registry = directory.path.parent
    stamps = []
    for name in registry_files(sorted(path.name for path in registry.iterdir())):
        status = (registry / name).lstat()
        stamps.append([name, status.st_size, status.st_mtime_ns])
    return (
        Fact(directory.directory, table_stamp(directory.path)),
        Fact(f"{directory.directory}/{MARKER}", digest_of(read_conversion(directory.path).present)),
        Fact("tables.d", digest_of(stamps)),
    )


def world(database: DatabaseRoot, plan: Plan) -> str:
    """Return a stamp of what only another server, or a writer, changes while the stages of `plan` are under way.

    The conversion itself writes `_txn`, `_meta` and the registry; rows, transactions of the table's own and WAL are
    changed by nothing of it.
    """
    directory = plan.directory or ""
    path = database.db / directory
    stage = next(stage for stage in plan.stages if stage.step == "set-wal-aside")
    aside, names = database.db / str(stage.parameters["aside"]), stage.parameters["names"]
    area = read_table_txn(path).current
    held = None if area is None else [area.txn, area.rows, area.min_ts, area.max_ts, area.partitions.tobytes().hex()]
    wals = sorted({p.name for folder in (path, aside) for p in folder.glob("wal*[0-9]")})
    new = SEQUENCER not in names or (aside / SEQUENCER).exists()
    log = read_log(path / SEQUENCER).max_txn if new else 0
    columns = path / "_cv"
    status = columns.lstat() if columns.exists() else None
    return digest_of(held, wals, log or 0, [] if status is None else [status.st_size, status.st_ino])


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """What is on disk now, read without a server: the conversion is whole, the lag is empty, the rows are there."""
    directory = plan.directory or ""
    path = run.database.db / directory
    area = read_table_txn(path).current
    stage = next(stage for stage in plan.stages if stage.step == "convert-by-server")
    expected = of_json(Expectation, stage.parameters["expected"])
    log = read_log(path / SEQUENCER)
    if area is None:
        return (Claim(ClaimKey.TXN_READABLE, "_txn can be read", "its record", "it cannot", ok=False),)
    lag = f"{area.lag_txns} transactions, {area.lag_rows} rows"
    whole = is_converted(run.database, directory, wal=True)
    claims = [
        Claim(
            ClaimKey.CONVERTED,
            "table, registry and sequencer agree that it is a WAL table",
            "agree",
            "agree" if whole else "no",
            whole,
        ),
        Claim(ClaimKey.LAG_EMPTY, "the lag is empty: no write will be skipped", _NO_LAG, lag, lag == _NO_LAG),
        Claim.same(ClaimKey.ROWS_ON_DISK, "rows in the table", expected.rows, area.rows),
        Claim(
            ClaimKey.LOG_BEGINS,
            "log and table begin at the same transaction",
            "0 and 0",
            f"{log.max_txn} and {area.applied_txn}",
            log.max_txn == area.applied_txn == 0,
        ),
    ]
    metadata = read_table_metadata(path)
    names = len(metadata.columns) if isinstance(metadata, TableMetadata) else 0
    claims.append(Claim(ClaimKey.META_READABLE, "_meta can be read", "its columns", f"{names:,} columns", names > 0))
    if isinstance(metadata, TableMetadata):
        claims.append(ttl_claim(plan, metadata))
    for stage in plan.stages:
        if stage.step == "salvage-before":
            claims += conversion_steps.salvaged_claims(stage, run)
    return tuple(claims)
