"""Rows made of parallel text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from xlir_bench.augment.parallel import (
    ParallelLine,
    ParallelOptions,
    parallel_rows,
    read_parallel_lines,
)
from xlir_bench.errors import InputError
from xlir_bench.options.stating import check_bounds
from xlir_bench.train.rows import Row

STORY = [
    ParallelLine("1", {"en": "A storm came.", "zh": "风暴来了。"}, "storm"),
    ParallelLine("2", {"en": "It rained.", "zh": "下雨了。"}, "storm"),
    ParallelLine("3", {"en": "It stopped."}, "storm"),
    ParallelLine("4", {"en": "A new bridge.", "zh": "一座新桥。"}, "bridge"),
    ParallelLine("5", {"en": "Alone.", "zh": "独自。"}),
]


def made(make: Any, sizes: tuple[int, ...] = (2,)) -> list[Row]:
    return list(parallel_rows(STORY, "news", ParallelOptions(make, sizes)))


def test_a_translation_is_the_question_and_the_answer() -> None:
    rows = made("translations")
    assert [row.id for row in rows] == ["1", "2", "4", "5"]  # a text in one language has none
    assert rows[0].question == rows[0].answer == STORY[0].texts
    assert {(row.dataset, row.origin) for row in rows} == {("news", "")}


def test_passages_join_neighbours_of_one_document_in_languages_that_all_have() -> None:
    (row,) = made("passages")
    assert row.id == "1"
    assert row.answer == {"en": "A storm came. It rained.", "zh": "风暴来了。下雨了。"}
    (row,) = made("passages", (3,))
    assert row.answer == {"en": "A storm came. It rained. It stopped."}


def test_the_next_sentence_answers_the_one_before_it() -> None:
    assert [(row.question["en"], row.answer["en"]) for row in made("next")] == [
        ("A storm came.", "It rained."),
        ("It rained.", "It stopped."),
    ]


def test_a_context_holds_the_sentence_and_its_neighbours() -> None:
    assert [(row.question["en"], row.answer["en"]) for row in made("context")] == [
        ("A storm came.", "A storm came. It rained."),
        ("It rained.", "A storm came. It rained. It stopped."),
    ]


def test_pairs_that_share_a_sentence_become_one_row_of_many_languages(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv.gz"
    pairs = ["de\ten\tHallo.\tHello.", "en\tth\tHello.\tสวัสดี", "de\ten\tGuten Tag.\tHello.",
             "en\tes\tYes.\tSí."]  # fmt: skip
    path.write_bytes(gzip.compress("\n".join(pairs).encode()))
    lines = read_parallel_lines(path)
    assert [(line.id, line.texts) for line in lines] == [
        ("0", {"de": "Hallo.", "en": "Hello.", "th": "สวัสดี"}),
        ("0", {"de": "Guten Tag.", "en": "Hello.", "th": "สวัสดี"}),
        ("1", {"en": "Yes.", "es": "Sí."}),
    ]


def test_other_languages_and_spare_white_space_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"id": 7, "text": {"en": " a  b\r", "fr": "c", "de": " "}}))
    assert read_parallel_lines(path, ["en", "de"]) == [ParallelLine("7", {"en": "a b"})]


def test_lines_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("de\ten\tHallo.\nde\ten\tHallo.\t \n")
    with pytest.raises(InputError, match=r"four cells.* 3\n"):
        read_parallel_lines(path)
    with pytest.raises(InputError, match=r"--sizes 1 .*\b2 or more"):
        check_bounds(ParallelOptions("passages", (1,)))
