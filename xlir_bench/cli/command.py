"""Makes a command of a function: each parameter is an option, or a record of options, and becomes flags."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, is_dataclass, replace
from functools import partial
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import click
from click.shell_completion import CompletionItem

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.escaping import redacted_command
from xlir_bench.options.stating import (
    OUTPUT,
    REST,
    Option,
    build,
    check,
    offline_option,
    option,
    option_of,
    options_of,
    parsed,
)

DEFAULT_MODEL = "builtin:multilingual"
FORMS = {"latex": "LaTeX tables (booktabs).", "markdown": "Markdown tables."}
ReportForm = Literal["latex", "markdown"]

OUTPUT_DIR = option(
    "Where results go: DIR/<encoder>/<task>.", Path("results"), group=OUTPUT, metavar="DIR"
)
FORM = option("", None, group=OUTPUT)
JSON = option("JSON on stdout, and nothing else.", False, group=OUTPUT, flag="json")
QUIET = option("No progress and no tables.", False, group=OUTPUT)
OFFLINE = offline_option()


def argument(metavar: str, default: Any = MISSING) -> Any:
    """A positional argument."""
    return option("", default, metavar=metavar, positional=True)


NAMES = click.types.StringParamType()
NAMES.name = "a,b,c"
"""Names separated by commas, as one text; `parsed` splits it."""
PATH = click.Path(path_type=Path, readable=False)


class GroupedOption(click.Option):
    """An option under a heading of ``--help``."""

    def __init__(self, stated: Option, names: Sequence[str], **attributes: Any) -> None:
        super().__init__(names, help=stated.help, **attributes)
        self.stated = stated


class GroupedCommand(click.Command):
    """A command whose ``--help`` has its options under headings; options without a heading come last."""

    allow_extra_args = True  # `parse_args` refuses them with our own message

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but a wrong command line raises our own `InputError`."""
        try:
            rest = super().parse_args(ctx, args)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise _in_our_words(error, ctx) from error
        if rest and not (isinstance(self, click.Group) or ctx.resilient_parsing):
            takes = " ".join(
                p.make_metavar(ctx) for p in self.params if isinstance(p, click.Argument)
            )
            raise InputError(
                f"{ctx.command_path} takes {takes or 'no argument without a flag'}: leave out {shlex.join(rest)}"
            )
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings; a heading comes where its first option was stated."""
        by_group: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            shown = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if shown is not None:
                group = param.stated.group if isinstance(param, GroupedOption) else REST
                by_group.setdefault(group, []).append(shown)
        rest = by_group.pop(REST, [])
        for group, records in (by_group | {REST: rest}).items():
            with formatter.section(group):
                formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)


class CommandGroup(GroupedCommand, click.Group):
    """A command with subcommands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; the error for an unknown command suggests a similar one."""
        known = self.list_commands(ctx)
        if not ctx.resilient_parsing and args[0] not in known:
            raise UnknownNameError("command", args[:1], known)
        return super().resolve_command(ctx, args)


def command(
    *,
    inside: click.Group | None = None,
    config: Callable[[Path], Path] | None = None,
    cls: type[click.Command] = GroupedCommand,
    **attributes: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a function a command: its docstring is the help, and a number that it returns is the exit code.

    A parameter has an `option` as its default, or its type is a record of options. All options of the record become
    flags, or only some: ``Annotated[RunOptions, ("langs", "limit")]``. With `config`, options may also come from the
    TOML file of ``--config``; `config` turns the path that was typed into the path of the file.
    """

    def as_command(function: Callable[..., Any]) -> click.Command:
        records: dict[str, type[Any]] = {}
        own: dict[str, Option] = {}
        flags: dict[str, Option] = {}
        hints = get_type_hints(function, include_extras=True)
        for name, parameter in signature(function).parameters.items():
            hint = hints[name]
            kind, *only = get_args(hint) if get_origin(hint) is Annotated else [hint]
            if is_dataclass(kind):
                records[name] = kind  # type: ignore[assignment]
                stated = [o for o in options_of(kind) if not only or o.name in only[0]]
            else:
                own[name] = option_of(parameter.default, name, kind)
                stated = [own[name]]
            for each in stated:
                flags.setdefault(each.flag, each)

        def call(**arguments: Any) -> Any:
            values: dict[str, Any] = {}
            for name, each in own.items():
                is_given = arguments[name] is not None
                values[name] = parsed(each, arguments[name]) if is_given else each.default
                check(each, values[name])
            # An option of the function may share its name with a field of a record that is not taken.
            fields = {name: value for name, value in arguments.items() if name not in own}
            for name, record in records.items():
                values[name] = build(record, fields)
            return function(**values)

        params = [param for each in flags.values() for param in _params(each)]
        params += [_config_option(config)] if config is not None else []
        verbose = Option("Show where an error came from.", type=bool)
        params.append(GroupedOption(verbose, ["-v", "--verbose"], is_flag=True, expose_value=False))
        name = function.__name__.replace("_", "-")
        made_command = cls(name, callback=call, params=params, help=function.__doc__, **attributes)
        if inside is not None:
            inside.add_command(made_command)
        return made_command

    return as_command


def _params(option: Option) -> list[click.Parameter]:
    """The click parameters of an option."""
    if option.base == ReportForm:  # --latex and --markdown are flags of their own
        return [
            GroupedOption(
                replace(option, help=text, type=bool, flag=word),
                [f"--{word}", option.name],
                flag_value=word,
            )
            for word, text in FORMS.items()
        ]
    required = option.default is MISSING
    taken: dict[str, Any] = {"type": _type(option), "metavar": option.metavar, "required": required}
    taken |= _completion(option)
    if option.positional:
        return [click.Argument([option.name], nargs=-1 if option.is_list else 1, **taken)]
    flag, default = f"--{option.flag}", option.said or option.default
    if option.base is bool:
        flag += f"/--no-{option.flag}" if default else ""
        taken = {"is_flag": True, "default": default, "show_default": default}
    elif option.many:
        taken["multiple"] = True
    elif not required and default not in (None, "", ()):
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        taken |= {"default": shown if option.choices is None else str(shown), "show_default": True}
    return [GroupedOption(option, [flag, option.name], **taken)]


def _completion(option: Option) -> dict[str, Any]:
    """Shell completion of an option; click itself completes paths and choices."""
    word = option.label.removeprefix("--")
    is_offered = word in OFFERED and not option.choices
    return {"shell_complete": partial(complete, word)} if is_offered else {}


def _type(option: Option) -> Any:
    """The click type, for help and completion: numbers and choices stay text, which `parsed` reads and `check` refuses."""
    if option.is_list and not (option.many or option.positional):
        return NAMES
    if option.choices is not None:
        return _unread(click.Choice([str(word) for word in option.choices]))
    if option.one is Path or get_origin(option.one) is Mapping:  # a table is read from a file
        return PATH
    numbers = {int: click.types.IntParamType, float: click.types.FloatParamType}
    return _unread(numbers[option.one]()) if option.one in numbers and not option.parse else str


def _unread(kind: Any) -> Any:
    kind.convert = lambda value, *_: value
    return kind


def _in_our_words(error: click.UsageError, ctx: click.Context) -> InputError:
    """Click's error about a command line as our own error."""
    params = {flag: p for p in ctx.command.get_params(ctx) for flag in (*p.opts, *p.secondary_opts)}
    if isinstance(error, click.NoSuchOption):
        flags = [flag for flag in params if flag.startswith("-")]
        return UnknownNameError("option", [error.option_name], flags, _help_hint(ctx))
    if isinstance(error, click.BadOptionUsage):
        param = params[error.option_name]
        takes_none = isinstance(param, click.Option) and param.is_flag
        wanted = "takes no value" if takes_none else f"wants a value: {param.make_metavar(ctx)}"
        return InputError(f"{error.option_name} {wanted}")
    missing = error.param if isinstance(error, click.MissingParameter) else None
    if missing is None:
        return InputError(error.format_message())
    flag = missing.opts[0] if isinstance(missing, click.Option) else ""
    choices = getattr(missing.type, "choices", ())
    known = f" (there are: {', '.join(choices)})" if choices else ""
    return InputError(
        f"{ctx.command_path} wants {flag} {missing.make_metavar(ctx)}".replace("  ", " ") + known
    )


def _help_hint(ctx: click.Context) -> str:
    return f"{ctx.command_path} --help lists them"


def canonical_command() -> str:
    """The command as it was typed, beginning with `xlir-bench`, without secrets and the user's folders."""
    typed = click.get_current_context().find_root().obj
    return shlex.join(["xlir-bench", *redacted_command(typed)])


def _config_option(find: Callable[[Path], Path]) -> click.Option:
    """``--config``: entries of a TOML file become the defaults of the command; the command line wins over them."""

    def read(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.default_map = {**(ctx.default_map or {}), **_defaults_in(find(value), ctx)}

    stated = Option("A TOML file with any of these options (langs = [...]); the command line wins.")
    return GroupedOption(
        stated, ["--config"], type=PATH, is_eager=True, expose_value=False, callback=read,
        metavar="FILE",
    )  # fmt: skip


def _defaults_in(file: Path, ctx: click.Context) -> dict[str, Any]:
    """The entries of a TOML file, by the names of click's parameters."""
    from xlir_bench.untrusted import read_toml

    options = {
        flag.removeprefix("--"): param
        for param in ctx.command.params
        for flag in param.opts
        if flag.startswith("--") and isinstance(param, GroupedOption) and param.name != "config"
    }
    entries = {key.replace("_", "-"): value for key, value in read_toml(file).items()}
    if unknown := [key for key in entries if key not in options]:
        raise UnknownNameError(f"option in {file}:", unknown, options, _help_hint(ctx))
    defaults = {}
    for key, value in entries.items():
        option = options[key]
        if isinstance(value, dict):
            raise InputError(f"{file}: --{key} wants a value, not a table")
        # A whole number is the word that it is on the command line: of a text or of a decimal number, too.
        values = [
            str(x) if type(x) is int else x for x in (value if isinstance(value, list) else [value])
        ]
        value = values if isinstance(value, list) else values[0]
        stated = option.stated
        if option.type is PATH and not option.multiple:
            # What it names is looked for when it is used: the command line may name another.
            stated = replace(stated, type=Path, parse=None)
        try:
            check(stated, parsed(stated, value))
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        if option.type is NAMES:
            value = ",".join(map(str, values))
        elif isinstance(option.flag_value, str):
            value = option.flag_value if value else None
        defaults[str(option.name)] = values if option.multiple else value
    return defaults


def complete(
    word: str, ctx: click.Context, param: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Completions of an argument that was begun; in a list of names, completions of its last name."""
    offer = OFFERED[word]
    before, comma, last = begun.rpartition(",") if param.type is NAMES else ("", "", begun)
    names = sorted({name for name in offer(ctx) if name.startswith(last)})
    if names:
        return [CompletionItem(before + comma + name) for name in names]
    return [CompletionItem(begun, type="file")] if offer in (_models, _recipes) else []


def _tasks(ctx: click.Context) -> Iterator[str]:
    from xlir_bench.tasks import tasks_folder

    for folder in (tasks_folder(), *map(Path, ctx.params.get("tasks_dirs") or ())):
        yield from (path.stem for path in folder.glob("*.toml"))


def _languages(ctx: click.Context) -> Iterator[str]:
    """The languages of the tasks that were named, or of all tasks."""
    from xlir_bench.tasks import catalogue

    known = catalogue(*map(Path, ctx.params.get("tasks_dirs") or ())).tasks
    named = [known[name] for name in ctx.params.get("tasks") or () if name in known]
    for task in named or known.values():
        yield from (*task.languages, *(task.passage_languages or ()))


def _kinds(_ctx: click.Context) -> Iterable[str]:
    from xlir_bench.records import Kind

    return [kind.value for kind in Kind]


def _recipes(_ctx: click.Context) -> Iterable[str]:
    recipes = Path(str(files("xlir_bench") / "experiment" / "recipes"))
    return [path.stem for path in recipes.glob("*.toml")]


def _measures(_ctx: click.Context) -> Iterable[str]:
    recall = [f"recall@{k}" for k in (1, 10, 100)]
    return ["map", "mrr", "ndcg@10", "ndcg@20", *recall, "precision@1"]


def _models(_ctx: click.Context) -> Iterable[str]:
    names = ["multilingual", "bm25", "ngram", "random"]
    return [*(f"builtin:{name}" for name in names), "colbert:", "sparse:", "npy:", "py:", "http:"]


OFFERED: dict[str, Callable[[click.Context], Iterable[str]]] = {
    **dict.fromkeys(("task", "eval-task", "skip-tasks", "TASK"), _tasks),
    **dict.fromkeys(("langs", "eval-langs"), _languages),
    **dict.fromkeys(("model", "candidate", "fuse", "MODEL"), _models),
    **dict.fromkeys(("measures", "measure"), _measures),
    "kinds": _kinds,
    "RECIPE": _recipes,
}
"""What a shell offers, by flag, or by the word that ``--help`` prints for a positional argument."""
