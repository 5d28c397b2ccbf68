"""What stands against copying a table: no server to do it, a table that cannot be read, or one that takes rows."""

from collections.abc import Iterator

from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.txn_log import read_log
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Refusal
from console.recovery.server.sql import Server, SqlError
from console.services.model import ServiceError, UnitState
from console.settings import Role


def refusals_of(context: PlanContext, directory: TableDirectory, server: Server) -> Iterator[Refusal]:
    """Yield them, the first one the reason to be reported; nothing is asked of a server that is not ours."""
    if context.settings.bare:
        yield Refusal(
            RefusalCode.NO_STATION,
            "this directory belongs to no configured station: a copy is made by its server",
            "name the station's settings with --config",
        )
        return
    if directory.wal is not True or directory.is_view:
        what = "a view, made again from its table by REFRESH" if directory.is_view else "no WAL table"
        yield Refusal(RefusalCode.NOT_WAL, f"{directory.name} is {what}", "nothing to do")
        return
    try:
        server.prove_ours(context.database.db)
    except SqlError as error:
        yield Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server")
        return
    report = context.report(directory.directory)
    if report is not None and report.can_read is False:
        yield Refusal(
            RefusalCode.TABLE_UNREADABLE,
            f"{directory.name} cannot be read as it is",
            report.next_step.action or "check",
            action=report.next_step.action,
        )
    row = server.wal_table(directory.raw_name)
    suspended = row is not None and bool(row["suspended"])
    if report is not None and report.can_write and not suspended:
        yield Refusal(
            RefusalCode.TAKES_WRITES,
            f"{directory.name} takes rows and applies them: a copy would be behind at once, and brings nothing",
            "nothing that a copy would help; `walmedic check --deep` reads every partition",
        )
    yield from _writers(context)


def _writers(context: PlanContext) -> Iterator[Refusal]:
    units = [unit for unit in context.settings.services.units if unit.role is Role.WRITER]
    if context.services is None or not units:
        return
    try:
        running = [sample.name for sample in context.services.states(units) if sample.state is UnitState.UP]
    except ServiceError:
        return
    if running:
        yield Refusal(
            RefusalCode.WRITER_RUNNING,
            f"{', '.join(running)} writes: what it sends meanwhile would be in neither table",
            "freeze-writer",
            action="freeze-writer",
        )


def sequencer_blocks(directory: TableDirectory) -> str:
    """Return why the server could not rename the table: it writes that into the sequencer."""
    log = read_log(directory.sequencer)
    if not log.readable:
        return "there is no log that opens" if directory.sequencer.is_dir() else "there is no txn_seq"
    metadata = read_sequencer_metadata(directory.sequencer)
    if isinstance(metadata, Problem):
        return f"txn_seq/_meta: {metadata.what}"
    last = log.records(max(1, log.max_txn or 0), log.max_txn or 0)
    version = int(last["structure_version"][0]) if len(last) else 0
    # the server takes a change only where both agree, else it speaks of corruption
    same = version == metadata.structure_version
    return "" if same else f"_meta has structure version {metadata.structure_version}, the last record {version}"
