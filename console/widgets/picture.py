"""Pictures of the screen that every renderer draws alike."""

import re

_TEXT = re.compile(r'<text([^>]*?) x="([\d.]+)"([^>]*?) textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
_BLANK = "&#160;"


def without_edge_blanks(svg: str) -> str:
    """Return `svg` with blanks at the ends of its texts taken off and the texts moved to where they begin.

    Some renderers drop such blanks and stretch what is left over their place, so that columns come apart.
    """
    return _TEXT.sub(_trimmed, svg)


def _trimmed(match: re.Match[str]) -> str:
    before, x, middle, length, after, text = match.groups()
    start = text
    while start.startswith(_BLANK):
        start = start.removeprefix(_BLANK)
    inner = start
    while inner.endswith(_BLANK):
        inner = inner.removesuffix(_BLANK)
    if inner == text or not inner:
        return match[0]
    lead = (len(text) - len(start)) // len(_BLANK)
    trail = (len(start) - len(inner)) // len(_BLANK)
    cell = 12.2  # what Rich's export gives one cell
    return (
        f'<text{before} x="{float(x) + lead * cell:.1f}"{middle} '
        f'textLength="{float(length) - (lead + trail) * cell:.1f}"{after}>{inner}</text>'
    )
