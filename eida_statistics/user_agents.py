"""Classify clients by the names with which they introduce themselves.

The name is the HTTP User-Agent, which is the `clientID` of a request log, or the client id that a program sends to
a ringserver. Classes and their patterns are in `client_classes.toml`; an operator may have a file of the same form,
which goes before it.
"""

import re
import tomllib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from eida_statistics.errors import InvalidClientClasses
from eida_statistics.validation import explain_first

OTHER = "other"
_BUILT_IN = Path(__file__).with_name("client_classes.toml")

# No client has a longer name, and the first part identifies it.
_MAX_CHARACTERS = 1024

_NAME = r"^[a-z][a-z0-9-]{0,39}\Z"
_NAME_RULE = "up to 40 small letters, digits and hyphens, the first of them a letter"


class _Class(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=_NAME)]
    patterns: Annotated[list[str], Meta(min_length=1)]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    classes: Annotated[list[_Class], Meta(min_length=1)] = msgspec.field(name="class")


class ClientClasses:
    """Classes of clients, each with patterns that occur in their names; the first class that matches is taken.

    `names` has each class once, in their order, and last `other`, for a client without a name or a class.
    """

    def __init__(self, classes: Sequence[tuple[str, Sequence[str]]]) -> None:
        self.names: tuple[str, ...] = (*dict.fromkeys(name for name, _ in classes), OTHER)
        self._classes = classes

    def classify(self, agent: str | None) -> str:
        """Return the class of a client; of a very long name the first 1024 characters count."""
        beginning = (agent or "")[:_MAX_CHARACTERS]
        return next((name for name, pattern in self._rules if pattern.search(beginning)), OTHER)

    @cached_property
    def _rules(self) -> list[tuple[str, re.Pattern[str]]]:
        # Compiled when the first client is classified, since it takes 10 ms: many runs have nothing to read.
        return [
            (name, pattern)
            for name, texts in self._classes
            for pattern in _join_patterns([compile_pattern(text) for text in texts])
        ]


def load_classes(own: Path | None = None) -> ClientClasses:
    """Return the built-in classes, after those of an operator's own file if there is one.

    Raises:
        InvalidClientClasses: if a file cannot be read, or is not a table of classes; it says where and why.
    """
    classes = _read(own) if own is not None else []
    for name, patterns in classes:
        for pattern in patterns:
            _check_pattern(pattern, f"{own}: class {name}, pattern '{pattern}'")
    return ClientClasses([*classes, *_read(_BUILT_IN)])


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression that is to be searched in the names of clients, capitals or not.

    Raises:
        ValueError: if it is invalid or matches every name; the message is the reason.
    """
    try:
        # A payload that says what was left out is UTF-8, and so is the table.
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not UTF-8 text") from error
    try:
        with warnings.catch_warnings():
            # Python warns of patterns such as [[:alpha:]], whose meaning may change.
            warnings.simplefilter("error", FutureWarning)
            pattern = re.compile(text, re.IGNORECASE)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if pattern.search("") and pattern.search("\0"):
        raise ValueError("matches the empty string, and so every client")
    return pattern


def _read(path: Path) -> list[tuple[str, list[str]]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidClientClasses(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidClientClasses(f"{path}: not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidClientClasses(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise InvalidClientClasses(f"{path}: nested too deeply") from error
    try:
        table = msgspec.convert(document, _Table)
    except msgspec.ValidationError as error:
        raise InvalidClientClasses(
            f"{path}: {_explain(document)}",
            hint="""Each class is a [[class]] with a name = "..." and patterns = ['...', '...'].""",
        ) from error
    for number, entry in enumerate(table.classes, 1):
        if entry.name == OTHER:
            raise InvalidClientClasses(f"{path}: class {number}, name: {OTHER} is for clients that are in no class")
    return [(entry.name, entry.patterns) for entry in table.classes]


def _check_pattern(text: str, place: str) -> None:
    try:
        pattern = compile_pattern(text)
    except ValueError as error:
        raise InvalidClientClasses(f"{place}: {error}") from error
    if pattern.search(""):
        raise InvalidClientClasses(f"{place}: matches the empty string, whose class is {OTHER}")


def _join_patterns(patterns: Sequence[re.Pattern[str]]) -> Sequence[re.Pattern[str]]:
    """Make one pattern of many, which is faster, where that cannot change what they mean."""
    # Joined, groups would have other numbers, and names that others have.
    if any(pattern.groups for pattern in patterns):
        return patterns
    try:
        return [re.compile("|".join(f"(?:{pattern.pattern})" for pattern in patterns), re.IGNORECASE)]
    except re.error:
        # A flag as (?x) is for a whole pattern, and must begin it.
        return patterns


def _explain(document: object) -> str:
    """Return the first fault of a table; classes and patterns are numbered from 1."""
    text = explain_first(document, _Table, {"name": _NAME_RULE})
    path, _, reason = text.rpartition(": ")
    place = re.sub(r"\[(\d+)\]", lambda index: f" {int(index[1]) + 1}", path).replace(".", ", ")
    return f"{place}: {reason}" if place else reason
