"""How each table of the tests of belonging is struck: logs and WALs of other tables, of earlier lives, of copies."""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.real.table_lives import Past, World, again, whole_seconds

Strike = Callable[[World, str], None]

BACKUP = "txn_seq.backup.20251110_032030"


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write `content` over what is at `offset`."""
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)


def _moved(world: World, name: str) -> Path:
    """Make the table's own sequencer a backup of it."""
    table = world.table(name)
    (table / "txn_seq").rename(table / BACKUP)
    return table / BACKUP


def _gone(world: World, name: str) -> None:
    shutil.rmtree(world.table(name) / "txn_seq")


def _foreign_backup(world: World, name: str, *without: str) -> None:
    _gone(world, name)
    shutil.copytree(world.table("other") / "txn_seq", world.table(name) / BACKUP)
    for file in without:
        (world.table(name) / BACKUP / file).unlink()


def _foreign_in_place(world: World, name: str, *without: str) -> None:
    _foreign_backup(world, name, *without)
    (world.table(name) / BACKUP).rename(world.table(name) / "txn_seq")


def _foreign_log_alone(world: World, name: str) -> None:
    """Only the log's file is another table's; `_meta` beside it is the table's own."""
    shutil.copy2(world.table("other") / "txn_seq" / "_txnlog", _moved(world, name) / "_txnlog")


def _touched(world: World, name: str, strike: Strike) -> None:
    """After `strike`, the files of the table itself get new times; logs and WALs keep theirs."""
    strike(world, name)
    for path in world.table(name).iterdir():
        if path.is_file():
            path.touch()


def _both_backups(world: World, name: str) -> None:
    _moved(world, name)
    shutil.copytree(world.table("other") / "txn_seq", world.table(name) / "txn_seq.backup.9_the_newest")


def _own_backup(world: World, name: str, *without: str) -> None:
    backup = _moved(world, name)
    for file in without:
        (backup / file).unlink()


def _put_wal(source: Path, target: Path, *, lock: bool = True) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    if lock:
        source_lock = source.with_name(f"{source.name}.lock")
        if source_lock.exists():
            shutil.copy2(source_lock, target.with_name(f"{target.name}.lock"))


def _foreign_wal(world: World, name: str, at: int, *, log: bool = False) -> None:
    if not log:
        _gone(world, name)
    else:
        _moved(world, name)
    _put_wal(world.table("other") / "wal2", world.table(name) / f"wal{at}")


def _old_wal(world: World, name: str, at: int, *, log: bool = False, copied: bool = False) -> None:
    """A WAL of the earlier life is put at `at`; with `log` the log of this life is there as a backup."""
    if not log:
        _gone(world, name)
    else:
        _moved(world, name)
    target = world.table(name) / f"wal{at}"
    _put_wal(world.kept / name / "wal2", target)
    if copied:
        again(target, shutil.copyfile)


def _first_wal_copied(world: World, name: str, *, lock: bool = False) -> None:
    """The first WAL of the earlier life, copied without links, is put in the place of this life's."""
    _gone(world, name)
    target = world.table(name) / "wal1"
    _put_wal(world.kept / name / "wal1", target, lock=False)
    again(target, shutil.copyfile)
    if lock:
        target.with_name("wal1.lock").unlink()
        target.with_name("wal1.lock").touch()


def _other_stations_wal(world: World, name: str, *, symbols: bool = True) -> None:
    """A WAL of another station's table, which has this one's name, id, and columns, but symbols of its own.

    Its writer linked the `symbols` that there were, or was made before the first one.
    """
    _gone(world, name)
    target = world.table(name) / "wal2"
    _put_wal(world.table("other") / "wal2", target)
    for end in "ockv":
        if symbols:
            shutil.copy2(world.table("other") / f"sym.{end}", target / f"sym.{end}")
        else:
            (target / f"sym.{end}").unlink(missing_ok=True)
    for metadata in target.glob("*/_meta"):
        overwrite(metadata, 24, struct.pack("<i", int(world.table(name).name.rpartition("~")[2])))


def _without_times(world: World, name: str) -> None:
    """Another station's WAL, in a table whose own files do not tell whether they have the times of the server."""
    _other_stations_wal(world, name, symbols=False)
    _apart(world, name, 0)


def _created_later(world: World, name: str) -> None:
    """Another station's WAL, whose lock file is older than that of the table's first WAL."""
    _other_stations_wal(world, name, symbols=False)
    _apart(world, name, 2)
    first = (world.table(name) / "wal1.lock").stat().st_mtime_ns
    os.utime(world.table(name) / "wal2.lock", ns=(first, first - 2_000_000_000))


def _apart(world: World, name: str, seconds: int) -> None:
    """Let `_meta` be `seconds` younger than `_name`: as in a copy, or as the server leaves them when it was in use."""
    made = (world.table(name) / "_name").stat().st_mtime_ns
    os.utime(world.table(name) / "_meta", ns=(made, made + seconds * 1_000_000_000))


def _other_symbols(world: World, name: str) -> None:
    """In a copy of the table without times and links, the second WAL has a dictionary with another first symbol."""
    _copied(world, name, shutil.copyfile, log=False)
    values = world.table(name) / "wal2" / "sym.c"
    assert values.read_bytes()[4:6] == "S".encode("utf-16-le")
    overwrite(values, 4, "Z".encode("utf-16-le"))


def _old_backup(world: World, name: str, copy: Callable[[str, str], object] = shutil.copy2) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / BACKUP, copy_function=copy)


def _old_in_place(world: World, name: str) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / "txn_seq")


def _then(world: World, name: str, strike: Strike, copy: Callable[[str, str], object]) -> None:
    """The whole table is copied after `strike`, as `copy` makes the files."""
    strike(world, name)
    again(world.table(name), copy)


def _stale_backup(world: World, name: str, copy: Callable[[str, str], object] = shutil.copy2) -> None:
    """A backup of this life as it was three transactions ago; `copy` made its files."""
    backup = _moved(world, name)
    again(backup, copy)
    log = backup / "_txnlog"
    (top,) = struct.unpack_from("<q", log.read_bytes(), 4)
    overwrite(log, 4, struct.pack("<q", top - 3))
    overwrite(log, 76 + 28 * (top - 3), bytes(3 * 28))


def _copied(world: World, name: str, copy: Callable[[str, str], object], *, log: bool) -> None:
    """The whole table is a copy, as `copy` makes the files."""
    if log:
        _moved(world, name)
    else:
        _gone(world, name)
    again(world.table(name), copy)


@dataclass(frozen=True)
class Case:
    """What is done to one table, by which action it is repaired, and whether a refusal is one too many."""

    strike: Strike
    action: str = "rebuild-sequencer"
    life: str = "none"
    must: bool = False  # what is lost nowhere must be repaired
    altered: int = 0
    alone: int = 0  # rounds of one writer alone in the life before
    early: int = 0  # ALTERs in the life before
    writers: int = 2
    symbols: bool = True

    def past(self, name: str) -> Past:
        """Return the table that is struck."""
        return Past(name, self.life, self.altered, self.alone, self.early, self.writers, self.symbols)


CASES: dict[str, Case] = {
    "backup_other": Case(lambda w, n: _foreign_backup(w, n)),
    "backup_other_restore": Case(lambda w, n: _foreign_backup(w, n), "restore-sequencer"),
    "backup_other_bare": Case(lambda w, n: _foreign_backup(w, n, "_meta"), "restore-sequencer"),
    "backup_other_log_only": Case(lambda w, n: _foreign_backup(w, n, "_meta", "_meta.0")),
    "backup_two": Case(_both_backups, "restore-sequencer", must=True),
    "backup_other_log_file": Case(_foreign_log_alone, "restore-sequencer"),
    "live_other": Case(lambda w, n: _foreign_in_place(w, n)),
    "live_other_repair": Case(lambda w, n: _foreign_in_place(w, n), "repair-log"),
    "live_other_bare": Case(lambda w, n: _foreign_in_place(w, n, "_meta")),
    "live_other_log": Case(lambda w, n: _foreign_in_place(w, n, "_meta", "_meta.0")),
    "backup_own_bare": Case(lambda w, n: _own_backup(w, n, "_meta"), "restore-sequencer", must=True),
    "backup_own_log_only": Case(lambda w, n: _own_backup(w, n, "_meta", "_meta.0"), "restore-sequencer", must=True),
    "wal_other_added": Case(lambda w, n: _foreign_wal(w, n, 3)),
    "wal_other_added_log": Case(lambda w, n: _foreign_wal(w, n, 3, log=True), "restore-sequencer", must=True),
    "wal_other_replaced": Case(lambda w, n: _foreign_wal(w, n, 2)),
    "wal_other_replaced_log": Case(lambda w, n: _foreign_wal(w, n, 2, log=True), "restore-sequencer"),
    "cyc_added": Case(lambda w, n: _old_wal(w, n, 3), life="converted"),
    "cyc_added_copied": Case(lambda w, n: _old_wal(w, n, 3, copied=True), life="converted"),
    "cyc_added_log": Case(lambda w, n: _old_wal(w, n, 3, log=True), "restore-sequencer", "converted", must=True),
    "cyc_replaced": Case(lambda w, n: _old_wal(w, n, 2), life="converted"),
    "cyc_replaced_first": Case(lambda w, n: _old_wal(w, n, 1), life="converted"),
    "cyc_replaced_log": Case(lambda w, n: _old_wal(w, n, 2, log=True), "restore-sequencer", "converted"),
    "cyc_altered_added": Case(lambda w, n: _old_wal(w, n, 3), life="converted", altered=1),
    "cyc_backup": Case(_old_backup, "restore-sequencer", "converted"),
    "cyc_live_even": Case(_old_in_place, life="converted"),
    "cyc_backup_uneven": Case(_old_backup, "restore-sequencer", "converted", alone=4),
    "cyc_backup_rebuild": Case(_old_backup, life="converted", alone=4, must=True),
    "cyc_live_uneven": Case(_old_in_place, "repair-log", "converted", alone=4),
    "cyc_live_rebuild": Case(_old_in_place, life="converted", alone=4, must=True),
    "cyc_backup_copied": Case(lambda w, n: _then(w, n, _old_backup, shutil.copyfile), life="converted", alone=4),
    "cyc_backup_tar": Case(lambda w, n: _then(w, n, _old_backup, whole_seconds), life="converted", alone=4, must=True),
    "cyc_in_place_copied": Case(lambda w, n: _then(w, n, _old_in_place, shutil.copyfile), life="converted", alone=4),
    "cyc_live_touched": Case(lambda w, n: _touched(w, n, _old_in_place), "repair-log", "converted", alone=4),
    "cyc_backup_touched": Case(lambda w, n: _touched(w, n, _old_backup), "restore-sequencer", "converted", alone=4),
    "cyc_stale": Case(_stale_backup, "restore-sequencer", "converted", must=True),
    "cyc_stale_cp": Case(
        lambda w, n: _stale_backup(w, n, shutil.copyfile), "restore-sequencer", "converted", must=True
    ),
    "put_sole": Case(_first_wal_copied, life="converted", writers=1),
    "put_sole_lock": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted", writers=1),
    "put_sole_plain": Case(_first_wal_copied, life="converted", writers=1, symbols=False),
    "put_first": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted"),
    "put_first_plain": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted", symbols=False),
    "put_early": Case(lambda w, n: _old_wal(w, n, 2, copied=True), life="converted", altered=1, early=1),
    "put_early_copied": Case(
        lambda w, n: _then(w, n, lambda w, n: _old_wal(w, n, 2), shutil.copyfile), life="converted", altered=1, early=1
    ),
    "put_symbols_copied": Case(_other_symbols, life="converted"),
    "put_other_station": Case(_other_stations_wal),
    "put_other_station_bare": Case(_created_later),
    "strange_without_times": Case(_without_times),
    "same_early": Case(_gone, life="converted", altered=1, early=2, must=True),
    "same_sole_cp": Case(
        lambda w, n: _copied(w, n, shutil.copyfile, log=False), life="converted", writers=1, must=True
    ),
    "same_plain": Case(_gone, life="converted", writers=1, symbols=False, must=True),
    "drop_added": Case(lambda w, n: _old_wal(w, n, 3), life="dropped"),
    "drop_replaced_log": Case(lambda w, n: _old_wal(w, n, 2, log=True), "restore-sequencer", "dropped"),
    "drop_backup": Case(_old_backup, "restore-sequencer", "dropped"),
    "same_cp": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=False), must=True),
    "same_cp_log": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=True), "restore-sequencer", must=True),
    "same_rsync": Case(lambda w, n: _copied(w, n, shutil.copy2, log=False), must=True),
    "same_tar": Case(lambda w, n: _copied(w, n, whole_seconds, log=True), "restore-sequencer", must=True),
    "same_tar_bare": Case(lambda w, n: _copied(w, n, whole_seconds, log=False), must=True),
    "same_cyc_cp": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=False), life="converted", must=True),
    "same_cyc_cp_log": Case(
        lambda w, n: _copied(w, n, shutil.copyfile, log=True), "restore-sequencer", "converted", must=True
    ),
    "same_cyc_tar": Case(
        lambda w, n: _copied(w, n, whole_seconds, log=True), "restore-sequencer", "converted", must=True
    ),
    "same_cyc": Case(_gone, life="converted", must=True),
    "same_altered": Case(_gone, altered=2, must=True),
    "same_dropped": Case(_gone, life="dropped", must=True),
    "remade_backup": Case(_old_backup, "restore-sequencer", "remade", alone=4),
    "remade_live": Case(_old_in_place, "repair-log", "remade", alone=4),
    "remade_backup_cp": Case(lambda w, n: _old_backup(w, n, shutil.copyfile), "restore-sequencer", "remade", alone=4),
    "remade_live_touched": Case(lambda w, n: _touched(w, n, _old_in_place), "repair-log", "remade", alone=4),
    "remade_wal": Case(lambda w, n: _old_wal(w, n, 2), life="remade"),
}
