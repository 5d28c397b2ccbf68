"""Each `--json` document is as its schema in docs/schema says (WRITE_DOCS=1 writes them)."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from console import cli
from console.questdb.layout import DatabaseRoot
from tests.data.samples import sample_database
from tests.documents import schemas, validated

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
_HS_ERR = "#\n# A fatal error has been detected by the Java Runtime Environment:\n"

Say = Callable[..., dict[str, Any]]


def test_the_schemas_are_in_the_documents() -> None:
    made = {f"{name}.json": json.dumps(schema, indent=1) + "\n" for name, schema in schemas().items()}
    if os.environ.get("WRITE_DOCS"):
        FOLDER.mkdir(exist_ok=True)
        for path in FOLDER.glob("*.json"):
            path.unlink()
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert written == made, "docs/schema differs from the types: WRITE_DOCS=1 writes it anew"
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A database where one table of several has lost its sequencer; no server lives on it."""
    found = sample_database("v1", tmp_path / "root")
    sequencer = found.table("altered").sequencer
    sequencer.rename(sequencer.with_name("txn_seq.backup"))
    (found.db / "tables.d.lock").touch()
    return found


@pytest.fixture
def say(
    database: DatabaseRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Say:
    """Run a command with --json and return its document."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "log"))
    place = ("--db-root", str(database.root), "--state-dir", str(tmp_path / "state"))

    def called(*words: str, placed: bool = True) -> dict[str, Any]:
        capsys.readouterr()
        cli.run([*words, "--json", *(place if placed else ())])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return called


def test_what_is_read_is_as_its_schema_says(say: Say, database: DatabaseRoot, tmp_path: Path) -> None:
    crash = tmp_path / "hs_err_pid1.log"
    crash.write_text(_HS_ERR)
    log = str(database.table("altered").path / "txn_seq.backup" / "_txnlog")
    checked = say("check")
    assert checked["tables"]
    assert {finding["code"] for table in checked["tables"] for finding in table["findings"]} >= {"sequencer-missing"}
    validated("check", checked)
    validated("check", say("check", "--only-problems"))
    validated("inspect", say("inspect", log, placed=False))
    validated("inspect", say("inspect", log, "--txn", "1", placed=False))
    validated("crashes", say("crashes", str(tmp_path)))
    validated("doctor", say("doctor"))
    validated("init", say("init", "--print"))
    validated("guard", say("guard", "--once"))
    validated("watch", say("watch", "--once"))
    validated("bundle", say("bundle", "--preview"))
    validated("error", say("check", "no-such-table"))
    validated("error", say("check", "--no-such-option"))


def test_what_is_done_is_as_its_schema_says(say: Say) -> None:
    steps = say("plan", "station")
    assert steps["steps"]
    validated("plan-station", steps)
    for action in ("capture-evidence", "restore-sequencer"):
        words = (action,) if action == "capture-evidence" else (action, "altered")
        plan = say("plan", *words)
        validated("plan", plan)
        refused = say("run", *words)
        assert refused["outcome"] == "refused"
        validated("run", refused)
        done = say("run", *words, "--confirm", plan["confirmation"])
        assert done["outcome"] == "done"
        validated("run", done)
    validated("run", say("undo", done["entry"], "--confirm", f"undo {done['entry']}"))
    journal = say("journal")
    assert len(journal["entries"]) >= 2
    validated("journal", journal)
    report = say("report")
    assert report["actions"]
    validated("report", report)


def test_a_schema_refuses_what_is_missing_and_the_strict_one_what_is_new(say: Say) -> None:
    document = say("check")
    jsonschema.validate({**document, "new": 1}, schemas()["check"])
    with pytest.raises(jsonschema.ValidationError):
        validated("check", {**document, "new": 1})
    for key in ("tables", "server", "schema"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in document.items() if name != key}, schemas()["check"])
