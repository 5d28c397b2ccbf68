"""Keys that several screens have alike: those that move through bytes, and those that move through a text or a list."""

from textual.binding import Binding, BindingType


def scrolling_keys(
    tooltip: str = "read the rest", *, action: str = "scroll", page: int = 10, hint: bool = True
) -> list[BindingType]:
    """Return the bindings to `action`, which gets the lines to move by; `hint` shows the last key, with `tooltip`."""
    label = "Scroll" if hint else "Page down"
    return [
        Binding("up", f"{action}(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", f"{action}(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("pageup", f"{action}(-{page})", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", f"{action}({page})", label, id="page-down", show=hint, tooltip=tooltip),
    ]


def moving_keys() -> list[BindingType]:
    """Return the bindings to `up`, `side`, `page` and `end`, which a screen with bytes has as actions."""
    return [
        Binding("up,k", "up(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down,j", "up(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("left,h", "side(-1)", "Left", id="left", show=False, tooltip="move left; in the tree, fold"),
        Binding("right,l", "side(1)", "Right", id="right", show=False, tooltip="move right; in the tree, unfold"),
        Binding("pageup", "page(-1)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "page(1)", "Page down", id="page-down", show=False, tooltip="move down by a page"),
        Binding("home", "end(0)", "Start", id="start", show=False, tooltip="the first byte"),
        Binding("end,G", "end(1)", "End", id="end", show=False, tooltip="the last byte"),
    ]
