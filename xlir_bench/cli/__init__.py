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
    "show": "Print the tables of a stored result again, or the ranks of one question's answers.",
    "diagnose": "Say why answers were missed: ranking across languages, matching, or labels in doubt.",
    "leaderboard": "Write leaderboards from stored results, as Markdown and as one HTML page.",
    "plot": "Draw stored results: matrix, languages, bias, trade-off, checkpoints, alignment.",
    "compare": "Compare stored results: differences, intervals, tests.",
    "robustness": "Say whether a score or a gain on one task holds on others.",
    "gate": "Pass or fail a candidate against a baseline, by a policy.",
    "export": "Write stored results for other tools (latex, trec, mteb, hf, csv …) or for Git.",
    "train-hybrid": "Train an encoder on parallel rows, in batches of one language and across languages.",
    "experiment": "Train and evaluate the grid of a recipe over seeds, and say which claims hold.",
    "augment": "Make training rows: from parallel text, by code-switching, or by a translation model.",
    "tasks": "List the tasks, or every setting of one.",
    "data": "Download the data of tasks; check training rows for faults and for evaluation texts.",
    "cache": "Show and prune the cache of vectors.",
}
"""What `xlir-bench --help` says of each command; kept here, so that it imports none of them."""
MODULES = {
    **dict.fromkeys(("show", "diagnose", "compare", "robustness"), "results"),
    **dict.fromkeys(("leaderboard", "plot", "export"), "publishing"),
}
"""Modules that define several commands; every other command has a module of its own name."""


class LazyGroup(CommandGroup):
    """A group that imports a command only when it is called, not to list it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; keeps the arguments as they were typed, for `canonical_command`."""
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
    """Measure how well an encoder retrieves within a language, across languages, and in a pool of all.

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
    """Run the command line; a failure prints a line or two and sets the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    # A pipe on Windows has a national encoding, which cannot hold every language.
    if os.name == "nt":
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        words = as_globbed(words)
    sys.exit(exit_code(words))


def as_globbed(words: Sequence[str]) -> list[str]:
    """The arguments, each pattern replaced by the paths that match it: Windows shells leave this to programs."""
    return [path for word in words for path in sorted(glob(word)) or [word]]  # noqa: PTH207 (of any path)


def exit_code(args: list[str]) -> int:
    """Run the command line with these arguments and return the exit code."""
    try:
        result: Any = group.main(args, prog_name="xlir-bench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message(), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("\ninterrupted: what was encoded is kept; run the same command to continue", err=True)
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
    from xlir_bench.encoders.python import line_of

    reason = next(iter(str(error).strip().splitlines()), "no reason given")
    where = f"{line_of(error)}: a fault of the program or of a library; -v shows how it came there"
    return f"{type(error).__name__}: {reason} ({where})"
