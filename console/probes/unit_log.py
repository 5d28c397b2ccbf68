"""What a service says: the last lines and then every new one, from systemd's journal, a log file or a log command."""

import asyncio
import contextlib
import datetime
import json
import os
import shlex
import signal
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from console.probes.log_tail import LogLine
from console.probes.worker import Worker
from console.services.command import plain_environment
from console.services.logs import LogCommand, log_command
from console.services.model import ServiceError
from console.services.supervisor import SupervisorControl
from console.settings import Role, Settings
from console.text import clean_line

_LONGEST = 1 << 20  # bytes of one line; a longer one is dropped
_TAIL = 1 << 18  # bytes of a log file that the last lines are looked for in
_SHOWN = 2_000  # characters of a line
_POLL = 0.5  # seconds between two looks at a log file


def unit_log(settings: Settings, unit: str, lines: int = 200) -> AsyncGenerator[LogLine, None]:
    """Return the last `lines` of `unit` and then, without end, each new one. Close it (`aclose`) to let go.

    Raises ServiceError where the settings name no backend; while it is read, where the log cannot be.
    """
    match settings.services.backend:
        case "systemd" | "systemd-user":
            return journal(unit, lines, user=settings.services.backend == "systemd-user")
        case "supervisor":
            return supervised(settings.services.socket, unit, lines)
    roles = [each.role for each in settings.services.units if each.name == unit]
    if settings.services.backend == "by-hand" and settings.questdb.log and Role.DATABASE in roles:
        return followed_file(Path(settings.questdb.log), unit, lines)
    return printed_log(log_command(settings, unit, lines, follow=True), unit)


async def printed_log(command: LogCommand, unit: str) -> AsyncGenerator[LogLine, None]:
    """Follow what a command prints on both its streams. Raises ServiceError where it fails.

    A command that ends well has shown all that there was; no new line comes then.
    """
    async with contextlib.aclosing(_printed(list(command.argv), unit, follow=False, merged=True)) as printed:
        async for raw in printed:
            yield _stamped(raw) if command.stamped else _line(raw.rstrip(b"\n"))
    await asyncio.Event().wait()


def _stamped(raw: bytes) -> LogLine:
    """Return a line such as `2026-11-29T17:35:56.334211651Z text`, with its time."""
    stamp, _, text = raw.rstrip(b"\n").decode(errors="replace").partition(" ")
    try:
        at = datetime.datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp()
    except ValueError:
        return _line(raw.rstrip(b"\n"))
    return LogLine(clean_line(text, _SHOWN), at)


async def journal(
    unit: str, lines: int = 200, *, user: bool = False, directory: Path | None = None
) -> AsyncGenerator[LogLine, None]:
    """Follow systemd's journal, that in `directory` where one is named. Raises ServiceError where it cannot be read.

    What is there is read before what comes is followed: where a unit has reported nothing yet, `journalctl --follow
    --lines=N` (252) shows of its first lines the last alone.
    """
    command = ["journalctl", "--no-pager", "--quiet", "--output=json", "--output-fields=MESSAGE,PRIORITY"]
    command += [f"--{'user-unit' if user else 'unit'}={unit}"]
    command += [f"--directory={directory}"] if directory else []
    after: list[str] = []
    for follow in (False, True):
        more = ["--follow", "--no-tail", *after] if follow else [f"--lines={lines}"]
        async with contextlib.aclosing(_printed([*command, *more], unit, follow=follow)) as printed:
            async for raw in printed:
                if (entry := _entry(raw)) is not None:
                    line, cursor = entry
                    after = [f"--after-cursor={cursor}"]
                    yield line


async def _printed(command: list[str], unit: str, *, follow: bool, merged: bool = False) -> AsyncGenerator[bytes, None]:
    """Run a command and return its lines, with those of its standard error if `merged`.

    Raises ServiceError where it fails, or ends though it follows.
    """
    last = b""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if merged else asyncio.subprocess.PIPE,
            env=plain_environment(),
            limit=_LONGEST,
            start_new_session=True,
        )
    except OSError as error:
        raise ServiceError(f"`{command[0]}` cannot be run ({error.strerror})") from error
    assert process.stdout is not None  # noqa: S101 - it was asked for
    complaints = asyncio.create_task(process.stderr.read(4_096)) if process.stderr is not None else None
    try:
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:  # a line longer than the limit: what follows it is read on
                continue
            if not raw:
                break
            last = raw
            yield raw
        said = clean_line((await complaints if complaints else last).decode(errors="replace"), 300)
        if follow or await process.wait() != 0:
            shown = shlex.join(command if merged else [command[0], f"--unit={unit}"])
            raise ServiceError(f"`{shown}` ended{f': {said}' if said else ''}")
    finally:
        if complaints is not None:
            complaints.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _entry(raw: bytes) -> tuple[LogLine, str] | None:
    """Return one journal entry and its cursor; None for what is none. Bytes that are no text come as numbers."""
    try:
        parsed: dict[str, Any] = json.loads(raw)
        message = parsed.get("MESSAGE")
        if isinstance(message, list):
            message = bytes(message).decode(errors="replace")
        at, priority = parsed.get("__REALTIME_TIMESTAMP"), parsed.get("PRIORITY")
        text = clean_line(str(message or ""), _SHOWN)
        line = LogLine(text, int(at) / 1e6 if at else None, int(priority) if priority else None)
        return line, str(parsed["__CURSOR"])
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


async def supervised(socket: str, unit: str, lines: int = 200) -> AsyncGenerator[LogLine, None]:
    """Follow the log file of a supervised program, through rotation. Raises ServiceError where it has none."""
    worker = Worker(f"log of {unit}")
    path = Path(await worker.call(SupervisorControl(socket).log_file, unit))
    async with contextlib.aclosing(followed_file(path, unit, lines)) as followed:
        async for each in followed:
            yield each


async def followed_file(path: Path, unit: str, lines: int = 200) -> AsyncGenerator[LogLine, None]:
    """Follow a log file, through rotation. Raises ServiceError where it cannot be read."""
    worker = Worker(f"log of {unit}")
    descriptor = await worker.call(_opened, path)
    try:
        tail, offset = await worker.call(_tail, descriptor)
        *whole, rest = tail.split(b"\n")
        for raw in deque(whole, maxlen=lines):
            yield _line(raw)
        while True:
            block = await worker.call(os.pread, descriptor, _TAIL, offset)
            if block:
                offset += len(block)
                *whole, rest = (rest + block).split(b"\n")
                for raw in whole:
                    yield _line(raw)
                rest = b"" if len(rest) > _LONGEST else rest
                continue
            await asyncio.sleep(_POLL)
            newer = await worker.call(_rotated, path, descriptor, offset)
            if newer is not None:
                os.close(descriptor)
                descriptor, offset, rest = newer, 0, b""
    finally:
        os.close(descriptor)


def _line(raw: bytes) -> LogLine:
    return LogLine(clean_line(raw.decode(errors="replace"), _SHOWN))


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ServiceError(f"the log {clean_line(str(path))} cannot be read ({error.strerror})") from error


def _tail(descriptor: int) -> tuple[bytes, int]:
    """Return the end of the file, from a line's beginning on, and the offset behind it."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(descriptor, size - start, start)
    return tail if start == 0 else tail.partition(b"\n")[2], start + len(tail)


def _rotated(path: Path, descriptor: int, offset: int) -> int | None:
    """Return the new file where `path` is another one now, or was cut; None while it is the same."""
    ours = os.fstat(descriptor)
    try:
        status = path.lstat()
    except OSError:
        return None  # between two names: the next look finds the new one
    if (status.st_dev, status.st_ino) == (ours.st_dev, ours.st_ino) and status.st_size >= offset:
        return None
    return _opened(path)
