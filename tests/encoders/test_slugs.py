from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.encoders.digest import slug
from xlir_bench.files import safe_name

ADVERSARIAL = [
    "../../etc",
    "..",
    ".",
    "",
    "con",
    "CON.txt",
    "lpt1",
    "<script>alert(1)</script>",
    "x" * 5000,
    "نموذج عربي",
    "trailing.",
    "-rf",
    "a/b\\c:d*e?f|g",
    "tilde~0123abcd",
    "new\nline\0null",
    "\ud800 lone surrogate",
    "checkpoint-1000",
]


def is_safe(name: str) -> bool:
    return (
        re.fullmatch(r"[A-Za-z0-9._-]+(~[0-9a-f]{8})?", name) is not None
        and not name.startswith((".", "-"))
        and not name.endswith(".")
        and len(name) < 120
        and not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_slug_is_safe_in_any_file_system(name: str) -> None:
    assert is_safe(slug(name))
    assert is_safe(slug(name, {"dtype": "float16"}))


@given(st.text())
def test_any_text_gives_a_safe_slug(name: str) -> None:
    assert is_safe(safe_name(name))


def test_adversarial_names_stay_apart() -> None:
    names = [*ADVERSARIAL, "x" * 5001, "نموذج عربى"]
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_usual_name_stays_as_it_is() -> None:
    assert slug("intfloat__multilingual-e5-small") == "intfloat__multilingual-e5-small"


def test_options_add_a_tilde_and_eight_digits_of_their_digest() -> None:
    one, other = slug("m", {"dtype": "float16"}), slug("m", {"dtype": "bfloat16"})
    assert re.fullmatch("m~[0-9a-f]{8}", one)
    assert one != other
    assert slug("m", {}) == "m"
