"""Several copies of one sequencer: what each is worth, which is the best, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from console.questdb.reading import Problem
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.table.copies import Worth, best_copy, worth_of
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class Judgement:
    """One copy: what it is `worth` as a base, None if it is none; `description` is the sentence about it."""

    source: LogSource
    worth: Worth | None
    description: str

    @property
    def usable(self) -> bool:
        return self.worth is not None


def judge(table: TableOnDisk, source: LogSource) -> Judgement:
    name = clean_line(source.name)
    if not source.verdict.own:
        return Judgement(source, None, f"{name}: not used, it {source.verdict.why}")
    header, scan = source.log.header, source.scan
    if header is None or scan is None:
        return Judgement(source, None, f"{name}: no log that can be read ({source.log.state})")
    worth = worth_of(source.name, scan, table.inventory)
    facts = [f"maxTxn {scan.max_txn:,}", f"sha256 {source.digest[:12]}"]
    if source.log.file_size and not source.log.v2 and source.log.file_size < source.log.expected_size():
        facts.append(f"{source.log.expected_size() - source.log.file_size:,} bytes short of its header")
    lost, bad = len(scan.lost), scan.bad
    good = len(scan.above) - lost
    facts.append(f"{plural(good, 'record')} of unapplied transactions")
    if bad:
        facts.append(f"{plural(bad, 'record')} missing or invalid")
    if scan.max_txn < table.applied:
        facts.append(f"ends below the applied transaction {table.applied:,}")
    if lost:
        facts.append(f"{lost:,} name segments that are gone")
    if isinstance(source.metadata, Problem):
        facts.append("its _meta cannot be read")
    return Judgement(source, worth, f"{name}: {', '.join(facts)}")


def best_of(table: TableOnDisk, sources: Sequence[LogSource]) -> tuple[Judgement | None, tuple[str, ...]]:
    """Return the best usable copy (None: there is none) and one sentence about each, the best first."""
    judged = _best_first(judge(table, source) for source in sources)
    descriptions: list[str] = []
    seen: dict[str, str] = {}
    for each in judged:
        twin = seen.get(each.source.digest) if each.source.digest else None
        descriptions.append(f"{each.description}; its log is identical to that of {twin}" if twin else each.description)
        seen.setdefault(each.source.digest, clean_line(each.source.name))
    name = best_copy(each.worth for each in judged if each.worth is not None)
    return next((each for each in judged if each.source.name == name), None), tuple(descriptions)


def ordered(table: TableOnDisk, sources: Sequence[LogSource]) -> tuple[LogSource, ...]:
    """Return the usable sources, the strongest evidence first, then the others (their `_meta` may still serve)."""
    return tuple(judged.source for judged in _best_first(judge(table, source) for source in sources))


def _best_first(judged: Iterable[Judgement]) -> list[Judgement]:
    """Return those that are usable, the best first, then the others in their order."""
    found = list(judged)
    usable = [(each.worth.rank, each) for each in found if each.worth is not None]
    best = [each for _, each in sorted(usable, key=lambda pair: pair[0], reverse=True)]
    return [*best, *(each for each in found if each.worth is None)]
