"""Writing below a db directory: by descriptors, durable, never through a link."""
