"""Tables: one verdict each (can it be read, can it be written, rows at risk) and the next safe step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from console.diagnosis.model import DatabaseReport, Finding, ServerState, Severity, TableReport, Verdict
from console.probes.contents import ServerSample, WalSample
from console.widgets import figures, glyphs
from console.widgets.line import (
    BLANK,
    UNBOUNDED,
    Line,
    Role,
    Span,
    bounded,
    crop,
    hanging,
    left,
    line,
    plain,
    right,
    spread,
    wrap,
)
from console.widgets.pane import Content, Room
from screens.panes import server
from screens.panes.reading import UNREAD, Source, alert, note

_VERDICTS = {
    Verdict.HEALTHY: (glyphs.OK, "healthy", Role.OK),
    Verdict.AT_RISK: (glyphs.WARN, "AT RISK", Role.WARN),
    Verdict.BROKEN: (glyphs.BAD, "BROKEN", Role.BAD),
    Verdict.UNKNOWN: (glyphs.UNKNOWN, "UNKNOWN", Role.WARN),
}
_SEVERITIES = {
    Severity.DAMAGE: (glyphs.BAD, "damage", Role.BAD),
    Severity.RISK: (glyphs.WARN, "risk", Role.WARN),
    Severity.NOTE: (glyphs.BUSY, "note", Role.DIM),
}
_INDENT = 10
_NARROW = 72  # cells below which only what is not possible is said of reading and writing


def verdict(report: TableReport, *, down: bool = False) -> Line:
    """Return a table's verdict as glyph and word, ten cells wide. While the server is `down` nothing is healthy."""
    glyph, word, role = _VERDICTS[report.verdict]
    if down and report.verdict is Verdict.HEALTHY:
        glyph, word, role = glyphs.WARN, "DOWN", Role.WARN
    return left(line(Span(f"{glyph} {word}", role)), _INDENT)


def finding_mark(finding: Finding) -> Line:
    glyph, word, role = _SEVERITIES[finding.severity]
    return left(line(Span(f"{glyph} {word}", role)), 9)


def worst_first(report: DatabaseReport) -> list[TableReport]:
    return report.worst_first()


@dataclass(frozen=True, slots=True)
class TablesView:
    """The tables, how far they are behind, and the server itself.

    `down` says that the server is known not to answer: whatever the files are, nothing can be read or written.
    """

    source: Source[DatabaseReport]
    wal: Source[WalSample] = UNREAD
    server: Source[ServerSample] = UNREAD
    down: bool = False
    order: str = ""  # in words; empty: the worst first


def build(view: TablesView, room: Room) -> Content:
    """Return the tables pane. Every table keeps its verdict; details fill the lines that are left, fairly shared."""
    source = view.source
    report = source.data
    title = "tables"
    if report is None:
        return Content(title, (), note(source), alert(source, "tables"))
    tables = list(report.tables) if view.order else worst_first(report)
    names = min(max((cell_len(table.table) for table in tables), default=0), 34 if room.open else 24)
    down = view.down or report.server is ServerState.DOWN
    unseen = _unseen(tables, room.width)
    if room.open:
        blocks = [_open(table, view.wal.data, names, room.width, down=down) for table in tables]
        about = [*server.lines(view.server, view.wal, report, room.width), *unseen]
        lines = _shared(
            [*blocks, about] if about else blocks, UNBOUNDED if room.whole else room.height - bool(source.error)
        )
    else:
        lines = _fair([_brief(table, names, room.width, down=down) for table in tables], room)
        lines += [] if any(table.verdict is Verdict.BROKEN for table in tables) else unseen
    if not tables:
        lines.append(line(Span("no user table in this data root", Role.WARN)))
    for finding in report.findings:
        lines.extend(hanging(line(finding_mark(finding), " "), finding.message, room.width))
    caption = ", ".join(filter(None, (view.order, "files" if report.left_out else "files + SQL")))
    return Content(
        title,
        tuple(lines),
        note(source, caption),
        alert(source, "tables"),
        source.stale,
        "more lines (PgDn)" if room.whole else "more",
    )


def _fair(blocks: list[list[Line]], room: Room) -> list[Line]:
    """Return the blocks one below the other, each cut alike, so that every verdict is in sight if that can be."""
    for most in (3, 2):
        if sum(min(most, len(block)) for block in blocks) <= room.height:
            break
    else:
        most = 1
    lines: list[Line] = []
    for block in blocks:
        kept = block[:most]
        if 1 < most < len(block):
            kept[-1] = _cut(kept[-1], room.width)
        lines.extend(kept)
    return lines


def _shared(blocks: list[list[Line]], height: int) -> list[Line]:
    """Return the blocks one below the other with a blank line between, each cut so that all of them fit in `height`."""
    sizes = [min(2, len(block)) for block in blocks]
    spare = height - sum(sizes) - max(0, len(blocks) - 1)
    while spare > 0 and any(size < len(block) for size, block in zip(sizes, blocks, strict=True)):
        for number, block in enumerate(blocks):
            if spare > 0 and sizes[number] < len(block):
                sizes[number] += 1
                spare -= 1
    lines: list[Line] = []
    for block, size in zip(blocks, sizes, strict=True):
        if lines and spare >= 0:
            lines.append(BLANK)
        lines.extend(bounded(block, size, "more lines (1 opens this pane)"))
    return lines


def _answer(word: str, value: bool | None) -> Line:
    """Return e.g. `writes NO`, of steady width."""
    caption, role = {True: ("yes", Role.OK), False: ("NO", Role.BAD), None: ("?", Role.WARN)}[value]
    return left(line(Span(f"{word} ", Role.DIM), Span(caption, role)), len(word) + 6)


def _rows(table: TableReport) -> Line:
    if table.rows_at_risk:
        return line(Span(figures.count(table.rows_at_risk), Role.BAD), " rows at risk")
    if table.rows_unapplied:
        return line(Span(figures.count(table.rows_unapplied), Role.WARN), " unapplied rows")
    if table.rows_at_risk is None or table.rows_unapplied is None:
        return line(Span("rows at risk unknown", Role.WARN))
    return line(Span("no rows at risk" if table.verdict is Verdict.BROKEN else "up to date", Role.DIM))


def _unseen(tables: Sequence[TableReport], width: int) -> list[Line]:
    """Return what of the tables was not looked at: a verdict is about the rest."""
    parts = dict.fromkeys(part.words for table in tables for part in table.not_checked)
    if not parts:
        return []
    return hanging(line(Span("not checked  ", Role.DIM)), ", ".join(parts), width, Role.DIM)


def _head(table: TableReport, names: int, width: int, *, down: bool) -> Line:
    files = "files ok, " if table.verdict is Verdict.HEALTHY else ""
    answers: tuple[Line, ...] = (
        (left(line(files, Span("server ", Role.DIM), Span("DOWN", Role.BAD)), 23),)
        if down
        else (_answer("reads", table.can_read), _answer("writes", table.can_write))
    )
    if width < _NARROW and down:
        answers = () if table.verdict is not Verdict.HEALTHY else (line("files ok"),)
    elif width < _NARROW:
        can = (("reads", table.can_read), ("writes", table.can_write))
        answers = tuple(_answer(word, value) for word, value in can if not value)
    start = line(verdict(table, down=down), left(line(Span(table.table, Role.STRONG)), names + 2), *answers)
    return spread(start, _rows(table), width)


def _brief(table: TableReport, names: int, width: int, *, down: bool) -> list[Line]:
    """Return the verdict and at most two lines about the next step, its action first."""
    head = _head(table, names, width, down=down)
    if table.verdict is Verdict.HEALTHY:
        return [head]
    action = f"fix {table.next_step.action}: " if table.next_step.action else ""
    text = wrap(action + (table.next_step.reason or _first_message(table)), width - _INDENT)
    rows = [line(" " * _INDENT, row) for row in text[:2]]
    if text:
        rows[0] = line(" " * _INDENT, Span(action, Role.KEY), plain(text[0]).removeprefix(action.rstrip()).lstrip())
    if len(text) > 2:
        rows[1] = _cut(rows[1], width)
    return [head, *rows]


def _cut(row: Line, width: int) -> Line:
    return row if plain(row).endswith("…") else line(crop(row, width - 1), "…")


def _first_message(table: TableReport) -> str:
    return table.findings[0].message if table.findings else ""


def _open(table: TableReport, wal: WalSample | None, names: int, width: int, *, down: bool) -> list[Line]:
    lines = [_head(table, names, width, down=down)]
    indent = " " * _INDENT
    lines.extend(_counts(table, width))
    behind = wal.of(table.table) if wal is not None else None
    if behind is not None and (caption := server.behind(behind, table.rows_unapplied)):
        lines.extend(line(indent, row) for row in wrap(caption, width - _INDENT))
    if table.verdict is Verdict.HEALTHY:
        return lines
    if table.next_step.reason:
        label = line(indent, Span(f"fix  {table.next_step.action or 'by hand'}  ", Role.KEY))
        lines.extend(hanging(label, table.next_step.reason, width))
    for finding in table.findings:
        caption = f"{finding.message} ({finding.evidence})" if finding.evidence else finding.message
        lines.extend(hanging(line(indent, finding_mark(finding), " "), caption, width, _tone(finding)))
    for step in table.blocked_steps:
        label = line(indent, Span(f"{glyphs.BAD} not now  ", Role.WARN), Span(f"{step.action}: ", Role.STRONG))
        lines.extend(hanging(label, step.reason, width, Role.DIM))
    return lines


def _counts(table: TableReport, width: int) -> list[Line]:
    """Return transactions and rows, in columns where there is room for them: a figure is never cut."""
    counts = (
        ("applied", table.applied_txn, 11), ("   logged", table.logged_txn, 11),
        ("   rows", table.rows_applied, 13), ("   unapplied", table.rows_unapplied, 9),
    )  # fmt: skip
    indent = " " * _INDENT
    columns = [(Span(f"{word} ", Role.DIM), right(line(figures.count(count)), cells)) for word, count, cells in counts]
    row = line(indent, *(part for column in columns for part in column))
    if sum(cell_len(span.text) for span in row) <= width:
        return [row]
    return hanging(
        line(indent), " · ".join(f"{word.strip()} {figures.count(count)}" for word, count, _ in counts), width
    )


def _tone(finding: Finding) -> Role:
    return Role.DIM if finding.severity is Severity.NOTE else Role.PLAIN
