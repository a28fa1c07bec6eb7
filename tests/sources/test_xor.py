from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from evaluation.plain import Signs
from sources.layouts import write_xor

from xlir_bench import Kind, RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

QUESTIONS = [
    {"id": "1", "question": "Mikä on?", "answers": ["Portland", "Portland", "yes"], "lang": "fi"},
    {"id": "2", "question": "Onko?", "answers": ["yes", "no"], "lang": "fi"},
    {"id": "3", "question": "何ですか", "answers": ['a "quoted" answer'], "lang": "ja"},
]
PASSAGES = [
    ("1", 'The port, "a quoted" one', "Ports"),
    ("2", "Portland is a city", "Portland"),
    ("3", "Nothing to see", "Ports"),
]


def read(root: Path, langs: tuple[str, ...] = ("fi", "ja"), **request: Any) -> Collection:
    (task,) = catalogue().get(["xor-retrieve"])
    wanted = RunOptions(data=root, cache=root / "cache", langs=langs, **request)
    return load_collection(task, wanted, Silent())


def test_questions_of_each_language_are_asked_of_the_english_passages(tmp_path: Path) -> None:
    found = read(write_xor(tmp_path, QUESTIONS, PASSAGES))
    assert found.queries["fi"].ids == ("1", "2")
    assert found.queries["ja"].texts == ("何ですか",)
    assert list(found.passages) == ["en"]
    assert list(found.passages["en"].ids) == ["en:1", "en:2", "en:3"]
    assert found.passages["en"].texts[0] == 'Ports The port, "a quoted" one'


def test_answers_are_looked_for_in_the_text_without_its_title(tmp_path: Path) -> None:
    found = read(write_xor(tmp_path, QUESTIONS, PASSAGES))
    assert list(found.bodies("en")) == [text for _, text, _ in PASSAGES]


def test_yes_and_no_are_no_answers_and_a_question_without_others_is_not_scored(
    tmp_path: Path,
) -> None:
    found = read(write_xor(tmp_path, QUESTIONS, PASSAGES))
    assert found.answers["fi"] == [("Portland",), ()]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"questions": ["{"]}, "line 1: is not JSON"),
    "half": ({"questions": ['{"id": "\\ud800"}']}, "line 1: holds half a char"),
    "no answers": ({"questions": [{**QUESTIONS[0], "answers": "x"}]}, "'answers' is missing"),
    "no language": ({"questions": [{"id": "1", "question": "x"}]}, "'lang' is missing or no text"),
    "an id twice": ({"questions": [*QUESTIONS, QUESTIONS[0]]}, "'1' is the id of an earlier line"),
    "only yes": ({"questions": [QUESTIONS[1], QUESTIONS[2]]}, "no question of 'fi' has an answer"),
    "two cells": (
        {"passages": [("1", "text")]},
        "line 2: wants id, text, title between tabs, has 2",
    ),
    "an empty text": (
        {"passages": [*PASSAGES, ("4", " ", "x")]},
        "line 5: the id or the text is empty",
    ),
    "a passage twice": ({"passages": [*PASSAGES, PASSAGES[0]]}, "'1' is the id of more than one"),
    "no passage": ({"passages": []}, "there is no passage in it"),
}


@pytest.mark.parametrize(("changed", "message"), FAULTS.values(), ids=FAULTS)
def test_a_bad_file_is_one_message_that_says_where(
    tmp_path: Path, changed: Any, message: str
) -> None:
    root = write_xor(tmp_path, **{"questions": QUESTIONS, "passages": PASSAGES} | changed)
    with pytest.raises(InputError) as caught:
        read(root)
    assert message in str(caught.value)


def test_faults_of_questions_and_of_passages_are_one_message(tmp_path: Path) -> None:
    root = write_xor(tmp_path, ["{"], [("1", "", "Ports")])
    with pytest.raises(InputError) as caught:
        read(root)
    assert "line 1: is not JSON" in str(caught.value)
    assert "line 2: the id or the text is empty" in str(caught.value)


def test_no_empty_corpus_is_kept_where_questions_have_faults(tmp_path: Path) -> None:
    for questions in (["{"], QUESTIONS):
        with pytest.raises(InputError, match="there is no passage in it"):
            read(write_xor(tmp_path, questions, []))


def test_questions_may_be_in_the_language_of_the_passages(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "tasks" / "xor-retrieve.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^queries = .*\n", "", text)
    text = re.sub(r"(?m)^languages = .*", 'languages = ["en", "fi"]', text)
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "own-xor.toml").write_text(text.replace('"xor-retrieve"', '"own-xor"'), "utf-8")
    (task,) = catalogue(folder).get(["own-xor"])
    english = {"id": "4", "question": "Where?", "answers": ["Portland"], "lang": "en"}
    root = write_xor(tmp_path / "data", [*QUESTIONS, english], PASSAGES)
    loaded = load_collection(task, RunOptions(data=root, cache=tmp_path / "cache"), Silent())
    assert list(loaded.queries) == ["en", "fi"]
    assert loaded.queries["en"].texts == ("Where?",)
    assert list(loaded.passages["en"].ids) == ["en:1", "en:2", "en:3"]


def test_a_limit_on_passages_is_said_loudly(tmp_path: Path) -> None:
    found = read(write_xor(tmp_path, QUESTIONS, PASSAGES), corpus_limit=2)
    assert len(found.passages["en"].ids) == 2
    assert any(re.match(r"[A-Z ]+: .*\b2\b.*\ben\b", note) for note in found.notes)


class Oracle:
    """Knows which passage each question wants first: the one whose number its text ends with."""

    name, fingerprint, dimension = "oracle", "sha256:" + "7" * 64, 64

    def encode(self, texts: Any, role: str) -> Any:
        import numpy as np

        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in enumerate(texts):
            rows[row, int(text.rsplit(" ", 1)[1]) % 64] = 1
        return rows


def test_real_questions_score_what_is_known_by_hand(xlir_data: Path, tmp_path: Path) -> None:
    """Passage n holds the answers of the questions that want it, behind so many tokens that one budget
    reaches them and the other does not."""
    source = xlir_data / "xor" / "xor_dev_retrieve_eng_span_v1_1.jsonl"
    real = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    assert len(real) == 2110
    spans = [[a for a in q["answers"] if a not in ("yes", "no")] for q in real]
    # By turns: the answer at once; behind 3,000 tokens; behind 6,000; not there.
    before = {0: 0, 1: 3000, 2: 6000}
    questions = [{**q, "question": f"{q['question']} {n}"} for n, q in enumerate(real)]
    wanted: dict[int, list[str]] = {n: [] for n in range(64)}
    for n, span in enumerate(spans):
        if span and n % 64 % 4 != 3:
            wanted[n % 64].append(span[0].replace("\\t", " "))
    passages = [
        (str(n), "x " * before.get(n % 4, 0) + " ; ".join(wanted[n]) + " end", f"t {n}")
        for n in range(64)
    ]
    # The encoder sees title and text; the number it goes by has to stand last.
    passages = [(name, f"{text} {name}", "t") for name, text, _ in passages]
    root = write_xor(tmp_path, questions, passages)
    options = RunOptions(data=root, cache=tmp_path / "cache")
    result = evaluate("xor-retrieve", Oracle(), options)

    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenize = NLTKWordTokenizer().tokenize
    tokens_of = [tokenize(text) for _, text, _ in passages]
    by_lang: dict[str, dict[int, list[bool]]] = {}
    for n, (question, span) in enumerate(zip(real, spans, strict=True)):
        if not span:
            continue
        mine = n % 64
        tokens: list[str] = []
        for passage in [mine, *(i for i in range(64) if i != mine)]:
            tokens += tokens_of[passage]
            if len(tokens) >= 5000:
                break
        for budget in (2000, 5000):
            seen = " ".join(tokens[:budget])
            hits = by_lang.setdefault(question["lang"], {2000: [], 5000: []})[budget]
            hits.append(any(answer in seen for answer in span))
    assert sum(len(hits[2000]) for hits in by_lang.values()) == 2110 - 182
    for setting in result.record.settings:
        hits = by_lang[setting.query_lang]
        assert setting.queries == len(hits[2000])
        for measure, budget in (("recall@2kt", 2000), ("recall@5kt", 5000)):
            assert setting.measures[measure] == pytest.approx(sum(hits[budget]) / setting.queries)
        assert 0 < setting.measures["recall@2kt"] < setting.measures["recall@5kt"] < 1
    mean = result.summary[Kind.CROSS_LINGUAL]["recall@2kt"].mean
    rates = [sum(hits[2000]) / len(hits[2000]) for hits in by_lang.values()]
    assert mean == pytest.approx(sum(rates) / len(rates))
    assert any(re.match(r"182 .*\byes\b.*\bno\b", n) for n in result.record.notes)


def test_measures_of_judged_passages_are_refused(tmp_path: Path) -> None:
    root = write_xor(tmp_path, QUESTIONS, PASSAGES)
    options = RunOptions(langs=("fi",), data=root, cache=tmp_path / "cache", measures=("map",))
    with pytest.raises(InputError, match=r"^map\b.*--measures.*recall@2kt"):
        evaluate("xor-retrieve", Signs(), options)


def test_measures_of_answers_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match=r"^recall@2kt\b.*--measures.*\bmap\b"):
        evaluate("mini", Signs(), RunOptions(langs=("en",), cache=None, measures=("recall@2kt",)))


def test_two_encoders_are_compared_and_gated_by_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    questions = [
        {"id": str(n), "question": f"kuka on {n}", "answers": [f"answer {n}"], "lang": lang}
        for lang in ("fi", "ja")
        for n in range(40)
    ]
    passages = [(str(n), f"kuka on {n} " + "x " * 400 + f"answer {n}", "t") for n in range(40)]
    write_xor(tmp_path, questions, passages)
    args = ["--task", "xor-retrieve", "--langs", "fi,ja", "--data", str(tmp_path), "--quiet"]
    models = ["--model", "builtin:ngram", "--model", "builtin:random"]
    assert exit_code(["run", *models, *args, "--output", str(tmp_path / "results")]) == 0
    (good,), (bad,) = (
        list((tmp_path / "results" / name).iterdir())
        for name in ("builtin-ngram", "builtin-random")
    )
    assert exit_code(["compare", str(good), str(bad)]) == 0
    assert "XOR-Retrieve: recall@2kt" in capsys.readouterr().out
    assert exit_code(["gate", "--baseline", str(good), "--candidate", str(good)]) == 0
    assert exit_code(["gate", "--baseline", str(good), "--candidate", str(bad)]) == 1
    assert "recall@2kt, cross-lingual" in capsys.readouterr().out
