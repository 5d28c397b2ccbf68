"""What a plan's result would be, read from the plan itself: the last gate before a log that destroys rows."""

from collections.abc import Iterator, Mapping
from typing import Any

from console.diagnosis.findings.conversion import half_done
from console.questdb.fields import Fields
from console.questdb.formats.sequencer import LOG_HEADER, LOG_RECORD, WAL_INDEX
from console.questdb.layout import TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.model import Plan, Refusal
from console.recovery.server.expectation import applied_of


def result_refusals(plan: Plan, table: TableDirectory) -> Iterator[Refusal]:
    """Yield why the sequencer that `plan` would put in place must not be: below applied, past its end, index low."""
    for spec in _files(plan):
        name = str(spec["name"]).rsplit("/", 1)[-1]
        if name == "_wal_index.d":
            highest = max((wal.id for wal in table.wals()), default=0)
            content = _first_bytes(spec, WAL_INDEX.size, plan, table)
            index = WAL_INDEX.value("highest", Fields(content)) if len(content) == WAL_INDEX.size else -1
            if index < highest:
                yield Refusal(
                    RefusalCode.WAL_INDEX_LOW,
                    f"the wal index would be {index} while wal{highest} is on disk: the next writer would overwrite it",
                    "plan again; a wal index is never below the highest wal directory",
                )
        elif name == "_txnlog":
            yield from _log(spec, plan, table)


def _log(spec: Mapping[str, Any], plan: Plan, table: TableDirectory) -> Iterator[Refusal]:
    if half := half_done(table):
        yield Refusal(
            RefusalCode.CONVERSION_HALF_DONE,
            f"{half}: with any log that names them the server applies its rows once more",
            "convert-table, which ends the conversion",
            action="convert-table",
        )
    content = Fields(_first_bytes(spec, LOG_HEADER.size, plan, table))
    if len(content) < LOG_HEADER.size:
        yield Refusal(RefusalCode.FRESH_LOG, "the log would have no header", "plan again")
        return
    version, max_txn, part_size = (LOG_HEADER.value(name, content) for name in ("version", "max_txn", "part_size"))
    applied = applied_of(table)
    if applied is None:
        yield Refusal(
            RefusalCode.APPLIED_UNKNOWN,
            f"{table.name}'s _txn cannot be read, so it is not known how much is applied",
            "no repair of the sequencer is safe before _txn is whole",
        )
    elif max_txn < applied:
        yield Refusal(
            RefusalCode.LOG_BELOW_APPLIED,
            f"the log would end at {max_txn:,} while {applied:,} are applied: writes would vanish, WAL be purged",
            "rebuild-sequencer or repair-log, which never end below what is applied",
            action="rebuild-sequencer",
        )
    if version == 0 and int(spec["size"]) < LOG_HEADER.size + LOG_RECORD.size * max_txn:
        yield Refusal(
            RefusalCode.HEADER_PAST_END,
            f"the header would name {max_txn:,} transactions and the file end before them: the server crashes on that",
            "plan again",
        )
    elif version == 1 and part_size < 1:
        yield Refusal(RefusalCode.HEADER_INVALID, "the log would be chunked without a part size", "plan again")
    elif version not in (0, 1):
        yield Refusal(
            RefusalCode.HEADER_INVALID, f"the log would have version {version}, which no server knows", "plan again"
        )


def _files(plan: Plan) -> Iterator[Mapping[str, Any]]:
    for stage in plan.stages:
        yield from stage.parameters.get("files", ())


def _first_bytes(spec: Mapping[str, Any], count: int, plan: Plan, table: TableDirectory) -> bytes:
    """Return the first bytes of a file that the plan would write."""
    content = bytearray(min(count, int(spec["size"])))
    for piece in spec["pieces"]:
        at, length, start = int(piece["at"]), int(piece["length"]), int(piece.get("from_at", 0))
        if at >= len(content):
            continue
        wanted = min(length, len(content) - at)
        source = piece["from"]
        if "attachment" in source:
            taken = plan.attachments[str(source["attachment"])][start : start + wanted]
        else:
            with table.path.parent.joinpath(str(source["file"])).open("rb") as stream:
                stream.seek(start)
                taken = stream.read(wanted)
        content[at : at + len(taken)] = taken
    return bytes(content)
