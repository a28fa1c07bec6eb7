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
    from collections.abc import Callable

    NamesType = click.ParamType[tuple[str, ...]]
    SizeType = click.ParamType[int]
else:
    # Older releases of click know no parameter of it.
    NamesType = SizeType = click.ParamType


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


class GroupedOption(click.Option):
    """An option under a heading of ``--help``."""

    def __init__(self, *names: Any, group: str, **stated: Any) -> None:
        super().__init__(*names, **stated)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose ``--help`` has its options under headings; those of none come last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, heading by heading, in the order in which the first of each was stated."""
        by_group: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (shown := param.get_help_record(ctx)) is not None:
                by_group.setdefault(getattr(param, "group", "Rest"), []).append(shown)
        rest = by_group.pop("Rest", [])
        for group, records in (by_group | {"Rest": rest}).items():
            with formatter.section(group):
                formatter.write_dl(records)


def flags_of(record: type[Any]) -> Callable[[Command], Command]:
    """The flags of a record's options, in their order."""

    def add(command: Command) -> Command:
        for option in reversed(list(options_of(record))):
            command = click.option(*_names(option), cls=GroupedOption, **_flag(option))(command)
        return command

    return add


def _names(option: Option) -> tuple[str, str]:
    return f"--{option.flag}", option.name


def _flag(option: Option) -> dict[str, Any]:
    """What click is told of an option."""
    about, many = option.about, option.about.parse is not None
    stated: dict[str, Any] = {"group": about.group, "help": about.help, "metavar": about.metavar}
    if option.base is bool:
        return {"group": about.group, "help": about.help, "is_flag": True}
    if option.choices is not None:
        stated["type"] = click.Choice([str(word) for word in option.choices])
    elif many:
        stated["multiple"] = True
    elif option.base is Path:
        stated["type"] = FOLDER
    elif option.base in (int, float, str):
        stated["type"] = option.base
    else:
        stated["type"] = Names()
    if option.default is MISSING:
        return stated | {"required": True}
    if option.default is None or many:
        return stated
    default = option.default if option.choices is None else str(option.default)
    return stated | {"default": default, "show_default": True}


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
    from xlir_bench.reading import read_toml

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
tasks_dir_option = click.option(
    "--tasks-dir", "tasks_dirs", type=FOLDER, multiple=True, metavar="DIR",
    help="A folder of your own task files (TOML); may be given again.",
)  # fmt: skip
data_option = click.option(
    "--data", type=FOLDER, metavar="ROOT",
    help="A local data root instead of downloads (also: XLIR_DATA).",
)  # fmt: skip
max_download_option = click.option(
    "--max-download", type=Size(), default="20GB", show_default=True, metavar="SIZE",
    help="Refuse to download a larger file, where the task does not state its size.",
)  # fmt: skip
verbose_option = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, help="Show where an error came from."
)
http_body_option = click.option(
    "--http-body", multiple=True, metavar="query=JSON|passage=JSON",
    help="More fields for the requests of an http: model, by role; may be given again.",
)  # fmt: skip
_MODEL_OPTIONS = (
    click.option(
        "--query-prompt", help="Put before every query; '' for none.  [default: the model's own]"
    ),
    click.option(
        "--passage-prompt",
        help="Put before every passage; '' for none.  [default: the model's own]",
    ),
    click.option("--revision", help="Of a hub model: branch, tag or commit."),
    click.option(
        "--device",
        metavar="cpu|cuda|mps",
        help="Where the model runs.  [default: the best there is]",
    ),
    click.option(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="Cut texts here.  [default: the model's own]",
    ),
    click.option(
        "--trust-remote-code", is_flag=True, help="Let a model run code from its own repository."
    ),
    click.option(
        "--api-key-env",
        default="OPENAI_API_KEY",
        show_default=True,
        metavar="NAME",
        help="The environment variable with the key of an http: model.",
    ),
    http_body_option,
    click.option(
        "--batch-tokens",
        default="auto",
        show_default=True,
        metavar="N",
        help="Padded tokens in a batch.",
    ),
)


def model_options(command: Command) -> Command:
    """How a model is loaded, but for what commands differ in: the dtype and the cut of its vectors."""
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


def batch_tokens(stated: str | int) -> int | None:
    """The budget of a batch; None for the device's own."""
    from xlir_bench.errors import InputError

    budget = str(stated)
    if budget == "auto":
        return None
    if not (budget.isdecimal() and int(budget) > 0):
        raise InputError(f"--batch-tokens {budget!r} wants a number above 0, or auto")
    return int(budget)
