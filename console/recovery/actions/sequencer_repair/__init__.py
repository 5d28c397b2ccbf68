"""restore-sequencer, rebuild-sequencer, repair-log: one sequencer that a table must have, on three bases."""
