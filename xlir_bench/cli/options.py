"""Option types and options that several commands share."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xlir_bench.options.stating import Option, options_of

DEFAULT_MODEL = "builtin:multilingual"
FOLDER = click.Path(path_type=Path)
Command = TypeVar("Command", bound="Callable[..., Any]")

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    NamesType = click.ParamType[tuple[str, ...]]
    SizeType = click.ParamType[int]
    BudgetType = click.ParamType[int | None]
else:
    # Older releases of click know no parameter of it.
    NamesType = SizeType = BudgetType = click.ParamType


class Names(NamesType):
    """Comma-separated names; a TOML file may give a list."""

    name = "a,b,c"

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, in order, without blanks."""
        if isinstance(value, str):
            value = value.split(",")
        return tuple(name for item in value if (name := str(item).strip()))


class Size(SizeType):
    """Bytes, as in 500MB or 20GB; a number alone is bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """How many bytes."""
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([KMGT]?)B?", str(value).strip(), re.I)
        if found is None:
            raise click.BadParameter(f"{value!r} is no size like 500MB or 20GB", ctx, param)
        return int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))


class NumberOrAuto(BudgetType):
    """A number above 0, or auto for what the device is good for."""

    name = "text"

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> int | None:
        """The number; None for auto."""
        from xlir_bench.errors import InputError

        if str(value) == "auto":
            return None
        if not (str(value).isdecimal() and int(value) > 0):
            raise InputError(f"--batch-tokens {str(value)!r} wants a number above 0, or auto")
        return int(value)


class GroupedOption(click.Option):
    """An option under a heading of ``--help``."""

    def __init__(self, *names: Any, group: str, **stated: Any) -> None:
        super().__init__(*names, **stated)
        self.group = group


def grouped(group: str, *names: str, **stated: Any) -> Callable[[Command], Command]:
    """An option that no record has, under a heading."""
    return click.option(*names, cls=GroupedOption, group=group, **stated)


class GroupedCommand(click.Command):
    """A command whose ``--help`` has its options under headings; those of none come last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, heading by heading, in the order in which the first of each was stated."""
        by_group: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            shown = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if shown is not None:
                by_group.setdefault(getattr(param, "group", "Rest"), []).append(shown)
        rest = by_group.pop("Rest", [])
        for group, records in (by_group | {"Rest": rest}).items():
            with formatter.section(group):
                formatter.write_dl(records)


def flags_of(
    record: type[Any], only: Container[str] | None = None, without: Container[str] = ()
) -> Callable[[Command], Command]:
    """The flags of a record's options, in their order; of those named alone, or of all but some."""

    def add(command: Command) -> Command:
        for option in reversed(list(options_of(record))):
            if option.name not in without and (only is None or option.name in only):
                names = f"--{option.flag}", option.name
                command = click.option(*names, cls=GroupedOption, **_flag(option))(command)
        return command

    return add


def _flag(option: Option) -> dict[str, Any]:
    """What click is told of an option."""
    about = option.about
    if option.base is bool:
        return {"group": about.group, "help": about.help, "is_flag": True}
    stated: dict[str, Any] = {"group": about.group, "help": about.help, "metavar": about.metavar}
    stated |= {"type": _type(option), "multiple": about.many}
    default = about.said or option.default
    if default is MISSING:
        return stated | {"required": True}
    if default is None or about.many:
        return stated
    shown = str(default) if option.choices is not None else default
    return stated | {"default": shown, "show_default": True}


def _type(option: Option) -> Any:
    if option.choices is not None:
        return click.Choice([str(word) for word in option.choices])
    if option.about.form:
        return Size() if option.about.form == "size" else NumberOrAuto()
    if option.about.many:
        return str
    plain = {Path: FOLDER, int: int, float: float, str: str}
    return plain.get(option.base, Names())


def canonical_command() -> str:
    """The command as it was typed, by the program's name, without secrets and the user's folders."""
    from xlir_bench.escaping import redacted_command

    typed = click.get_current_context().find_root().obj
    return shlex.join(["xlir-bench", *redacted_command(typed)])


def read_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Make a TOML file's entries the defaults of the command: the command line wins over them."""
    if value is None:
        return
    from xlir_bench.errors import InputError, UnknownNameError
    from xlir_bench.untrusted import read_toml

    stated = read_toml(value)
    options = {
        flag.removeprefix("--"): option
        for option in ctx.command.params
        for flag in option.opts
        if flag.startswith("--") and isinstance(option, click.Option) and option.name != "config"
    }
    keys = {key: key.replace("_", "-") for key in stated}
    unknown = [key for key, flag in keys.items() if flag not in options]
    if unknown:
        raise UnknownNameError(f"option in {value}", unknown, options)
    defaults = dict(ctx.default_map or {})
    for key, its in stated.items():
        option = options[keys[key]]
        if wanted := _unfit(option, its):
            raise InputError(f"--config {value}: {keys[key]} wants {wanted}")
        if not isinstance(its, list):
            its = [its] if option.multiple else str(its) if isinstance(option.type, Names) else its
        defaults[str(option.name)] = its
    ctx.default_map = defaults


def _unfit(option: click.Option, stated: Any) -> str:
    """What an option wants where a value of TOML is not it: click would take some of them for others."""
    several = option.multiple or isinstance(option.type, Names)
    if isinstance(stated, list) and not several:
        return "one value, not a list"
    for value in stated if isinstance(stated, list) else [stated]:
        if option.is_flag or isinstance(value, bool):
            if not (option.is_flag and isinstance(value, bool)):
                return "true or false" if option.is_flag else "a value, not true or false"
        elif isinstance(value, float):
            if not isinstance(option.type, click.types.FloatParamType) or not math.isfinite(value):
                return "another number"
        elif not isinstance(value, str) and not (isinstance(value, int) and abs(value) < 2**63):
            return "text or a number"
    return ""


config_option = click.option(
    "--config", type=FOLDER, is_eager=True, expose_value=False, callback=read_config, metavar="FILE",
    help="A TOML file with any of these options (model = [...], langs = [...]); the command line wins.",
)  # fmt: skip
tasks_dir_option = grouped(
    "Data", "--tasks-dir", "tasks_dirs", type=FOLDER, multiple=True, metavar="DIR",
    help="A folder of your own task files (TOML); may be given again.",
)  # fmt: skip
data_option = grouped(
    "Data", "--data", type=FOLDER, metavar="ROOT",
    help="A local data root instead of downloads (also: XLIR_DATA).",
)  # fmt: skip


def form_options(command: Command) -> Command:
    """How a report is printed: `form` is None for a terminal."""
    for flag, told in (("latex", "LaTeX tables (booktabs)."), ("markdown", "Markdown tables.")):
        command = click.option(f"--{flag}", "form", flag_value=flag, help=told)(command)
    return command


verbose_option = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, help="Show where an error came from."
)
