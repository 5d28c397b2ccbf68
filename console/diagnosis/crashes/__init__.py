"""Crash logs: groups by cause, tied to a file, explained."""
