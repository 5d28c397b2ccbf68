"""What a running server says of its tables, and whether one runs."""
