"""What QuestDB does to a table that a finding is about, in words: for refusals, plans and the steps not to take now."""

from typing import Final

from console.diagnosis.model import Harm

_WORDS: Final = {
    Harm.DELETES_PARTITIONS: "QuestDB takes the table for empty and deletes its partitions",
    Harm.DELETES_DIRECTORY: "QuestDB deletes the partition directories that _txn does not name",
    Harm.DROPS_PARTITION: "QuestDB drops the partition without an error, or suspends the table",
    Harm.REWRITES_TABLE: "QuestDB rewrites _meta, _txn and _cv as of another version, or does not start at all",
    Harm.LOSES_COLUMNS: "QuestDB starts new column files beside those that hold the values",
    Harm.FILLS_WITH_ZEROS: "QuestDB fills the missing values with zeros, or suspends the table",
    Harm.SPOILS_SYMBOLS: "QuestDB makes the missing part of the symbol map anew, or suspends the table",
    Harm.SHOWS_WRONG_ROWS: "QuestDB writes behind rows that do not exist, and keeps them",
    Harm.FORGETS_TABLE: "QuestDB does not see the table, and a writer may create a new one of the same name",
    Harm.ERASES_TABLE: "QuestDB takes the table for dropped and deletes its directory",
    Harm.DELETES_WAL: "QuestDB deletes the WAL",
    Harm.MISAPPLIES: "QuestDB applies transactions a second time, or skips some and deletes their WAL",
    Harm.TAKES_FOREIGN_ROWS: "QuestDB applies rows that are not proven to be the table's, in the place of its own",
    Harm.STOPS_APPLYING: "QuestDB suspends the table",
    Harm.ROLLS_BACK: "QuestDB replaces the tables' metadata by the checkpoint's; rows written since are lost",
    Harm.CRASHES: "QuestDB can crash as it applies rows there, and again at every start",
    Harm.HANGS: "reads of the table never end, and take the threads of QuestDB until it answers nobody",
    Harm.DOES_NOT_START: "QuestDB may fail to start, with all tables",
}


def harm_in_words(harm: Harm) -> str:
    """Return a sentence without its full stop; empty where nothing is done."""
    return _WORDS.get(harm, "")
