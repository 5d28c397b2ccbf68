"""Several copies of one sequencer: what each is worth, which is the best, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from console.questdb.reading import Problem
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.recovery.sequencer.log_scan import LogScan
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class Judgement:
    """One copy: `rank` orders copies (higher is better), `told` is the sentence about it, `usable` as a base."""

    source: LogSource
    usable: bool
    rank: tuple[int, ...]
    told: str


def judge(table: TableOnDisk, source: LogSource) -> Judgement:
    """Return what `source` is worth as the base of a restore."""
    name = clean_line(source.name)
    if not source.verdict.own:
        return Judgement(source, False, (), f"{name}: not used, it {source.verdict.why}")
    header, scan = source.log.header, source.scan
    if header is None or scan is None:
        return Judgement(source, False, (), f"{name}: no log that can be read ({source.log.state})")
    good = len(scan.tail_seq) - int(scan.lost.sum())
    bad = sum(last - first + 1 for first, last in scan.bad)
    facts = [f"maxTxn {scan.max_txn:,}", f"sha256 {source.digest[:12]}"]
    if source.log.file_size and not source.log.v2 and source.log.file_size < source.log.expected_size():
        facts.append(f"{source.log.expected_size() - source.log.file_size:,} bytes short of its header")
    facts.append(f"{plural(good, 'record')} of unapplied transactions")
    if bad:
        facts.append(f"{plural(bad, 'record')} missing or invalid")
    if scan.max_txn < table.applied:
        facts.append(f"ends below the applied transaction {table.applied:,}")
    if scan.lost.any():
        facts.append(f"{int(scan.lost.sum()):,} name segments that are gone")
    if isinstance(source.metadata, Problem):
        facts.append("its _meta cannot be read")
    return Judgement(source, True, _rank(table, scan, good, bad), f"{name}: {', '.join(facts)}")


def best_of(table: TableOnDisk, sources: Sequence[LogSource]) -> tuple[Judgement | None, tuple[str, ...]]:
    """Return the best usable copy (None: there is none) and one sentence about each, the best first."""
    judged = sorted((judge(table, source) for source in sources), key=lambda j: (j.usable, j.rank), reverse=True)
    told: list[str] = []
    seen: dict[str, str] = {}
    for each in judged:
        twin = seen.get(each.source.digest) if each.source.digest else None
        told.append(f"{each.told}; its log is identical to that of {twin}" if twin else each.told)
        seen.setdefault(each.source.digest, clean_line(each.source.name))
    best = judged[0] if judged and judged[0].usable else None
    return best, tuple(told)


def ordered(table: TableOnDisk, sources: Sequence[LogSource]) -> tuple[LogSource, ...]:
    """Return the usable sources, the strongest evidence first, then the others (their `_meta` may still serve)."""
    judged = [judge(table, source) for source in sources]
    usable = sorted((j for j in judged if j.usable), key=lambda j: j.rank, reverse=True)
    return (*(j.source for j in usable), *(j.source for j in judged if not j.usable and not j.rank))


def _rank(table: TableOnDisk, scan: LogScan, good: int, bad: int) -> tuple[int, ...]:
    """Records of what is not applied count most, then how far the log reaches, then how whole it is."""
    last = max([scan.named_below, *scan.tail_seq[-1:].tolist()])
    return good, min(scan.max_txn, table.applied + len(table.inventory)), last, -bad, scan.named_below
