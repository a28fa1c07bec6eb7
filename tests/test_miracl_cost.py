"""docs/miracl-cost.md is what its script makes of the stored rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_page_follows_from_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from tests.benchmarks.miracl_cost import GPUS, NODE_CORES, PAGE, RATES, page

    rates = json.loads(RATES.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(rates, rates["cores"], NODE_CORES, GPUS)
    passages, tokens = 106_332_152, 106_332_152 * rates["tokens_a_passage"]
    seconds = tokens / (8 * rates["published"]["tokens"] / rates["published"]["seconds"])
    size = passages * rates["1024 float16"]["bytes_a_passage"]
    (row,) = [x for x in PAGE.read_text("utf-8").splitlines() if "8 GPUs | 1,024 | float16" in x]
    assert f"| {seconds / 3600:.0f} h |" in row
    assert row.endswith(f"| {size / 1e9:.0f} GB |")
