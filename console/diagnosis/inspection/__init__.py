"""Every byte has a name: what a file of QuestDB's WAL family is, and which field of which record holds an offset."""

from console.diagnosis.inspection.inspector import Inspector
from console.diagnosis.inspection.model import Field, FileDescription, FileKind, RecordView

__all__ = ["Field", "FileDescription", "FileKind", "Inspector", "RecordView"]
