"""Field tables of QuestDB's files: the one place where an offset, a type or a code of a format is written down."""
