"""How Redis is asked what waits before the database, by whoever asks: the probes, a repair, the set-up, the demo."""
