"""Markdown that names from outside cannot break out of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xlir_bench.escaping import visible

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;"}
"""Characters that a backslash does not make harmless in every renderer."""


def escape(text: str) -> str:
    r"""`text` as Markdown that renders as just that text, on one line, in a table cell or not.

    >>> escape("a|b <c>\nd")
    'a\\|b &lt;c&gt; d'
    """
    line = visible(" ".join(text.split()))
    line = re.sub(r"[&<>@$]", lambda match: ENTITIES[match[0]], line)
    line = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    # A bare address would become a link.
    return re.sub(r"(?i)(https?|ftp|www)(:|\.)", lambda m: f"{m[1]}&#{ord(m[2])};", line)


def code(text: str) -> str:
    """`text` as code, in as many backticks as it takes."""
    line = visible(" ".join(text.split()))
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def grid(rows: Sequence[Sequence[str]], headers: Sequence[str], text_columns: int = 1) -> str:
    """A Markdown table of cells that are Markdown already; numbers are aligned to the right."""
    marks = [":---" if i < text_columns else "---:" for i in range(len(headers))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headers, marks, *rows])
