"""Tables with a past, on a real server: two of one structure, some dropped and made again, some SET TYPE out and back.

Every row has an id of its own. What an earlier life or another table left behind is kept aside, as a responder keeps
it; `strike` puts it where it does not belong.
"""

import os
import shutil
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import DAY, EPOCH, SERVER, wait_until_applied

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Past:
    """One table: its name, the life before this one, how many ALTERs since, and how many rounds one writer had alone.

    `early` counts the ALTERs of the life before, `writers` those who write, and `symbols` says whether there is one.
    Lives: `none`, `converted`, `dropped`, and `remade`: dropped and created again with the same table id. The rounds of
    one writer come first in the life before, so that the orders of the two lives differ.
    """

    name: str
    life: str = "none"
    altered: int = 0
    alone: int = 0
    early: int = 0
    writers: int = 2
    symbols: bool = True


@dataclass(slots=True)
class World:
    """A killed database in `root`; `kept` holds `<table>/txn_seq` and `<table>/walN` of earlier lives."""

    root: Path
    kept: Path
    directories: dict[str, str]

    def table(self, name: str) -> Path:
        """Return a table's directory."""
        return self.root / "db" / self.directories[name]

    def copy(self, to: Path) -> "World":
        """Return a copy of the database at `to`, with times and hard links."""
        copy_linked(self.root, to)
        return World(to, self.kept, dict(self.directories))


Writers = Sequence[psycopg.Connection[tuple[object, ...]]]


class _Feed:
    """Writes rows with ids that never repeat; each writer has a WAL of its own."""

    def __init__(self) -> None:
        self.next = 1

    def round(self, writers: Writers, table: str, rows: int = 5) -> None:
        """Commit one transaction of `rows` rows by each writer."""
        for writer in writers:
            writer.execute(b"BEGIN")
            values = []
            for _ in range(rows):
                stamp = EPOCH + (self.next * 7_000_000) % (2 * DAY)
                values.append(f"({stamp}, {self.next}, 'S{self.next % 7}', {self.next / 8})")
                self.next += 1
            writer.execute(f"INSERT INTO {table} (ts, id, sym, px) VALUES {', '.join(values)}".encode())
        for writer in writers:
            writer.execute(b"COMMIT")


def _create(writers: Writers, pasts: Iterable[Past]) -> None:
    for past in pasts:
        columns = f"ts TIMESTAMP, id LONG, sym {'SYMBOL' if past.symbols else 'VARCHAR'}, px DOUBLE"
        writers[0].execute(f"CREATE TABLE {past.name} ({columns}) TIMESTAMP(ts) PARTITION BY DAY WAL".encode())


def _directories(server: PrivateServer) -> dict[str, str]:
    return {str(n): str(d) for n, d in server.query("SELECT table_name, directoryName FROM tables()")}


def _two(server: PrivateServer) -> Writers:
    return [server.connect(), server.connect()]


def build(root: Path, pasts: Sequence[Past], binary: ServerBinary) -> World:
    """Make the tables with one to three starts; the last server is killed with unapplied transactions in each."""
    kept = root.parent / f"{root.name}.kept"
    root.mkdir(parents=True)
    kept.mkdir()
    feed = _Feed()
    old = [past for past in pasts if past.life != "none"]
    server = PrivateServer(root, binary, settings=SERVER)
    if old:
        with server:
            before = _first_life(server, root, kept, old, feed)
        with server:
            for past in old:
                if past.life == "converted":
                    server.query(f"ALTER TABLE {past.name} SET TYPE WAL")
        _remake(server, root, [past for past in old if past.life == "remade"], before)
    server.start()
    try:
        writers = _two(server)
        _create(writers, [past for past in pasts if past.life == "none"])
        for past in pasts:
            feed.round(writers[: past.writers], past.name)
        wait_until_applied(server)
        for past in pasts:
            for number in range(past.altered):
                server.query(f"ALTER TABLE {past.name} ADD COLUMN more{number} INT")
            for _ in range(_ROUNDS - 1):
                feed.round(writers[: past.writers], past.name)
        wait_until_applied(server)
        for past in pasts:
            server.query(f"ALTER TABLE {past.name} SUSPEND WAL")
            for _ in range(_ROUNDS):
                feed.round(writers[: past.writers], past.name)
        directories = _directories(server)
    finally:
        server.kill()
    return World(root, kept, {past.name: directories[past.name] for past in pasts})


def _first_life(server: PrivateServer, root: Path, kept: Path, old: Sequence[Past], feed: _Feed) -> dict[str, str]:
    writers = _two(server)
    _create(writers, old)
    for past in old:
        for _ in range(past.alone):
            feed.round(writers[:1], past.name)
        for _ in range(_ROUNDS):
            feed.round(writers[: past.writers], past.name)
        for number in range(past.early):
            server.query(f"ALTER TABLE {past.name} ADD COLUMN early{number} INT")
            feed.round(writers[: past.writers], past.name)
    wait_until_applied(server)
    for past in old:
        server.query(f"ALTER TABLE {past.name} SUSPEND WAL")
        feed.round(writers[: past.writers], past.name)
    directories = _directories(server)
    for past in old:
        for folder in (root / "db" / directories[past.name]).iterdir():
            if folder.is_dir() and folder.name.startswith(("wal", "txn_seq")):
                shutil.copytree(folder, kept / past.name / folder.name)
    for writer in writers:
        writer.close()
    for past in old:
        server.query(f"ALTER TABLE {past.name} RESUME WAL")
    wait_until_applied(server)
    for past in old:
        if past.life == "converted":
            server.query(f"ALTER TABLE {past.name} SET TYPE BYPASS WAL")
        else:
            server.query(f"DROP TABLE {past.name}")
            if past.life == "dropped":
                _create([server.connect()], [past])
    return directories


def _remake(server: PrivateServer, root: Path, pasts: Sequence[Past], directories: Mapping[str, str]) -> None:
    """Create dropped tables again, each with its id: the file that counts ids is put back from an old backup."""
    if not pasts:
        return
    counter, made = root / "db" / "_tab_index.d", [directories[past.name] for past in pasts]
    highest = counter.read_bytes()
    for directory in made:  # which the purge would have removed by now
        shutil.rmtree(root / "db" / directory)
    counter.write_bytes(struct.pack("<q", int(made[0].rpartition("~")[2]) - 1) + highest[8:])
    with server:
        _create([server.connect()], pasts)
        found = _directories(server)
    assert [found[past.name] for past in pasts] == made
    counter.write_bytes(highest)


def copy_linked(source: Path, to: Path) -> None:
    """Copy a tree as `cp -a` does: times and hard links stay."""
    to.mkdir(parents=True)
    links: dict[int, Path] = {}
    for path in sorted(source.rglob("*")):
        target = to / path.relative_to(source)
        if path.is_dir():
            target.mkdir()
            continue
        first = links.setdefault(path.stat().st_ino, target)
        if first == target:
            shutil.copy2(path, target)
        else:
            target.hardlink_to(first)


def again(table: Path, copy: Callable[[str, str], object]) -> None:
    """Put a copy of the table in its place, each file made by `copy`: no links, and times as `copy` leaves them."""
    aside = table.with_name("aside")
    table.rename(aside)
    shutil.copytree(aside, table, copy_function=copy)
    shutil.rmtree(aside)


def whole_seconds(source: str, target: str) -> None:
    """Copy a file with its time cut to seconds, as tar does."""
    shutil.copyfile(source, target)
    seconds = int(Path(source).stat().st_mtime)
    os.utime(target, (seconds, seconds))
