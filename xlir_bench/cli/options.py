"""Option types and options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

DEFAULT_MODEL = "builtin:multilingual"
FOLDER = click.Path(path_type=Path)
Command = TypeVar("Command", bound="Callable[..., Any]")

if TYPE_CHECKING:
    from collections.abc import Callable

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
        return tuple(name for item in value if (name := str(item).strip()))


def canonical_command() -> str:
    """The command as it was typed, by the program's name, without secrets and the user's folders."""
    from xlir_bench.escaping import redacted_command

    typed = click.get_current_context().find_root().obj
    return shlex.join(["xlir-bench", *redacted_command(typed)])


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
