"""Bytes of a `_cv` for a repair, the counterpart of `column_versions`: the one area that its version points at."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.formats.table import CV_ENTRY, CV_HEADER

_PAGE: Final = 4096


def encode_column_versions(version: int, entries: NDArray[Any]) -> bytes:
    """Return the bytes of a `_cv` with these entries (COLUMN_VERSION), which are put in the order that it needs."""
    stored = np.zeros(len(entries), CV_ENTRY.dtype)
    for name in stored.dtype.names or ():
        stored[name] = entries[name]
    ordered = stored[np.lexsort((stored["column"], stored["partition"]))]
    area = "b" if version % 2 else "a"
    header = CV_HEADER.pack(version=version, **{f"{area}_offset": CV_HEADER.size, f"{area}_size": ordered.nbytes})
    content = header + ordered.tobytes()
    return content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")
