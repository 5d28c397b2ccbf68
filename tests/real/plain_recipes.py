"""Recipes that are told, not drawn: nothing special about a table but what a test names."""

from dataclasses import fields
from typing import Any

from tests.real.generated_tables import Recipe


def plain(seed: int, name: str, **named: Any) -> Recipe:
    """Return a recipe: two writers, three rounds applied and three not, everything else off; `named` goes over it."""
    calm: dict[str, Any] = {field.name: False for field in fields(Recipe)}
    told = {"version": 1, "writers": 2, "applied_rounds": 3, "pending_rounds": 3, "purged": "none"}
    return Recipe(**{**calm, **told, "seed": seed, "name": name, **named})
