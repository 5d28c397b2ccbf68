"""Whoever only looks at a station writes nothing: their system calls, their SQL, their Redis commands."""

import re
import subprocess
import sys
import time
from pathlib import Path

import redis

from console.station.build import Station
from tests.real.tmux_pane import Pane
from tests.real.watched import Tap, commands, reads_under, statements, strace, writes_under

_QUERY = re.compile(r"(?:SELECT|SHOW)\b|\(SHOW PARAMETERS\)$|(?:wal_)?tables\(\)$", re.IGNORECASE)
"""What an observer may ask QuestDB: a function that lists may stand alone, for all of its rows."""

_READING = {
    "hello", "auth", "select", "ping", "info", "type", "xinfo stream", "xinfo groups", "xinfo consumers", "xpending",
    "xrange", "xrevrange", "xlen", "time", "client setinfo", "client setname", "client maint_notifications",
    "config get", "memory usage", "multi", "exec",
}  # fmt: skip
"""What an observer may say to Redis: nothing in it changes a key."""


_OBSERVING = """
import sys
from console.cli import run
config, root, table, *_ = sys.argv[1:]
for words in (
    ["check", "--json", "--deep"], ["check", table], ["doctor"], ["crashes", root], ["journal", "--verify"],
    ["plan", "rebuild-sequencer", table], ["plan", "start-server"], ["inspect", f"{root}/db/{table}~19/_txn"],
):
    print(words, run([*words, "--config", config]), flush=True)
"""


def test_observing_writes_nothing(incident_station: Station, tmp_path: Path) -> None:
    """The console in observe mode and every command that looks: their system calls, their SQL, their Redis commands."""
    layout = incident_station.layout
    sql, redis_tap = Tap(layout.pg_port), Tap(layout.redis_port)
    text = layout.settings_file.read_text()
    text = text.replace(f"pg_port = {layout.pg_port}", f"pg_port = {sql.port}")
    text = text.replace(f"port = {layout.redis_port}\n", f"port = {redis_tap.port}\n")
    config = tmp_path / "walmedic.toml"
    config.touch(mode=0o600)
    config.write_text(text)
    traces = tmp_path / "commands.txt", tmp_path / "console.txt"
    root = str(layout.data_root)
    looking = [sys.executable, "-c", _OBSERVING, str(config), root, "market_orderbook"]
    done = subprocess.run([*strace(traces[0]), *looking], capture_output=True, text=True, timeout=240)
    assert done.stdout.count("\n[") >= 6, done
    pane = Pane([*strace(traces[1]), sys.executable, "-m", "console", "--config", str(config)], tmp_path)
    try:
        pane.until(lambda s: "rows at risk" in s, 120)
        for key in ("b", "Down", "Enter", "Escape", "?", "Escape", "a", "Escape"):
            pane.press(key)
            time.sleep(1)
        time.sleep(3)  # more than one round of every probe
        for _ in range(4):
            pane.press("Escape")
            time.sleep(1)  # what follows Escape at once would be taken for Alt and that key
        pane.press("q")
        assert pane.ended(60)
    finally:
        pane.close()
        sql.close()
        redis_tap.close()
    for trace in traces:
        assert reads_under(trace, layout.data_root) > 50, trace
        assert writes_under(trace, layout.data_root) == []
    asked = {statement.strip() for sent in sql.sent() for statement in statements(sent)} - {""}
    assert any("wal_tables()" in statement for statement in asked), asked
    assert sorted(s for s in asked if not _QUERY.match(s) or ";" in s) == []
    used = {command for sent in redis_tap.sent() for command in commands(sent)}
    assert "xinfo stream" in used
    with redis.Redis(port=layout.redis_port) as client:
        said: dict[str, dict[str, list[str]]] = client.command()
    assert {c for c in used if "write" in said[c.split()[0]]["flags"]} == set(), used
    assert used <= _READING, used - _READING


def test_a_write_would_have_been_seen(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "db").mkdir(parents=True)
    (root / "db" / "_txn").write_bytes(b"old")
    code = "import os,sys; f = os.open(sys.argv[1], os.O_RDWR); os.pwrite(f, b'x', 0); os.mkdir(sys.argv[2])"
    command = [
        *strace(tmp_path / "trace"),
        sys.executable,
        "-c",
        code,
        str(root / "db" / "_txn"),
        str(root / "db" / "n"),
    ]
    subprocess.run(command, check=True, timeout=60)
    found = writes_under(tmp_path / "trace", root)
    assert [re.split(r"[ (]+", line)[1] for line in found] == ["openat", "pwrite64", "mkdir"], found
