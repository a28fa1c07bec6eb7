"""A recipe small enough for a test, as people would write it."""

from __future__ import annotations

REDUCED = """
name = "reduced"
title = "Reduced <b>form</b>"
description = "Two strategies, two seeds, ten steps."
models = ["builtin:static:16"]
strategies = ["monolingual", "hybrid"]
batch-sizes = [16]
seeds = [0, 1]
steps = 10
tasks = ["mini"]
measures = ["map", "recall@10"]
baselines = ["monolingual"]

[data]
bundled = ["mini-train"]

[training]
lr = 0.05

[[claims]]
text = "Hybrid batches beat monolingual ones | across languages"
better = "hybrid"
than = "monolingual"
task = "mini"
kind = "cross-lingual"

[[claims]]
text = "Training helps within a language"
better = "hybrid"
than = ["untrained", "monolingual"]
task = "mini"
kind = "monolingual"
"""


def with_lines(*lines: str) -> str:
    """The recipe with lines of the same key in place of its own; a new key goes to the top."""
    text = REDUCED
    for line in lines:
        key = line.partition("=")[0].strip()
        kept = [x for x in text.splitlines() if x.partition("=")[0].strip() != key]
        text = "\n".join([line, *kept])
    return text + "\n"
