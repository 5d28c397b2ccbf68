"""Findings, one module per family of files."""
