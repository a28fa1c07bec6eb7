"""Markdown that names from outside cannot break out of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xlir_bench.escaping import visible


class Markdown(str):
    """Text that is Markdown already, and is not escaped again: a link, a number in bold."""

    __slots__ = ()


ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;"}
"""Characters that a backslash does not make harmless in every renderer."""


def escape(text: str) -> str:
    r"""`text` as Markdown that renders as just that text, on one line, in a table cell or not.

    >>> escape("a|b <c>\nd")
    'a\\|b &lt;c&gt; d'
    """
    line = visible(" ".join(text.split()))
    # `recall@10` stays as it is: an @ within a word makes no mention, and without a dot behind no address.
    line = re.sub(r"[&<>$]|(?<!\w)@|@(?!\d\w*(?![\w.-]))", lambda found: ENTITIES[found[0]], line)
    line = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    # A bare address would become a link.
    return re.sub(r"(?i)(https?|ftp|www)(:|\.)", lambda m: f"{m[1]}&#{ord(m[2])};", line)


def code(text: str) -> Markdown:
    """`text` as code; as many backticks around it as it takes."""
    line = visible(" ".join(text.split()))
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or not line else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def bullets(lines: Iterable[str]) -> str:
    """A list of lines that are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def italic(figure: str) -> str:
    """A figure that was not measured here; a dash stays a dash."""
    return figure if figure == "-" else Markdown(f"*{figure}*")
