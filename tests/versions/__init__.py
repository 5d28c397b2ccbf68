"""QuestDB of every version: a database of all column types and table kinds, read, repaired and started by it."""
