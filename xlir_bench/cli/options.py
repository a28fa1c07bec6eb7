"""Option types and options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

FOLDER = click.Path(path_type=Path)


if TYPE_CHECKING:
    NamesType = click.ParamType[tuple[str, ...]]
else:
    # Older releases of click know no parameter of it.
    NamesType = click.ParamType


class Names(NamesType):
    """Comma-separated names; a TOML file may give a list."""

    name = "a,b,c"

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, in order, without blanks."""
        if isinstance(value, str):
            value = value.split(",")
        return tuple(name.strip() for name in value if name.strip())


def canonical_command() -> str:
    """The command as it was typed, by the program's name."""
    return shlex.join(["xlir-bench", *click.get_current_context().find_root().obj])


def read_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Make a TOML file's entries the defaults of the command: the command line wins over them."""
    if value is None:
        return
    import tomllib

    from xlir_bench.errors import InputError, UnknownNameError

    try:
        stated = tomllib.loads(value.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--config {value} cannot be read as TOML: {error}") from error
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
        defaults[str(option.name)] = [its] if option.multiple and isinstance(its, str) else its
    ctx.default_map = defaults


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
verbose_option = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, help="Show where an error came from."
)
