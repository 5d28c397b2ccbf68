"""The parts of a bundle: what each holds, where it is from, what was taken out of it, and what could not be had."""

import dataclasses
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from console import __version__
from console.errors import WalmedicError
from console.probes.checkup import known_settings
from console.questdb import hs_err
from console.questdb.layout import TableDirectory
from console.recovery.engine import Engine
from console.recovery.model import Plan
from console.recovery.plans import to_json as plan_json
from console.redaction import Redactor
from console.reporting import excerpts
from console.reporting.incident import Incident
from console.reporting.posting import posting
from console.reporting.private import configuration_files, redacted, unit_files
from console.reporting.reading import MOST_OF_A_LOG, Unreadable, read_text
from console.reporting.report import to_json as report_json
from console.reporting.sequencers import copies_inventory, in_trouble, sequencer_text
from console.text import clean, clean_line, plural

MOST: Final = 2 << 20
"""Bytes of one part; a document that is longer is left out, a text is cut."""
_MOST_CAUSES, _MOST_TABLES, _MOST_UNITS, _LAST_ENTRIES = 12, 40, 40, 60


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle. `removed` counts what was taken out, by kind; `cut` says that only a part is here."""

    name: str
    content: bytes = field(repr=False)
    source: str
    removed: Mapping[str, int]
    cut: bool = False

    @property
    def notes(self) -> str:
        """Return what was taken out, and whether it is whole, e.g. `taken out: 3 secrets, 12 paths`."""
        taken = in_words(self.removed)
        return "; ".join([*([f"taken out: {taken}"] if taken else []), *(["only a part of it"] if self.cut else [])])


@dataclass(frozen=True, slots=True)
class Missing:
    """What should have been in the bundle, and why it is not."""

    what: str
    why: str


def in_words(removed: Mapping[str, int]) -> str:
    """Return e.g. `12 paths, 3 secrets`, empty where nothing was taken out."""
    return ", ".join(plural(count, kind) for kind, count in sorted(removed.items()) if count)


class Collector:
    """Makes the parts of one incident; whatever cannot be made is noted and the rest goes on."""

    def __init__(self, incident: Incident, redactor: Redactor) -> None:
        self._incident = incident
        self._redacted = redacted(incident, redactor)
        self._redactor = redactor
        self.parts: list[Part] = []
        self.removed: dict[str, int] = {}
        self.missing = [Missing(*_halves(each)) for each in self._redacted.missing]

    def collect(self) -> None:
        self._document("findings.json", "walmedic check", lambda: _without_lists(self._redacted.tables.to_json()))
        self._crashes()
        self._sequencers()
        self._configuration()
        self._logs()
        self._document("versions.json", "this machine and the server", self._versions)
        self._document("settings.json", "walmedic's settings", self._settings)
        self._document("samples.json", "the station, asked once", self._samples)
        self._plans()
        self._document("journal.json", "walmedic's journal", self._journal)
        self._document("timeline.json", "walmedic report", lambda: report_json(self._redacted, self._redactor))
        text = posting(self._redacted, self._redactor, [part.name for part in self.parts])
        self._add("report.md", "everything here, to post as it is", lambda: (text, False))
        self.removed = dict(sorted(self._redactor.removed.items()))
        self.parts.sort(key=lambda part: (part.name != "report.md", part.name))

    # ---- one method for each group of parts ----------------------------------------------------------------------

    def _crashes(self) -> None:
        self._document("crashes.json", "hs_err logs of the data root", lambda: self._redacted.crashes.to_json())
        for number, group in enumerate(self._incident.crashes.groups[:_MOST_CAUSES], 1):
            path = Path(group.logs[-1])
            where = f"one of {plural(group.count, 'log')} with this cause: {clean_line(path.name)}"
            self._add(f"crashes/cause-{number}.log", where, partial(self._crash_log, path))

    def _crash_log(self, path: Path) -> tuple[str, bool]:
        read = read_text(path, hs_err.MOST_BYTES)
        for mapping in hs_err.read(path).mappings:
            root, found, _ = mapping.path.rpartition("/db/")
            if found:  # a log from another machine tells that machine's paths
                self._redactor.place(root, "<data root>")
        text, cut = excerpts.beginning(excerpts.crash_log(read.text))
        return self._redactor.text(text), cut or read.cut

    def _sequencers(self) -> None:
        tables = [table for table in self._incident.database.tables() if in_trouble(table)]
        damaged = {report.directory for report in self._incident.tables.tables if report.findings}
        tables += [t for t in self._incident.database.tables() if t.directory in damaged and t not in tables]
        for table in tables[:_MOST_TABLES]:
            name = f"sequencers/{_file_name(table.directory)}.txt"
            self._add(name, "headers and tails of the logs, no rows", partial(self._sequencer, table))
        if tables:
            inventory = partial(copies_inventory, self._incident.database)
            self._document("backups.json", "every copy of a sequencer, hashed", inventory)

    def _sequencer(self, table: TableDirectory) -> tuple[str, bool]:
        return self._redactor.text(sequencer_text(table)), False

    def _configuration(self) -> None:
        files = [(path, f"configuration/{path.name}") for path in configuration_files(self._incident.database)]
        for path in islice(unit_files(self._incident), _MOST_UNITS):
            folder = f"{path.parent.name}/" if path.parent.name.endswith(".d") else ""
            files.append((path, f"units/{folder}{path.name}"))
        for path, name in files:
            if path.name == "log.conf" and not path.exists():
                continue  # the server has a built-in one
            self._add(_file_name(name), clean_line(str(path)), partial(self._configured, path))

    def _configured(self, path: Path) -> tuple[str, bool]:
        read = read_text(path)
        kept = [line for line in read.text.splitlines() if line.strip() and line.lstrip()[0] not in "#;!"]
        text, cut = excerpts.beginning(self._redactor.configuration("\n".join(kept) + "\n"))
        return text, cut or read.cut

    def _logs(self) -> None:
        for each in self._incident.logs.excerpts:
            self._add(f"logs/{_file_name(each.name)}.txt", each.source, partial(self._log, each.text, each.cut))
        named = self._incident.settings.questdb.log
        sources = {each.source for each in self._incident.logs.excerpts}
        if named and clean_line(named) not in sources:
            self._add("logs/questdb.txt", clean_line(named), lambda: self._log_file(Path(named)))

    def _log_file(self, path: Path) -> tuple[str, bool]:
        read = read_text(path, MOST_OF_A_LOG, end=True)
        return self._log(read.text, read.cut)

    def _log(self, text: str, cut: bool) -> tuple[str, bool]:
        kept, shortened = excerpts.end(excerpts.thinned(excerpts.server_log(text)))
        return self._redactor.text(kept), cut or shortened

    def _versions(self) -> dict[str, Any]:
        server = self._redacted.server
        place = self._incident.database.db
        free = os.statvfs(place)
        return {
            "walmedic": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "questdb": server.version if server else None,
            "questdb_on_disk": {"last": self._incident.tables.version, "seen": self._incident.tables.versions_seen},
            "parameters": dict(server.parameters) if server else None,
            "java": sorted({group.title: _java(group.logs[-1]) for group in self._incident.crashes.groups}.values()),
            "disk": {"size": free.f_blocks * free.f_frsize, "free": free.f_bavail * free.f_frsize},
            "queue": self._redacted.backlog.version if self._redacted.backlog else None,
        }

    def _settings(self) -> dict[str, Any]:
        return {
            each.key: {"value": each.value, "from": each.source} for each in known_settings(self._incident.settings)
        }

    def _samples(self) -> dict[str, Any]:
        shared = self._redacted
        queue = None if shared.backlog is None else dataclasses.asdict(shared.backlog)
        for stream in queue["streams"] if queue else ():
            # Entries of a stream are rows to be: counts and times are enough, whatever else a sample comes to hold.
            for key in [key for key, value in stream.items() if isinstance(value, dict)]:
                del stream[key]
        return {
            "server": shared.server and dataclasses.asdict(shared.server),
            "services": shared.services and dataclasses.asdict(shared.services),
            "queue": queue,
        }

    def _plans(self) -> None:
        waiting = [table for table in self._incident.tables.tables if table.next_step.action is not None]
        for table in waiting[:_MOST_TABLES]:
            action = str(table.next_step.action)
            name = f"plans/{action}-{_file_name(table.directory)}.json"
            self._document(name, f"walmedic plan {action}", partial(self._plan, action, table.table))

    def _plan(self, action: str, table: str) -> dict[str, Any]:
        on_table = action not in ("freeze-writer", "stop-server", "start-server", "thaw-writer", "capture-evidence")
        return plan_json(Engine(self._incident.settings).plan(action, table if on_table else None))

    def _journal(self) -> list[dict[str, Any]]:
        return [
            {**past.to_json(), "plan": _in_short(past.plan)} for past in self._redacted.past_actions[-_LAST_ENTRIES:]
        ]

    # ---- what all of them use ------------------------------------------------------------------------------------

    def _document(self, name: str, source: str, make: Callable[[], Any]) -> None:
        def written() -> tuple[str, bool]:
            shown = self._redactor.value(make())
            text = json.dumps(shown, ensure_ascii=False, indent=1, default=str) + "\n"
            if len(text.encode()) > MOST:
                raise Unreadable(f"it would be {len(text):,} characters long")
            return text, False

        self._add(name, source, written)

    def _add(self, name: str, source: str, make: Callable[[], tuple[str, bool]]) -> None:
        before = Counter(self._redactor.removed)
        try:
            text, cut = make()
        except (WalmedicError, OSError) as error:
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            self.missing.append(Missing(name, self._redactor.text(clean_line(why))))
            return
        content = clean(text).encode("utf-8", "replace")
        if len(content) > MOST:
            content, cut = content[:MOST].rpartition(b"\n")[0] + b"\n", True
        removed = self._redactor.removed - before
        self.parts.append(Part(name, content, self._redactor.text(source), dict(sorted(removed.items())), cut))


def _in_short(plan: Plan | None) -> dict[str, Any] | None:
    """Return what a plan that was carried out was about: why, and each stage in a line."""
    if plan is None:
        return None
    return {"id": plan.plan_id, "why": plan.why, "stages": [stage.title for stage in plan.stages], "undo": plan.undo}


def _without_lists(document: dict[str, Any]) -> dict[str, Any]:
    """Return the findings without the list of every waiting transaction: their sums are enough here."""
    for table in document["tables"]:
        for segment in table.get("waiting", ()):
            segment.pop("listed", None)
    return document


def _java(log: str) -> str:
    return hs_err.read(Path(log)).java


def _file_name(text: str) -> str:
    """Return foreign text as a name inside the archive: nothing in it leads elsewhere."""
    kept = "".join(c if c.isalnum() or c in "._-~@/" else "_" for c in clean_line(text, 150))
    return "/".join(part for part in kept.split("/") if part.strip("."))


def _halves(sentence: str) -> tuple[str, str]:
    what, _, why = sentence.partition(": ")
    return what, why or "it could not be read"
