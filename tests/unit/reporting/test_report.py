"""The timeline and the report: order, loops, the times of copies, and text that means nothing to Markdown."""

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from console.cli import run
from console.recovery.model import RowsLost
from console.recovery.store.journal import Journal
from console.recovery.store.locks import StationLock
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.redaction import Redactor
from console.reporting import markdown
from console.reporting.accounts import accounts
from console.reporting.events import Event, Kind, folded
from console.reporting.history import past_actions_of
from console.reporting.incident import Incident, left_to_do, read_incident
from console.reporting.posting import posting
from console.reporting.report import report
from console.reporting.timeline import time_in_name
from tests.ui import reporting
from tests.unit.reporting.place import CANARIES, build


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    """A recovered incident; nothing here changes it."""
    return reporting.after(tmp_path_factory.mktemp("known"))


def test_a_crash_loop_is_one_line_until_something_is_done() -> None:
    crashes = [Event(100.0 + 80 * n, Kind.CRASH, "crash: SIGSEGV") for n in range(261)]
    ends = [Event(101.0 + 80 * n, Kind.SERVICE, "questdb ended: SIGABRT") for n in range(261)]
    action = Event(100.0 + 80 * 200.5, Kind.ACTION, "stop-server: done")
    told = folded([*reversed(ends), *crashes, action])
    assert [(e.kind, e.count) for e in told] == [
        (Kind.CRASH, 201), (Kind.SERVICE, 201), (Kind.ACTION, 1), (Kind.CRASH, 60), (Kind.SERVICE, 60),
    ]  # fmt: skip
    assert (told[0].at, told[0].last) == (100.0, 100.0 + 80 * 200)


def test_what_is_hours_apart_is_no_loop() -> None:
    told = folded([Event(at, Kind.SERVICE, "questdb started") for at in (0.0, 800.0, 9_000.0)])
    assert [(e.at, e.count) for e in told] == [(0.0, 2), (9_000.0, 1)]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(Kind), st.sampled_from("abc"))))
def test_no_event_is_lost_and_all_are_in_order(made: list[tuple[int, Kind, str]]) -> None:
    told = folded([Event(float(at), kind, what) for at, kind, what in made])
    assert sum(event.count for event in told) == len(made)
    assert [event.at for event in told] == sorted(event.at for event in told)


def test_the_time_in_a_name_is_local() -> None:
    expected = datetime.datetime(2025, 11, 10, 3, 20, 30).astimezone().timestamp()
    assert time_in_name("txn_seq.backup.20251110_032030") == expected
    assert time_in_name("txn_seq.bak-2025-11-10T03:20:30") == expected
    assert time_in_name("txn_seq.backup.20251399_992030") is None
    assert time_in_name("txn_seq.old") is None


@given(st.text())
def test_foreign_text_is_no_markup(text: str) -> None:
    shown = markdown.plain(text)
    assert "\n" not in shown
    for mark in "`*[]<>|":
        assert shown.count(mark) == shown.count(f"\\{mark}")
    inside = markdown.code(text)
    assert "|" not in inside
    assert "\n" not in inside
    fence = inside[: len(inside) - len(inside.lstrip("`"))]
    assert not inside or fence not in inside[len(fence) : len(inside) - len(fence)]


def test_the_report_of_a_damaged_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings, database = build(tmp_path.resolve())
    target = tmp_path / "report.md"
    arguments = ["report", "--db-root", str(database.root), "--state-dir", str(tmp_path / "state")]
    assert run([*arguments, "--to", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    text = target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    for part in ("## What happened", "## What was done", "## What was lost", "## What is left to do"):
        assert part in text
    assert "**3 crashes, one cause**" in text
    assert "- Not checked: column values, symbol values, index entries." in text
    assert "a copy of altered's sequencer appears: txn_seq.backup.20251110_032600" in text
    assert "Nothing was done from here." in text
    assert "1. first of all capture-evidence: " in text
    assert "2. altered is broken: " in text
    assert not any(canary in text for canary in CANARIES.values())
    assert run([*arguments, "--to", str(target)]) == 8
    assert "is not overwritten" in capsys.readouterr().err
    assert run([*arguments, "--to", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("incident-*.md"))) == 1
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["over"]) == (1, False)
    assert [event["kind"] for event in document["events"]][:1] == ["crash"]
    assert document["events"] == sorted(document["events"], key=lambda event: event["at"])
    assert document["left_to_do"] == list(left_to_do(read_incident(settings)))


def test_what_runs_what_was_cut_off_and_what_was_taken_back(tmp_path: Path) -> None:
    settings, database = build(tmp_path.resolve())
    state = StateDir(settings.state_path)
    journal = Journal(state)
    whose = {**root_key(database.db).record(), "station": "night-station", "table": None}

    def told() -> dict[str, str]:
        return {past.title: past.outcome for past in past_actions_of(state, journal, database)}

    journal.begin("20251110-030000-aaaaaa", {**whose, "action": "freeze-writer"})
    journal.append("20251110-030000-aaaaaa", "outcome", {"outcome": "done", "message": "", "verification": []})
    journal.begin("20251110-030100-bbbbbb", {**whose, "action": "undo", "undoes": "20251110-030000-aaaaaa"})
    journal.append("20251110-030100-bbbbbb", "outcome", {"outcome": "done", "message": "", "verification": []})
    journal.begin("20251110-030200-cccccc", {**whose, "inode": 1, "action": "stop-server"})  # another database
    assert told() == {"freeze-writer": "undone", "undo 20251110-030000-aaaaaa": "done"}
    journal.begin("20251110-030300-dddddd", {**whose, "action": "start-server"})
    lock = StationLock(state, database.db)
    lock.acquire("start-server")
    assert told()["start-server"] == "running"
    assert left_to_do(read_incident(settings))[0] == "wait for start-server, which runs now"
    lock.release()
    left = left_to_do(read_incident(settings))
    assert left[0] == "finish what was cut off: walmedic run start-server (entry 20251110-030300-dddddd)"
    assert not any("first of all" in each for each in left)
    journal.path.write_bytes(journal.path.read_bytes().replace(b"freeze", b"thaw"))
    assert any("find out who changed the journal" in each for each in left_to_do(read_incident(settings)))


def test_rows_lost_add_up_and_what_is_not_known_stays_unknown(known: Incident) -> None:
    restore = next(past for past in known.past_actions if past.table)
    assert restore.plan is not None

    def lost(*losses: RowsLost) -> tuple[str, int]:
        made = []
        for loss in losses:
            assert restore.plan is not None
            plan = replace(restore.plan, rows_lost=loss, confirmation=f"{restore.table} lose {loss.phrase}")
            made.append(replace(restore, plan=plan))
        account = next(a for a in accounts(replace(known, past_actions=tuple(made))) if a.table == restore.table)
        return account.lost_in_words, account.back

    assert lost(RowsLost("exact", 0), RowsLost("exact", 1_200)) == ("1,200", 6_359)
    assert lost(RowsLost("exact", 5), RowsLost("bound", 1_000)) == ("up to 1,005", 6_359)
    assert lost(RowsLost("unknown", None), RowsLost("exact", 5)) == ("unknown", 6_359)
    undone = replace(known, past_actions=tuple(replace(past, outcome="undone") for past in known.past_actions))
    assert not any(account.repaired for account in accounts(undone))


HOSTILE = (
    "a|b", "`x` ``", "](http://evil) ![p](q)", "<script>alert(1)</script>", "_em_ *b* ~~s~~", "line\nbreak\n# Heading",
    "| --- |",
)  # fmt: skip


@pytest.mark.parametrize("foreign", HOSTILE)
def test_hostile_names_change_nothing_of_the_report(known: Incident, foreign: str) -> None:
    """A Markdown parser finds the headings, tables and cells that are ours, and no link, picture or tag."""
    tables = tuple(replace(table, table=foreign) for table in known.tables.tables)
    events = tuple(replace(event, what=foreign, detail=foreign) for event in known.events)
    groups = tuple(replace(group, title=foreign, why=foreign, file=foreign) for group in known.crashes.groups)
    past_actions = tuple(replace(past, message=foreign, operator=foreign, entry=foreign) for past in known.past_actions)
    hostile = replace(
        known,
        tables=replace(known.tables, tables=tables),
        crashes=replace(known.crashes, groups=groups),
        events=events,
        past_actions=past_actions,
        missing=(foreign,),
    )
    for made in (report(hostile, Redactor()), posting(hostile, Redactor(), [foreign])):
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(made)
        kinds = [token.type for token in tokens]
        assert "html_block" not in kinds
        levels = [token.tag for token in tokens if token.type == "heading_open"]
        assert levels == ["h1", *["h2"] * (len(levels) - 1)]
        assert len(levels) <= 9
        inline = {child.type for token in tokens for child in token.children or ()}
        assert not inline & {"link_open", "image", "html_inline", "em_open", "s_open"}
        rows = [len(row) for row in _rows(kinds)]
        assert set(rows) <= {3, 5, 6, 7}  # as many cells as our tables have columns


def _rows(kinds: list[str]) -> list[list[str]]:
    """Return the cells of every row of every table."""
    rows: list[list[str]] = []
    for kind in kinds:
        if kind == "tr_open":
            rows.append([])
        elif kind in ("td_open", "th_open"):
            rows[-1].append(kind)
    return rows
