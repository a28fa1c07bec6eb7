"""Escapes text from outside (a model folder, a server, a data file, a stored result) before people see it.

Nothing in it may move the cursor, end a line, turn the direction of writing, or be run by a spreadsheet.
Markdown has its own rules in `rendering.document`, file names in `files.safe_name`.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

UNSAFE = ("Cc", "Cf", "Cs", "Co")
"""Unicode categories: control, format (these turn the direction of writing), half surrogates, private use."""
LINE_ENDS = "\u2028\u2029"
HIDDEN = "***"
BODY_FLAG = "--http-body"
"""The flag whose values may hold keys."""
_USERINFO = re.compile(r"\b(https?:/*)(?!https?:)[^\s/?#'\"]+@", re.IGNORECASE)
_QUERY = re.compile(r"(\bhttps?:[^\s?#'\"]*\?)([^\s#'\"]+)", re.IGNORECASE)
_FOLDERS = re.compile(r"(^|[=:,#])(?:[A-Za-z]:)?[/\\](?:[^/\\]+[/\\])*(?=[^/\\])")
JOINERS = "\u200c\u200d"
"""Format characters that Persian, Hindi and emoji need; they turn no direction."""


def visible(text: str) -> str:
    r"""`text` on one line; characters that do something instead of being seen are spelt out.

    >>> visible("a\x1b[2Jb\nc")
    'a\\u001b[2Jb\\u000ac'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if _acts(c) else c for c in text)


def _acts(c: str) -> bool:
    """Whether a character does something instead of being seen."""
    return (unicodedata.category(c) in UNSAFE and c not in JOINERS) or c in LINE_ENDS


def printable(text: str) -> str:
    """Lines of our own that may hold text from outside: line ends and tabs stay, all else is made `visible`."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def json_safe(text: str) -> str:
    """The same JSON, with escapes for characters that do something instead of being seen."""
    return "".join(json.dumps(c)[1:-1] if c != "\n" and _acts(c) else c for c in text)


def cell(text: str) -> str:
    """A cell of CSV: an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + text if re.match(r"[=+\-@\t\r]", text) else text


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without credentials: users and passwords in URLs, values of their queries, `secrets`.

    A secret is hidden as it is and as JSON, URLs and base64 write it, also inside a longer text.

    >>> redacted("http:alice:pw@host, https://bob:pw@host/v1?key=k1#m")
    'http:***@host, https://***@host/v1?key=***#m'
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in _forms(secret):
            text = text.replace(form, HIDDEN)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    return _QUERY.sub(lambda match: match[1] + _without_values(match[2]), text)


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """Arguments that may be shown to others: `redacted`, and absolute paths cut to their last names.

    >>> redacted_command(["run", "--data", "/home/alice/data", "--task=beir:/home/alice/faq"])
    ['run', '--data', 'data', '--task=beir:faq']
    """
    shown = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, equals, value = argument.partition("=")
        if before == BODY_FLAG:
            shown.append(_body(argument))
        elif flag == BODY_FLAG and equals:
            shown.append(f"{flag}={_body(value)}")
        else:
            shown.append(_FOLDERS.sub(r"\1", redacted(argument)))
    return shown


def _body(value: str) -> str:
    """``role=JSON`` without the JSON."""
    role, equals, _ = value.partition("=")
    return f"{role}={HIDDEN}" if equals else HIDDEN


def _without_values(query: str) -> str:
    """The query of a URL with its values hidden."""
    pairs = (pair.partition("=") for pair in re.split("[&;]", query))
    return "&".join(f"{name}={HIDDEN}" if equals else HIDDEN for name, equals, _ in pairs)


def _forms(secret: str) -> list[str]:
    """How a secret may be written: plainly, in JSON, in a URL, in base64 wherever it begins in a longer text."""
    data = secret.encode("utf-8", "surrogatepass")
    coded = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # The first and last characters depend on what stands around the secret.
        certain = whole[(before * 8 + 5) // 6 : len(whole) - (1 if (before + len(data)) % 3 else 0)]
        if len(certain) >= 5:
            coded += [certain, certain.replace("+", "-").replace("/", "_")]
    return [
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe="", errors="surrogatepass"),
        *coded,
    ]
