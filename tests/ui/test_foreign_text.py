"""Foreign text at its worst: whatever names, logs, Redis and servers say, no control character is ever drawn."""

import os
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from console.diagnosis.model import (
    Code,
    DatabaseReport,
    Finding,
    NextStep,
    Severity,
    TableReport,
    Verdict,
)
from console.probes.aftermath import Aftermath
from console.probes.contents import (
    BacklogSample,
    CrashCause,
    CrashesSample,
    JournalLine,
    JournalSample,
    SecondOpinion,
    ServerSample,
    ServicesSample,
    StreamEntry,
    StreamSample,
    UnitSample,
    UnitState,
    WalSample,
)
from console.probes.flow import Flow, Hop, HopState
from console.probes.log_tail import LogLine, LogTail
from console.settings import Role
from console.text import clean_line
from console.widgets.pane import Builder, Pane, Room
from screens.panes import backlog, crashes, flow, journal, services, tables, unit_log
from screens.panes.reading import Source
from tests.ui.conftest import MakeApp

STRINGS = int(os.environ.get("WALMEDIC_FOREIGN_STRINGS", "100000"))
SEED = 20251110
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PIECES = (
    "\x1b[31m", "\x1b[2J", "\x1b[H", "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x1b\\", "\x1b]8;;http://x\x1b\\",
    "\x1bP+q\x1b\\", "\x1b[?1049h", "\x1b[6n", "\x1bc", "\x1b", "\x9b31m", "\x90", "\x9d0;t\x9c", "\r", "\n", "\r\n",
    "\t", "\b\b\b", "\x00", "\x07", "\x0e", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\ud800",
    "[bold red]", "[/]", "[@click=quit]", "[link=x]", "\\[", "{x}", "%s", "表", "é", "e\u0301", "🙂", "market_trades~8",
    "txn_seq", " ", "/", "=", "x" * 90,
)  # fmt: skip


def hostile(seed: int) -> Iterator[str]:
    """Yield strings of pieces that do harm to a terminal that draws them, and of random characters."""
    chance = random.Random(seed)
    while True:
        count = chance.randint(1, 8)
        yield "".join(
            chance.choice(_PIECES) if chance.random() < 0.8 else chr(chance.randrange(0x3000)) for _ in range(count)
        )


def views(words: Iterator[str]) -> Iterator[tuple[Builder, Any]]:
    """Yield each pane's builder with a view in which every text is foreign, as if no probe had cleaned it."""

    def word() -> str:
        return next(words)

    def source(data: Any) -> Source[Any]:
        return Source(data, 1.0, word(), 2_000_000_000.0)

    units = tuple(
        UnitSample(word(), word(), state, 1, 1.0, 5, word(), 7, word(), word(), word(), restart_rate=1.0)
        for state in UnitState
    )
    yield services.build, services.ServicesView(source(ServicesSample(word(), units)), units[0].name)
    entry = StreamEntry(word(), None, word())
    streams = tuple(
        StreamSample(word(), word(), 9, 5, True, 4, error=error, first_entry=entry, last_entry=entry, lost=3)
        for error in ("", word())
    )
    yield backlog.build, source(BacklogSample(word(), 1, 2, word(), streams, 1.0, word(), (word(),)))
    causes = tuple(CrashCause(word(), 2, 1.0, 9.0, word(), 7, 8, word(), word(), (1, 2)) for _ in range(2))
    sample = CrashesSample(4, causes, 1.9e9, (1, 2), 7)
    yield crashes.build, crashes.CrashesView(source(sample), Aftermath(word(), False, True))
    findings = tuple(Finding(Code.LOG_MISSING, severity, word(), word(), evidence=word()) for severity in Severity)
    found = TableReport(
        word(), word(), True, Verdict.BROKEN, None, False, 1, 2, 3, 4, 5, findings, NextStep(word(), word())
    )
    server = ServerSample(
        word(),
        False,
        0.1,
        (),
        (("cairo.commit.mode", word()),),
        warnings=(word(),),
        opinion=SecondOpinion(word(), True),
    )
    report = DatabaseReport(Path("/srv/db"), (found,), findings, (word(),), 1.0)
    yield tables.build, tables.TablesView(source(report), source(WalSample((), None)), source(server))
    hop = Hop(Role.WRITER, word(), HopState.STUCK, word())
    yield flow.build, Flow((hop,) * 4, hop, 1.0, 5, True, 5, word())
    line = JournalLine(word(), 1.0, word(), word(), word(), word(), word())
    yield journal.build, source(JournalSample((line, line), True))
    tail = LogTail()
    for _ in range(60):
        tail.add(LogLine(word(), None, 3))
    tail.narrow("", only_trouble=False)
    yield unit_log.build, unit_log.LogView(word(), tail, word(), word())


def test_what_probes_clean_is_one_harmless_line() -> None:
    for text in islice(hostile(SEED), STRINGS):
        line = clean_line(text)
        assert not _UNSAFE.search(line), ascii(text)
        line.encode()  # no lone surrogate: a terminal is written to in UTF-8


async def test_no_control_character_reaches_a_strip_even_where_nothing_was_cleaned(console: MakeApp) -> None:
    """The last line of defence: every pane draws texts as they came, at two widths, open and not."""
    given = 0
    words = hostile(SEED + 1)

    def counted() -> Iterator[str]:
        nonlocal given
        for text in words:
            given += 1
            yield text

    texts = counted()
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        pane = app.screen.query(Pane).first()
        while given < STRINGS:
            for build, view in views(texts):
                room = Room(*((34, 9, False), (120, 500, True))[given % 2])
                content = build(view, room)
                for row in (*content.lines, content.note, content.alert):
                    drawn = pane.strip(row, room.width)
                    assert not _UNSAFE.search(drawn.text), ascii(drawn.text)
                    assert drawn.cell_length == room.width
                    drawn.text.encode()
    assert given >= STRINGS


@pytest.mark.parametrize("text", ["[bold red]not markup[/]", "[@click=app.quit]click[/]", "\\[escaped", "{x} %s $x"])
async def test_markup_is_text(console: MakeApp, text: str) -> None:
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        unit = UnitSample(text, "writer", UnitState.FAILED, result="exit 1")
        content = services.build(services.ServicesView(Source(ServicesSample("systemd", (unit,)))), Room(100, 20, True))
        pane = app.screen.query(Pane).first()
        assert text in "".join(pane.strip(row, 100).text for row in content.lines)
        app.notify(text, markup=False)
        await pilot.pause()
        assert app._exception is None
