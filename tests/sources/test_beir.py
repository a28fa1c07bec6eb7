from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from evaluation.plain import Signs, settings_of

import xlir_bench as xb
from xlir_bench import RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

CORPUS = [
    {"_id": "d1", "title": "Bees", "text": "Bees dance."},
    {"_id": "d2", "title": "", "text": "Salt is white."},
    {"_id": "d3", "text": "Snow falls."},
]
QUERIES = [
    {"_id": "q1", "text": "Who dances?"},
    {"_id": "q2", "text": "What is white?"},
    {"_id": "q3", "text": "Of the training split"},
]
QRELS = [("q2", "d2", 2), ("q1", "d1", 1), ("q2", "d3", 1), ("q1", "d3", 0)]


def folder_of(
    parent: Path,
    corpus: list[Any] = CORPUS,
    queries: list[Any] = QUERIES,
    qrels: list[Any] = QRELS,
    name: str = "Our Docs",
) -> Path:
    folder = parent / name
    (folder / "qrels").mkdir(parents=True)
    for file, rows in (("corpus", corpus), ("queries", queries)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{file}.jsonl").write_text("\n".join(lines), "utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def read(folder: Path, langs: tuple[str, ...] | None = None, **request: Any) -> Collection:
    (task,) = catalogue().get([f"beir:{folder}"], langs)
    found = RunOptions(data=None, cache=folder / "none", **{"langs": langs} | request)
    return load_collection(task, found, Silent())


def test_judged_queries_are_asked_of_the_whole_corpus(tmp_path: Path) -> None:
    found = read(folder_of(tmp_path))
    assert found.queries["und"].ids == ("q1", "q2")
    assert found.passages["und"].ids == ("und:d1", "und:d2", "und:d3")
    assert found.passages["und"].texts == ("Bees Bees dance.", "Salt is white.", "Snow falls.")
    rows = found.relevance["und", "und"]
    assert rows.query.tolist() == [0, 1, 1]
    assert rows.passage.tolist() == [0, 1, 2]
    assert rows.grade.tolist() == [1, 2, 1]
    assert not found.parallel
    assert set(found.digests) == {"corpus.jsonl", "queries.jsonl", "qrels/test.tsv"}


def test_the_task_is_named_by_its_folder_and_the_language_by_langs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (task,) = catalogue().get([f"beir:{folder}"], ["sw"])
    assert (task.name, task.languages, task.kinds) == ("our-docs", ["sw"], [Kind.MONOLINGUAL])
    assert read(folder, ("sw",), limit=1).queries["sw"].ids == ("q1",)
    with pytest.raises(InputError, match=r"^beir:.*--langs.*\bde, en$"):
        catalogue().get([f"beir:{folder}"], ["de", "en"])


def test_rows_may_name_their_language(tmp_path: Path) -> None:
    corpus = [
        row | {"language": lang} for row, lang in zip(CORPUS, ["en", "en", "de"], strict=True)
    ]
    queries = [
        row | {"language": lang} for row, lang in zip(QUERIES, ["de", "en", "en"], strict=True)
    ]
    folder = folder_of(tmp_path, corpus, queries)
    found = read(folder)
    assert found.queries["de"].ids == ("q1",)
    assert found.passages["de"].ids == ("de:d3",)
    pairs = {pair: rows.passage.tolist() for pair, rows in found.relevance.items()}
    assert pairs == {("de", "en"): [0], ("en", "en"): [1], ("en", "de"): [0]}
    part = read(folder, ("en",))
    assert part.languages("query") == part.languages("passage") == ["en"]
    assert part.relevance["en", "en"].passage.tolist() == [1]


@pytest.mark.parametrize(("corpus", "queries", "langs", "told"), [
    ([None, "en", "en"], [None] * 3, None, "corpus.jsonl: line 2: 'language' is 'en', but the first"),
    (["en", None, "de"], ["en", "de", "en"], None, "corpus.jsonl: line 2: 'language' is missing"),
    (["en", "en", ""], ["en", "en", "en"], None, "corpus.jsonl: line 3: 'language' is missing"),
    ([None] * 3, ["de", "en", "en"], ("en",), "queries.jsonl: line 1: 'language' is 'de'"),
    ([None] * 3, ["de", "en", "en"], None, "queries.jsonl: line 1: 'language' is 'de'"),
])  # fmt: skip
def test_rows_in_languages_that_the_corpus_does_not_have_are_faults(
    tmp_path: Path, corpus: Any, queries: Any, langs: Any, told: str
) -> None:
    tagged = [
        [row | ({} if x is None else {"language": x}) for row, x in zip(rows, of, strict=True)]
        for rows, of in ((CORPUS, corpus), (QUERIES, queries))
    ]
    with pytest.raises(InputError, match=re.escape(told)):
        read(folder_of(tmp_path, *tagged), langs)


def test_a_language_under_another_key_is_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [row | {"lang": "en"} for row in CORPUS])
    with pytest.raises(InputError, match=r"'language'.*'lang'.*--langs"):
        read(folder)
    assert read(folder, ("en",)).languages("passage") == ["en"]


def test_a_task_file_may_name_a_folder_for_each_language(tmp_path: Path) -> None:
    files = ""
    for lang in ("de", "en"):
        folder_of(tmp_path / "data", name=lang)
        for name, path in (
            ("", "corpus.jsonl"),
            (".queries", "queries.jsonl"),
            (".qrels", "qrels/test.tsv"),
        ):
            files += f'[files."{lang}{name}"]\npath = "{lang}/{path}"\n'
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "docs.toml").write_text(TOML + files, "utf-8")
    known = catalogue(tmp_path / "tasks")
    (task,) = known.get(["docs"])
    request = RunOptions(data=tmp_path / "data", cache=tmp_path / "none")
    found = load_collection(task, request, Silent())
    assert set(found.relevance) == {("de", "de"), ("en", "en")}
    assert found.passages["de"].ids[0] == "de:d1"
    (tmp_path / "data" / "de" / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"de/queries\.jsonl: .*\bde\b.*--langs"):
        load_collection(task, request, Silent())


TOML = """
name = "docs"
version = 1
title = "Docs"
format = "beir"
description = "Ours."
domain = "software"
languages = ["de", "en"]
kinds = ["monolingual", "multilingual"]
measures = ["ndcg@10"]
licence = "-"
homepage = "-"
citation = "-"
source = {}
"""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"corpus": [*CORPUS, "{"]}, "corpus.jsonl: line 4: is not JSON"),
        ({"corpus": [*CORPUS, "3"]}, "line 4: is no JSON object"),
        ({"corpus": [*CORPUS, {"_id": "d1", "text": "x"}]}, "'d1' is the '_id' of an earlier"),
        ({"corpus": [*CORPUS, {"_id": "d9"}]}, "line 4: 'text' is missing or empty"),
        ({"corpus": [*CORPUS, {"text": "x"}]}, "line 4: '_id' is missing or no text"),
        ({"queries": []}, "queries.jsonl: $: there is no line in it"),
        ({"qrels": [("q1", "d9", 1)]}, "test.tsv: line 2: passage 'd9' is not in the corpus"),
        ({"qrels": [("q9", "d1", 1)]}, "line 2: query 'q9' is not among the queries"),
        ({"qrels": [("q1", "d1")]}, "line 2: wants query-id, corpus-id and score, has 2 cell"),
        ({"qrels": [("q1", "d1", "good")]}, "line 2: grade 'good' is no whole number"),
        ({"qrels": [("q1", "d1", 1_000_001)]}, "line 2: grade '1000001' is no whole number up to"),
        ({"qrels": [("q1", "d1", "9" * 30)]}, "line 2: grade '999"),
        ({"corpus": [*CORPUS, {"_id": "\ud800", "text": "x"}]}, "line 4: holds half a character"),
        ({"queries": [{"_id": "q", "text": "\udcff"}]}, "queries.jsonl: line 1: holds half a char"),
        (
            {"corpus": [*CORPUS, {"_id": "d", "text": "x", "language": "\ud800"}]},
            "line 4: holds half",
        ),
        ({"qrels": [("q1", "d1", 0)]}, "no query of 'und' has a relevant passage"),
    ],
)
def test_a_bad_file_is_one_message_with_its_place(
    tmp_path: Path, changed: dict[str, Any], message: str, capsys: pytest.CaptureFixture
) -> None:
    folder = folder_of(tmp_path, **changed)
    assert exit_code(["run", "--task", f"beir:{folder}", "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_large_grade_is_kept_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, qrels=[("q1", "d1", 99_999), ("q2", "d2", 1)])
    assert exit_code(["run", "--task", f"beir:{folder}", "--output", str(tmp_path / "out")]) == 0
    (result,) = (tmp_path / "out").glob("*/*/result.json")
    assert sorted(xb.Result.load(result).tables["ranks"]["grade"].to_pylist()) == [1, 99_999]


def test_a_folder_that_is_not_whole_is_told_what_it_lacks(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(InputError, match=r"^beir:.*\bwants\b.*qrels/test\.tsv\b"):
        catalogue().get([f"beir:{folder}"])


def test_graded_scores_equal_those_of_pytrec_eval(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(60)]
    corpus = [
        {"_id": f"d{n}", "text": " ".join(rng.choice(words, 6))} for n in range(80)
    ]  # fmt: skip
    queries = [{"_id": f"q{n}", "text": " ".join(rng.choice(words, 3))} for n in range(12)]
    qrels = [
        (f"q{n}", f"d{d}", int(rng.integers(-1, 4)))
        for n in range(12)
        for d in rng.choice(80, 9, replace=False)
    ] + [("q0", "d79", 1)]
    qrels = list({(q, d): (q, d, g) for q, d, g in qrels}.values())
    folder = folder_of(tmp_path, corpus, queries, qrels)
    found = settings_of(evaluate(f"beir:{folder}", Signs(), RunOptions(cache=None)))["und", "und"]
    scores = (
        Signs().encode([q["text"] for q in queries], "query")
        @ Signs().encode([d["text"] for d in corpus], "passage").T
    )
    # pytrec_eval breaks ties by id: equal scores are told apart by their place, as in the pool.
    scores = -np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    judged: dict[str, dict[str, int]] = {}
    for query, passage, grade in qrels:
        judged.setdefault(query, {})[passage] = max(grade, 0)
    judged = {query: docs for query, docs in judged.items() if any(docs.values())}
    run = {
        q["_id"]: {d["_id"]: float(s) for d, s in zip(corpus, row, strict=True)}
        for q, row in zip(queries, scores, strict=True)
        if q["_id"] in judged
    }
    names = {"ndcg@10": "ndcg_cut_10", "map": "map", "mrr": "recip_rank", "recall@10": "recall_10"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut", "map", "recip_rank", "recall"})
    values = theirs.evaluate(run).values()
    assert found.queries == len(judged)
    for ours, name in names.items():
        mean = np.mean([value[name] for value in values])
        assert found.measures[ours] == pytest.approx(mean, abs=1e-6)


def test_a_packed_corpus_is_read_as_it_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    plain = folder / "corpus.jsonl"
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (task,) = catalogue().get([f"beir:{folder}"])
    files = {
        n: f.model_copy(update={"path": f.path + ".gz"} if n == "und" else {})
        for n, f in task.files.items()
    }
    packed = task.model_copy(update={"files": files})
    found = load_collection(packed, RunOptions(data=None, cache=tmp_path), Silent())
    assert found.passages == read(folder).passages
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes())[:30])
    with pytest.raises(InputError, match="cannot be read"):
        load_collection(packed, RunOptions(data=None, cache=tmp_path), Silent())
