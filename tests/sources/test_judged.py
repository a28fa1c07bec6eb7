from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from evaluation.plain import Signs
from sources.layouts import text_of, write_miracl

from xlir_bench import RunOptions, evaluate
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Silent
from xlir_bench.retrieval import embedding
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

DOCS = [
    {"docid": "1#0", "title": "Nyota", "text": "Nyota ni nyingi."},
    {"docid": "1#1", "title": "Nyota", "text": "Jua ni nyota."},
    {"docid": "2#0", "title": "", "text": "Samaki huogelea."},
]
TOPICS = [("7", "Jua ni nini?"), ("9", "Nani huogelea?"), ("3", "Nobody judged this")]
QRELS = [("7", "Q0", "1#1", 1), ("7", "Q0", "2#0", 0), ("9", "Q0", "2#0", 2), ("9", "Q0", "1#1", 1)]


def read(
    root: Path, lang: str = "sw", name: str = "miracl", passages: bool = True, **asked: Any
) -> Collection:
    (task,) = catalogue().get([name])
    wanted = RunOptions(data=root, cache=root / "cache", **{"langs": (lang,)} | asked)
    return load_collection(task, wanted, Silent(), passages)


def test_judged_queries_are_asked_of_the_whole_corpus_title_and_text_joined(tmp_path: Path) -> None:
    found = read(write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS]))
    assert found.queries["sw"].ids == ("7", "9")
    assert list(found.passages["sw"].ids) == ["sw:1#0", "sw:1#1", "sw:2#0"]
    assert list(found.passages["sw"].texts) == [
        "Nyota Nyota ni nyingi.", "Nyota Jua ni nyota.", "Samaki huogelea.",
    ]  # fmt: skip
    assert list(found.bodies("sw")) == ["Nyota ni nyingi.", "Jua ni nyota.", "Samaki huogelea."]


def test_grades_are_kept_and_what_was_judged_irrelevant_is_no_answer(tmp_path: Path) -> None:
    rows = read(write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS])).relevance["sw", "sw"]
    found = list(
        zip(*(column.tolist() for column in (rows.query, rows.passage, rows.grade)), strict=True)
    )
    assert found == [(0, 1, 1), (1, 1, 1), (1, 2, 2)]


def test_a_corpus_is_the_parts_in_their_order_packed_or_not(tmp_path: Path) -> None:
    root = write_miracl(tmp_path, "te", TOPICS, QRELS, [DOCS[:1], DOCS[1:]], ".jsonl")
    assert list(read(root, "te").passages["te"].ids) == ["te:1#0", "te:1#1", "te:2#0"]


def test_the_second_reading_takes_the_corpus_that_lies_on_disk(tmp_path: Path) -> None:
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS])
    first = read(root)
    (folder,) = (root / "cache" / "corpora").iterdir()
    before = (folder / "passages.arrow").stat().st_mtime_ns
    again = read(root)
    assert (folder / "passages.arrow").stat().st_mtime_ns == before
    assert list(again.passages["sw"].texts) == list(first.passages["sw"].texts)


@pytest.mark.parametrize("spoil", ["corpus.json", "passages.arrow"])
def test_half_a_corpus_on_disk_is_made_again(tmp_path: Path, spoil: str) -> None:
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS])
    wanted = list(read(root).passages["sw"].texts)
    (folder,) = (root / "cache" / "corpora").iterdir()
    os.truncate(folder / spoil, (folder / spoil).stat().st_size // 2)
    assert list(read(root).passages["sw"].texts) == wanted


def test_a_corpus_that_lacks_judged_passages_is_refused(tmp_path: Path) -> None:
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS[:2]])
    with pytest.raises(InputError, match=r"'sw'.*\b1 of the 2\b.*\(2#0\)"):
        read(root)


def test_a_limit_keeps_the_judged_passages_and_says_so_loudly(tmp_path: Path) -> None:
    others = [{"docid": f"x{i}", "text": text_of(i)} for i in range(20)]
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [others + DOCS])
    found = read(root, corpus_limit=5)
    assert list(found.passages["sw"].ids) == [*(f"sw:x{i}" for i in range(5)), "sw:1#1", "sw:2#0"]
    assert any(re.match(r"[A-Z ]+: .*\b5\b.*\bsw\b", note) for note in found.notes)
    assert len(read(root).passages["sw"].ids) == 23


def test_queries_alone_need_no_corpus(tmp_path: Path) -> None:
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [])
    found = read(root, passages=False)
    assert found.queries["sw"].ids == ("7", "9")
    assert not found.passages
    assert not found.relevance


FAULTS = {
    "a line without a tab": ({"topics": [("7",)]}, "line 1: wants an id, a tab and a query"),
    "a query twice": ({"topics": [*TOPICS, ("7", "again")]}, "'7' is the id of an earlier query"),
    "an empty query": ({"topics": [("7", " ")]}, "line 1: the query is empty"),
    "three cells": ({"qrels": [("7", "Q0", "1#1")]}, "wants query, Q0, passage and grade, has 3"),
    "no number": ({"qrels": [("7", "Q0", "1#1", "one")]}, "grade 'one' is no whole number"),
    "a grade too high": ({"qrels": [("7", "Q0", "1#1", 2**31)]}, "line 1: grade '2147483648' is no"),
    "half a character": ({"shards": [[*DOCS, '{"docid": "\\ud800", "text": "x"}']]}, "line 4: holds half"),
    "an unknown query": ({"qrels": [("8", "Q0", "1#1", 1)]}, "query '8' is not among the topics"),
    "a pair twice": ({"qrels": [QRELS[0], QRELS[0]]}, "line 2: query '7' and passage '1#1' were"),
    "nothing relevant": ({"qrels": [("7", "Q0", "1#1", 0)]}, "no query of 'sw' has a relevant"),
    "no JSON": ({"shards": [["{", *DOCS]]}, "docs-0.jsonl.gz: line 1: is not JSON"),
    "no id": ({"shards": [[*DOCS, {"text": "x"}]]}, "line 4: 'docid' is missing or no text"),
    "no text": ({"shards": [[*DOCS, {"docid": "5"}]]}, "line 4: 'text' is missing or empty"),
    "a passage twice": ({"shards": [[*DOCS, DOCS[0]]]}, "'1#0' is the id of more than one passage"),
    "an empty corpus": ({"shards": [[""]]}, "there is no line in it"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), FAULTS.values(), ids=FAULTS)
def test_a_bad_file_is_one_message_that_says_where(
    tmp_path: Path, changed: Any, message: str
) -> None:
    parts = {"topics": TOPICS, "qrels": QRELS, "shards": [DOCS]} | changed
    root = write_miracl(tmp_path, "sw", **parts)
    with pytest.raises(InputError) as caught:
        read(root)
    assert message in str(caught.value)
    assert not list((root / "cache" / "corpora").glob("*"))


def test_a_packed_file_that_breaks_off_is_a_fault(tmp_path: Path) -> None:
    root = write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS * 50])
    (docs,) = root.glob("miracl/*/docs-0.jsonl.gz")
    docs.write_bytes(docs.read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be read"):
        read(root)


def in_hub_layout(root: Path, lang: str, corpus_parts: int = 1) -> Path:
    """The same data as parquet, as the hub's data set has it."""
    corpus = [{"_id": d["docid"], "title": d["title"], "text": d["text"]} for d in DOCS]
    tables = {
        "queries": [{"_id": name, "text": text} for name, text in TOPICS],
        "qrels": [{"query-id": q, "corpus-id": p, "score": g} for q, _, p, g in QRELS],
    }
    for part in range(corpus_parts):
        tables[f"corpus/dev-{part:05d}-of-{corpus_parts:05d}"] = corpus[part::corpus_parts]
    for name, rows in tables.items():
        folder, _, file = name.partition("/")
        path = (
            root
            / "miracl-hard-negatives"
            / f"{lang}-{folder}"
            / f"{file or 'dev-00000-of-00001'}.parquet"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return root


@pytest.mark.parametrize("parts", [1, 2])
def test_the_hubs_layout_reads_like_the_other(tmp_path: Path, parts: int) -> None:
    hub = read(in_hub_layout(tmp_path, "sw", parts), name="miracl-hard-negatives")
    other = read(write_miracl(tmp_path, "sw", TOPICS, QRELS, [DOCS]))
    assert hub.queries == other.queries
    assert sorted(hub.passages["sw"].texts) == sorted(other.passages["sw"].texts)
    answers = [
        {(int(q), c.passages["sw"].ids[int(p)]) for q, p in zip(r.query, r.passage, strict=True)}
        for c in (hub, other)
        for r in [c.relevance["sw", "sw"]]
    ]
    assert answers[0] == answers[1]


def test_a_damaged_parquet_file_is_one_message(tmp_path: Path) -> None:
    root = in_hub_layout(tmp_path, "sw")
    (path,) = root.glob("*/sw-corpus/*.parquet")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"sw-corpus.*\.parquet: \$: .*\bread\b"):
        read(root, name="miracl-hard-negatives")


def test_a_folder_without_the_hubs_files_names_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\bwants\b.*sw-corpus/\*\.parquet.*--data"):
        read(tmp_path, name="miracl-hard-negatives")


KNOWN = {"sw": 482, "yo": 119}


@pytest.mark.parametrize("lang", KNOWN)
def test_real_judgements_over_a_made_corpus_score_as_trec_eval_scores_them(
    xlir_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str
) -> None:
    (topics_file,) = xlir_data.glob(f"miracl/topics.*-{lang}-dev.tsv")
    (qrels_file,) = xlir_data.glob(f"miracl/qrels.*-{lang}-dev.tsv")
    topics = [tuple(line.split("\t")) for line in topics_file.read_text("utf-8").splitlines()]
    qrels = [tuple(line.split()) for line in qrels_file.read_text("utf-8").splitlines()]
    judged = dict.fromkeys(passage for _, _, passage, _ in qrels)
    docs = [{"docid": name, "title": "", "text": text_of(n)} for n, name in enumerate(judged)]
    docs += [{"docid": f"other{n}", "text": text_of(n + 100_000)} for n in range(3000)]
    root = write_miracl(tmp_path, lang, topics, qrels, [docs])
    monkeypatch.setattr(embedding, "WINDOW", 700)
    options = RunOptions(langs=(lang,), data=root, cache=tmp_path / "cache", save_run=100)
    result = evaluate("miracl", Signs(), options)
    (setting,) = result.record.settings
    assert (setting.queries, setting.candidates) == (KNOWN[lang], len(docs))

    texts = [f"{d.get('title') or ''} {d['text']}".strip() for d in docs]
    passages, queries = (
        Signs().encode(list(t), "passage") / 8 for t in (texts, [q for _, q in topics])
    )
    scores = queries.astype(float) @ passages.astype(float).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :1000]
    run = {
        name: {docs[p]["docid"]: float(2000 - place) for place, p in enumerate(order[row])}
        for row, (name, _) in enumerate(topics)
    }
    grades: dict[str, dict[str, int]] = {}
    for query, _, passage, grade in qrels:
        grades.setdefault(query, {})[passage] = int(grade)
    judge = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10", "recall.100"})
    by_query = judge.evaluate(run)
    for measure, theirs in (("ndcg@10", "ndcg_cut_10"), ("recall@100", "recall_100")):
        wanted = np.mean([values[theirs] for values in by_query.values()])
        assert setting.measures[measure] == pytest.approx(wanted, abs=1e-9)
