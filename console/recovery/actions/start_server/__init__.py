"""start-server: a start on a station whose tables are whole, with the WAL held until the rows are proven."""
