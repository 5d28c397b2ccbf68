"""salvage-wal, salvage-table: rows as files outside the db directory."""
