"""QuestDB's HTTP health port as a second opinion beside SQL and disk, and where it contradicts them.

Measured on 9.1.0: the port answers `Status: Healthy` to any path while metrics are off, also to `/metrics`, and goes on
to do so whatever is wrong with a table, strict check or not. With `metrics.enabled=true` its counters start at 0 with
the process. `suspended_tables` counts a table without a sequencer, which `wal_tables()` does not list at all; but each
RESUME WAL takes one off, also of a table that was not suspended.
"""

import asyncio
import contextlib
import re
import time

from console.diagnosis.model import Code, DatabaseReport, Verdict
from console.probes.contents import SecondOpinion
from console.probes.rates import Slope
from console.settings import QuestDBSettings
from console.text import clean_line, plural

DEADLINE = 1.0  # seconds for one answer
_RATE_WINDOW = 60.0  # seconds over which rows are counted to a rate
_LARGEST = 1 << 18  # bytes of an answer
_GAUGE = re.compile(rb"(?m)^questdb_(\w+) (\d{1,18})\r?$")


class HealthPort:
    """Asks it again and again; rates come of the counts between."""

    def __init__(self, settings: QuestDBSettings) -> None:
        self._where = settings.host, settings.health_port
        self._written, self._applied = Slope(_RATE_WINDOW), Slope(_RATE_WINDOW)
        self._kept: tuple[float, SecondOpinion] | None = None

    async def read(self, deadline: float = DEADLINE, *, not_older: float = 0.0) -> SecondOpinion:
        """Return what it says, at most `not_older` seconds ago; never raises, and takes `deadline` seconds at most.

        Both answers cost the server some 10 ms of CPU (measured): too much for every reading of a station at rest.
        """
        if self._kept is not None and time.monotonic() - self._kept[0] < not_older:
            return self._kept[1]
        fresh = await self._ask(deadline)
        self._kept = time.monotonic(), fresh
        return fresh

    async def _ask(self, deadline: float) -> SecondOpinion:
        health, metrics = await asyncio.gather(
            get(*self._where, "/status", deadline), get(*self._where, "/metrics", deadline)
        )
        if health is None:
            return SecondOpinion(f"its health port {self._where[1]} does not answer")
        status, body = health
        health_text = clean_line(body.decode(errors="replace"), 80) or f"HTTP {status}"
        known = dict(_GAUGE.findall(metrics[1])) if metrics is not None and metrics[0] == 200 else {}
        number = {name.decode(): int(value) for name, value in known.items()}
        total, free = number.get("memory_jvm_total"), number.get("memory_jvm_free")
        now = time.monotonic()
        return SecondOpinion(
            health=health_text,
            healthy=status == 200,
            metrics=bool(number),
            suspended=number.get("suspended_tables"),
            unhandled_errors=number.get("unhandled_errors_total"),
            failed_queries=number.get("query_error_counter_total"),
            rows_written=self._written.rate(now, number.get("wal_written_rows_total")),
            rows_applied=self._applied.rate(now, number.get("wal_apply_written_rows_total")),
            resident=number.get("memory_rss"),
            heap_used=total - free if total is not None and free is not None else None,
            heap_limit=number.get("memory_jvm_max"),
        )


def contradictions(opinion: SecondOpinion, suspended: int | None, report: DatabaseReport | None) -> tuple[str, ...]:
    """Return where the port says something else than SQL (`suspended` tables, None: not asked) or the disk does."""
    found = []
    broken = [clean_line(t.table) for t in report.tables if t.verdict is Verdict.BROKEN] if report else []
    if opinion.healthy and broken:
        clear = " and its metrics count no suspended table" if opinion.suspended == 0 else ""
        names = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        found.append(
            f"the health port says {opinion.health!r}{clear}, yet {plural(len(broken), 'table')} "
            f"{'is' if len(broken) == 1 else 'are'} broken ({names}): it does not look at tables"
        )
    if opinion.healthy is False and report is not None and not broken:
        found.append(f"the health port says {opinion.health!r}, yet no table is broken: the server's log says why")
    if opinion.suspended is not None and suspended is not None and opinion.suspended != suspended:
        metrics = f"its metrics count {plural(opinion.suspended, 'suspended table')}, wal_tables() shows {suspended}"
        if opinion.suspended > suspended:
            hidden = [t.table for t in report.tables if t.has(Code.UNLISTED_BY_SERVER)] if report else []
            names = f" ({', '.join(map(clean_line, hidden[:3]))})" if hidden else ""
            found.append(f"{metrics}: a table that the server cannot open is counted and not listed{names}")
        else:
            found.append(f"{metrics}: trust wal_tables(), each RESUME WAL takes one off the count")
    return tuple(found)


async def get(host: str, port: int, path: str, deadline: float) -> tuple[int, bytes] | None:
    """Return status and body of a GET, None where nothing that speaks HTTP answers within `deadline` seconds."""
    writer: asyncio.StreamWriter | None = None
    answer = b""
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            while len(answer) < _LARGEST and not _whole(answer):
                more = await reader.read(1 << 16)
                if not more:
                    break
                answer += more
    except (OSError, TimeoutError, ValueError):
        return None
    finally:
        if writer is not None:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d{3})", head)
    if status is None:
        return None
    return int(status[1]), _unchunked(body) if _CHUNKED in head.lower() else body


_CHUNKED = b"transfer-encoding: chunked"


def _whole(answer: bytes) -> bool:
    """Return whether an answer in chunks is at its end: QuestDB keeps the connection open all the same."""
    head, parted, body = answer.partition(b"\r\n\r\n")
    if not parted:
        return False
    if _CHUNKED in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d{1,9})", head)
    return length is not None and len(body) >= int(length[1])


def _unchunked(body: bytes) -> bytes:
    whole = b""
    with contextlib.suppress(ValueError):  # cut, or not what it says: what came so far
        while body:
            size, _, rest = body.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            if length <= 0:
                break
            whole += rest[:length]
            body = rest[length + 2 :]
    return whole
