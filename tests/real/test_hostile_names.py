"""Names that a server takes and a screen must not: repaired one by one, shown harmlessly, asked for by their phrase."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from console.cli import run as command_line
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server, quoted
from console.settings import QuestDBSettings
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of

_NAMES = (
    "orders",
    "оrders",
    "or\u202eders",  # turns what follows around on a screen that obeys it
    "or\u200bders",  # with a space of no width: clean, it is called as the first one
    "[red]bold[b]",
    "$HOME;`rm -rf .`",
    "two  spaces and more",
    "{curly}&|<>#!=@^",
    "--confirm",
    "select",
    "x" * 119,
    "表" * 40,
)
_COLUMNS = ("[red]n[b]", "n\u202em", "$HOME;`rm`", "列")
_BACKUP = "txn_seq.[bold]\x1b[2J\n'\u202e\"; rm -rf .."
_FILES = ("[bold]", "\x1b]0;title\x07", "a\nb", "'quoted\"", "\u202egpj", "x" * 200, "_txnl\u043eg", "..hidden")
_ROWS = 30


def _insert(name: str, after: int) -> str:
    rows = f"((x + {after}) * 1000000)::timestamp, x FROM long_sequence({_ROWS // 2})"
    return f"INSERT INTO {quoted(name)} (ts, {quoted(_COLUMNS[0])}) SELECT {rows}"


@pytest.fixture(scope="module")
def root(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One table of each name, some rows not applied, every sequencer gone but for a copy of as hostile a name."""
    root = tmp_path_factory.mktemp("hostile") / "root"
    root.mkdir()
    with PrivateServer(root, questdb, settings=SERVER) as server:
        columns = ", ".join(f"{quoted(column)} LONG" for column in _COLUMNS)
        for name in _NAMES:
            server.query(f"CREATE TABLE {quoted(name)} (ts TIMESTAMP, {columns}) TIMESTAMP(ts) PARTITION BY DAY WAL")
            server.query(_insert(name, _ROWS // 2))
        wait_until_applied(server)
        for name in _NAMES:
            server.query(f"ALTER TABLE {quoted(name)} SUSPEND WAL")
            server.query(_insert(name, _ROWS // 2))
        server.kill()
    for table in DatabaseRoot.locate(root).tables():
        if table.raw_name in _NAMES:
            shutil.copytree(table.sequencer, table.path / _BACKUP)
            for name in _FILES:
                (table.path / _BACKUP / name).write_bytes(b"?")
            shutil.rmtree(table.sequencer)
    return root


@pytest.fixture(scope="module")
def engine(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with evidence of all of them."""
    return captured(engine_of(root, tmp_path_factory.mktemp("state") / "state"))


@pytest.fixture(scope="module")
def plans(engine: Engine) -> dict[str, Plan]:
    """The plan of each repair, asked for by the table's own name."""
    return {name: engine.plan("rebuild-sequencer", name) for name in _NAMES}


def test_the_plan_is_of_that_table_and_shows_nothing_that_a_screen_obeys(
    engine: Engine, plans: dict[str, Plan]
) -> None:
    directories = {table.raw_name: table.directory for table in engine.database.tables()}
    for name, plan in plans.items():
        assert plan.refused == (), (name, plan.refused)
        assert plan.directory == directories[name]
        assert plan.confirmation == f"{plan.table} lose 0"
        said = [plan.confirmation, plan.why, *plan.warnings, *(stage.title for stage in plan.stages)]
        said += [text for stage in plan.stages for change in stage.changes for text in (change.before, change.after)]
        bad = {unicodedata.category(letter) for text in said for letter in text} & {"Cc", "Cf", "Zl", "Zp", "Cs"}
        assert bad == set(), (name, said)


@pytest.mark.parametrize("command", ["check", "plan restore-sequencer [red]bold[b]", "journal"])
def test_commands_show_names_of_files_as_one_harmless_line(
    command: str, engine: Engine, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = command.split(" ")
    where = ["--db-root", str(root), "--state-dir", str(engine.state.root)]
    assert command_line([*words, *where]) in (0, 1, 8)
    said = capfd.readouterr().out
    assert said.count("\n") > 0
    bad = {unicodedata.category(letter) for letter in said if letter != "\n"} & {"Cc", "Cf", "Zl", "Zp", "Cs"}
    assert bad == set(), said
    if command != "journal":
        assert "txn_seq.[bold]" in said  # as it is, not taken for markup


def test_evidence_holds_files_of_any_name(engine: Engine) -> None:
    (folder,) = engine.state.evidence.iterdir()
    for table in engine.database.tables():
        if table.raw_name in _NAMES:
            kept = folder / "db" / table.directory / _BACKUP
            assert {path.name for path in kept.iterdir()} >= set(_FILES)


def test_names_that_look_alike_are_distinguished(engine: Engine, plans: dict[str, Plan]) -> None:
    latin, cyrillic = plans["orders"], plans["оrders"]
    assert latin.confirmation != cyrillic.confirmation
    with pytest.raises(Exception, match="the phrase is not the plan's"):
        engine.run(latin, cyrillic.confirmation)


def test_each_is_repaired_by_its_phrase_and_serves_its_rows(
    engine: Engine, plans: dict[str, Plan], root: Path, questdb: ServerBinary
) -> None:
    for name, plan in plans.items():
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, (name, result)
    assert engine.journal.verify() == ()
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        ours = Server(QuestDBSettings(pg_port=server.pg_port))
        for name in _NAMES:
            assert ours.rows(f"SELECT count() AS n FROM {quoted(name)}") == [{"n": _ROWS}], name
            row = ours.wal_table(name)
            assert row is not None
            assert (row["name"], row["suspended"]) == (name, False)
