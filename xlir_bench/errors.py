"""What can go wrong, and the exit code that a script sees.

XlirError                 4  the run failed (memory, disk, anything else)
├── InputError            2  mend the command line or a file
│   └── UnknownNameError  2  … and suggests a similar name
├── OutOfReachError       3  data, a model or a server cannot be reached
├── NotComparableError    3  two results do not measure the same thing
└── BadVectorsError       4  an encoder gave vectors that cannot be ranked

Every message says what was asked, what there is, and what to do; it needs no traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

WARNING = "warning: "
"""The beginning of a note that says why numbers may mislead."""


class XlirError(Exception):
    """Any failure that the program foresaw; its text is for the person who typed the command."""

    exit_code = 4


class InputError(XlirError):
    """The command line or a file has to be mended."""

    exit_code = 2


def require_type(value: object, kinds: Any, wanted: str) -> None:
    """Refuse an argument of a public function that is of none of these kinds."""
    if not isinstance(value, kinds):
        raise InputError(f"{wanted}, and {as_given(value)} was given")


def as_given(value: object) -> str:
    """The `repr` of an argument on one line; only its beginning, if it is long."""
    return " ".join(repr(value).split())[:200]


@contextmanager
def named_by(flag: str) -> Iterator[None]:
    """Put the option's flag before the message of any error in the block."""
    try:
        yield
    except XlirError as error:
        error.args = (f"{flag}: {error}",)
        raise


SHOWN, LISTED = 10, 200
"""How many unknown names a message reports, and how many known ones it lists."""


def listed(names: Sequence[str], most: int = 12, between: str = ", ") -> str:
    """The names, separated; of more than `most`, the first ones and how many more there are.

    >>> listed(["afr", "amh", "arb", "ben"], most=3)
    'afr, amh and 2 more'
    """
    if len(names) <= most:
        return between.join(names)
    return f"{between.join(names[: most - 1])} and {len(names) - most + 1} more"


def plural(count: int, noun: str) -> str:
    """The count with its noun.

    >>> plural(1, "row"), plural(1190, "row")
    ('1 row', '1,190 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


class UnknownNameError(InputError):
    """One or more names are unknown; suggests similar ones, and lists the known ones or says where they are listed."""

    def __init__(
        self, what: str, names: Sequence[Any], known: Iterable[str], where: str = ""
    ) -> None:
        known = sorted(map(str, known))
        lines = []
        for name in names[:SHOWN]:
            near = difflib.get_close_matches(str(name).lower(), known, n=1)
            lines.append(
                f"unknown {what} {name!r}" + (f": did you mean {near[0]!r}?" if near else "")
            )
        if len(names) > SHOWN:
            lines.append(f"{len(names) - SHOWN:,} more")
        more = f" and {len(known) - LISTED:,} more" if len(known) > LISTED else ""
        where = where or f"there are: {', '.join(known[:LISTED])}{more}"
        super().__init__(f"{'; '.join(lines)} ({where})")


class OutOfReachError(XlirError):
    """Data, a model or a server cannot be reached from here."""

    exit_code = 3


class NotComparableError(XlirError):
    """Two results do not measure the same thing."""

    exit_code = 3


class BadVectorsError(XlirError):
    """An encoder gave vectors that cannot be ranked."""


OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
)
"""How torch, its devices and the system say that memory is full."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)
