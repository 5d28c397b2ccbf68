"""Secrets, people and private places taken out of what leaves the machine: configuration, logs, command lines, JSON.

Two ways work together. Patterns know how secrets are written: after a name such as `password`, in a URL before the
`@`, behind an option, as a token with a known beginning, in a key block. And what a pattern took out of one text is
learned: the same value is taken out of every other, wherever it stands. In doubt more is taken than is needed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

HIDDEN: Final = "***"

_NAME: Final = (
    r"(?:password|passwd|passphrase|passcode|requirepass|masterauth|(?<![a-z])pass(?![a-z])|pwd|secret|token|"
    r"credential|(?:api|private|access|account|shared|storage|encryption|signing)[-_.]?key|authorization|"
    r"(?<![a-z])auth(?![a-z]))"
)
_SECRET_NAME = re.compile(_NAME, re.I)
_PROSE = (
    r"(?:a|an|and|as|at|authentication|by|can|check|cannot|changed|encryption|expected|expired|failed|file|for|from|"
    r"has|hash|in|incorrect|invalid|is|manager|missing|must|needed|not|of|on|or|prompt|protected|provided|required|set|"
    r"store|that|the|to|type|was|were|will|with|wrong)\b"
)

# No run is scanned twice or without bound: a hostile line of a megabyte must cost no more than an honest one.
# `name = value` to the end of the line, with the name's neighbours: `pg.password=…`, `"api_key": …`, `REDIS_PASS=…`.
_ASSIGNED = re.compile(rf"({_NAME}[\w.-]{{0,80}}+[\"'\]`]{{0,3}}[ \t]{{0,80}}+(?:=>|[:=])[ \t]*)(\S[^\r\n]*)", re.I)
# `requirepass value` of a configuration file: the name begins the line.
_DIRECTIVE = re.compile(
    rf"^([ \t]{{0,80}}+[\w.-]{{0,80}}{_NAME}[\w.-]{{0,80}}+[ \t]{{1,80}}+)(?![:=])(\S[^\r\n]*)", re.I | re.M
)
# `… with password value …` of a log.
_SPOKEN = re.compile(
    rf"\b((?:password|passphrase|passwd|secret|api key)[ \t]+(?:is[ \t]+)?)(?!{_PROSE})([^\s,;]+)", re.I
)
_URL = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,40}://)([^\s/\"'<>@]{0,500}(?:/[^\s\"'<>@]{0,500})?)@", re.I)
# `user:value@host` without a scheme.
_LOGIN = re.compile(r"(?<![\w/.+:-])([a-z][\w.+-]{0,60}:)([^\s:/@\"'<>()\[\]]{3,200})@(?=[a-z0-9])", re.I)
_KEY_BLOCK = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.S)
_TOKENS = re.compile(
    r"\b(?:(?:Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}|xox[a-z]-[\w-]{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|"
    r"glpat-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|sk-[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
)
_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
_ENVIRONMENT = re.compile(r"^([ \t]*Environment[ \t]*=[ \t]*)([^\r\n]*)", re.M)
_ASSIGNMENT = re.compile(r"""("[^"]*"|'[^']*'|\S+)""")
_COMMAND = re.compile(
    r"^([ \t]*(?:Exec\w+=|command=|Command Line:|java_command:|jvm_args:|\w{0,40}JAVA_\w{1,80}=)[ \t]*)([^\r\n]*)", re.M
)
_HARMLESS_VARIABLE = re.compile(
    r"JAVA_HOME|JAVA_VERSION|JDK_HOME|LANG|LC_\w+|TZ|PATH|LD_LIBRARY_PATH|QDB_\w+|SHELL|DISPLAY"
)
_OPTIONS_VARIABLE = re.compile(r"\w{0,40}JAVA_\w{0,40}OPT\w{0,40}|JVM_OPTS|JDK_JAVA_OPTIONS|CLASSPATH")
_HOME = re.compile(r"/(home|Users|media|run/media)/(?!<)[^/\s:\"'\[\]<>,;]+")
_MAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,80}+@(?:[\w-]{1,80}+\.){1,10}(?!service\b|slice\b|socket\b|timer\b|scope\b|target\b)[a-z]{2,20}\b",
    re.I,
)
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = re.compile(rf"(?<![\w.])(?!127\.|0\.0\.0\.0)(?:{_BYTE}\.){{3}}{_BYTE}(?![\w.])")
_ADDRESS_6 = re.compile(r"(?<![\w:.])(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2}|fe80):[0-9a-f:]{2,34}(?![\w:])", re.I)

_LEAST_LEARNED = 4  # characters: shorter values would take half of every other word
_WORDS = "admin daemon default demo false group guest host localhost nobody none null questdb quest qdb redis root"
_MORE = "server station supervisor systemd test true ubuntu user walmedic yes"
_COMMON = frozenset(f"{_WORDS} {_MORE}".split())  # they say nothing about anybody; QuestDB ships `quest` as a password


class Redactor:
    """Takes secrets out of texts, and people and places if it was given their names; counts what it took, by kind."""

    def __init__(self, *, secrets: Iterable[str] = (), private: bool = True) -> None:
        self.removed: Counter[str] = Counter()
        self._private = private
        self._known: set[str] = set()
        self._places: dict[str, str] = {}
        self._people: dict[str, str] = {}
        self._literal: re.Pattern[str] | None = None
        self._named: re.Pattern[str] | None = None
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Take these values out of every text from now on; too short or too common ones only where a name says so."""
        new = {s for s in secrets if _worth_learning(s)}
        if not new <= self._known:
            self._known |= new
            longest_first = sorted(self._known, key=len, reverse=True)
            self._literal = re.compile(
                "|".join(rf"(?<![A-Za-z0-9]){re.escape(s)}(?![A-Za-z0-9])" for s in longest_first)
            )

    def place(self, path: str, label: str) -> None:
        if self._private and len(path.rstrip("/")) > 1:
            self._places[path.rstrip("/")] = label

    def people(self, label: str, *names: str) -> None:
        """Show `label` in place of the names of users or hosts; what everybody has stays."""
        if self._private:
            self._people |= {n: label for n in names if len(n) > 2 and n.lower() not in _COMMON and not n.isdigit()}
            longest_first = map(re.escape, sorted(self._people, key=len, reverse=True))
            if self._people:
                self._named = re.compile(rf"(?<![\w.-])(?:{'|'.join(longest_first)})(?![\w-])")

    def text(self, text: str) -> str:
        text = _KEY_BLOCK.sub(lambda _: self._hid("secret"), text)
        text = _COMMAND.sub(lambda found: found[1] + self.command(found[2]), text)
        text = _URL.sub(self._url, text)
        text = _LOGIN.sub(lambda found: f"{found[1]}{self._took(found[2])}@", text)
        text = _ASSIGNED.sub(self._assigned, text)
        text = _SPOKEN.sub(lambda found: found[1] + self._took(found[2]), text)
        text = _TOKENS.sub(lambda found: self._took(found[0]), text)
        return self._rest(text)

    def configuration(self, text: str) -> str:
        """Return a configuration or unit file without secrets, and without the values of variables that may be one."""
        text = _KEY_BLOCK.sub(lambda _: self._hid("secret"), text)
        text = _CONTINUED.sub(" ", text)
        text = _ENVIRONMENT.sub(lambda found: found[1] + self._environment(found[2]), text)
        text = _DIRECTIVE.sub(lambda found: found[1] + self._took(found[2]), text)
        return self.text(text)

    def command(self, words: str) -> str:
        """Return a command line without the values of options that look like secrets."""
        shown: list[str] = []
        hide_next = False
        login = False
        for word in _URL.sub(self._url, words).split():
            name, equals, value = word.partition("=")
            if hide_next and not word.startswith("-"):
                shown.append(self._took(word))
                hide_next = False
                continue
            if login and ":" in word:
                shown.append(f"{word.partition(':')[0]}:{self._took(word.partition(':')[2])}")
                login = False
                continue
            secret = _SECRET_NAME.search(name) is not None
            # `-a` is how redis-cli takes a password, `-u user:password` how curl does.
            hide_next = not equals and ((secret and name.startswith("-")) or (word == "-a" and "redis" in words))
            login = word in ("-u", "--user")
            shown.append(f"{name}={self._took(value)}" if secret and equals and value else word)
        return " ".join(shown)

    def value(self, value: Any, name: str = "") -> Any:
        """Return a JSON value without secrets: those in its texts, and whatever stands under a secret's name."""
        if isinstance(value, str):
            return self._took(value) if value and _SECRET_NAME.search(name) else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item, name) for item in value]
        return value

    def _rest(self, text: str) -> str:
        if self._literal is not None:
            text = self._literal.sub(lambda _: self._hid("secret"), text)
        if not self._private:
            return text
        for path in sorted(self._places, key=len, reverse=True):
            if path in text:
                pattern = re.compile(rf"{re.escape(path)}(?![\w.-])")
                text = pattern.sub(lambda _, p=path: self._instead(self._places[p], "path"), text)  # type: ignore[misc]
        text = _HOME.sub(lambda found: self._instead(f"/{found[1]}/<user>", "path"), text)
        text = _MAIL.sub(lambda _: self._instead("<mail>", "name"), text)
        for address in (_ADDRESS, _ADDRESS_6):
            text = address.sub(lambda _: self._instead("<address>", "name"), text)
        if self._named is not None:
            text = self._named.sub(lambda found: self._instead(self._people[found[0]], "name"), text)
        return text

    def _environment(self, assignments: str) -> str:
        """Return the `NAME=value` words of a unit file's Environment: only values that are known to be harmless."""
        shown: list[str] = []
        for quoted in _ASSIGNMENT.findall(assignments):
            quote = quoted[0] if quoted[0] in "\"'" else ""
            name, equals, value = quoted.strip(quote or None).partition("=")
            if not equals and shown and shown[-1].endswith(HIDDEN):
                continue  # systemd wants quotes around a value with a blank; without them it may be its other half
            if _OPTIONS_VARIABLE.fullmatch(name):
                value = self.command(value)
            elif value and (_SECRET_NAME.search(name) or not _HARMLESS_VARIABLE.fullmatch(name)):
                value = self._took(value, sure=_SECRET_NAME.search(name) is not None or _like_a_secret(value, 12))
            shown.append(f"{quote}{name}{equals}{value}{quote}")
        return " ".join(shown)

    def _assigned(self, found: re.Match[str]) -> str:
        value = found[2]
        # What was hidden already (a command line's word, a URL's password) must not hide what follows it.
        if value.lstrip("\"'[{(").startswith(HIDDEN):
            return found[0]
        return found[1] + self._took(value, sure=_like_a_secret(value, 6))

    def _url(self, found: re.Match[str]) -> str:
        user, colon, password = found[2].partition(":")
        if not colon and "/" in user:  # a path with an @ in it
            return found[0]
        secret = password if colon else user
        return f"{found[1]}{user + colon if colon else ''}{self._took(secret) if secret else ''}@"

    def _took(self, value: str, *, sure: bool = True) -> str:
        """Learn a value that is taken out and return what stands in its place."""
        bare = value.strip().strip("\"'`[](){},;")
        words = bare.split()
        if sure and words:
            self.learn(bare, words[0].strip("\"'`[](){},;"))
        return self._hid("secret")

    def _hid(self, kind: str) -> str:
        return self._instead(HIDDEN, kind)

    def _instead(self, label: str, kind: str) -> str:
        self.removed[kind] += 1
        return label


def _like_a_secret(value: str, least: int) -> bool:
    """Return whether a value looks like a secret by itself: letters and digits, `least` characters, no path."""
    return (
        len(value) >= least and "/" not in value and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    )


def _worth_learning(value: str) -> bool:
    """Return whether a value can be looked for in any text: neither common nor a number that means something else."""
    if len(value) < _LEAST_LEARNED or value == HIDDEN or value.lower() in _COMMON:
        return False
    return len(value) >= 8 or not value.isdigit()


def without_secrets(text: str) -> str:
    """Return a text without its secrets; people and places stay."""
    return Redactor(private=False).text(text)


def configuration_without_secrets(content: bytes) -> bytes:
    """Return the bytes of a configuration or unit file without secrets; what is no UTF-8 stays as it is."""
    text = content.decode("utf-8", "surrogateescape")
    return Redactor(private=False).configuration(text).encode("utf-8", "surrogateescape")
