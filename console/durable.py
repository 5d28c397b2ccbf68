"""Writing bytes whole: the one loop round `os.write`, which may take less than it is given."""

import os


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content` at the descriptor's place. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
