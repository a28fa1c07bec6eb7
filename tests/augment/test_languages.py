from __future__ import annotations

import re

from xlir_bench.augment.languages import FLORES, M2M100, MACRO, language_tokens
from xlir_bench.tasks import catalogue

OTHER_CODES = ("mlir-belebele", "ntrex-128", "neuclir-2022", "neuclir-2023")
"""Tasks whose data names languages by codes of its own: three letters, dt for Dutch."""


def test_every_language_of_the_tasks_has_a_code() -> None:
    tasks = [task for name, task in catalogue().tasks.items() if name not in OTHER_CODES]
    langs = {lang for task in tasks for lang in task.languages}
    assert {lang for lang in langs if "_" not in lang} <= set(FLORES)


def test_the_codes_of_nllb_are_those_of_its_tokenizer() -> None:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    assert set(FLORES.values()) <= set(FAIRSEQ_LANGUAGE_CODES)
    assert all(re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", code) for code in FLORES.values())
    assert set(M2M100) | set(MACRO) <= set(FLORES)


def test_a_language_is_called_what_each_layout_calls_it() -> None:
    assert language_tokens("nllb", "de")[0] == "deu_Latn"
    assert language_tokens("nllb", "zh-TW")[0] == "zho_Hant"
    assert language_tokens("nllb", "yue_Hant")[0] == "yue_Hant"
    assert language_tokens("m2m100", "de")[0] == "__de__"
    assert "__no__" in language_tokens("m2m100", "nb")
    assert language_tokens("marian", "de") == [">>de<<", ">>deu<<", ">>deu_Latn<<"]
    assert ">>cmn_Hans<<" in language_tokens("marian", "zh")
    assert ">>ara<<" in language_tokens("marian", "ar")
