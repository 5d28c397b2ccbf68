"""JSON bytes that are the same for equal values, and their digest: what plans, journal and evidence are known by."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """Return `value` as JSON bytes that are the same for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def digest_of(*values: Any) -> str:
    return hashlib.sha256(canonical(list(values))).hexdigest()
