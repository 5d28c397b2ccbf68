"""The QuestDB probe: what the server itself says, over one long-lived PGWire connection."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from console.diagnosis.server.facts import LISTED, ServerFacts, ServerTableFacts, watched
from console.diagnosis.server.served import served_root, serves
from console.errors import WalmedicError
from console.probes.contents import ServerSample, ServerTable
from console.probes.sample import Sample, Status
from console.probes.second_opinion import HealthPort
from console.questdb.server_version import version_of_build
from console.questdb_client.watch import PgWire, ServerUnreachable, UserRefused
from console.settings import Settings
from console.text import clean_line

_ANSWER = 3.0  # seconds for one statement
_OPINION = 10.0  # seconds for which the second opinion stays as it was, unless it is in doubt
_STANDS_STILL = 10.0  # seconds without a transaction applied, while some wait
_APPLIES = "cairo.wal.apply.enabled"

# What an operator may want to see, and what the probe judges by. None of them is a secret.
_SHOWN = (
    "cairo.root", "cairo.commit.mode", "cairo.wal.enabled.default", "cairo.default.sequencer.part.txn.count",
    "cairo.wal.purge.interval", "cairo.sql.copy.work.root", "pg.readonly.user.enabled", "pg.readonly.user",
    "pg.security.readonly", "readonly", "metrics.enabled", _APPLIES,
)  # fmt: skip


class ServerProbe:
    """Reads `wal_tables()` each time, and version and parameters once per connection."""

    name = "server"
    interval = 2.0
    deadline = 15.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._user = settings.questdb.observing().user
        self._wire = PgWire(settings.questdb)
        self._health = HealthPort(settings.questdb)
        self._version = ""
        self._parameters: dict[str, str] = {}
        self._root = ""
        self._ours: bool | None = None  # proven once for each connection
        self._facts: tuple[float, ServerFacts] | None = None
        self._since: dict[str, tuple[float, ServerTableFacts]] = {}  # since when nothing moved, and what was seen last

    def facts(self, not_older: float) -> ServerFacts | None:
        """Return what the server answered in the last `not_older` seconds, None if it did not answer or is not ours."""
        if self._facts is None or time.monotonic() - self._facts[0] > not_older:
            return None
        return self._facts[1]

    async def read(self) -> Sample[ServerSample]:
        """Take one sample. A server that is proven to serve another data root is as good as down: it is not ours."""
        self._facts = None
        if self._settings.bare:
            return Sample(self.name, Status.UNKNOWN, None, "a bare directory: no server belongs to it")
        opinion, answer = await asyncio.gather(self._health.read(not_older=_OPINION), self._answer())
        if isinstance(answer, WalmedicError):
            yet = await self._yet() if isinstance(answer, ServerUnreachable) else ""
            status = Status.REFUSED if isinstance(answer, UserRefused) else Status.DOWN
            return Sample(self.name, status, None, f"{answer}{yet}")
        started, round_trip, rows, listed = answer
        if not self._ours:
            self._ours = await asyncio.to_thread(serves, self._root, _db_of(self._settings.questdb.db_root))
        ours = self._ours
        if ours is False:
            await self._wire.close()
            return Sample(
                self.name,
                Status.DOWN,
                None,
                f"the server at {self._wire.address} serves {self._root}, not {self._settings.questdb.db_root}; "
                "check questdb.pg_port and questdb.db_root",
            )
        if opinion.suspended not in (None, sum(bool(row["suspended"]) for row in rows)):
            opinion = await self._health.read(not_older=_ANSWER)  # a contradiction must be of one moment
        if ours:
            self._facts = started, self._as_facts(rows, listed, started)
        data = ServerSample(
            version=self._version,
            read_only_user=self._read_only(),
            round_trip=round_trip,
            wal_tables=tuple(map(_table, rows)),
            parameters=tuple(self._parameters.items()),
            root=self._root,
            ours=ours,
            warnings=_warnings(self._parameters, self._read_only()),
            opinion=opinion,
        )
        doubt = (
            f"whether the server at {self._wire.address} is this station's cannot be proven: it names its data root "
        )
        doubt += f"{self._root}; if this is a container, mount the data at that path"
        doubt = "" if ours else doubt
        return Sample(self.name, Status.OK if ours else Status.DEGRADED, data, doubt)

    async def close(self) -> None:
        await self._wire.close()

    async def _answer(self) -> tuple[float, float, list[dict[str, Any]], list[dict[str, Any]]] | WalmedicError:
        """Ask, once more on a new connection where an old one broke: the server may have been restarted since."""
        reused = self._wire.connected
        try:
            try:
                return await self._ask()
            except ServerUnreachable:
                if not reused or self._wire.connected:
                    raise
            return await self._ask()
        except WalmedicError as error:
            return error

    async def _ask(self) -> tuple[float, float, list[dict[str, Any]], list[dict[str, Any]]]:
        """Return (asked at, round trip, rows of wal_tables(), rows of tables())."""
        if not self._wire.connected:
            await self._introduce()
        started = time.monotonic()
        rows = await self._wire.query("wal_tables()", _ANSWER)
        round_trip = time.monotonic() - started
        return started, round_trip, rows, await self._wire.query(LISTED, _ANSWER)

    async def _introduce(self) -> None:
        """Ask a new connection what does not change while the server lives."""
        build = await self._wire.query("select build()", _ANSWER)
        rows = await self._wire.query("(show parameters)", _ANSWER)
        build_text = str(next(iter(build[0].values()), "")) if build else ""
        self._version = str(version_of_build(build_text) or clean_line(build_text, 60))
        found = {str(row["property_path"]): row for row in rows}
        self._parameters = {key: clean_line(str(found[key]["value"])) for key in _SHOWN if key in found}
        self._root, self._ours = clean_line(served_root(rows)), None

    def _read_only(self) -> bool:
        known = self._parameters
        by_user = known.get("pg.readonly.user.enabled") == "true" and known.get("pg.readonly.user") == self._user
        return by_user or known.get("pg.security.readonly") == "true" or known.get("readonly") == "true"

    def _as_facts(self, rows: list[dict[str, Any]], listed: list[dict[str, Any]], now: float) -> ServerFacts:
        """Return the facts as the diagnosis takes them: by the tables' raw names."""
        tables = {}
        for row in rows:
            facts = ServerTableFacts(
                str(row["name"]), bool(row["suspended"]), int(row["writerTxn"]), int(row["sequencerTxn"]), _error(row)
            )
            since, before = self._since.get(facts.name, (now, facts))
            if not watched(before, facts).stands_still:
                since = now
            self._since[facts.name] = since, facts
            tables[facts.name] = replace(facts, stands_still=now - since >= _STANDS_STILL)
        self._since = {name: seen for name, seen in self._since.items() if name in tables}
        applies = self._parameters.get(_APPLIES)
        return ServerFacts(
            tables,
            frozenset(str(row["table_name"]) for row in listed if row.get("walEnabled")),
            None if applies is None else applies == "true",
        )

    async def _yet(self) -> str:
        """Return the clause that says whether the HTTP health port answers where PGWire does not."""
        opinion = await self._health.read(not_older=self.interval / 2)
        if opinion.healthy is None:
            return ""
        return f"; its health port {self._settings.questdb.health_port} does answer ({opinion.health})"


def _table(row: dict[str, Any]) -> ServerTable:
    return ServerTable(
        name=clean_line(str(row["name"])),
        suspended=bool(row["suspended"]),
        writer_txn=int(row["writerTxn"]),
        sequencer_txn=int(row["sequencerTxn"]),
        error=_error(row),
    )


def _db_of(configured: str) -> Path:
    """Return the db directory of what settings call `questdb.db_root`, which may be the data root."""
    inner = Path(configured) / "db"
    return inner if inner.is_dir() else Path(configured)


def _error(row: dict[str, Any]) -> str:
    return clean_line(" ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage")))


def _warnings(parameters: dict[str, str], read_only: bool) -> tuple[str, ...]:
    found = []
    if parameters.get("cairo.commit.mode") == "nosync":
        found.append(
            "cairo.commit.mode is nosync: commits are not flushed, so a power loss can take rows that were acknowledged"
        )
    if parameters.get("cairo.wal.enabled.default") == "false":
        found.append("cairo.wal.enabled.default is false: new tables are made without WAL")
    if parameters.get("pg.readonly.user.enabled") == "true" and not read_only:
        name = parameters.get("pg.readonly.user", "")
        found.append(f"the server has a read-only user {name!r}: observe with it (questdb.readonly_user)")
    return tuple(found)
