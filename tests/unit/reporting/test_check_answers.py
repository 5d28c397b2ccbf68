"""The answers of `walmedic check` for machines and for who has 500 tables: metrics, a plugin's line, problems only."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console import cli
from console.diagnosis.database import diagnose
from console.diagnosis.model import ServerState, Verdict
from console.questdb.layout import DatabaseRoot
from console.reporting.nagios import PluginState, plugin_line, plugin_state
from console.reporting.prometheus import exposition, gauge
from tests.data.samples import sample_database

_SAMPLE = re.compile(r"(?P<name>walmedic_[a-z_]+)(?P<labels>\{.*\})? (?P<value>NaN|[0-9.e+-]+)")


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A database where one table of several has no sequencer."""
    found = sample_database("v1", tmp_path / "root")
    sequencer = found.table("altered").sequencer
    sequencer.rename(tmp_path / "away")
    return found


def _check(database: DatabaseRoot, tmp_path: Path, *words: str) -> Result:
    argv = ["check", *words, "--db-root", str(database.root), "--state-dir", str(tmp_path / "state")]
    return CliRunner().invoke(cli.walmedic, argv, standalone_mode=False)


def _samples(text: str) -> dict[str, str]:
    """Return value by name and labels. Each line is a comment, or a sample of the gauge that was last described."""
    found: dict[str, str] = {}
    described = ""
    for line in text.splitlines():
        if line.startswith("# "):
            described = line.split()[2]
            continue
        match = _SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match["name"] == described, line
        key = match["name"] + (match["labels"] or "")
        assert key not in found
        found[key] = match["value"]
    return found


def test_the_metrics_tell_each_table_and_each_finding(database: DatabaseRoot, tmp_path: Path) -> None:
    answer = _check(database, tmp_path, "--format", "prometheus")
    found = _samples(answer.output)
    report = diagnose(database)
    assert answer.return_value == 1
    assert found['walmedic_table_verdict{table="altered",verdict="broken"}'] == "1"
    for table in report.tables:
        verdicts = [
            found[f'walmedic_table_verdict{{table="{table.table}",verdict="{each.value}"}}'] for each in Verdict
        ]
        assert verdicts.count("1") == 1
        rows = found[f'walmedic_table_rows_unapplied{{table="{table.table}"}}']
        assert rows == ("NaN" if table.rows_unapplied is None else str(table.rows_unapplied))
    assert found['walmedic_findings{code="sequencer-missing",severity="damage"}'] == "1"
    assert found["walmedic_server_up"] == "NaN"


def test_unknown_is_not_zero_and_a_hostile_name_stays_one_label(database: DatabaseRoot) -> None:
    report = diagnose(database)
    table = dataclasses.replace(report.tables[0], table='a"b\\c\nd\udcff', rows_at_risk=None, can_write=None)
    odd = dataclasses.replace(report, tables=(table,), server=ServerState.DOWN)
    found = _samples(exposition(odd, 1.5))
    name = '{table="a\\"b\\\\c\\nd�"}'
    assert found[f"walmedic_table_rows_at_risk{name}"] == "NaN"
    assert found[f"walmedic_table_writable{name}"] == "NaN"
    assert found["walmedic_server_up"] == "0"
    assert found["walmedic_check_timestamp_seconds"] == "1.5"
    assert gauge("nothing", "None.", []) == ""


def test_only_problems_leaves_out_what_is_healthy_and_counts_it(database: DatabaseRoot, tmp_path: Path) -> None:
    said = _check(database, tmp_path, "--only-problems").output
    healthy = [table.table for table in diagnose(database).tables if not table.problem]
    assert healthy
    assert "altered" in said
    assert not [name for name in healthy if f"  {name} " in said]
    whole = json.loads(_check(database, tmp_path, "--json").output)
    short = json.loads(_check(database, tmp_path, "--json", "--only-problems").output)
    assert len(short["tables"]) + short["healthy_not_listed"] == len(whole["tables"])
    assert {table["verdict"] for table in short["tables"]}.isdisjoint({"healthy"})


def test_quiet_says_nothing_and_ends_with_the_same_code(database: DatabaseRoot, tmp_path: Path) -> None:
    answer = _check(database, tmp_path, "--quiet")
    assert (answer.output, answer.return_value) == ("", 1)
    assert _check(database, tmp_path, "--quiet", "--format", "nagios").return_value == 2


def test_the_plugin_says_one_line_and_its_own_codes(database: DatabaseRoot, tmp_path: Path) -> None:
    answer = _check(database, tmp_path, "--format", "nagios")
    assert answer.return_value == PluginState.CRITICAL
    assert re.fullmatch(r"WALMEDIC CRITICAL - 1 of \d+ tables broken.* \| '.*\n", answer.output)
    gone = DatabaseRoot(tmp_path / "nowhere", tmp_path / "nowhere" / "db")
    answer = _check(gone, tmp_path, "--format", "nagios")
    assert answer.return_value == PluginState.UNKNOWN
    assert answer.output.startswith("WALMEDIC UNKNOWN - ")
    assert answer.output.count("\n") == 1


def test_the_plugin_s_state_is_the_worst_of_what_is_known(database: DatabaseRoot) -> None:
    report = diagnose(database)
    table = dataclasses.replace(report.tables[0], findings=(), verdict=Verdict.HEALTHY)

    def state(*verdicts: Verdict, server: ServerState = ServerState.UP) -> PluginState:
        tables = tuple(dataclasses.replace(table, verdict=each) for each in verdicts)
        return plugin_state(dataclasses.replace(report, tables=tables, findings=(), server=server))

    assert state(Verdict.HEALTHY) is PluginState.OK
    assert state(Verdict.HEALTHY, Verdict.AT_RISK) is PluginState.WARNING
    assert state(Verdict.UNKNOWN, Verdict.AT_RISK) is PluginState.UNKNOWN
    assert state(Verdict.UNKNOWN, Verdict.BROKEN) is PluginState.CRITICAL
    assert state(Verdict.HEALTHY, server=ServerState.DOWN) is PluginState.CRITICAL
    assert state() is PluginState.UNKNOWN
    unsure = dataclasses.replace(report, tables=(dataclasses.replace(table, rows_at_risk=None),))
    assert "'rows at risk'=U;" in plugin_line(PluginState.OK, "a | b", unsure)
    assert plugin_line(PluginState.OK, "a | b", unsure).count("|") == 1


def test_two_answers_at_once_are_no_question(database: DatabaseRoot, tmp_path: Path) -> None:
    words = ["check", "--json", "--format", "nagios", "--db-root", str(database.root)]
    assert cli.run([*words, "--state-dir", str(tmp_path / "state")]) == 16
