"""Sparse rows and BM25 against plain computations."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval.test_vector_index import cut, cuts, rows, sizes
from scipy.sparse import csr_array, vstack
from worlds import plain_rows, random_world, text_collection

from xlir_bench.encoders.bm25 import BM25, terms
from xlir_bench.records import Collection, Relevance, Setting, Silent
from xlir_bench.retrieval import VectorIndex, Vectors, Want, lexical
from xlir_bench.retrieval.lexical import BM25Retriever
from xlir_bench.retrieval.similarity import Sparse


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    filled=st.sampled_from([0.0, 0.1, 0.5]),
    pieces=cuts,
)
def test_ranks_of_sparse_rows_are_those_of_a_full_stable_sort(
    seed, queries, passages, filled, pieces
) -> None:
    world = random_world(seed, queries, passages)
    rng = np.random.default_rng(seed)
    for vectors in world.vectors.values():
        # Eighths: sums of their products are exact in any order, and many are equal.
        vectors[:] = np.round(vectors * 2) / 8 * (rng.random(vectors.shape) < filled)
    index = VectorIndex.of(
        {k: Vectors.of(csr_array(v)) for k, v in world.vectors.items()}, Sparse()
    )
    with cut(*pieces[:4]):
        partials = index.search(world.wants(pair_depth=3), Silent())
    for found in (r for p in partials for r in p.rankings()):
        lang, there = found.setting.query_lang, found.setting.passage_langs
        pool = np.concatenate([world.vectors["passage", x] for x in there])
        scores = world.vectors["query", lang] @ pool.T
        order = np.argsort(-scores, axis=1, kind="stable")
        assert rows(found) == sorted(
            (q, p, g, int(np.flatnonzero(order[q] == p)[0]) + 1)
            for q, p, g, _ in plain_rows(world, found.setting)
        )
        if found.top is not None:
            scored = np.unique(found.query)
            assert (found.top == order[scored, : found.top.shape[1]]).all()


def test_terms_are_words() -> None:
    assert terms("Don't PANIC, it's 42!", "en") == ["don", "t", "panic", "it", "s", "42"]
    assert terms("Straße ﬁve", "de") == ["strasse", "five"]
    assert terms("हिन्दी में", "hi") == ["हिन्दी", "में"]
    assert terms("", "en") == terms("!? …", "zh") == []
    assert terms("Donau\u00addampf می\u200cخواهم", "de") == ["donaudampf", "میخواهم"]


def test_terms_of_a_language_without_spaces_are_pairs_of_characters() -> None:
    assert terms("北京大学 iPhone手机 a", "zh") == ["北京", "京大", "大学", "iphone", "手机", "a"]
    assert terms("ไทย กข ก", "th") == ["ไท", "ทย", "กข", "ก"]
    assert terms("ក\u200bខ", "km") == ["ក", "ខ"]
    assert terms("カタカナとひらがな", "ja")[:2] == ["カタ", "タカ"]
    assert terms("ﾗｰﾒﾝ 佐々木", "jpn") == ["ラー", "ーメ", "メン", "佐々", "々木"]
    for lang in ("zh-TW", "zho_Hans", "cmn", "yue_Hant", "ZH"):
        assert terms("北京大学", lang) == ["北京", "京大", "大学"]


@pytest.mark.parametrize("lang", ["en", "ko", "zu", "und", "a", ""])
def test_terms_of_any_other_language_are_unicode_words(lang) -> None:
    assert terms("Peking (北京大学)", lang) == ["peking", "北", "京", "大", "学"]
    assert terms("한국어 문장", lang) == ["한국어", "문장"]
    assert terms("ที่ดี", lang) == ["ที่", "ดี"]


def test_each_text_is_cut_by_its_own_language() -> None:
    """An English question with 北京 has its two characters, a Chinese one the pair: each finds its own language's."""
    same = {"en": ["京北", "北京"], "zh": ["京北", "北京"]}
    collection = all_judged(text_collection({"en": ["北京"], "zh": ["北京"]}, same))
    index = BM25Retriever(BM25()).represent(collection, Silent()).index
    for lang, best in (("en", [0, 1, 2, 3]), ("zh", [3, 0, 1, 2])):
        want = Want.of(collection, [Setting(lang, ("en", "zh"))], pool_depth=4)
        ((found,),) = (p.rankings() for p in index.search([want], Silent()))
        assert found.top.tolist() == [best]


def all_judged(collection: Collection) -> Collection:
    """The same, with the first passage of each language relevant to every question: only such are ranked."""
    relevance = {}
    for asked, queries in collection.queries.items():
        count = len(queries.ids)
        judged = Relevance(np.arange(count), np.zeros(count, int), np.ones(count, int))
        relevance |= {(asked, lang): judged for lang in collection.passages}
    return replace(collection, relevance=relevance)


def test_bm25_ranks_as_bm25s_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bm25s = pytest.importorskip("bm25s")
    monkeypatch.setattr(lexical, "TEXTS", 7)  # words are counted in several pieces
    rng = np.random.default_rng(5)
    words = [f"w{n}" for n in range(60)]
    texts = {
        lang: [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(40)] for lang in "ab"
    }
    asked = {"a": [" ".join(rng.choice([*words, "new"], 4)) for _ in range(15)]}
    collection = all_judged(text_collection(asked, texts))
    index = BM25Retriever(BM25()).represent(collection, Silent()).index
    for langs in (("a",), ("b",), ("a", "b")):
        passages = [terms(text, lang) for lang in langs for text in texts[lang]]
        theirs = bm25s.BM25(k1=1.5, b=0.75, method="lucene", dtype="float64")
        theirs.index(passages, show_progress=False)
        want = Want.of(collection, [Setting("a", langs)], pair_depth=80, pool_depth=80)
        ((found,),) = (p.rankings() for p in index.search([want], Silent()))
        assert np.unique(found.query).tolist() == list(range(15))
        for row, query in enumerate(np.unique(found.query)):
            known = [word for word in terms(asked["a"][query], "a") if word != "new"]
            scores = theirs.get_scores(known) if known else np.zeros(len(passages))
            assert scores[found.top[row]] == pytest.approx(found.top_scores[row], abs=1e-6, rel=0)
            assert (np.diff(scores[found.top[row]]) < 1e-6).all()


def test_a_question_that_shares_no_word_ranks_passages_in_pool_order() -> None:
    collection = all_judged(text_collection({"a": ["nothing", ""]}, {"a": ["one", "", "two"]}))
    represented = BM25Retriever(BM25()).represent(collection, Silent())
    want = Want.of(collection, [Setting("a", ("a",))], pair_depth=3)
    ((found,),) = (p.rankings() for p in represented.index.search([want], Silent()))
    assert found.top.tolist() == [[0, 1, 2]] * 2
    assert represented.tokens["query", "a"].unknown.tolist() == [1, 0]


@pytest.mark.skipif("XLIR_DATA" not in os.environ, reason="XLIR_DATA names no data")
def test_bm25_on_all_132_settings_of_xquad_r_against_sums_of_words() -> None:
    """Some 10 seconds: the 13,090 questions are each scored against every candidate, twice."""
    from xlir_bench.options.running import RunOptions
    from xlir_bench.sources import load_collection
    from xlir_bench.tasks import catalogue

    task = catalogue().get(["xquad-r"])[0]
    collection = load_collection(task, RunOptions(data=Path(os.environ["XLIR_DATA"])), Silent())
    index = BM25Retriever(BM25()).represent(collection, Silent()).index
    settings = task.settings(None, None)
    assert len(settings) == 132
    langs = collection.languages("query")
    asked = {x: tuple(s for s in settings if s.query_lang == x) for x in langs}
    wants = [Want.of(collection, asked[x]) for x in langs]
    found = {r.setting: r for p in index.search(wants, Silent()) for r in p.rankings()}
    words = {
        (role, x): [Counter(terms(text, x)) for text in collection.texts(role, x)]
        for role in ("query", "passage")
        for x in langs
    }
    known = dict.fromkeys(word for of in words.values() for text in of for word in text)
    columns = {word: number for number, word in enumerate(known)}
    counts = {of: counted(rows, columns) for of, rows in words.items()}
    for there in sorted({s.passage_langs for s in settings}):
        weights = plain_bm25(vstack([counts["passage", x] for x in there], format="csr"))
        for lang in langs:
            ranking = found[Setting(lang, there)]
            scores = (counts["query", lang] @ weights).toarray()
            assert (ranking.query == np.repeat(np.arange(1190), len(there))).all()  # one a language
            for which in range(len(there)):
                passage, rank = (x[which :: len(there)] for x in (ranking.passage, ranking.rank))
                true = scores[np.arange(1190), passage][:, None]
                # Scores that differ by less than rounding may stand either way round.
                assert (rank > np.count_nonzero(scores > true + 1e-6, axis=1)).all()
                assert (rank <= np.count_nonzero(scores > true - 1e-6, axis=1)).all()


def counted(texts: list[Counter[str]], columns: dict[str, int]) -> csr_array:
    """A row a text: how often it has each word."""
    ends = np.cumsum([0, *map(len, texts)])
    column = [columns[word] for text in texts for word in text]
    times = [float(tf) for text in texts for tf in text.values()]
    return csr_array((times, column, ends), shape=(len(texts), len(columns)))


def plain_bm25(counts: csr_array) -> csr_array:
    """The formula, for every word of every passage: a row a word, a column a passage."""
    tf, word = counts.data, counts.indices
    number = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    sizes = np.bincount(number, tf, minlength=counts.shape[0])
    having = np.bincount(word, minlength=counts.shape[1])
    idf = np.log(1 + (len(sizes) - having + 0.5) / (having + 0.5))
    share = 1 - 0.75 + 0.75 * sizes / sizes.mean()
    weights = idf[word] * tf / (tf + 1.5 * share[number])
    return csr_array((weights, (word, number)), shape=counts.shape[::-1])
