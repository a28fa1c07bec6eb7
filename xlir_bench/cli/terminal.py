"""The one way to a terminal: whatever is printed passes here, and does nothing there but be seen.

Lines of ours may hold text of a model folder, a server, a data file or a stored result. Values are put into
them by `escaping.visible`; what slips through can still move no cursor, and give no build server an order.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.escaping import json_safe, printable

if TYPE_CHECKING:
    from xlir_bench.reports.document import Block, Form


def say(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Print lines of ours."""
    # GitHub Actions takes a line that begins with `::` or `##[` for an order to itself.
    click.echo(re.sub(r"(?m)^(\s*)(::|##\[)", r"\1 \\\2", printable(text)), err=err, nl=nl)


def say_blocks(blocks: Iterable[Block], form: Form | None = None) -> None:
    """Print a report."""
    say(as_text(*blocks, form=form))


def as_text(*blocks: Block, form: Form | None = None) -> str:
    """A report as it is printed; its tables are no wider than the terminal, where there is one."""
    from xlir_bench.reports.document import render

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return render(blocks, form or "terminal", width)


def say_json(value: Any, indent: int | None = None) -> None:
    """Print JSON, a value or its text: what does something on a terminal is escaped as JSON has it."""
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(json_safe(text))


def say_error(message: str) -> None:
    """Print a message of ours to stderr; only lines that we indent ourselves are lines of their own."""
    say(re.sub(r"\r?\n(?!  )", r"\\u000a", message.strip("\n")), err=True)
