"""Many claims at once: read from JSON, counted, and told in one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from console.recovery.model import Claim
from console.text import plural


def claims_of(said: Any) -> tuple[Claim, ...]:
    """Return the claims in a list of JSON documents; what is no such document is left out."""
    documents = said if isinstance(said, list | tuple) else ()
    return tuple(Claim.of_json(each) for each in documents if isinstance(each, Mapping))


def proven_in_words(claims: Sequence[Claim]) -> str:
    """Return e.g. `12 claims proven, 2 notes`: notes prove nothing and are not among the proven."""
    notes = sum(claim.noted for claim in claims)
    said = f"{plural(sum(claim.proven for claim in claims), 'claim')} proven"
    return f"{said}, {plural(notes, 'note')}" if notes else said


def failed_in_words(claims: Sequence[Claim]) -> str:
    """Return the first claim that does not hold as a sentence, empty where all hold."""
    failed = next((claim for claim in claims if not claim.ok), None)
    return "" if failed is None else f"{failed.claim} (expected {failed.expected}, found {failed.found})"
