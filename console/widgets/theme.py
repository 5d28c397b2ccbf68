"""Themes made from the token files: the one place where a colour becomes a value."""

import enum
import re
from collections.abc import Mapping
from pathlib import Path

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme


class Colors(enum.StrEnum):
    """Which colours to use: the full palette, dark or light, the terminal's own 16 with plain glyphs, or none."""

    FULL = "full"
    LIGHT = "light"
    SIXTEEN = "16"
    NONE = "none"


class Uncolored(LineFilter):
    """Takes every colour off, the codes for the terminal's default ones too: then no colour code is sent at all."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style.without_color if style else style, control) for text, style, control in segments]


_FILES = {
    Colors.FULL: "tokens.tcss",
    Colors.LIGHT: "tokens_light.tcss",
    Colors.SIXTEEN: "tokens_16.tcss",
    Colors.NONE: "tokens_none.tcss",
}
FULL_PALETTES = (Colors.FULL, Colors.LIGHT)
_TOKEN = re.compile(r"^\$([\w-]+):\s*([^;]+);", re.MULTILINE)


def choose(asked: str, environment: Mapping[str, str]) -> Colors:
    """Return the colours for `--colors` and the environment; an empty NO_COLOR means nothing (no-color.org)."""
    if asked == "none" or (asked == "auto" and environment.get("NO_COLOR")):
        return Colors.NONE
    if asked == "light":
        return Colors.LIGHT
    if asked == "16" or (asked == "auto" and environment.get("TERM") in {"linux", "vt100", "vt220", "dumb", "ansi"}):
        return Colors.SIXTEEN
    return Colors.FULL


def read_tokens(file: Path) -> dict[str, str]:
    return {name: value.strip() for name, value in _TOKEN.findall(file.read_text(encoding="utf-8"))}


def make_theme(colors: Colors, styles: Path) -> Theme:
    tokens = read_tokens(styles / _FILES[colors])
    return Theme(
        name=f"walmedic-{colors.value}",
        primary=tokens["accent"],
        accent=tokens["accent"],
        success=tokens["ok"],
        warning=tokens["warn"],
        error=tokens["bad"],
        foreground=tokens["foreground"],
        background=tokens["background"],
        surface=tokens["background"],
        panel=tokens["raised"],
        dark=colors is not Colors.LIGHT,
        ansi=colors not in FULL_PALETTES,
        # Textual's own style sheets name variables that only its themes for ANSI colours define.
        variables=tokens if colors in FULL_PALETTES else {**BUILTIN_THEMES["ansi-dark"].variables, **tokens},
    )
