"""An action in a process of its own, which outlives the console."""
