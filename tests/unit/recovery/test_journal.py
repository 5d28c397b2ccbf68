"""The journal: durable, private, chained; what was tampered with is named."""

import errno
import json
import multiprocessing
import os
import random
from pathlib import Path

import pytest

from console.recovery.store.journal import Journal, JournalError, new_entry_id
from console.recovery.store.places import RootKey
from console.recovery.store.state import StateDir


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with three entries: done, unfinished, undone in part."""
    book = Journal(StateDir(tmp_path / "state"))
    for number in range(3):
        entry = new_entry_id()
        book.begin(entry, {"action": "repair-log", "table": f"t{number}", "device": 1, "inode": 2})
        book.append(entry, "stage", {"id": "build", "state": "begins"})
        book.append(entry, "stage", {"id": "build", "state": "done"})
        if number == 0:
            book.append(entry, "outcome", {"outcome": "done", "message": ""})
        if number == 2:
            book.append(entry, "reversed", {"id": "build", "state": "done"})
    return book


def test_entries_come_back_in_order_with_what_is_unfinished(journal: Journal) -> None:
    done, unfinished, reversed_ = journal.entries()
    assert (done.table, done.root) == ("t0", RootKey(1, 2))
    assert done.outcome is not None
    assert unfinished.outcome is None
    assert unfinished.stages_done == {"build"}
    assert reversed_.stages_done == frozenset()
    assert {"operator", "terminal", "host", "pid"} <= set(unfinished.intent)


def test_it_is_private_and_whole(journal: Journal) -> None:
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700
    assert journal.verify() == ()


def test_any_changed_byte_is_named_by_its_line(journal: Journal) -> None:
    content = journal.path.read_bytes()
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for _ in range(1000):
        at = rng.randrange(len(content))
        changed = bytearray(content)
        changed[at] = rng.choice([b for b in range(256) if b != changed[at]])
        journal.path.write_bytes(changed)
        line = content[:at].count(b"\n") + 1
        assert line in {each.line for each in journal.verify()}, f"seed {seed}: byte {at}"


def test_a_line_taken_out_put_in_or_moved_is_named(journal: Journal) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    for tampered in (lines[:3] + lines[4:], lines[:3] + lines[2:], [*lines[:3], lines[4], lines[3], *lines[5:]]):
        journal.path.write_bytes(b"".join(tampered))
        assert 4 in {each.line for each in journal.verify()}
    journal.path.write_bytes(b"".join(lines[1:]))
    assert journal.verify()[0].line == 1


def test_a_line_cut_by_a_crash_was_never_confirmed_and_is_written_over(journal: Journal) -> None:
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: whole.index(b"\n") - 9])
    assert [each.what for each in journal.verify()] == ["the last line is cut short (a crash while it was written)"]
    assert len(journal.entries()) == 3
    journal.begin(new_entry_id(), {"action": "undo"})
    assert journal.verify() == ()
    assert journal.path.read_bytes().startswith(whole)


def test_a_line_that_a_power_loss_left_as_zeros_is_written_over(journal: Journal) -> None:
    """The file got its length and not all of its blocks; a zero byte in a line that was confirmed is damage."""
    whole = journal.path.read_bytes()
    line = whole[: whole.index(b"\n") + 1]
    for left in (bytes(len(line)), line[:20] + bytes(len(line) - 20), bytes(20) + line[20:], bytes(1)):
        journal.path.write_bytes(whole + left)
        assert journal.damage() is None, left
        assert len(journal.entries()) == 3
        journal.begin(new_entry_id(), {"action": "undo"})
        assert journal.verify() == ()
        assert journal.path.read_bytes().startswith(whole + b'{"at":"')
        journal.path.with_suffix(".head").unlink()
    journal.begin(new_entry_id(), {"action": "undo"})
    confirmed = journal.path.read_bytes()
    journal.path.write_bytes(confirmed[:-30] + bytes(9) + confirmed[-21:])
    assert journal.damage() is not None


@pytest.mark.parametrize(
    "tampered",
    [
        b"",
        b"junk",
        b"junk\n",
        b"[" * 200_000,
        b'{"data": {}}\n',
        b'{"at":"","data":{},"entry":1,"hash":"","kind":""}\n',
    ],
    ids=["emptied", "junk", "junk line", "nested", "no event", "wrong types"],
)
def test_junk_and_an_emptied_file_are_damage_and_not_an_empty_journal(journal: Journal, tampered: bytes) -> None:
    assert journal.damage() is None
    journal.path.write_bytes(tampered)
    assert journal.damage() is not None
    assert journal.entries() == ()
    journal.path.unlink()
    assert journal.damage() is not None


def test_an_end_that_was_cut_off_is_damage(journal: Journal) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        journal.path.write_bytes(b"".join(lines[:kept]))
        assert journal.damage() is not None, kept
    journal.path.write_bytes(b"".join(lines))
    assert journal.damage() is None


def test_an_older_note_of_the_end_is_no_damage(journal: Journal) -> None:
    """The note is not synced: a power loss can leave an older one, an empty one, or none."""
    note = journal.path.with_suffix(".head")
    older = note.read_bytes()
    journal.begin(new_entry_id(), {"action": "undo"})
    for content in (older, b"", b"nonsense"):
        note.write_bytes(content)
        assert journal.damage() is None
    note.unlink()
    assert journal.damage() is None


def test_after_a_broken_line_work_is_still_recorded_and_the_break_stays_visible(journal: Journal) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:-1], b"nonsense\n"]))
    journal.begin(new_entry_id(), {"action": "stop-server"})
    assert journal.entries()[-1].action == "stop-server"
    assert {each.line for each in journal.verify()} >= {len(lines)}


def _append(folder: str, number: int) -> None:
    book = Journal(StateDir(Path(folder)))
    for _ in range(20):
        book.append(f"e{number}", "intent", {"action": "x"})


def test_many_writers_keep_one_chain(tmp_path: Path) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_append, args=(str(tmp_path / "s"), n)) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    book = Journal(StateDir(tmp_path / "s"))
    assert book.verify() == ()
    assert sum(len(entry.events) for entry in book.entries()) == 80


def test_foreign_text_stays_data(journal: Journal) -> None:
    hostile = 't\x1b]0;x\x07\n{"number": 1}\u202e[/b]'
    journal.begin("e-hostile", {"action": "repair-log", "table": hostile})
    assert journal.entry("e-hostile").table == hostile
    assert b"\x1b" not in journal.path.read_bytes()
    assert all(json.loads(line) for line in journal.path.read_bytes().splitlines())


def test_what_cannot_be_written_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(Exception, match="without a journal nothing is done"):
        Journal(StateDir(tmp_path / "state")).begin("e", {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="without it nothing is done"):
        Journal(StateDir(tmp_path / "other")).begin("e", {})
    assert not (tmp_path / "elsewhere").exists()


def test_an_entry_is_found_by_a_part_of_its_id_that_is_its_own(journal: Journal) -> None:
    wanted = journal.entries()[1].id
    assert journal.entry(wanted[-6:]).id == wanted
    with pytest.raises(JournalError, match="more than one entry '2'"):
        journal.entry("2")
    with pytest.raises(JournalError, match="no entry 'none'"):
        journal.entry("none")


def test_an_end_that_cannot_be_written_is_not_called_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match=r"No space left on device\): all was done but to write how it ended"):
        journal.append(journal.entries()[1].id, "outcome", {"outcome": "done", "message": ""})
