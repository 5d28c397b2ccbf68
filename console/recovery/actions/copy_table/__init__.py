"""copy-table: a table copied into a new one by the server, compared column by column, and put under the old name."""
