"""Scripts rely on every flag: its name, what it takes, and what it is if it is not said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from xlir_bench.cli import COMMANDS, group

PINNED = Path(__file__).with_name("flags.txt")
REGENERATE = "if this is meant: cd tests && python -m cli.test_flags"


def flags(command: click.Command, name: str, ctx: click.Context) -> Iterator[str]:
    """A line an option or argument of a command and of the commands in it."""
    if isinstance(command, click.Group):
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            assert found is not None
            yield from flags(found, f"{name} {inner}".strip(), ctx)
    for option in command.params:
        kind = f"{option.type.name}{getattr(option.type, 'choices', '')}"
        more = " many" if option.multiple or option.nargs == -1 else ""
        more += " required" if option.required else ""
        default = "" if option.multiple or option.nargs == -1 else f" = {default_of(option)}"
        yield f"{name} {' '.join(option.opts)} [{kind}]{more}{default}"


def default_of(option: click.Parameter) -> str:
    default = option.default
    stated = "None" if default is None or "UNSET" in repr(default).upper() else str(default)
    return "False" if getattr(option, "is_flag", False) and stated == "None" else stated


def current() -> str:
    ctx = click.Context(group)
    lines = [line for c in COMMANDS for line in flags(group.get_command(ctx, c), c, ctx)]
    return "\n".join(sorted(lines)) + "\n"


def test_every_flag_is_the_one_that_scripts_know() -> None:
    assert current() == PINNED.read_text("utf-8"), REGENERATE


if __name__ == "__main__":
    PINNED.write_text(current(), "utf-8")
