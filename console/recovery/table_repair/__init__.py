"""What a damaged table's own files must be, from what is on disk: read-only; and the plan that replaces several."""
