"""From findings to one verdict, and the steps that would destroy data now."""

from collections.abc import Sequence

from console.diagnosis.harm import harm_in_words
from console.diagnosis.model import BlockedStep, Code, Finding, Harm, Severity, Verdict
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.situation import OWN_FILES, SHOWN_WRONG, STOPS_WRITES, Situation


def verdict_of(findings: Sequence[Finding], *, closed: bool = False) -> Verdict:
    """Return the worst that the findings say: damage is broken, a risk at-risk, a file that cannot be read unknown.

    Where not all can be read (`closed`), damage may be nothing but that: no verdict is given.
    """
    if closed:
        return Verdict.UNKNOWN
    if any(finding.severity is Severity.DAMAGE for finding in findings):
        return Verdict.BROKEN
    if any(finding.code is Code.UNREADABLE and finding.severity is not Severity.NOTE for finding in findings):
        return Verdict.UNKNOWN
    if any(finding.severity is Severity.RISK for finding in findings):
        return Verdict.AT_RISK
    return Verdict.HEALTHY


def can_read(situation: Situation) -> bool | None:
    """Return whether a SELECT works: not where `_txn` is damaged, nor where the server crashes as it starts."""
    if situation.closed or situation.linked:
        return None
    if situation.damaged(Code.TABLE_TXN_INVALID):
        return False
    stopping = (code for code in OWN_FILES if code not in SHOWN_WRONG)
    if situation.crashes or situation.damaged(*stopping, Code.PARTITION_UNREADABLE) or situation.disagrees:
        return False
    if any(each.code is Code.TABLE_TXN_MISCOUNTED and each.column for each in situation.findings):
        return False  # it counts symbols that there are not
    return None if situation.damaged(Code.UNREADABLE, *SHOWN_WRONG) else True


def can_write(situation: Situation) -> bool | None:
    """Return whether what is written arrives in the table; acknowledged and never applied is no."""
    if situation.closed or situation.linked:
        return None
    damage = [finding.code for finding in situation.findings if finding.severity is Severity.DAMAGE]
    if situation.damaged(Code.APPLY_DISABLED) or situation.suspended or situation.stops or situation.disagrees:
        return False
    if any(code in STOPS_WRITES and code not in SHOWN_WRONG for code in damage):
        return False
    return None if situation.damaged(Code.UNREADABLE, *SHOWN_WRONG) else True


def blocked_steps(situation: Situation) -> tuple[BlockedStep, ...]:
    """Return the steps that would destroy data now, and why; none for a table that is well."""
    if verdict_of(situation.findings) is not Verdict.BROKEN and not situation.clock.runs:
        return ()
    blocked = [
        BlockedStep(
            "drop-table",
            'DROP may answer "table does not exist" and still delete everything: data, unapplied WAL, backups',
        ),
        BlockedStep(
            "fresh-log",
            "a new log starts at 0: writes would be acknowledged but never applied, and the purge would delete the WAL",
        ),
    ]
    if situation.waiting:
        blocked.append(BlockedStep("remove-wal", "the walN directories hold rows that are not in the table yet"))
        if not situation.damaged(Code.CONVERSION_HALF_DONE):
            blocked.append(
                BlockedStep("convert-table", "a conversion by hand deletes every walN with its unapplied rows")
            )
    if situation.harm is not Harm.NONE:
        blocked.append(BlockedStep("start-server", harm_in_words(situation.harm)))
    elif situation.damaged(Code.CONVERSION_HALF_DONE):
        blocked.append(BlockedStep("start-server", "a start would delete unapplied rows, or apply every row again"))
    elif situation.clock.runs:
        wals = _named(situation.clock)
        blocked.append(
            BlockedStep(
                "start-server",
                f"the purge after a start would delete {wals} with {situation.clock.rows:,} unapplied rows",
            )
        )
    elif situation.converting and situation.waiting:
        reason = "a start converts the table first, and deletes every walN with its unapplied rows"
        blocked.append(BlockedStep("start-server", reason))
    elif situation.crashes:
        blocked.append(BlockedStep("start-server", "a start can crash QuestDB again and modifies files"))
    if situation.damaged(Code.LOG_RECORD_ZEROED, Code.LOG_RECORD_INVALID, Code.LOG_UNKNOWN_SEGMENT):
        blocked.append(BlockedStep("resume-wal", "skipping a transaction loses its rows while they are still on disk"))
    return tuple(blocked)


def _named(clock: PurgeClock) -> str:
    names = [f"wal{wal}" for wal in clock.wals] + [f"wal{wal}/{segment}" for wal, segment in clock.segments]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
