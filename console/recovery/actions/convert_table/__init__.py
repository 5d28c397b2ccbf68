"""convert-table: a fresh sequencer by the server's own conversion."""
