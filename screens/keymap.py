"""Keys as the settings have them: which names there are, which keys a terminal can send, and who has which key.

A name is that of a binding; bindings of one name on several screens change together. What changes files has no key and
gets none: it is in the palette, behind a plan and a typed phrase.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from textual.binding import Binding, BindingsMap
from textual.keys import _character_to_key

import screens
from console.settings import SettingsError
from screens.frame import FramedScreen

_NAMED: Final = frozenset(
    {"enter", "escape", "tab", "backspace", "delete", "insert", "space", "up", "down", "left", "right", "home", "end",
     "pageup", "pagedown", *(f"f{number}" for number in range(1, 13))}
)  # fmt: skip
_CONTROL: Final = re.compile(r"ctrl\+[a-z]")
# tmux and terminals send ctrl+i as tab, ctrl+m as enter, ctrl+h as backspace; the others are prefixes, flow control,
# or what ends and stops programs.
_SWALLOWED: Final = frozenset(f"ctrl+{letter}" for letter in "abchimqsz")
_LETTERS: Final = re.compile(r"[a-z_]+")


def _every_screen() -> Sequence[type[FramedScreen]]:
    """Return the screens whose keys can be changed. Imports all of them: only where the settings change keys."""
    for module in pkgutil.iter_modules(screens.__path__):
        importlib.import_module(f"screens.{module.name}")
    found: list[type[FramedScreen]] = []
    waiting = [FramedScreen]
    while waiting:
        screen = waiting.pop()
        found.append(screen)
        waiting.extend(screen.__subclasses__())
    return sorted(found, key=lambda each: each.__name__)


def key_of(text: str) -> str:
    """Return a key as Textual names it, e.g. `question_mark` for `?`; an empty text for what no terminal sends."""
    text = text.strip()
    if len(text) == 1 and text.isprintable():
        return _character_to_key(text)
    lower = text.lower()
    if lower in _NAMED or (_CONTROL.fullmatch(lower) and lower not in _SWALLOWED):
        return lower
    if _LETTERS.fullmatch(lower) and lower in _punctuation():
        return lower
    return ""


def _punctuation() -> frozenset[str]:
    return frozenset(_character_to_key(chr(code)) for code in range(0x21, 0x7F))


def checked(keys: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the settings' keys, name to keys as Textual names them, parted by commas.

    Raises SettingsError, one sentence, for a name that is none, a key that no terminal sends, a key that two names of
    one screen would have, and for an action that changes files.
    """
    if not keys:
        return {}
    every = _every_screen()
    names = {binding.id for screen in every for _, binding in _bindings(screen) if binding.id}
    made: dict[str, str] = {}
    for name, text in keys.items():
        if name in _dangerous():
            raise SettingsError(
                f"{where}: keys.{name} changes files and gets no key; it is in the palette, behind a plan and a phrase"
            )
        if name not in names:
            raise SettingsError(f"{where}: there is no key name {name!r}; known: {', '.join(sorted(names))}")
        wanted = [key_of(part) for part in (text.split(",") if text.strip() != "," else [text])]
        if not all(wanted):
            raise SettingsError(
                f"{where}: keys.{name} is {text!r}, which a terminal cannot send; write e.g. j, ?, f2, ctrl+r, pagedown"
            )
        made[name] = ",".join(dict.fromkeys(wanted))
    for screen in every:
        _no_key_twice(screen, made, where)
    return made


def _dangerous() -> frozenset[str]:
    from console.recovery.gate.registry import action_ids

    return frozenset(action_ids())


def _bindings(screen: type[FramedScreen]) -> Iterable[tuple[str, Binding]]:
    merged = screen._merged_bindings or BindingsMap()
    return [(key, binding) for key, group in merged.key_to_bindings.items() for binding in group]


def _no_key_twice(screen: type[FramedScreen], keys: Mapping[str, str], where: str) -> None:
    taken: dict[str, str] = {}
    for key, binding in sorted(_bindings(screen), key=lambda pair: pair[1].id in keys):
        name = binding.id or ""
        for each in keys.get(name, key).split(","):
            other = taken.setdefault(each, name)
            if other != name and (name in keys or other in keys):
                mine, theirs = (name, other) if name in keys else (other, name)
                raise SettingsError(
                    f"{where}: keys.{mine} would take {keys[mine]!r} from {theirs!r} on the screen "
                    f"{screen.__name__.lower()}; give {theirs!r} another key too"
                )
