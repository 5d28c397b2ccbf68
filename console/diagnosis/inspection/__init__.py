"""Every byte has a name: what a file of QuestDB's WAL family is, and which field of which record holds an offset."""

from pathlib import Path

from console.diagnosis.inspection.inspector import Inspector
from console.diagnosis.inspection.model import Field, FileDescription, FileKind, RecordView

__all__ = ["Field", "FileDescription", "FileKind", "Inspector", "RecordView", "describe", "fields_at"]


def describe(path: Path, root: Path | None = None) -> FileDescription:
    """Return what the file is. Raises WalmedicError where it cannot be opened."""
    with Inspector(path, root) as inspector:
        return inspector.describe()


def fields_at(source: Path | Inspector, offset: int) -> tuple[Field, ...]:
    """Return the fields of the record or header that holds the byte at `offset`; an open Inspector answers faster."""
    if isinstance(source, Inspector):
        return source.fields_at(offset)
    with Inspector(source) as inspector:
        return inspector.fields_at(offset)
