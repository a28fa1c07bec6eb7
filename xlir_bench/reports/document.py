"""What reports are made of, and the one place where it becomes text: for a terminal, Markdown or LaTeX.

A report is a list of blocks of plain text. None of them is escaped by whoever makes it: the renderer does that,
for names from outside and for our own words alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import east_asian_width

from xlir_bench.escaping import visible
from xlir_bench.reports.markup import Markdown, escape

Form = Literal["terminal", "markdown", "latex"]
LATEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Title:
    """Names what follows."""

    text: str
    main: bool = False
    """Whether it is a heading of its own in Markdown."""


@dataclass(frozen=True, slots=True)
class Text:
    """Some lines."""

    lines: tuple[str, ...]

    @classmethod
    def of(cls, *lines: str) -> Text:
        """These lines."""
        return cls(lines)


@dataclass(frozen=True, slots=True)
class Items:
    """A list under a name."""

    title: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headers; a cell is plain text, or `Markdown` where nothing but Markdown is made of it."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    text: int = 1
    """So many columns on the left hold text; the others hold numbers."""
    words: tuple[str, ...] = ()
    """Columns further right that hold text too."""
    spare: tuple[str, ...] = ()
    """Columns that a narrow terminal does without, the first of these first."""

    def is_text(self, column: int) -> bool:
        """Whether a column stands on the left."""
        return column < self.text or self.headers[column] in self.words


Block = Title | Text | Items | Table


def render(blocks: Iterable[Block], form: Form = "terminal", width: int | None = None) -> str:
    """The blocks as text; no line of a terminal's table is wider than `width`, if that is stated."""
    return "\n\n".join(filter(None, (_rendered(block, form, width) for block in blocks)))


def _rendered(block: Block, form: Form, width: int | None) -> str:
    if form == "latex":
        return _latex(block)
    told = escape if form == "markdown" else visible
    if isinstance(block, Table):
        return _markdown(block) if form == "markdown" else _fitted(block, width)
    if isinstance(block, Title):
        return f"{'### ' if block.main and form == 'markdown' else ''}{told(block.text)}"
    if isinstance(block, Items):
        mark, gap = ("- ", "\n\n") if form == "markdown" else ("  ", "\n")
        return f"{told(block.title)}{gap}" + "\n".join(mark + told(x) for x in block.items)
    return "\n".join(told(line) for line in block.lines)


def _aligned(table: Table, form: str, cells: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    return tabulate(
        cells[1:],
        headers=cells[0],
        tablefmt=form,
        disable_numparse=True,
        colalign=["left" if table.is_text(i) else "right" for i in range(len(table.headers))],
    )


def _cells(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in (table.headers, *table.rows)]


def _markdown(table: Table) -> str:
    """Without padding, so that one changed cell changes one line; numbers are set to the right."""
    marks = [":---" if table.is_text(i) else "---:" for i in range(len(table.headers))]
    head, *rows = (
        [cell if isinstance(cell, Markdown) else escape(str(cell)) for cell in row]
        for row in (table.headers, *table.rows)
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def _fitted(table: Table, width: int | None) -> str:
    """The table of a terminal: without its spare columns where it is too wide, then in several pieces."""
    dropped = []
    for name in table.spare:
        if width is None or _width(table) <= width:
            break
        if name in table.headers:
            table = _of_columns(table, [i for i, x in enumerate(table.headers) if x != name])
            dropped.append(name)
    parts = [_aligned(part, "simple", _seen(part)) for part in _pieces(table, width)]
    if dropped:
        parts.append(f"({', '.join(map(visible, dropped))}: a wider terminal, or --json)")
    return "\n\n".join(parts)


def _pieces(table: Table, width: int | None) -> list[Table]:
    """Below each other where not all columns have room, alike in size; each begins with the columns of text."""
    kept = list(range(table.text))
    others = list(range(table.text, len(table.headers)))
    for count in range(1, len(others) + 1):
        size = -(-len(others) // count)
        pieces = [
            _of_columns(table, [*kept, *others[start : start + size]])
            for start in range(0, len(others), size)
        ]
        if width is None or max(map(_width, pieces)) <= width:
            return pieces
    # No terminal is so narrow but for long names.
    return pieces if others else [table]


def _of_columns(table: Table, columns: Sequence[int]) -> Table:
    rows = [[row[i] for i in columns] for row in table.rows]
    return Table([table.headers[i] for i in columns], rows, table.text, table.words, table.spare)


def _seen(table: Table) -> list[list[str]]:
    return [[visible(cell) for cell in row] for row in _cells(table)]


def _width(table: Table) -> int:
    """How many places of a terminal's line it takes: an ideograph has two."""
    lines = _aligned(table, "simple", _seen(table)).splitlines()
    return max(sum(2 if east_asian_width(c) in "WF" else 1 for c in line) for line in lines)


def _latex(block: Block) -> str:
    """Tables alone, by the package booktabs; words stand beside them as comments."""
    if isinstance(block, Table):
        columns = "".join("l" if block.is_text(i) else "r" for i in range(len(block.headers)))
        head, *rows = (" & ".join(_tex(cell) for cell in row) + r" \\" for row in _cells(block))
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
    if isinstance(block, Title):
        lines = [block.text]
    elif isinstance(block, Items):
        lines = [block.title, *block.items]
    else:
        lines = list(block.lines)
    return "\n".join("% " + visible(line) for line in lines)


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}\\~^<>]", lambda found: LATEX[found[0]], visible(text))
