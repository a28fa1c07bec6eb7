"""Alignment by pairs of languages, as tables and pages read it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from xlir_bench.measures.alignment import PairAlignment, RelevanceCosines
from xlir_bench.reports.alignment import alignment_data, relevance, translations
from xlir_bench.results.schema import AlignmentPart

PAIR = PairAlignment(items=3, translations=0.9, others=0.2, margin=0.7, recall={"recall@1": 1 / 3})
COSINES = {"query": {"zh": 0.1, "zh-Hant": 0.2}, "passage": {"zh": 0.3, "zh-Hant": 0.4}}


def test_a_language_whose_code_has_a_hyphen_is_one_language():
    part = AlignmentPart(questions={"zh-zh-Hant": PAIR, "zh-Hant-zh": PAIR}, anisotropy=COSINES)
    assert list(translations(part)["questions"]) == [("zh", "zh-Hant"), ("zh-Hant", "zh")]


def test_a_kind_of_text_without_translations_is_left_out():
    part = AlignmentPart(answers={"zh-zh-Hant": PAIR}, anisotropy=COSINES)
    assert list(translations(part)) == ["answers"]
    assert relevance(part) == {}


def test_the_page_is_told_a_matrix_a_figure_with_gaps_where_no_pair_is():
    part = AlignmentPart(answers={"zh-zh-Hant": PAIR}, anisotropy=COSINES)
    (texts,) = alignment_data(part)["texts"]
    assert texts["langs"] == ["zh", "zh-Hant"]
    assert texts["values"]["margin"] == [[None, 0.7], [None, None]]
    assert texts["values"]["recall@1"] == [[None, 0.33333], [None, None]]
    assert texts["n"] == [[None, 3], [None, None]]
    assert alignment_data(part)["cosines"] == [["zh", 0.1, 0.3], ["zh-Hant", 0.2, 0.4]]


def test_where_nothing_is_a_translation_the_margin_is_that_of_relevant_passages():
    part = AlignmentPart(
        relevance={"zh-zh": RelevanceCosines(relevant=0.5, others=0.2)}, anisotropy=COSINES
    )
    (texts,) = alignment_data(part)["texts"]
    assert (texts["name"], texts["n"]) == ("relevance", None)
    assert texts["values"] == {"margin": [[0.3]], "near": [[0.5]]}


def test_the_page_is_told_nothing_of_a_result_without_alignment():
    assert alignment_data(AlignmentPart()) is None


def test_a_pair_of_languages_without_its_first_recall_is_refused():
    with pytest.raises(ValidationError, match="recall@1 is missing"):
        AlignmentPart(questions={"de-en": replace(PAIR, recall={"recall@5": 0.5})})
