"""Tests of what salvage-wal writes."""
