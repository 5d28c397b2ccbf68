"""The one kind of error that reaches an operator: one sentence saying what, where, and what to do."""


class WalmedicError(Exception):
    """An operation that could not be done. Its text is shown as it is: clean, complete, no traceback."""
