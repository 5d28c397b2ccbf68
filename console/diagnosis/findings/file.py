"""Findings about one file of a table: those of the table's diagnosis that name it; of a copied log, its own."""

from dataclasses import replace
from pathlib import Path

from console.diagnosis.findings.log import log_findings
from console.diagnosis.model import Finding
from console.diagnosis.table import examine_table
from console.diagnosis.table_facts import read_sequencer
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory


def table_of(path: Path) -> TableDirectory | None:
    """Return the table whose directory the file lies in, None where none is found above it."""
    resolved = path.parent.resolve()
    for folder in [resolved, *resolved.parents][:4]:
        if not (folder / "_txn").is_file():
            continue
        try:
            tables = DatabaseRoot.locate(folder.parent).tables(dropped=True)
        except WalmedicError:
            return None
        return next((table for table in tables if table.path == folder), None)
    return None


def findings_of(path: Path) -> tuple[Finding, ...]:
    """Return the findings about the file: from its table's diagnosis, a copied sequencer judged as if it were live."""
    table = table_of(path)
    if table is None:
        return ()
    folder = path.parent.resolve()
    folder = folder.parent if folder.name == "_txn_parts" else folder
    diagnosis = examine_table(table)
    facts = diagnosis.facts
    wanted = str((path.parent.resolve() / path.name).relative_to(table.path.parent))
    if folder != table.sequencer and folder in table.sequencer_backups():
        copy = read_sequencer(folder, facts.applied or 0, facts.inventory, dedup=facts.dedup)
        found = tuple(log_findings(replace(facts, sequencer=copy)))
    else:
        found = diagnosis.findings
    return tuple(finding for finding in found if finding.file == wanted)
