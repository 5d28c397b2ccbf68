"""One picture of a table on disk: facts, segment transactions, logs, what is applied."""
