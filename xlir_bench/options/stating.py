"""How an option is stated: once, as a field of a frozen record or as a parameter of a command.

From that statement come the flag, its place in `--help`, the entry of `--config` files, the field of recipes,
and the refusal of values out of bounds.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from enum import EnumType
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from xlir_bench.errors import InputError, UnknownNameError, as_given

WHAT, DATA, MODEL, MEASURED = "Models and tasks", "Data", "Model", "What is measured"
SEARCH, OUTPUT, REST = "Search", "Output", "Other options"
"""Headings of ``--help`` that several commands have."""
OPTION = "option"
"""The key of an option in the metadata of its field."""
RecipeTable = Literal["training", "encodings", "cost", "recipe"]
TEXT = (str, os.PathLike)
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Option:
    """Everything that is stated about an option."""

    help: str
    group: str = REST
    """The heading that it stands under in ``--help``."""
    name: str = ""
    """The name of the field or parameter that states it; `type` and `default` come from there too."""
    type: Any = None
    default: Any = None
    """`MISSING` if the option has to be given."""
    flag: str = ""
    """The flag without its leading hyphens; made from `name` unless stated."""
    metavar: str | None = None
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    in_recipes: RecipeTable | None = None
    """The table of a recipe that may state it; ``recipe``: the top level, above all tables."""
    loss: str | None = None
    """The only ``--loss`` that the option is for; with any other it is refused and not recorded."""
    recorded: Literal["always", "given", "never"] = "always"
    """When the record of a training states it; ``given``: if not at its default, so that older records stay valid."""
    decides: bool = False
    """Whether it decides the numbers: a result states its value, and `gate` runs a candidate with the same."""
    makes_retriever: bool = False
    """Whether it decides how a retriever is made; for an existing retriever it is refused."""
    goes_with: str = ""
    """The name of another option that it needs."""
    partial: bool = False
    """Whether a run with another value than the default leaves some of the task out."""
    told: str | None = "{name} {}"
    """How reports name a result with another value than the default; None if the option changes no score."""
    many: bool = False
    """Whether it may be given several times."""
    positional: bool = False
    said: str = ""
    """The default as text of the command line, if `parse` reads it."""
    parse: Callable[[Any], Any] | None = None
    """Turns a value of the command line (each, if there are several) into what a record holds."""

    @property
    def base(self) -> Any:
        """Its type without None."""
        parts = [part for part in get_args(self.type) if part is not type(None)]
        return parts[0] if get_origin(self.type) in (Union, UnionType) else self.type

    @property
    def label(self) -> str:
        """What messages call it: its flag, or the word that stands for it."""
        return (self.metavar or "").strip("[].") if self.positional else f"--{self.flag}"

    @property
    def is_list(self) -> bool:
        """Whether it holds any number of values."""
        return get_origin(self.base) is tuple and get_args(self.base)[-1] is Ellipsis

    @property
    def one(self) -> Any:
        """The type of a single value."""
        return get_args(self.base)[0] if self.is_list else self.base

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The words that a value may be; None if any may."""
        if get_origin(self.one) is Literal:
            return get_args(self.one)
        return tuple(self.one) if isinstance(self.one, EnumType) else None


def option(
    help: str, default: Any = MISSING, *, factory: Callable[[], Any] | None = None, **stated: Any
) -> Any:
    """A field or parameter that is an option; without `default` and `factory` it has to be given."""
    metadata = {OPTION: Option(help, **stated)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, kw_only=default is MISSING, metadata=metadata)


def offline_option() -> Any:
    """``--offline``, for every command that may download something."""
    return option("Download nothing.", False, recorded="never")


def remote_code_option(group: str = REST) -> Any:
    """``--trust-remote-code``, for every command that loads a model."""
    return option("Let a model run code of its own.", False, group=group)


def same_option(record: type[Any], name: str) -> Any:
    """One option of a record, for a command that takes none of the others."""
    return next(part for part in fields(record) if part.name == name)


def option_of(stated: Any, name: str, type: Any) -> Option:
    """The option that a field or parameter states, with its name and type."""
    declared: Option = stated.metadata[OPTION]
    default = stated.default if stated.default_factory is MISSING else None
    flag = declared.flag or name.replace("_", "-")
    return replace(declared, name=name, type=type, default=default, flag=flag)


def options_of(record: Any) -> tuple[Option, ...]:
    """The options of a record and of the records in it, in their order."""
    return _options_of(record)  # cached in another function: mypy says that types are not hashable


@cache  # reading the types of a record takes a millisecond
def _options_of(record: Any) -> tuple[Option, ...]:
    options: list[Option] = []
    hints = get_type_hints(record)
    for part in fields(record):
        if is_dataclass(hints[part.name]):
            options += options_of(hints[part.name])
        elif OPTION in part.metadata:
            options.append(option_of(part, part.name, hints[part.name]))
    return tuple(options)


def build(record: type[Record], given: Mapping[str, Any]) -> Record:
    """Build a record, and the records in it, from values by the names of fields, and check them; None leaves the default."""
    hints, options = get_type_hints(record), {option.name: option for option in options_of(record)}
    values: dict[str, Any] = {}
    for part in fields(record):  # type: ignore[arg-type]
        kind = hints[part.name]
        if is_dataclass(kind):
            values[part.name] = build(kind, given)  # type: ignore[arg-type]
        elif given.get(part.name) is not None:
            option, value = options.get(part.name), given[part.name]
            values[part.name] = value if option is None else parsed(option, value)
    made = record(**values)
    check_bounds(made)
    return made


def changed(record: Record, given: Mapping[str, Any]) -> Record:
    """`record` with these values of its fields; names that are not its fields are ignored."""
    names = {part.name for part in fields(record)}  # type: ignore[arg-type]
    own = {name: value for name, value in given.items() if name in names}
    return replace(record, **own) if own else record  # type: ignore[type-var]


def hold_parsed(record: Any) -> None:
    """Give a record's lists as tuples (from a list, one value, or text with commas), and a path where text belongs as text."""
    for option in options_of(type(record)):
        value = getattr(record, option.name, None)
        is_path_as_text = option.one is str and isinstance(value, os.PathLike)
        if value is not None and (option.is_list or is_path_as_text):
            object.__setattr__(record, option.name, parsed(option, value))


def parsed(option: Option, value: Any) -> Any:
    """The value that a record holds, from what was given for an option; text that is no such value stays, and `check`
    refuses it.
    """
    read = option.parse or _value_or_text(option.one)
    values = _several(option, value) if option.is_list else (value,)
    try:
        if read is not None:
            values = tuple(read(x) if isinstance(x, TEXT) else x for x in values)
    except ValueError as error:
        raise InputError(f"{option.label} {','.join(map(str, values))}: {error}") from error
    return values if option.is_list else values[0]


def _several(option: Option, given: Any) -> tuple[Any, ...]:
    """The values of an option that holds several."""
    if isinstance(given, TEXT):
        given = (os.fspath(given),) if option.many else words(os.fspath(given))
    elif isinstance(given, Mapping) and "=" in (option.metavar or ""):
        raise InputError(f"{option.label} wants a list, but names with values were given")
    elif not isinstance(given, Iterable):
        given = (given,)
    return tuple(x.strip() if isinstance(x, str) else x for x in given)


def words(text: str) -> tuple[str, ...]:
    """The values of a list that is written as one text with commas."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def amount(example: str, **units: float) -> Callable[[str], int]:
    """A function that reads a number followed by one of these units."""

    def read(text: str) -> int:
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([a-z]*)", text.strip().lower())
        if match is None or match[2] not in units:
            raise ValueError(f"not understood; write it like {example}")
        return int(float(match[1]) * units[match[2]])

    return read


BYTES = {f"{unit}{b}": 1000**n for n, unit in enumerate(["", *"kmgt"]) for b in ("", "b")}
number_of_bytes = amount("500MB or 20GB", **BYTES)


def _value_or_text(kind: Any) -> Callable[[Any], Any] | None:
    """Reads a number, text, a path or a word of an enumeration; text that is none stays as it is."""

    def read(text: Any) -> Any:
        try:
            return kind(text)
        except (ValueError, TypeError):
            return text

    return read if kind in (int, float, str, Path) or isinstance(kind, EnumType) else None


def check_bounds(record: Any) -> None:
    """Refuse values that are out of the bounds of their options, in a record and the records in it."""
    for part in fields(record):
        if is_dataclass(value := getattr(record, part.name)):
            check_bounds(value)
    for option in options_of(type(record)):
        if hasattr(record, option.name):  # the others are of the records in it
            check(option, getattr(record, option.name))


def check(option: Option, value: Any) -> None:
    """Refuse a value out of the bounds of an option, a word that is not one of its choices, and an empty list."""
    several = option.is_list and value is not None
    if several and not value and option.default != ():
        raise InputError(f"{option.label} is empty: it wants one value or more")
    for each in value if several else [value]:
        if each is None and type(None) in get_args(option.type):
            continue
        if option.choices is not None and not (isinstance(each, str) and each in option.choices):
            raise UnknownNameError(option.label, [each], option.choices)
        if why := out_of_bounds(option, each):
            raise InputError(f"{option.label} {why}")


WANTED: dict[Any, tuple[Any, str]] = {
    Path: (TEXT, "a path"),
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (TEXT, "text"),
}
"""By type of an option: the types that its value may have (numpy's numbers too), and what messages call them."""
IN_LISTS = {int: "whole numbers, such as 256,128", float: "numbers, such as 1,0.5"}
"""By type: what messages call the values of a list."""


def out_of_bounds(option: Option, value: Any) -> str:
    """What is wrong with a value, such as a number; empty if nothing is."""
    if option.choices is None:
        kind = get_origin(option.one) or option.one
        types, expected = WANTED.get(kind, (kind, "text"))
        expected = IN_LISTS.get(kind, expected) if option.is_list else expected
        if not isinstance(value, types) or (isinstance(value, bool) and option.one is not bool):
            return f"{as_given(value)} wants {expected}"
    if isinstance(value, bool) or not isinstance(value, Real):
        return ""
    value = value.__index__() if isinstance(value, Integral) else float(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return f"{value} wants a number below 2**63"
    above, least, below, most = option.above, option.least, option.below, option.most
    high_enough = (above is None or value > above) and (least is None or value >= least)
    low_enough = (below is None or value < below) and (most is None or value <= most)
    if math.isfinite(value) and high_enough and low_enough:
        return ""
    if least is not None and most is not None:
        return f"{value} wants a number from {least:g} to {most:g}"
    wanted = f"{least:g} or more" if above is None else f"a number above {above:g}"
    wanted += "" if below is None else f", below {below:g}"
    return f"{value} wants {wanted}" + ("" if most is None else f", up to {most:g}")
