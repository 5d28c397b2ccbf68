"""Steps that several actions use: files and services."""
