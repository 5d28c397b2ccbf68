"""The journal probe: every entry in its words, the newest first, and a chain that was touched is said."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from console.probes.contents import JournalSample
from console.probes.journal import JournalProbe
from console.probes.sample import Sample, Status
from console.recovery.guard.state import GuardState, put_state
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.settings import Settings
from console.widgets.line import plain
from console.widgets.pane import Room
from screens.panes import journal
from screens.panes.reading import Source


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


@pytest.fixture
def probe(state: StateDir) -> JournalProbe:
    return JournalProbe(Settings(state_dir=str(state.root)))


def begin(state: StateDir, entry: str, action: str = "repair-log", **more: object) -> None:
    intent = {"action": action, "table": "trades", "station": "s", "confirmation": "trades lose 0"}
    Journal(state).begin(entry, {**intent, **more})


def end(state: StateDir, entry: str, outcome: str, message: str = "done and verified") -> None:
    Journal(state).append(entry, "outcome", {"outcome": outcome, "message": message})


def data_of(sample: Sample[JournalSample]) -> JournalSample:
    assert sample.data is not None, sample.error
    return sample.data


async def test_no_journal_yet_is_an_empty_one(probe: JournalProbe) -> None:
    sample = await probe.read()
    assert sample.status is Status.OK
    assert (data_of(sample).lines, data_of(sample).chain_ok) == ((), True)


async def test_entries_in_words_newest_first(state: StateDir, probe: JournalProbe) -> None:
    begin(state, "20251110-033000-aaaaaa")
    end(state, "20251110-033000-aaaaaa", "rolled-back", "not proven\x1b[31m: 3 rows")
    assert [line.outcome for line in data_of(await probe.read()).lines] == ["rolled back"]
    begin(state, "20251110-033100-bbbbbb")
    end(state, "20251110-033100-bbbbbb", "done")
    begin(state, "20251110-033200-cccccc", "undo", undoes="20251110-033100-bbbbbb")
    end(state, "20251110-033200-cccccc", "done")
    begin(state, "20251110-033300-dddddd")
    lines = data_of(await probe.read()).lines
    assert [line.entry[-6:] for line in lines] == ["dddddd", "cccccc", "bbbbbb", "aaaaaa"]
    assert [line.outcome for line in lines] == ["running", "done", "undone", "rolled back"]
    assert lines[0].summary == "trades lose 0"
    assert lines[3].summary == "not proven: 3 rows"
    assert all(line.operator and line.target == "trades" and line.at > 1e9 for line in lines)


async def test_an_entry_whose_process_was_killed_is_unfinished(state: StateDir, probe: JournalProbe) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from console.recovery.store.journal import Journal; from console.recovery.store.state import StateDir\n"
        "Journal(StateDir(Path(sys.argv[1]))).begin('20251110-040000-eeeeee', {'action': 'repair-log'})\n"
        "print('begun', flush=True); time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(state.root), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    assert data_of(await probe.read()).lines[0].outcome == "running"
    process.kill()
    await process.wait()
    assert data_of(await probe.read()).lines[0].outcome == "unfinished"


async def test_a_line_that_was_changed_breaks_the_chain(state: StateDir, probe: JournalProbe) -> None:
    begin(state, "20251110-033000-aaaaaa")
    end(state, "20251110-033000-aaaaaa", "failed")
    assert data_of(await probe.read()).chain_ok
    state.journal.write_bytes(state.journal.read_bytes().replace(b'"failed"', b'"done"'))
    sample = await probe.read()
    assert sample.status is Status.DEGRADED
    assert not data_of(sample).chain_ok
    assert "line 2 of the journal: the line was changed after it was written" in sample.error


async def test_a_journal_that_is_a_link_is_not_followed(state: StateDir, probe: JournalProbe, tmp_path: Path) -> None:
    begin(state, "20251110-033000-aaaaaa")
    state.journal.rename(tmp_path / "elsewhere")
    state.journal.symlink_to(tmp_path / "elsewhere")
    sample = await probe.read()
    assert sample.status is Status.DOWN
    assert "cannot be read" in sample.error


def test_the_age_of_the_guards_copies_is_shown_where_a_guard_ran(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    room = Room(100, 5)

    def shown() -> str:
        sample = asyncio.run(JournalProbe(settings).read())
        return plain(journal.build(Source(sample.data, now=time.time()), room).note)

    assert shown() == ""
    for age, words in ((1, "guard: now"), (7200, "guard: 2h00m ago")):
        settings.guard_path.mkdir(parents=True, exist_ok=True)
        put_state(settings.guard_path, GuardState(time.time() - age, 1, 1, 1, 1))
        assert shown().startswith(words), shown()
