"""The live read side: what is true of the station now, each source on its own, none able to hold up another."""
