"""What may be done now, what comes next, and in which order."""
