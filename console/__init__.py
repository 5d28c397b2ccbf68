"""walmedic: brings a QuestDB station back after its WAL sequencer was damaged."""

__version__ = "0.1.0"
