"""The guard: copies, taken before the power fails, of the small files that a recovery rests on."""
