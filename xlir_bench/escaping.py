"""Text from outside (a model folder, a server, a data file, a stored result) on its way to people.

Whatever shows such text passes it through here: nothing in it moves the cursor, ends a line, turns the
direction of writing, or is run by a spreadsheet. Markdown has its own rules in `reports.markup`, names of
files in `files.safe_name`.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

UNSAFE = ("Cc", "Cf", "Cs", "Co")
"""Control characters, those that turn the direction of writing, half surrogate pairs, private use."""
LINE_ENDS = "\u2028\u2029"
HIDDEN = "***"
BODY_FLAG = "--http-body"
"""Its values go to a server as they are, keys among them."""
_USERINFO = re.compile(r"\b(https?:/*)(?!https?:)[^\s/?#'\"]+@", re.IGNORECASE)
_QUERY = re.compile(r"(\bhttps?:[^\s?#'\"]*\?)([^\s#'\"]+)", re.IGNORECASE)
_FOLDERS = re.compile(r"(^|[=:,#])(?:[A-Za-z]:)?[/\\](?:[^/\\]+[/\\])*(?=[^/\\])")


def visible(text: str) -> str:
    r"""`text` on one line, with every character that does something instead of being seen spelt out.

    >>> visible("a\x1b[2Jb\nc")
    'a\\u001b[2Jb\\u000ac'
    """
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in UNSAFE or c in LINE_ENDS else c
        for c in text
    )


def printable(text: str) -> str:
    """Lines of ours that hold text from outside: line ends and tabs stay, all else is `visible`."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def cell(text: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula: such text gets an apostrophe before it."""
    return "'" + text if re.match(r"[=+\-@\t\r]", text) else text


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without what lets others in: names and passwords in URLs, values of their queries, `secrets`.

    A secret is hidden as it is and as JSON, a URL or base64 write it, also inside of something longer.

    >>> redacted("http:alice:pw@host, https://bob:pw@host/v1?key=k1#m")
    'http:***@host, https://***@host/v1?key=***#m'
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in _forms(secret):
            text = text.replace(form, HIDDEN)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found[1] + _without_values(found[2]), text)


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """Arguments as they may be shown to others: `redacted`, and absolute paths by their last names.

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
