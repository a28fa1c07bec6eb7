"""All printing goes through this module: text from outside is shown, and does nothing else to a terminal.

Lines may hold text from a model folder, a server, a data file or a stored result. Callers escape such text with
`escaping.visible`; if one forgets, the text still cannot move the cursor or give a build server a command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.errors import WARNING
from xlir_bench.escaping import json_safe, printable, visible
from xlir_bench.rendering.document import PLAIN, RED, YELLOW, Block, Form, render

if TYPE_CHECKING:
    from xlir_bench.reports.generated import Differences
    from xlir_bench.results import Result
    from xlir_bench.tasks import TaskCatalogue


def say(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Print lines. All control sequences are escaped, except colours on a terminal that shows colours."""
    parts = re.split(r"(\x1b\[(?:[01]|3[13])m)", text)  # every second part is a colour
    parts[::2] = map(printable, parts[::2])
    if not _has_colours(err):
        del parts[1::2]
    # GitHub Actions takes a line that begins with `::` or `##[` for a command.
    lines = re.sub(r"(?m)^(\s*)(::|##\[)", r"\1 \\\2", "".join(parts))
    with _beside_bars():
        click.echo(lines, err=err, nl=nl, color=True)


def _beside_bars() -> AbstractContextManager[object]:
    """Keeps printed lines apart from an open progress bar."""
    shown = "tqdm" in sys.modules and sys.stderr.isatty()
    return sys.modules["tqdm"].tqdm.external_write_mode() if shown else nullcontext()


def _has_colours(err: bool) -> bool:
    allowed = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return allowed and (sys.stderr if err else sys.stdout).isatty()


def teller(quiet: bool = False) -> Callable[[str], None]:
    """A function that prints progress lines to stderr, or nothing if `quiet`."""
    return (lambda _line: None) if quiet else (lambda line: say(line, err=True))


def say_blocks(blocks: Iterable[Block], form: Form | None = None, err: bool = False) -> None:
    """Print a report; its tables are no wider than the terminal, where there is one."""
    stream = sys.stderr if err else sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else None
    say(render(blocks, form or "terminal", width, _has_colours(err)), err=err)


def say_json(value: Any, indent: int | None = None) -> None:
    """Print a value, or a text that is JSON already, as JSON; control characters are escaped."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(json_safe(text))


def say_report(
    as_json: bool, record: Any, blocks: Iterable[Block], form: Form | None = None
) -> None:
    """Print a report: its record as JSON, or its blocks."""
    if as_json:
        say_json(record, indent=1)
    else:
        say_blocks(blocks, form)


def say_results(results: Sequence[Result], alone: bool) -> None:
    """Print results as JSON: one, or a list."""
    texts = [result.to_json() for result in results]
    say_json(texts[0] if alone else "[" + ",".join(texts) + "]")


def say_error(message: str) -> None:
    """Print a message to stderr. A line break stays only before two spaces, as in our own messages; others are escaped."""
    line = re.sub(r"\r?\n(?!  )", r"\\u000a", message.strip("\n").replace("\x1b", r"\u001b"))
    say(re.sub("^(error:)", rf"{RED}\1{PLAIN}", line), err=True)


def warn(message: str) -> None:
    """Print a warning to stderr, on one line."""
    say(f"{YELLOW}{WARNING}{PLAIN}{visible(message)}", err=True)


def warn_of_faults(known: TaskCatalogue) -> None:
    """Print a warning for each task file that could not be read."""
    for error in known.faults.values():
        warn(str(error))


def say_differences(differences: Differences, folder: Path) -> int:
    """Print what ``--check`` found, if anything; the exit code."""
    names = {
        "differs": differences.changed,
        "missing": differences.missing,
        "extra": differences.extra,
    }
    for what in names:
        for name in names[what]:
            say(f"{what}: {folder / name}")
    if not differences:
        return 0
    say("run the same command without --check to update them", err=True)
    return 1


SLOW = 2.0
"""Seconds before a progress bar is shown, in commands that mostly take less."""


@dataclass(slots=True)
class Bars:
    """A `Progress` of tqdm bars; without a terminal, a stage prints a line when it begins and every half minute."""

    quiet: bool = False
    delay: float = 0.0
    """Seconds after which a stage is shown."""
    _bar: Any = field(default=None, init=False)

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        # A bar that is still open when something fails would be drawn over the message.
        self.finish()

    def start(self, stage: str, total: int, unit: str) -> None:
        """Open a bar."""
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        in_bytes = unit == "B"
        self._bar = tqdm(
            total=total,
            desc=visible(stage),
            unit=unit if in_bytes else f" {unit}",
            unit_scale=in_bytes,
            disable=self.quiet,
            delay=self.delay,
            leave=not terminal,
            file=sys.stderr,
            mininterval=0.2 if terminal else 30.0,
            dynamic_ncols=True,
        )

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text: str) -> None:
        """Show this behind the bar, such as the loss."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def finish(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
