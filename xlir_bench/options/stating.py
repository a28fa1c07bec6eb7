"""What is stated of an option: a field of a frozen record, with help, bounds and where it may be said.

From these fields come the flags of the command line, its `--config` files, the fields of recipes, and the
refusal of values out of bounds. A new option is one field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import EnumType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from xlir_bench.errors import InputError, UnknownNameError

ABOUT = "about"
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class About:
    """What a field says of itself."""

    help: str
    group: str
    """The heading that it stands under in ``--help``."""
    flag: str = ""
    """Where it is not the name of the field."""
    metavar: str | None = None
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    in_recipes: bool = False
    """Whether a recipe may say it under ``[training]``."""
    partial: bool = False
    """Whether a run with another value than the default is less or other than a full one."""
    many: bool = False
    """Whether it may be given again."""
    form: Literal["", "size", "number or auto"] = ""
    """How it is written where its type does not tell."""
    said: str = ""
    """The default, as it is written in that form."""
    parse: Callable[[str], Any] | None = None
    """Of one that may be given again: from its text to what the record holds."""


def option(
    help: str,
    default: Any = MISSING,
    *,
    group: str,
    factory: Callable[[], Any] | None = None,
    **more: Any,
) -> Any:
    """A field that is an option; without a default, or what makes one, it has to be said."""
    about = {ABOUT: About(help, group, **more)}
    if factory is not None:
        return field(default_factory=factory, metadata=about)
    return field(default=default, kw_only=default is MISSING, metadata=about)


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a record."""

    name: str
    """Of its field."""
    type: Any
    default: Any
    """`MISSING` if it has to be said."""
    about: About

    @property
    def flag(self) -> str:
        """Without the hyphens that lead it."""
        return self.about.flag or self.name.replace("_", "-")

    @property
    def base(self) -> Any:
        """Its type, but for None."""
        parts = [part for part in get_args(self.type) if part is not type(None)]
        is_union = get_origin(self.type) not in (Literal, tuple, None)
        return parts[0] if is_union and parts else self.type

    @property
    def choices(self) -> tuple[str, ...] | None:
        """Of one that is one of some words."""
        if get_origin(self.base) is Literal:
            return get_args(self.base)
        return tuple(self.base) if isinstance(self.base, EnumType) else None


def options_of(record: type[Any]) -> Iterator[Option]:
    """The options of a record and of the records in it, in their order."""
    hints = get_type_hints(record)
    for part in fields(record):
        if is_dataclass(hints[part.name]):
            yield from options_of(hints[part.name])
        elif ABOUT in part.metadata:
            made = part.default_factory is not MISSING
            default = None if made else part.default
            yield Option(part.name, hints[part.name], default, part.metadata[ABOUT])


def build(record: type[Record], stated: Mapping[str, Any]) -> Record:
    """A record, and those in it, of values by the name of their fields; others than theirs are left alone."""
    hints, values = get_type_hints(record), {}
    for part in fields(record):  # type: ignore[arg-type]
        kind = hints[part.name]
        if is_dataclass(kind):
            values[part.name] = build(kind, stated)  # type: ignore[arg-type]
        elif part.name in stated:
            value, about = stated[part.name], part.metadata.get(ABOUT)
            if about is not None and about.parse is not None:
                value = tuple(about.parse(x) if isinstance(x, str) else x for x in value)
            values[part.name] = kind(value) if isinstance(kind, EnumType) else value
    return record(**values)


def check_bounds(record: Any) -> None:
    """Refuse a value that is out of the bounds of its option, or none of its words."""
    hints = get_type_hints(type(record))
    for part in fields(record):
        if ABOUT in part.metadata and (value := getattr(record, part.name)) is not None:
            _check(Option(part.name, hints[part.name], part.default, part.metadata[ABOUT]), value)


def _check(option: Option, value: Any) -> None:
    if option.choices is not None and value not in option.choices:
        raise UnknownNameError(f"--{option.flag}", [value], option.choices)
    if why := out_of_bounds(option, value):
        raise InputError(f"--{option.flag} {why}")


def out_of_bounds(option: Option, value: Any) -> str:
    """What is wrong with a number; empty if nothing is."""
    about = option.about
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    low, high = (about.above, about.least), (about.below, about.most)
    fits = (
        math.isfinite(value)
        and (low[0] is None or value > low[0])
        and (low[1] is None or value >= low[1])
        and (high[0] is None or value < high[0])
        and (high[1] is None or value <= high[1])
    )
    return "" if fits else f"{value} wants {_wanted(about)}"


def _wanted(about: About) -> str:
    first = f"a number above {about.above:g}" if about.above is not None else ""
    if about.least is not None:
        first = f"{about.least:g} or more"
    if about.below is not None:
        return f"{first}, below {about.below:g}"
    if about.most is not None:
        return f"a number from {about.least:g} to {about.most:g}"
    return first
