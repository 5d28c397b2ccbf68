"""`watch`: the probes of the console without a screen, for Prometheus, systemd, and whoever must be told."""

import asyncio
import json
import logging
import os
import shlex
import subprocess
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import click

from console.commands.check import located
from console.commands.ending import ended_like_ctrl_c
from console.commands.options import Invocation, station_options
from console.errors import WalmedicError
from console.exit_codes import ExitCode
from console.probes.headline import Alarm, Headline
from console.probes.scheduler import Scheduler, read_once
from console.probes.station import station_probes
from console.probes.watching import Watched
from console.reporting.station_metrics import station_exposition
from console.sd_notify import notify

_LOG = logging.getLogger("walmedic")
_DEADLINE: Final = 10.0  # seconds that a command or a webhook has
_LOOPBACK: Final = "127.0.0.1"


@click.command()
@click.option(
    "--textfile", type=click.Path(path_type=Path), help="Write the metrics here (*.prom), whole or not at all."
)
@click.option("--listen", type=click.IntRange(1, 65535), metavar="PORT", help="Serve /metrics on 127.0.0.1:PORT.")
@click.option(
    "--on-change", "command", help="Run this when the station breaks, and when it no longer is; JSON on stdin."
)
@click.option("--webhook", help="POST the same JSON to this address (http or https).")
@click.option("--every", type=click.IntRange(1, 3600), default=10, show_default=True, help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="One look, then end with 1 if the station is broken: for a timer.")
@station_options
def watch(
    invocation: Invocation,
    textfile: Path | None,
    listen: int | None,
    command: str | None,
    webhook: str | None,
    every: int,
    once: bool,
) -> int:
    """Look after the station without a screen. Nothing of it is changed.

    Told is a lasting change: broken, or broken no more. The JSON has the station's name, alarm and counts, and no row.
    """
    located(invocation)
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise click.UsageError(f"--webhook needs an address that begins with http:// or https://, not {webhook!r}")
    words = shlex.split(command) if command else []
    watching = _Watching(invocation, textfile, words, webhook or "")
    with ended_like_ctrl_c():
        return asyncio.run(watching.once() if once else watching.on(every, listen))


class _Watching:
    """One run of the command."""

    def __init__(self, invocation: Invocation, textfile: Path | None, command: list[str], webhook: str) -> None:
        self._invocation = invocation
        self._textfile = textfile
        self._command, self._webhook = command, webhook
        self._watched = Watched(invocation.settings, self._tell)
        self._metrics = ""
        self._telling: set[asyncio.Task[None]] = set()

    async def once(self) -> int:
        probes = station_probes(self._invocation.settings)
        for sample in await asyncio.gather(*(read_once(probe) for probe in probes)):
            self._watched.take(sample)
        await asyncio.gather(*(probe.close() for probe in probes))
        now = self._look(steady=1)
        if self._telling:
            await asyncio.wait(self._telling)
        if self._invocation.as_json:
            self._invocation.emit(self._document(None, now))
        elif self._textfile is None:
            click.echo(self._metrics, nl=False)
        return ExitCode.PROBLEMS if now.alarm is Alarm.BAD else ExitCode.OK

    async def on(self, every: int, listen: int | None) -> int:
        scheduler = Scheduler(station_probes(self._invocation.settings), self._watched.take)
        server = await self._serve(listen) if listen is not None else None
        scheduler.start()
        try:
            while True:
                await asyncio.sleep(every)
                now = self._look()
                notify(f"READY=1\nWATCHDOG=1\nSTATUS=station {now.alarm}")
        finally:
            await scheduler.close()
            if server is not None:
                server.close()

    def _look(self, **how: int) -> Headline:
        now = self._watched.look(**how)
        self._metrics = station_exposition(self._watched.state, now, self._watched.ages())
        if self._textfile is not None:
            _replace(self._textfile, self._metrics.encode())
        return now

    def _tell(self, before: Alarm | None, now: Headline) -> None:
        document = json.dumps(self._document(before, now)).encode()
        click.echo(f"station {self._invocation.settings.station_name}: {before or 'unread'}, now {now.alarm}", err=True)
        if self._command:
            self._start(asyncio.to_thread(_run, self._command, document))
        if self._webhook:
            self._start(asyncio.to_thread(_post, self._webhook, document))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _document(self, before: Alarm | None, now: Headline) -> dict[str, Any]:
        counts = now.counts
        return {
            "schema": 1,
            "station": self._invocation.settings.station_name,
            "alarm": now.alarm.value,
            "before": before.value if before is not None else None,
            "losing": now.losing,
            "server_up": now.server,
            "tables": counts.tables if counts is not None else None,
            "tables_unreadable": counts.unreadable if counts is not None else None,
            "tables_unwritable": counts.unwritable if counts is not None else None,
            "rows_at_risk": counts.rows if counts is not None else None,
            "services_down": [*now.units, *now.loops],
        }

    async def _serve(self, port: int) -> asyncio.Server:
        try:
            return await asyncio.start_server(self._answer, _LOOPBACK, port)
        except OSError as error:
            raise WalmedicError(f"{_LOOPBACK}:{port} cannot be listened on ({error.strerror}); name another") from None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _DEADLINE)
            found = head.startswith((b"GET /metrics ", b"HEAD /metrics "))
            body = self._metrics.encode() if found else b"see /metrics\n"
            kind = "text/plain; version=0.0.4; charset=utf-8"
            status = "200 OK" if found else "404 Not Found"
            head_lines = (
                f"HTTP/1.1 {status}",
                f"Content-Type: {kind}",
                f"Content-Length: {len(body)}",
                "Connection: close",
            )
            writer.write("\r\n".join((*head_lines, "", "")).encode())
            writer.write(b"" if head.startswith(b"HEAD") else body)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def _replace(path: Path, content: bytes) -> None:
    """Write the textfile by rename, readable for the exporter. Raises WalmedicError."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(content)
        beside.chmod(0o644)
        os.replace(beside, path)  # noqa: PTH105
    except OSError as error:
        raise WalmedicError(f"{path} cannot be written ({error.strerror}); name another with --textfile") from error


def _run(words: list[str], document: bytes) -> None:
    try:
        subprocess.run(words, input=document, check=True, timeout=_DEADLINE, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("the command of --on-change failed: %s", error)
        click.echo(f"walmedic: {words[0]} failed; it did not report the station's change", err=True)


def _post(address: str, document: bytes) -> None:
    request = urllib.request.Request(address, document, {"Content-Type": "application/json"})  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(request, timeout=_DEADLINE):  # noqa: S310
            pass
    except (OSError, ValueError) as error:
        _LOG.warning("the webhook failed: %s", error)
        click.echo(f"walmedic: the webhook did not take the station's change ({error})", err=True)
