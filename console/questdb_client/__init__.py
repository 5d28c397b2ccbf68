"""How QuestDB is asked over PGWire, by whoever asks it: the probes, the diagnosis, a repair, a rehearsal, the demo."""
