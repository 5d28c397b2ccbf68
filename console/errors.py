"""The one kind of error that reaches an operator: one sentence saying what, where, and what to do."""

import os


class WalmedicError(Exception):
    """An operation that could not be done. Its text is shown as it is: clean, complete, no traceback."""


def run_as_owner(owner: str = "the owner of the database") -> str:
    """Return as whom to run walmedic if this user may not use a file; for root, what keeps even root out."""
    if os.geteuid():
        return f"run walmedic as root or as {owner}"
    return (
        f"run walmedic as {owner}: root may not override permissions here, as on NFS with root_squash, on FUSE, "
        "or in a container without CAP_DAC_OVERRIDE"
    )
