"""resume-wal: a suspended table goes on."""
