"""Servers: which jar and Java, a private one, questions in SQL, what a table must hold, the proof."""
