"""The hand-written corpus: every span is where it says, and nothing of the training rows is in it."""

from __future__ import annotations

import hashlib
import json
import unicodedata

import pytest

from xlir_bench.tasks import catalogue, tasks_folder

TASK = catalogue().get(["mini"])[0]
TRAIN = [
    json.loads(line)
    for line in (tasks_folder() / "mini-train.jsonl").read_text(encoding="utf-8").splitlines()
]
SCRIPTS = {
    "ar": "ARABIC",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "ru": "CYRILLIC",
    "th": "THAI",
    "zh": "CJK",
}


def paragraphs(lang: str) -> list[dict]:
    document = json.loads((tasks_folder() / f"mini/{lang}.json").read_text(encoding="utf-8"))
    return [paragraph for article in document["data"] for paragraph in article["paragraphs"]]


def in_script(lang: str, text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    native = sum(SCRIPTS.get(lang, "LATIN") in unicodedata.name(c, "") for c in letters)
    return native / len(letters) > 0.6


def normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@pytest.mark.parametrize("lang", TASK.languages)
class TestEachLanguage:
    def test_it_is_large_enough(self, lang):
        found = paragraphs(lang)
        assert len(found) >= 20
        assert all(4 <= len(p["sentences"]) <= 7 for p in found)
        assert sum(len(p["qas"]) for p in found) >= 60

    def test_every_answer_is_where_it_says(self, lang):
        for paragraph in paragraphs(lang):
            context = paragraph["context"]
            for (start, end), sentence in zip(
                paragraph["sentence_breaks"], paragraph["sentences"], strict=True
            ):
                assert context[start:end] == sentence
            for qa in paragraph["qas"]:
                for answer in qa["answers"]:
                    start = answer["answer_start"]
                    assert context[start : start + len(answer["text"])] == answer["text"]
                    inside = [s for s, e in paragraph["sentence_breaks"] if s <= start < e]
                    assert len(inside) == 1

    def test_it_is_written_in_its_own_script(self, lang):
        for paragraph in paragraphs(lang):
            assert all(in_script(lang, s) for s in paragraph["sentences"])
            assert all(in_script(lang, qa["question"]) for qa in paragraph["qas"])

    def test_the_task_states_its_size_and_digest(self, lang):
        stated = TASK.files[lang]
        content = (tasks_folder() / stated.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == stated.sha256
        assert len(content) == stated.bytes
        assert sum(len(p["qas"]) for p in paragraphs(lang)) == stated.queries
        assert sum(len(p["sentences"]) for p in paragraphs(lang)) == stated.candidates

    def test_no_text_stands_twice(self, lang):
        texts = [s for p in paragraphs(lang) for s in p["sentences"]]
        texts += [qa["question"] for p in paragraphs(lang) for qa in p["qas"]]
        assert len({normal(t) for t in texts}) == len(texts)

    def test_the_training_rows_share_no_text_with_it(self, lang):
        tested = {normal(s) for p in paragraphs(lang) for s in p["sentences"]}
        tested |= {normal(qa["question"]) for p in paragraphs(lang) for qa in p["qas"]}
        trained = {normal(row[side][lang]) for row in TRAIN for side in ("question", "answer")}
        assert not tested & trained


def test_translations_share_ids_and_answer_sentences():
    def answers(lang: str) -> dict[str, tuple[int, int]]:
        return {
            qa["id"]: (number, [s <= qa["answers"][0]["answer_start"] < e for s, e in p["sentence_breaks"]].index(True))
            for number, p in enumerate(paragraphs(lang))
            for qa in p["qas"]
        }  # fmt: skip

    english = answers("en")
    assert all(answers(lang) == english for lang in TASK.languages)


def test_the_training_rows_are_parallel_and_many():
    assert len(TRAIN) >= 120
    assert len({row["id"] for row in TRAIN}) == len(TRAIN)
    for row in TRAIN:
        assert row["dataset"] == "mini-train"
        for side in ("question", "answer"):
            assert sorted(row[side]) == sorted(TASK.languages)
            assert all(in_script(lang, text) for lang, text in row[side].items())
