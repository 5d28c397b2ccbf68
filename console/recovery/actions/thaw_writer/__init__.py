"""thaw-writer: the batch writer starts and the backlog drains."""
