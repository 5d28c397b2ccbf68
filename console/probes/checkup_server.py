"""The part of the check-up that asks QuestDB."""

import asyncio
import datetime
import time
from collections.abc import Mapping

from console.errors import WalmedicError
from console.probes.checks import Check, Level
from console.probes.contents import SecondOpinion, ServerSample
from console.probes.sample import Status
from console.probes.scheduler import read_once
from console.probes.server import ServerProbe
from console.questdb.formats.model import FIRST as OLDEST_KNOWN
from console.questdb.known_formats import NEWEST_KNOWN
from console.questdb.server_version import Version
from console.questdb_client.watch import PgWire
from console.recovery.server.sql import Server
from console.settings import Settings

_SKEW = 2.0  # seconds between two clocks that nobody minds


async def check_server(settings: Settings) -> list[Check]:
    probe = ServerProbe(settings)
    sample = await read_once(probe)
    await probe.close()
    if sample.data is None:
        return [Check("QuestDB", Level.NOTE if sample.status is Status.UNKNOWN else Level.PROBLEM, sample.error)]
    data: ServerSample = sample.data
    place = f"{settings.questdb.host}:{settings.questdb.pg_port}"
    found = [Check("QuestDB", Level.OK, f"{data.version} at {place} answered in {data.round_trip * 1000:.0f} ms")]
    version = Version.parse(data.version)
    if version is None or not OLDEST_KNOWN <= version.numbers <= NEWEST_KNOWN:
        low, high = (".".join(map(str, each)) for each in (OLDEST_KNOWN, NEWEST_KNOWN))
        message = f"{data.version} is not among {low} to {high}, which walmedic was measured on: rehearse everything"
        found.append(Check("QuestDB", Level.NOTE, message))
    if sample.error:
        found.append(Check("QuestDB", Level.NOTE, sample.error))
    if not data.read_only_user and dict(data.parameters).get("pg.readonly.user.enabled") != "true":
        message = "observed with a user who may write; a read-only one is safer (server.conf: pg.readonly.user.enabled)"
        found.append(Check("QuestDB", Level.NOTE, message))
    found += [Check("QuestDB", Level.NOTE, warning) for warning in data.warnings]
    return [
        *found,
        _health(settings.questdb.health_port, data.opinion),
        *await _operator(settings, dict(data.parameters)),
        await _clock(settings),
    ]


def _health(port: int, opinion: SecondOpinion) -> Check:
    if opinion.healthy is None:
        return Check("QuestDB", Level.NOTE, f"its health port {port} does not answer: there is no second opinion")
    metrics = "with metrics" if opinion.metrics else "without metrics (server.conf: metrics.enabled=true)"
    message = f"its health port {port} answers ({opinion.health}; it says so of a broken table too), {metrics}"
    return Check("QuestDB", Level.OK if opinion.healthy else Level.NOTE, message)


async def _operator(settings: Settings, parameters: Mapping[str, str]) -> list[Check]:
    """Check the login that a run would use, where it is another than the one that looks: not first in an emergency."""
    quest = settings.questdb
    held = parameters.get("pg.security.readonly") == "true" or parameters.get("readonly") == "true"
    if held or quest.user == quest.readonly_user:
        return [Check("QuestDB", Level.NOTE, f"operate as {quest.user!r} cannot work: this user may only read")]
    if not quest.readonly_user:
        return []
    try:
        await asyncio.to_thread(Server(quest).rows, "select 1", (), 2.0)
    except WalmedicError as error:
        return [Check("QuestDB", Level.PROBLEM, f"operate as {quest.user!r} cannot work: {error}")]
    return [Check("QuestDB", Level.OK, f"observe as {quest.readonly_user!r}, operate as {quest.user!r}: both let in")]


async def _clock(settings: Settings) -> Check:
    """Compare the server's clock with ours: times in findings and reports rest on both."""
    quest = settings.questdb
    wire = PgWire(quest)
    try:
        before = time.time()
        rows = await wire.query("select systimestamp() now", 2.0)
        skew = rows[0]["now"].replace(tzinfo=datetime.UTC).timestamp() - (before + time.time()) / 2
    finally:
        await wire.close()
    if abs(skew) > _SKEW:
        return Check("clock", Level.NOTE, f"QuestDB's clock and this one differ by {skew:+.0f} s")
    return Check("clock", Level.OK, f"QuestDB's clock and this one agree ({skew * 1000:+.0f} ms)")
