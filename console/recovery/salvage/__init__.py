"""Rows of WAL segments written out as CSV or Parquet, read back, and listed in a manifest."""
