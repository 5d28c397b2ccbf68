"""What decides whether an action may be taken."""
