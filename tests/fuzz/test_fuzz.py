"""Every border under spoilt files with fixed seeds, and under whatever Hypothesis makes up: our own errors alone.

`make fuzz` gives each border thousands of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuzz.borders import BORDERS
from fuzz.running import Border, Outcome, fuzz, one
from hypothesis import given, settings
from hypothesis import strategies as st

INPUTS, SECONDS = 20, 0.5
"""Of each border; slow ones stop when their time is over."""
QUICK = [border for border in BORDERS if border.share >= 8 and not border.writes]


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine has of evaluation data would be read for every spoilt config of a training."""
    monkeypatch.delenv("XLIR_DATA", raising=False)


def told(outcome: Outcome) -> str:
    return "\n".join(f"{where}\n{first}" for where, first in outcome.others.items())


@pytest.mark.parametrize("border", BORDERS, ids=lambda border: border.name)
def test_spoilt_files_give_errors_of_ours_alone(border: Border, tmp_path: Path) -> None:
    found = fuzz(border, tmp_path, seed=1, inputs=INPUTS, seconds=SECONDS)
    assert found.inputs
    assert not found.other_count, told(found)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
contents = st.binary(max_size=64) | values.map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("border", QUICK, ids=lambda border: border.name)
def test_anything_at_all_gives_errors_of_ours_alone(border: Border, tmp_path: Path) -> None:
    border.prepare(tmp_path)
    path = next(p for p in sorted(tmp_path.rglob(border.files)) if p.is_file())
    found = Outcome()

    @settings(max_examples=10, derandomize=True, deadline=None, database=None)
    @given(contents)
    def read(content: Any) -> None:
        path.write_bytes(content)
        one(border, tmp_path, found, repr(content))

    read()
    assert not found.other_count, told(found)
