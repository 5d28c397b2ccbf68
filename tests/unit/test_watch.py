"""`watch`: metrics that Prometheus reads, a textfile that is whole, and a lasting change told once."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.probes.headline import Alarm, Headline
from console.probes.sample import Sample, Status
from console.probes.watching import Watched
from console.recovery.server.private_server import free_ports
from console.settings import Settings
from console.waiting import looks
from tests.data.samples import sample_database


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Options of a station whose one table has lost its sequencer."""
    database = sample_database("v1", tmp_path / "root")
    (database.db / "tables.d.lock").touch()
    shutil.move(database.table("altered").sequencer, tmp_path / "aside")
    return ["--db-root", str(database.root), "--state-dir", str(tmp_path / "state")]


def _watch(place: list[str], *words: str, **how: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "console", "watch", *place, *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)  # type: ignore[call-overload, no-any-return]


def test_one_look_writes_a_textfile_and_runs_the_command(place: list[str], tmp_path: Path) -> None:
    told, textfile = tmp_path / "told", tmp_path / "walmedic.prom"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >{told}\n")
    script.chmod(0o755)
    process = _watch(place, "--once", "--textfile", str(textfile), "--on-change", str(script))
    assert (process.communicate(timeout=120)[0], process.returncode) == ("", 1)
    text = textfile.read_text()
    assert 'walmedic_station_alarm{alarm="bad"} 1\n' in text
    assert 'walmedic_table_writable{table="altered"} 0\n' in text
    assert 'walmedic_age_seconds{of="guard"} NaN\n' in text
    assert textfile.stat().st_mode & 0o777 == 0o644
    document = json.loads(told.read_text())
    assert (document["alarm"], document["before"], document["tables_unwritable"]) == ("bad", None, 1)
    if shutil.which("promtool"):
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr + checked.stdout


def test_it_goes_on_serves_metrics_and_posts(place: list[str], tmp_path: Path) -> None:
    posted: list[bytes] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{hook.server_address[1]}/"
    process = _watch(place, "--every", "1", "--listen", str(port), "--webhook", address)
    try:
        text = ""
        for _ in looks(120, 0.2):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    text = answer.read().decode()
            except OSError:
                continue
            if posted and 'alarm="bad"} 1' in text:
                break
        assert 'walmedic_station_alarm{alarm="bad"} 1' in text
        assert [json.loads(each)["alarm"] for each in posted] == ["bad"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        hook.shutdown()
        hook.server_close()


def test_a_lasting_change_is_told_once(tmp_path: Path) -> None:
    told: list[tuple[Alarm | None, Alarm]] = []
    watched = Watched(Settings(state_dir=str(tmp_path)), lambda before, now: told.append((before, now.alarm)))
    found = iter(["unknown", "bad", "unknown", "bad", "bad", "bad", "well", "bad", "well", "well"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("console.probes.watching.headline", lambda *a, **k: Headline(Alarm(next(found))))
        for _ in range(10):
            watched.look()
    assert told == [(None, Alarm.BAD), (Alarm.BAD, Alarm.WELL)]


def test_what_is_not_read_is_not_zero(tmp_path: Path) -> None:
    from console.reporting.station_metrics import station_exposition

    watched = Watched(Settings(state_dir=str(tmp_path)), lambda before, now: None)
    watched.take(Sample("backlog", Status.DOWN, None, "nothing listens there"))
    watched.take(Sample("services", Status.UNKNOWN, None))
    text = station_exposition(watched.state, watched.look(), watched.ages())
    assert 'walmedic_source_up{source="backlog"} 0\n' in text
    assert 'walmedic_source_up{source="services"} NaN\n' in text
    assert "walmedic_stream_waiting" not in text
    assert "walmedic_redis_seconds_to_full" not in text


def test_a_textfile_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    from console.commands.watch import _replace

    with pytest.raises(WalmedicError, match="--textfile"):
        _replace(tmp_path / "none" / "walmedic.prom", b"")
    assert not os.listdir(tmp_path)  # noqa: PTH208
