"""Taking an action back, by its own steps or by evidence."""
