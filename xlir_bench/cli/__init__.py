"""The command line: parses, calls, prints. Nothing else prints."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from glob import glob
from importlib import import_module
from typing import Any

import click

from xlir_bench.cli.command import CommandGroup
from xlir_bench.cli.terminal import say, say_error
from xlir_bench.errors import XlirError
from xlir_bench.escaping import redacted
from xlir_bench.version import __version__

COMMANDS = {
    "run": "Evaluate encoders on tasks: every setting, language bias, intervals.",
    "profile": "Say what an encoder costs in use, and which variant of it to ship.",
    "show": "Print the tables of a stored result again, or what became of one question.",
    "diagnose": "Say why answers were missed: ranking across languages, matching, or labels in doubt.",
    "leaderboard": "Write leaderboards from stored results, as Markdown and as one HTML page.",
    "plot": "Draw stored results: matrix, languages, bias, trade-off, checkpoints, alignment.",
    "compare": "Set stored results against each other: differences, intervals, tests.",
    "robustness": "Say whether what holds on one task holds on others.",
    "gate": "Pass or fail a candidate against a baseline, by a policy.",
    "export": "Write stored results for other tools (latex, trec, mteb, hf, csv …) or for Git.",
    "train-hybrid": "Train an encoder on parallel rows, in batches of one language and across languages.",
    "experiment": "Train and evaluate the grid of a recipe over seeds, and say which claims hold.",
    "augment": "Make training rows: of parallel text, code-switched by a lexicon, translated by a model.",
    "tasks": "List the tasks, or every setting of one.",
    "data": "Download and check data; look training rows through.",
    "cache": "Show and prune the cache of vectors.",
}
"""The line of each is its help, so that none has to be imported."""
MODULES = {
    **dict.fromkeys(("show", "diagnose", "compare", "robustness"), "results"),
    **dict.fromkeys(("leaderboard", "plot", "export"), "publishing"),
}
"""Where commands stand that share a module; every other one stands in that of its name."""


class LazyGroup(CommandGroup):
    """A group that imports a command when it is called for, not to list it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; the words as they were typed stay with the context, for the record."""
        ctx.obj = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"{__name__}.{MODULES.get(cmd_name, name)}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the lines above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="xlir-bench %(version)s", help="Print the version.")
def group() -> None:
    """Measure how well an encoder retrieves within a language, across languages, and from all at once.

    \b
    xlir-bench run                            built-in encoder, bundled task
    xlir-bench run --model intfloat/multilingual-e5-small --task xquad-r
    xlir-bench run --model out/checkpoints/* --task xquad-r --task mlqa-r
    xlir-bench show results/<encoder>/<task>

    \b
    Completion, in ~/.bashrc (or zsh_source in ~/.zshrc, fish_source):
    eval "$(_XLIR_BENCH_COMPLETE=bash_source xlir-bench)"
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; every failure is a line or two and an exit code."""
    words = list(sys.argv[1:] if args is None else args)
    if os.name == "nt":  # a pipe there has a national encoding, which cannot hold every language
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        words = as_globbed(words)
    sys.exit(exit_code(words))


def as_globbed(words: Sequence[str]) -> list[str]:
    """The words, with the paths in place of the patterns that name some: shells of Windows leave that to programs."""
    return [path for word in words for path in sorted(glob(word)) or [word]]  # noqa: PTH207 (of any path)


def exit_code(args: list[str]) -> int:
    """What the command line says of these arguments, as an exit code."""
    try:
        result: Any = group.main(args, prog_name="xlir-bench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message(), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("\ninterrupted: what was encoded is kept; the same command goes on", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no more output, no traceback at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if "-v" in args or "--verbose" in args:
            say(redacted(traceback.format_exc()), err=True)
        say_error(redacted(f"error: {_message(error)}"))
        return error.exit_code if isinstance(error, XlirError) else 4


def _message(error: Exception) -> str:
    if isinstance(error, XlirError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; try a smaller --batch-tokens or --limit"
    reason = next(iter(str(error).strip().splitlines()), "no reason given")
    where = "a fault of the program or of a library; -v shows where"
    return f"{type(error).__name__}: {reason} ({where})"
