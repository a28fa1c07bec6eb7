"""Blocks that reports are made of, and how they become text: for a terminal, Markdown, LaTeX, HTML or CSV.

Blocks hold plain text. Their callers escape nothing: `render` escapes all of it.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from unicodedata import east_asian_width

from xlir_bench.errors import WARNING
from xlir_bench.escaping import cell as csv_cell
from xlir_bench.escaping import visible

Form = Literal["terminal", "markdown", "latex", "html", "csv"]

BOLD, RED, YELLOW, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
"""The codes that switch the style of a terminal's text."""
MARKS = "\ue000", "\ue001"
"""Stand around a bold cell while a table is laid out. In text from outside these characters are always escaped."""
TAGS = {"latex": (r"\textbf{", "}"), "html": ("<b>", "</b>")}
"""What replaces the marks in the end."""
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;"}
"""Characters that a backslash does not make harmless in every renderer of Markdown."""
GAP = "  "
"""What stands between two columns of a terminal."""
SHORTEST = 12
"""The least width that a name is cut to."""
WIDE = "[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]"
"""Characters that a line may be broken between: Chinese and Japanese set no spaces."""


class Bold(str):
    """A cell that stands out, in bold: the best of its column, or a difference larger than chance."""

    __slots__ = ()


class Markdown(str):
    """Text that is Markdown already, and is not escaped again: a link, a number in bold."""

    __slots__ = ()


class Lines:
    """Some lines; with `heading`, Markdown makes a heading of them."""

    def __init__(self, *lines: str, heading: bool = False) -> None:
        self.lines, self.heading = lines, heading


@dataclass(frozen=True, slots=True)
class Listing:
    """A list under a title; it renders as nothing if it has no items."""

    title: str
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headers; a cell is plain text, or `Markdown` if the table is rendered as Markdown only."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    text: int = 1
    """How many columns on the left hold text, and stay when a table is split; the others hold numbers."""
    words: tuple[str, ...] = ()
    """Columns further right that hold text too."""
    spare: tuple[str, ...] = ()
    """Columns that a narrow terminal leaves out, in this order."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, object]], **layout: Any) -> Table:
        """From rows that map the same headers to cells; without rows, a table that renders as nothing."""
        headers = list(rows[0]) if rows else []
        return cls(headers, [list(row.values()) for row in rows], **layout)

    def columns(self, places: Sequence[int]) -> Table:
        """The table of these columns."""
        rows = [[row[i] for i in places] for row in self.rows]
        return replace(self, headers=[self.headers[i] for i in places], rows=rows)


Block = Lines | Listing | Table


def render(
    blocks: Iterable[Block],
    form: Form = "terminal",
    width: int | None = None,
    colours: bool = False,
) -> str:
    """The blocks as text; lines of a terminal are no wider than `width`, if that is possible."""
    return "\n\n".join(filter(None, (_block(block, form, width, colours) for block in blocks)))


def as_markdown(parts: Iterable[str | Block]) -> str:
    """Parts with blank lines between them: a string is Markdown already, a block is rendered."""
    return "\n\n".join(x if isinstance(x, str) else render([x], "markdown") for x in parts if x)


def _block(block: Block, form: Form, width: int | None, colours: bool) -> str:
    if isinstance(block, Table):
        if not block.headers:
            return ""
        if form == "csv":
            return _csv(block)
        return _grid(block, form) if form != "terminal" else _fitted(block, width, colours)
    if form == "csv" or (isinstance(block, Listing) and not block.items):
        return ""
    shown = escape if form == "markdown" else visible
    if isinstance(block, Lines):
        mark = "### " if block.heading and form == "markdown" else ""
        lines = [mark + shown(line) for line in block.lines]
    else:
        mark, gap = ("- ", [""]) if form == "markdown" else ("  ", [])
        lines = [shown(block.title), *gap, *(mark + shown(item) for item in block.items)]
    if form == "terminal":
        warns = [colours and line.lstrip().startswith(WARNING) for line in lines]
        lines = [_wrapped(line, width) for line in lines]
        lines = [f"{YELLOW}{x}{PLAIN}" if y else x for x, y in zip(lines, warns, strict=True)]
    if form == "latex":  # text beside the tables becomes comments
        lines = ["% " + line for line in lines]
    if form == "html":
        return f"<p>{'<br>'.join(map(html.escape, lines))}</p>"
    return "\n".join(lines)


def _wrapped(line: str, width: int | None) -> str:
    """A line of words; a wider one is broken between words or ideographs, and its further lines are indented."""
    if width is None or _cells(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    lines = [indent]
    for piece in re.findall(rf"{WIDE}|[^\s{WIDE[1:]}+|\s+", line.strip()):
        if lines[-1].strip() and _cells(lines[-1] + piece) > width:
            lines.append(f"{indent}  ")
        lines[-1] += piece if lines[-1].strip() else piece.lstrip()
    return "\n".join(line.rstrip() for line in lines)


def _csv(table: Table) -> str:
    """CSV with numbers in full precision, and no text that a spreadsheet would run as a formula."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [csv_cell(cell) if isinstance(cell, str) else cell for cell in row]
        for row in (table.headers, *table.rows)
    )
    return written.getvalue().removesuffix("\n")


def _grid(table: Table, form: Form, colours: bool = False) -> str:
    """The whole table, however wide."""
    is_text = [i < table.text or header in table.words for i, header in enumerate(table.headers)]
    shown = escape if form == "markdown" else visible
    bold = {"markdown": ("**", "**")} | dict.fromkeys(TAGS, MARKS)
    before, after = bold.get(form, (BOLD, PLAIN) if colours else ("", ""))

    def marked(cell: object) -> str:
        if isinstance(cell, Markdown):
            return cell
        return f"{before}{shown(cell)}{after}" if isinstance(cell, Bold) else shown(str(cell))

    headers, *cells = ([*map(marked, row)] for row in (table.headers, *table.rows))
    if form == "markdown":
        # Without padding, so that one changed cell changes one line.
        marks = [":---" if left else "---:" for left in is_text]
        return "\n".join("| " + " | ".join(row) + " |" for row in (headers, marks, *cells))
    from tabulate import tabulate

    sides = ["left" if left else "right" for left in is_text]
    # For LaTeX and HTML, tabulate escapes their special characters.
    layout = {"terminal": "simple", "latex": "latex_booktabs", "html": "html"}[form]
    aligned = sides if cells else None  # tabulate 0.9 fails on alignments without rows
    text = str(tabulate(cells, headers, layout, disable_numparse=True, colalign=aligned))
    for mark, tag in zip(MARKS, TAGS.get(form, MARKS), strict=True):
        text = text.replace(mark, tag)
    return text


def _fitted(table: Table, width: int | None, colours: bool) -> str:
    """The table for a terminal: if it is too wide, in as few pieces as possible, with as many spare columns as fit these.

    If the pieces are still too wide, long names are cut.
    """
    if width is None:
        return _grid(table, "terminal", colours)
    over, _, dropped, text, pieces = _layout(table, width)
    left_out = [visible(name) for name in table.spare if name in table.headers][:dropped]
    if over:
        table, is_cut = _shortened(replace(table, text=text), pieces, width)
        left_out += ["whole names"] * is_cut
    shown = replace(table, text=text)
    parts = [_grid(shown.columns(piece), "terminal", colours) for piece in pieces]
    if left_out:
        parts.append(_wrapped(f"({', '.join(left_out)}: a wider terminal, or --json)", width))
    return "\n\n".join(parts)


def _layout(table: Table, width: int) -> tuple[bool, int, int, int, list[list[int]]]:
    """The best layout: is it too wide still; how many pieces, dropped spare columns and text columns; the pieces."""
    every, room = range(len(table.headers)), width + len(GAP)
    widths = [_width(table.columns([i])) + len(GAP) for i in every]
    spare = [name for name in table.spare if name in table.headers]
    tried = []
    for count in range(len(spare) + 1):
        kept = [i for i in every if table.headers[i] not in spare[:count]]
        text = sum(i < table.text for i in kept)
        pieces = _pieces(kept, text, widths, room)
        over = max(sum(widths[i] for i in piece) for piece in pieces) > room
        tried.append((over, len(pieces), count, text, pieces))
    return min(tried)


def _pieces(columns: Sequence[int], text: int, widths: Sequence[int], room: int) -> list[list[int]]:
    """The columns in one piece; if they do not fit, in several pieces with about as many columns each."""
    kept, others = columns[:text], columns[text:]
    pieces = [[*columns]]
    for count in range(1, len(others) + 1):
        size = -(-len(others) // count)
        pieces = [[*kept, *others[i : i + size]] for i in range(0, len(others), size)]
        if max(sum(widths[i] for i in piece) for piece in pieces) <= room:
            break
    return pieces  # with long names, one column each may still be too wide


def _width(table: Table) -> int:
    """The width of a table in characters of a terminal."""
    return max(map(_cells, _grid(table, "terminal").splitlines()))


def _cells(line: str) -> int:
    """The width of a line in characters of a terminal; an ideograph takes two."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in line)


def _shortened(table: Table, pieces: Sequence[Sequence[int]], width: int) -> tuple[Table, bool]:
    """The table with long names cut in the middle, so that the numbers have room beside them; and whether any was cut."""
    names = pieces[0][: table.text]
    widths = {i: _width(table.columns([i])) + len(GAP) for piece in pieces for i in piece}
    room = width + len(GAP) - max(sum(widths[i] for i in piece[table.text :]) for piece in pieces)
    longest, shortest_first = 0, sorted(names, key=widths.__getitem__)
    for place, i in enumerate(shortest_first):  # the room that they leave is for longer ones
        longest = max(SHORTEST, room // (len(names) - place) - len(GAP))
        room -= min(widths[i], longest + len(GAP))
    cut = [
        [_cut(cell, longest) if i in names else cell for i, cell in enumerate(row)]
        for row in table.rows
    ]
    return replace(table, rows=cut), cut != [list(row) for row in table.rows]


def _cut(cell: object, longest: int) -> object:
    text = visible(str(cell))
    if _cells(text) <= longest:
        return cell
    half = len(text) // 2
    while half and _cells(f"{text[:half]}…{text[-half:]}") > longest:
        half -= 1
    short = f"{text[:half]}…{text[len(text) - half :]}"
    return Bold(short) if isinstance(cell, Bold) else short


def escape(text: str) -> str:
    r"""`text` as Markdown that renders as just that text, on one line, in a table cell or not.

    >>> escape("a|b <c>\nd")
    'a\\|b &lt;c&gt; d'
    """
    line = visible(" ".join(text.split()))
    # `recall@10` stays as it is: an @ within a word is no mention, and an address has a dot after it.
    line = re.sub(r"[&<>$]|(?<!\w)@|@(?!\d\w*(?![\w.-]))", lambda match: ENTITIES[match[0]], line)
    line = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    # A bare address would become a link.
    return re.sub(r"(?i)(https?|ftp|www)(:|\.)", lambda m: f"{m[1]}&#{ord(m[2])};", line)


def code(text: str) -> Markdown:
    """`text` as Markdown code, between more backticks than it has in a row."""
    line = visible(" ".join(text.split()))
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or not line else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def bullets(lines: Iterable[str]) -> str:
    """A list of lines that are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def italic(figure: str) -> str:
    """In italics, a figure that was not measured here; a dash stays a dash."""
    return figure if figure == "-" else Markdown(f"*{figure}*")
