"""Misses and their classes, on a world made by hand and on `mini` by another computation."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from stored import mini_results

import xlir_bench as xb
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Passages, Queries, Ranking, Setting, Silent
from xlir_bench.rendering.document import Lines, Listing
from xlir_bench.reports.diagnose import diagnosis_blocks, diagnosis_record
from xlir_bench.reports.misses import CLASSES, OF_TEXTS, Limits, diagnose
from xlir_bench.results import Result
from xlir_bench.results.tables import best_table, ranks_table
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

LIMITS = Limits(rank=3)
ANSWER = "the bells of the old church were cast in a pit"
QUESTION = "who cast the bells of the old church"
PASSAGES = {
    # 0: the answer; 1: a sentence of its paragraph; 2: of another article; 3: with the answer's text;
    # 4: with the question's words; others: anything.
    "de": ("0:0", "0:1", "1:0", "2:0", "3:0", *(f"9:{n}" for n in range(6))),
    "en": ("0:0", "0:1", "1:0", "2:0", "3:0", *(f"9:{n}" for n in range(6))),
}
ENGLISH = [ANSWER, "it is tall", "honey is sweet", f"{ANSWER}, they say", f"{QUESTION} is asked"]
LANGS = list(PASSAGES)
OFFSET = {"de": 0, "en": len(PASSAGES["de"])}


def de(*rows: int) -> list[int]:
    return list(rows)


def en(*rows: int) -> list[int]:
    return [OFFSET["en"] + row for row in rows]


ORDERS = {
    # The English answer (position en(0)) is never among the three best; the German one is first.
    "own language": ([*de(0, 6, 7), *en(0)], "de"),
    "language below": ([*de(0), *en(5, 6), *en(0)], "de"),
    "near duplicate": ([*de(0), *en(3, 5, 6, 7), *en(0)], "en"),
    "lexical neighbour": ([*de(0), *en(4, 5, 6, 7), *en(0)], "en"),
    "topical neighbour": ([*de(0), *en(1, 5, 6, 7), *en(0)], "en"),
    "lost": ([*de(0), *en(2, 5, 6, 7), *en(0)], "en"),
}
"""By class: the best passages of the pool, and the language of the question. Others follow in pool order."""


def world(orders: dict[str, tuple[list[int], str]]) -> tuple[Result, Collection]:
    """A result of questions whose answers are passage 0 of both languages, ranked as is stated."""
    by_lang = {lang: [name for name, (_, of) in orders.items() if of == lang] for lang in LANGS}
    collection = Collection(
        {
            lang: Queries(tuple(names), [QUESTION] * len(names), ("church",) * len(names))
            for lang, names in by_lang.items()
        },
        {
            lang: Passages(
                tuple(f"{lang}:{name}" for name in names),
                [*ENGLISH, *(f"nothing {n}" for n in range(6))]
                if lang == "en"
                else [f"{n} anders" for n in range(11)],
            )
            for lang, names in PASSAGES.items()
        },
        {},
        "article",
        True,
        {},
    )
    rankings = []
    for lang, names in [item for item in by_lang.items() if item[1]]:
        whole = [
            order + [n for n in range(22) if n not in order] for order in (orders[name][0] for name in names)
        ]  # fmt: skip
        for there in (("de",), ("en",), ("de", "en")):
            rows = [
                [n - (OFFSET[there[0]] if len(there) == 1 else 0) for n in order
                 if len(there) == 2 or (n >= 11) == (there[0] == "en")]
                for order in whole
            ]  # fmt: skip
            relevant = [0, 11] if len(there) == 2 else [0]
            query = np.repeat(np.arange(len(names)), len(relevant))
            passage = np.tile(relevant, len(names))
            rank = np.array([rows[q].index(p) + 1 for q, p in zip(query, passage, strict=True)])
            rankings.append(
                Ranking(Setting(lang, there), len(rows[0]) if rows else 0, query, passage,
                        np.ones(len(query), np.int64), rank.astype(np.int64), np.array(rows).reshape(len(names), -1))
            )  # fmt: skip
    record = Result.load(mini_results() / "builtin-ngram" / "mini").record
    tables = {name: make(rankings, collection) for name, make in {"ranks": ranks_table, "best": best_table}.items()}  # fmt: skip
    return Result(record, tables), collection


def classes(found) -> dict[str, int]:
    return {name: found.count(name) for name in CLASSES if found.count(name)}


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_what_was_made(name: str) -> None:
    result, collection = world({name: ORDERS[name]})
    assert classes(diagnose(result, collection, LIMITS)) == {name: 1}


def test_an_answer_in_the_questions_language_is_not_outranked_by_its_own() -> None:
    """Of the best three two are English; the English answer is the third of its language, the fourth of all."""
    result, collection = world({"mine": ([*en(5, 6), *de(0), *en(0)], "en")})
    assert classes(diagnose(result, collection, LIMITS)) == {"language below": 1}


def test_all_together_each_occurs_once_with_an_example() -> None:
    result, collection = world(ORDERS)
    found = diagnose(result, collection, LIMITS)
    assert classes(found) == dict.fromkeys(CLASSES, 1)
    for name, (example,) in found.examples.items():
        assert (example.query_id, example.answer_id) == (name, "en:0:0")
        assert example.texts is not None
        assert example.texts[0] == QUESTION
    assert found.examples["near duplicate"][0].instead == "en:2:0"
    assert found.misses["de", "en"]["own language"] == found.misses["en", "en"]["lost"] == 1
    assert found.relevant["de", "en"] == 2


def test_without_texts_two_classes_are_not_judged_and_their_misses_move_on() -> None:
    result, _ = world(ORDERS)
    found = diagnose(result, "no data here", LIMITS)
    assert found.not_judged == dict.fromkeys(
        ("near duplicate", "lexical neighbour"), "no data here"
    )
    assert found.count("lost") == 3
    assert found.count() == len(CLASSES)
    assert diagnosis_record(result, found)["classes"]["near duplicate"] is None


def test_without_texts_lines_end_at_what_is_known_and_a_reason_is_said_once() -> None:
    result, _ = world(ORDERS)
    found = diagnose(result, "no data here", LIMITS)
    blocks = diagnosis_blocks(result, found, shortened=True)
    shown = [line for block in blocks if isinstance(block, Lines) for line in block.lines]
    assert [line for line in shown if line.startswith("  en lost")] == ["  en lost"]
    assert any(line.startswith("    instead en:2:0") for line in shown)
    assert all(line == line.rstrip(": ") for line in shown if line.startswith(" "))
    (notes,) = (block for block in blocks if isinstance(block, Listing))
    assert len(notes.items) == 1
    assert all(word in notes.items[0] for word in (*OF_TEXTS, "no data here"))


def test_without_best_passages_it_says_what_to_run() -> None:
    result, collection = world(ORDERS)
    found = diagnose(Result(result.record, {"ranks": result.tables["ranks"]}), collection, LIMITS)
    (example, _) = found.examples["language below"]
    assert example.instead is None
    assert example.texts == (QUESTION, ANSWER, "")
    assert classes(found) == {"language below": 2, "lost": 4}
    assert "run again" in found.not_judged["own language"]


def test_no_other_run_is_asked_for_where_it_would_not_help() -> None:
    alone = xb.evaluate("mini", "builtin:ngram", xb.RunOptions(cache=None, langs=("de",)))
    reasons = diagnose(alone).not_judged
    assert [x for x in CLASSES if "run again" in reasons.get(x, "")] == ["topical neighbour"]
    assert reasons["own language"] == reasons["language below"]


def test_one_question_without_a_miss_has_no_class() -> None:
    result, collection = world({"all": ([*en(0), *de(0)], "en")})
    found = diagnose(result, collection, LIMITS)
    assert found.count() == 0
    assert diagnosis_record(result, found)["misses"] == 0


def test_answers_beyond_the_rank_are_none_missed_where_there_are_more_answers_than_that() -> None:
    result, collection = world({"two": ([*en(0), *de(0)], "en")})
    assert diagnose(result, collection, replace(LIMITS, rank=1)).count() == 0


def plain(result: Result, collection: Collection, rank: int) -> Counter[tuple[str, str, str]]:
    """The classes of `mini`, one miss after the other, from the tables as rows."""
    ranks = result.table("ranks").to_pandas().astype({"query_lang": str, "passage_lang": str})
    best = result.table("best").to_pandas().astype({"query_lang": str, "passage_lang": str})
    pool = ranks[ranks["kind"] == "multilingual"]
    alone = {
        (r.query_lang, r.query_id, r.passage_id): r.rank
        for r in ranks[ranks["kind"] != "multilingual"].itertuples()
    }
    text = {
        name: passage
        for of_lang in collection.passages.values()
        for name, passage in zip(of_lang.ids, of_lang.texts, strict=True)
    }
    topic: dict[str, set[str]] = {}
    for r in ranks.itertuples():
        topic.setdefault(":".join(r.passage_id.split(":")[:2]), set()).add(r.cluster)

    @cache
    def pieces(string: str) -> set[str]:
        string = " ".join(string.lower().split())
        size = (
            2 if any("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" for c in string) else 3
        )
        return {string[i : i + size] for i in range(len(string) - size + 1)}

    def share(one: str, other: str) -> float:
        return len(pieces(one) & pieces(other)) / len(pieces(one)) if len(pieces(one)) >= 8 else 0

    counted: Counter[tuple[str, str, str]] = Counter()
    lists = {key: rows.sort_values("rank").head(rank) for key, rows in best.groupby(["query_lang", "query_id"])}  # fmt: skip
    for (lang, query), answers in pool.groupby(["query_lang", "query_id"]):
        top = lists[lang, query]
        wrong = top[~top["passage_id"].isin(answers["passage_id"])]
        questions = collection.queries[lang]
        question = questions.texts[questions.ids.index(query)]
        for answer in answers.itertuples():
            if answer.rank <= max(rank, len(answers)):
                continue
            if alone[lang, query, answer.passage_id] <= rank:
                own = (top["passage_lang"] == lang).mean() >= 0.5 and answer.passage_lang != lang
                name = "own language" if own else "language below"
            elif any(
                share(text[other.passage_id], text[w.passage_id]) >= 0.8
                for w in wrong.itertuples()
                for other in answers.itertuples()
                if other.passage_lang == w.passage_lang
            ):
                name = "near duplicate"
            else:
                first = wrong["passage_id"].iloc[0]
                shared = share(question, text[first])
                lexical = shared >= 0.5 and shared > share(question, text[answer.passage_id])
                topical = answer.cluster in topic.get(":".join(first.split(":")[:2]), ())
                name = (
                    "lexical neighbour" if lexical else "topical neighbour" if topical else "lost"
                )
            counted[lang, answer.passage_lang, name] += 1
    return counted


def test_mini_is_what_a_plain_computation_says() -> None:
    options = xb.RunOptions(cache=None, langs=("de", "en", "zh"))
    result = xb.evaluate("mini", "builtin:ngram", options)
    (task,) = catalogue().get(["mini"])
    collection = load_collection(task, options, Silent())
    found = diagnose(result, collection, LIMITS)
    counts = Counter({
        (*pair, name): count
        for pair, by_class in found.misses.items()
        for name, count in by_class.items()
        if count
    })  # fmt: skip
    assert counts == plain(result, collection, LIMITS.rank)
    assert len({name for *_, name in counts}) >= 4


def test_ties_are_ranked_as_they_were_stored() -> None:
    constant = xb.evaluate(
        "mini", lambda texts, _role: np.ones((len(texts), 4)), xb.RunOptions(cache=None, langs=("de", "en"))
    )  # fmt: skip
    found = diagnose(constant)
    ranks = constant.table("ranks").to_pandas()
    assert found.count() == ((ranks["kind"] == "multilingual") & (ranks["rank"] > 20)).sum()


def test_where_answers_are_looked_for_nothing_is_missed_by_rank() -> None:
    result, _ = world(ORDERS)
    with pytest.raises(InputError, match="judges no passages"):
        diagnose(Result(result.record, {"ranks": result.tables["ranks"].slice(0, 0)}))


def test_the_documented_limits_and_classes_are_those_that_decide() -> None:
    text = (Path(__file__).parents[2] / "docs" / "diagnose.md").read_text("utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", text, re.MULTILINE))
    assert {name: float(value) for name, value in stated.items()} == asdict(Limits())
    for name, (part, when) in CLASSES.items():
        assert f"| {name} | {part} | {when} |" in text
