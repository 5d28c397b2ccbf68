"""QuestDB itself: does it answer, how fast, how safe are its commits, how long does its disk last."""

from collections.abc import Iterator, Mapping

from console.diagnosis.model import DatabaseReport
from console.probes.contents import DiskSample, SecondOpinion, ServerSample, WalSample, WalTable
from console.probes.second_opinion import contradictions
from console.text import plural
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, hanging, line
from screens.panes.reading import Source, note

_LABEL = 10
_SCARCE = 3 * 86_400.0  # seconds of disk left that deserve the alarming colour


def lines(
    server: Source[ServerSample], wal: Source[WalSample], report: DatabaseReport | None, width: int
) -> list[Line]:
    found: list[Line] = []
    if server.asked and (server.data is not None or server.error):
        found.extend(_server(server, width))
    if report is not None:
        found.extend(_versions(report, width, answers=server.data is not None and not server.stale))
    if wal.data is not None and wal.data.disk is not None:
        found.extend(hanging(_label("disk"), _disk(wal.data.disk), width, _disk_role(wal.data.disk)))
    if server.asked and server.data is not None and not server.stale:
        found.extend(_second_opinion(server.data, report, width))
    return found


def _versions(report: DatabaseReport, width: int, *, answers: bool) -> list[Line]:
    """Return which QuestDB wrote the data root; a server that `answers` has said its own version already."""
    seen = ", ".join(report.versions_seen)
    if seen and seen != report.version:
        return hanging(_label("versions"), f"QuestDB {report.version} ran last; seen here: {seen}", width)
    if answers:
        return []
    known = f"QuestDB {report.version} ran last" if report.version else "unknown: no file names the QuestDB that ran"
    return hanging(_label("version"), known, width)


def behind(wal: WalTable, rows: int | None) -> str:
    """Return how far a table is behind in transactions, rows and time, and how fast it applies."""
    if wal.behind is None:
        return ""
    if wal.behind < 0:
        return f"the log is {plural(-wal.behind, 'transaction')} BEHIND the table: new ones are never applied"
    state = "up to date"
    if wal.behind:
        waiting = "an unknown number of rows" if rows is None else plural(rows, "row")
        since = "since ?" if wal.seconds_behind is None else f"oldest {figures.duration(wal.seconds_behind)}"
        state = f"behind by {plural(wal.behind, 'transaction')}, {waiting}, {since}"
    rates = [
        f"{figures.short(rate)}/s {what}"
        for rate, what in ((wal.rate_in, "arriving"), (wal.rate_out, "applied"))
        if rate is not None
    ]
    return f"{state}; transactions: {', '.join(rates)}" if rates else state


def _label(word: str) -> Line:
    return line(Span(f"{word:<{_LABEL}}", Role.DIM))


def _server(server: Source[ServerSample], width: int) -> list[Line]:
    sample = server.data
    if sample is None or server.stale:
        label = line(Span(f"{glyphs.BAD} {'server':<{_LABEL - 2}}", Role.BAD))
        return [
            *hanging(label, server.error or "does not answer", width, Role.STRONG),
            line(" " * _LABEL, note(server)),
        ]
    who = "connected read-only" if sample.read_only_user else "connected with write access"
    parts = [f"QuestDB {sample.version}", f"{sample.round_trip * 1000:.0f} ms", who, *_set_to(dict(sample.parameters))]
    found = hanging(_label("server"), " · ".join(parts), width)
    for (
        lasting
    ) in sample.warnings:  # of the configuration, there every day: in alarming colour it would teach to ignore it
        found.extend(hanging(_label(glyphs.BUSY), lasting, width, Role.DIM))
    if server.error:
        found.extend(hanging(line(Span(f"{glyphs.WARN:<{_LABEL}}", Role.WARN)), server.error, width, Role.WARN))
    return found


def _second_opinion(sample: ServerSample, report: DatabaseReport | None, width: int) -> list[Line]:
    """Return where the health port says something else than SQL or the disk do, and what else it says."""
    if sample.opinion.healthy is None:
        return hanging(_label("health"), sample.opinion.health, width, Role.DIM) if sample.opinion.health else []
    found: list[Line] = []
    for each in contradictions(sample.opinion, sum(table.suspended for table in sample.wal_tables), report):
        found.extend(hanging(line(Span(f"{glyphs.WARN:<{_LABEL}}", Role.WARN)), each, width, Role.WARN))
    return [*found, *hanging(_label("health"), " · ".join(_health(sample.opinion)), width, Role.DIM)]


def _health(opinion: SecondOpinion) -> Iterator[str]:
    yield opinion.health
    if not opinion.metrics:
        yield "no metrics (server.conf: metrics.enabled=true)"
        return
    if opinion.rows_written is not None and opinion.rows_applied is not None:
        yield f"rows: {figures.short(opinion.rows_written)}/s written, {figures.short(opinion.rows_applied)}/s applied"
    if opinion.unhandled_errors is not None:
        yield plural(opinion.unhandled_errors, "unhandled error")
    if opinion.failed_queries is not None:
        yield plural(opinion.failed_queries, "failed query", "failed queries")
    if opinion.resident is not None:
        yield f"memory {figures.size(opinion.resident)}"
    if opinion.heap_used is not None and opinion.heap_limit is not None:
        yield f"heap {figures.size(opinion.heap_used)} of {figures.size(opinion.heap_limit)}"


def _set_to(known: Mapping[str, str]) -> list[str]:
    """Return the parameters that decide what a power loss takes and how the log looks."""
    state = []
    if "cairo.commit.mode" in known:
        state.append(f"commit mode {known['cairo.commit.mode']}")
    if "cairo.wal.enabled.default" in known:
        state.append("WAL by default" if known["cairo.wal.enabled.default"] == "true" else "no WAL by default")
    part = known.get("cairo.default.sequencer.part.txn.count")
    if part is not None:
        state.append("new logs V1" if part == "0" else f"new logs V2, {part} transactions a part")
    return state


def _disk(disk: DiskSample) -> str:
    free = f"{figures.size(disk.free)} of {figures.size(disk.total)} free"
    if not disk.known:
        return f"{free}; time until full not known yet (watched for {figures.duration(disk.watched)})"
    if disk.seconds_left is None:
        return f"{free}; no growth in the last {figures.duration(disk.watched)}"
    rate = f"at the rate of the last {figures.duration(disk.watched)}"
    return f"{free}; full in {figures.duration(disk.seconds_left)} {rate}"


def _disk_role(disk: DiskSample) -> Role:
    return Role.BAD if disk.seconds_left is not None and disk.seconds_left < _SCARCE else Role.PLAIN
