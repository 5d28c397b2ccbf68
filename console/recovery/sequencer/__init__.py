"""What a table's sequencer must be, computed from what is on disk. Pure decisions on arrays; nothing here writes."""
