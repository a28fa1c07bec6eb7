"""A re-ranked run against the first stage's full order and the library's own scores, re-ordered by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import Plain, Signs, mini_files, small
from models import save_tiny_cross_encoder

from xlir_bench import EncoderOptions, Result, RunOptions, evaluate
from xlir_bench.errors import InputError
from xlir_bench.evaluation import as_retriever
from xlir_bench.records import Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

LIMIT = 2
ENCODERS = Path(__file__).parents[1] / "executor" / "encoders.py"


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("models") / "cross", positions=48)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs share the scores of pairs."""
    return tmp_path_factory.mktemp("cache")


def reranked(folder: Path, depth: int, **options: Any) -> Result:
    how = EncoderOptions(rerank=str(folder), rerank_depth=depth, device="cpu")
    return evaluate("mini", Signs(), small(limit=LIMIT, **options), encoder_options=how)


@pytest.fixture(scope="module")
def texts() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Questions and sentences by language."""
    (task,) = catalogue().get(["mini"])
    read = load_collection(task, small(limit=LIMIT), Silent())
    return (
        {lang: list(read.queries[lang].texts) for lang in ("de", "en")},
        {lang: list(read.passages[lang].texts) for lang in ("de", "en")},
    )


@pytest.mark.parametrize("depth", [1, 10, 1000])
def test_ranks_equal_a_plain_computation(
    cross_encoder: Path, cache: Path, texts: Any, depth: int
) -> None:
    from sentence_transformers import CrossEncoder

    model, plain = CrossEncoder(str(cross_encoder), device="cpu"), Plain(mini_files(), Signs())
    langs = ("de",) if depth == 1000 else ("de", "en")
    result = reranked(cross_encoder, depth, cache=cache, langs=langs)
    assert len(result.record.settings) == {1: 1, 2: 6}[len(langs)]
    ranks = result.tables["ranks"].to_pandas()
    for setting in result.record.settings:
        asked, passage_langs = setting.query_lang, setting.passage_langs
        passages = [text for lang in passage_langs for text in texts[1][lang]]
        first = plain._scores(asked, passage_langs)
        answers = plain._answers(asked, passage_langs)
        for row, question in enumerate(texts[0][asked]):
            order = np.argsort(-first[row], kind="stable")
            head = order[:depth]
            scores = model.predict([(question, passages[p]) for p in head])
            here = ranks[
                (ranks.kind == setting.kind.value)
                & (ranks.query_lang == asked)
                & (ranks.query_id == plain.ids[asked][row])
                & ranks.passage_lang.isin(passage_langs)
            ]
            found = dict(zip(here.passage_lang, here["rank"], strict=True))
            for lang, answer in zip(passage_langs, answers[row], strict=True):
                place = int(np.flatnonzero(order == answer)[0])
                if place >= depth:
                    assert found[lang] == place + 1
                    continue
                # In another batch a score differs in its last bits.
                apart = scores - scores[place]
                assert 1 + (apart > 1e-6).sum() <= found[lang] <= (apart > -1e-6).sum()


def test_after_an_index_that_finds_all_ranks_are_those_after_exact_search(
    cross_encoder: Path, cache: Path
) -> None:
    exact, found = (
        reranked(cross_encoder, 10, cache=cache, index=x) for x in ("Flat", "IVF1,Flat")
    )
    assert found.record.settings == exact.record.settings
    part = found.record.profile.index
    assert part is not None
    assert {*part.recall_of_exact_top100.values()} == {1.0}
    assert part.depth == 1000
    deep = reranked(cross_encoder, 1500, cache=cache, index="IVF1,Flat", langs=("de",))
    assert deep.record.profile.index.depth == 1500
    assert {*part.map_difference.values()} == {0.0}
    (told,) = (note for note in found.record.notes if "the best 10: " in note)
    assert told in exact.record.notes


def test_what_faiss_does_not_find_no_reranker_finds(tmp_path: Path) -> None:
    """Against the list of FAISS, ordered anew by the length of the passages."""
    options = small(cache=tmp_path, langs=("de", "en"), index="IVF16,Flat", save_run=100)
    how = {"rerank": f"py:{ENCODERS}:lengths", "rerank_depth": 10}
    first = evaluate("mini", "builtin:ngram", options)
    both = evaluate("mini", "builtin:ngram", options, encoder_options=EncoderOptions(**how))
    (task,) = catalogue().get(["mini"])
    passages = load_collection(task, options, Silent()).passages.values()
    length = {i: len(t) for of in passages for i, t in zip(of.ids, of.texts, strict=True)}
    keys = ["query_lang", "passage_lang", "query_id"]
    before, after = (x.table("run").to_pandas() for x in (first, both))
    assert len(before) == len(after)
    lists = dict(iter(before.groupby(keys)["passage_id"]))
    for key, found in after.groupby(keys)["passage_id"]:
        listed = lists[key].tolist()
        head = sorted(listed[:10], key=lambda i: -length[i])
        assert found.tolist() == head + listed[10:]
    ranks = [x.table("ranks").to_pandas()["rank"].to_numpy() for x in (first, both)]
    assert (ranks[0] == 0).any(), "an index that finds all shows nothing"
    assert ((ranks[0] == 0) == (ranks[1] == 0)).all()
    far = ranks[0] > 10
    assert (ranks[0][far] == ranks[1][far]).all()


def test_measures_are_those_of_the_librarys_own_evaluator(
    cross_encoder: Path, cache: Path, texts: Any
) -> None:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    plain = Plain(mini_files(), Signs())
    samples = []
    for row, question in enumerate(texts[0]["de"]):
        order = np.argsort(-plain._scores("de", ["de"])[row], kind="stable")
        right = texts[1]["de"][int(plain._answers("de", ["de"])[row, 0])]
        documents = [texts[1]["de"][p] for p in order]
        samples.append({"query": question, "positive": [right], "documents": documents})
    evaluator = CrossEncoderRerankingEvaluator(samples, write_csv=False)
    theirs = evaluator(CrossEncoder(str(cross_encoder), device="cpu"))
    measures = ("map", "mrr@10", "ndcg@10")
    result = reranked(cross_encoder, 1000, cache=cache, langs=("de",), measures=measures)
    (setting,) = result.record.settings
    for measure in measures:
        assert setting.measures[measure] == pytest.approx(theirs[measure], abs=1e-6)
        assert theirs[f"base_{measure}"] != pytest.approx(theirs[measure], abs=1e-6)


def test_the_result_says_both_and_what_cannot_be_lifted(cross_encoder: Path, cache: Path) -> None:
    result = reranked(cross_encoder, 10, cache=cache)
    encoder = result.record.encoder
    assert (encoder.name, encoder.kind) == ("signs > cross", "reranked")
    assert encoder.slug.startswith("signs-55555555--cross-")
    assert encoder.options is not None
    assert (encoder.options.rerank, encoder.options.rerank_depth) == (str(cross_encoder), 10)
    how = r"\b10 of signs .*\bcross \(float32, .*\b48 tokens"
    assert any(re.search(how, note) for note in result.record.notes)
    # Re-ordering is within the best: recall there is that of the first stage.
    held = {kind: figures["recall@10"].mean for kind, figures in result.record.summary.items()}
    told = ", ".join(f"{share:.1%} ({kind})" for kind, share in held.items())
    assert any(f"best 10: {told};" in note for note in result.record.notes)
    other = reranked(cross_encoder, 11, cache=cache)
    assert other.record.encoder.slug != encoder.slug
    for name, several in (
        ("builtin:ngram", {"fuse": ("builtin:bm25",)}),
        ("builtin:ngram", {"fuse": ("builtin:bm25",), "rerank": str(cross_encoder)}),
        ("builtin:bm25", {"rerank": str(cross_encoder)}),
    ):
        with pytest.raises(InputError, match="--index 'IVF1,Flat'"):
            # Before anything is encoded.
            as_retriever(name, EncoderOptions(**several), RunOptions(index="IVF1,Flat"))
    with pytest.raises(InputError, match="--rerank-depth"):
        evaluate("mini", Signs(), encoder_options=EncoderOptions(rerank_depth=7))
