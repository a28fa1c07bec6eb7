"""Lay out the sources of the site in build/: the pages, the files they link to, the references made from the code.

A link from docs/ to another file of the repository works on the site too: that file comes along, and so do those that it
links to. `make docs` runs this, and then zensical.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import click

import xlir_bench
from xlir_bench.cli import COMMANDS, group
from xlir_bench.options.stating import options_of

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"^(```+).*?^\1$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]*)(#[^)\s]*)?(?=\))")


def links(text: str) -> Iterator[re.Match[str]]:
    """The links of a page to files of the repository and to headings: path and anchor; none of what is code."""
    return LINK.finditer(CODE.sub(lambda code: " " * len(code[0]), text))


def place(path: Path) -> Path:
    """Where a file of the repository lies on the site: the pages of docs/ come first."""
    path = path.relative_to(ROOT)
    return path.relative_to("docs") if path.parts[0] == "docs" else path


def moved(page: Path, text: str) -> str:
    """The text of a page with its links as they are on the site."""
    for link in reversed(list(links(text))):
        if link[1]:
            target = os.path.relpath(place((page.parent / link[1]).resolve()), place(page).parent)
            text = text[: link.start(1)] + Path(target).as_posix() + text[link.end(1) :]
    return text


def lay_out(folder: Path) -> None:
    """Write all that the site is made of."""
    shutil.rmtree(folder, ignore_errors=True)
    waiting = [
        path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".md", ".svg")
    ]
    seen = {*waiting}
    while waiting:
        path = waiting.pop()
        target = folder / place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        text = path.read_text(encoding="utf-8")
        more = {(path.parent / link[1]).resolve() for link in links(text) if link[1]} - seen
        waiting += sorted(more)
        seen |= more
        text = moved(path, text)
        for marker, generated in GENERATED.items():
            text = (
                text.replace(f"<!-- generated: {marker} -->", generated())
                if marker in text
                else text
            )
        target.write_text(text, encoding="utf-8")


def command_line() -> str:
    """Every command with its `--help`."""
    ctx = click.Context(group, info_name="xlir-bench")
    parts: list[str] = []
    for name in COMMANDS:
        parts += _help(group.get_command(ctx, name), ctx, name)
    return "\n\n".join(parts)


def _help(command: click.Command | None, parent: click.Context, name: str) -> Iterator[str]:
    if command is not None:
        ctx = click.Context(command, parent, name, terminal_width=100)
        level = "#" * (ctx.command_path.count(" ") + 1)
        title = ctx.command_path.removeprefix("xlir-bench ")
        yield f"{level} {title}\n\n```text\n{command.get_help(ctx)}\n```"
        for inner in command.list_commands(ctx) if isinstance(command, click.Group) else ():
            yield from _help(command.get_command(ctx, inner), ctx, inner)


def python() -> str:
    """Every name of `xlir_bench.__all__`: its signature, docstring and what belongs to it."""
    return "\n\n".join(_described(name, getattr(xlir_bench, name)) for name in xlir_bench.__all__)


def _described(name: str, thing: object) -> str:
    if is_dataclass(thing) and name.endswith("Options"):
        rows = [
            f"| `{o.name}` | {_default(o.default)} | {_cell(o.help)} |" for o in options_of(thing)
        ]
        table = "\n".join(["| field | default | what it is |", "|---|---|---|", *rows])
        return f"## {name}\n\n{_docstring(thing)}\n\n{table}"
    parts = [f"## {name}", _signature(name, thing), _docstring(thing)]
    for member, value in vars(thing).items() if isinstance(thing, type) else ():
        function = value.__func__ if isinstance(value, classmethod) else value
        if not member.startswith("_") and (
            inspect.isfunction(function) or isinstance(value, property)
        ):
            parts += [f"### {name}.{member}", _signature(member, function), _docstring(value)]
    return "\n\n".join(part for part in parts if part)


def _signature(name: str, thing: object) -> str:
    if not inspect.isroutine(thing):
        return ""
    annotated = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(thing)))
    return f"```python\n{name}{annotated}\n```"


def _docstring(thing: object) -> str:
    """As Markdown: examples become blocks of code."""
    text = inspect.getdoc(thing) or ""
    return re.sub(r"^(>>> (?:.+\n?)+)", r"```pycon\n\1\n```\n", text, flags=re.MULTILINE)


def _default(value: object) -> str:
    return "" if value is None or "MISSING" in repr(value) else f"`{value!s}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


GENERATED = {"commands": command_line, "python": python}

if __name__ == "__main__":
    lay_out(ROOT / "build/docs")
    shutil.copy(ROOT / "docs/zensical.toml", ROOT / "build")
