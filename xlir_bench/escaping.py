"""Text from outside (a model folder, a server, a data file, a stored result) on its way to people.

Whatever shows such text passes it through here: nothing in it moves the cursor, ends a line, turns the
direction of writing, or is run by a spreadsheet. Markdown has its own rules in `reports.markup`, names of
files in `files.safe_name`.
"""

from __future__ import annotations

import json
import re
import unicodedata

UNSAFE = ("Cc", "Cf", "Cs", "Co")
"""Control characters, those that turn the direction of writing, half surrogate pairs, private use."""
LINE_ENDS = "\u2028\u2029"
JOINERS = "\u200c\u200d"
"""Format characters that Persian, Hindi and emoji are written with; they turn nothing."""


def visible(text: str) -> str:
    r"""`text` on one line, with every character that does something instead of being seen spelt out.

    >>> visible("a\x1b[2Jb\nc")
    'a\\u001b[2Jb\\u000ac'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if _acts(c) else c for c in text)


def _acts(c: str) -> bool:
    return (unicodedata.category(c) in UNSAFE and c not in JOINERS) or c in LINE_ENDS


def printable(text: str) -> str:
    """Lines of ours that hold text from outside: line ends and tabs stay, all else is `visible`."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def json_safe(text: str) -> str:
    """JSON text that means the same, with such characters as JSON spells them."""
    return "".join(json.dumps(c)[1:-1] if c != "\n" and _acts(c) else c for c in text)


def cell(text: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula: such text gets an apostrophe before it."""
    return "'" + text if re.match(r"[=+\-@\t\r]", text) else text
