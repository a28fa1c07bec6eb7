"""The same judged corpus, once in memory (a BEIR folder) and once on disk (MIRACL's layout)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import Signs
from sources.layouts import text_of, write_miracl

from xlir_bench import EncoderOptions, Result, RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.retrieval import embedding, pairs, vector_index

COUNT, ASKED = 400, 30
MEASURES = ("ndcg@10", "map", "mrr", "recall@100")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 70)
    monkeypatch.setattr(pairs, "WINDOW", 70)
    monkeypatch.setattr(vector_index, "BLOCK", 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with both layouts."""
    rng = np.random.default_rng(0)
    docs = [{"docid": f"d{n}", "title": "", "text": text_of(n)} for n in range(COUNT)]
    topics = [(f"q{n}", text_of(1000 + n)) for n in range(ASKED)]
    qrels = [
        (f"q{n}", "Q0", f"d{row}", int(grade))
        for n in range(ASKED)
        for row, grade in zip(rng.choice(COUNT, 4, replace=False), (2, 1, 1, 0), strict=True)
    ]
    write_miracl(tmp_path, "sw", topics, qrels, [docs])
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = {
        "corpus": [{"_id": d["docid"], "text": d["text"]} for d in docs],
        "queries": [{"_id": name, "text": text} for name, text in topics],
    }
    for name, its in rows.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, its)), "utf-8")
    lines = ["\t".join((q, p, str(g))) for q, _, p, g in qrels]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return tmp_path


def on_disk(root: Path, how: EncoderOptions | None = None, **options: object) -> Result:
    asked = RunOptions(
        langs=("sw",), data=root, cache=root / "cache", measures=MEASURES, **options  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "IN_MEMORY", 70)
        return evaluate("miracl", Signs(), asked, encoder_options=how)


def in_memory(root: Path, how: EncoderOptions | None = None, **options: object) -> Result:
    asked = RunOptions(langs=("sw",), cache=None, measures=MEASURES, **options)  # type: ignore[arg-type]
    return evaluate(f"beir:{root / 'beir'}", Signs(), asked, encoder_options=how)


@pytest.mark.parametrize("reranked", [False, True])
def test_scores_and_ranks_are_the_same(root: Path, reranked: bool) -> None:
    file, how = root / "mine.py", None
    if reranked:
        file.write_text("def scores(pairs):\n    return [len(q + p) % 7 for q, p in pairs]\n")
        how = EncoderOptions(rerank=f"py:{file}:scores", rerank_depth=40)
    disk, memory = on_disk(root, how, save_run=50), in_memory(root, how, save_run=50)
    assert disk.record.settings == memory.record.settings
    for name in ("ranks", "queries", "run"):
        one, other = (
            [{**row, "cluster": None} for row in its.table(name).to_pylist()]
            for its in (disk, memory)
        )
        assert one == other


def test_an_index_is_built_from_blocks_and_compared_with_exact_search(root: Path) -> None:
    disk, memory = on_disk(root, index="IVF8,Flat"), in_memory(root, index="IVF8,Flat")
    assert disk.record.profile.index is not None
    assert disk.record.profile.index == memory.record.profile.index
    assert disk.record.settings == memory.record.settings


def test_questions_and_their_passages_are_set_against_others(root: Path) -> None:
    disk, memory = (run(root, alignment=True).record.alignment for run in (on_disk, in_memory))
    assert disk.relevance == memory.relevance
    assert disk.anisotropy == memory.anisotropy
    # Taking centroids out would change vectors on disk: it is left out there.
    assert not disk.map_without_centroids
    assert memory.map_without_centroids


def test_a_limited_corpus_is_never_taken_for_a_full_run(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(root / "cache"))
    args = ["run", "--model", "builtin:ngram", "--task", "miracl", "--langs", "sw"]
    args += ["--data", str(root), "--output", str(root / "results")]
    assert exit_code([*args, "--corpus-limit", "20"]) == 0
    assert re.search(r"NOT THE WHOLE .*\b20\b", capsys.readouterr().out)
    (limited,) = (root / "results" / "builtin-ngram").iterdir()
    assert limited.name.startswith("miracl~")
    assert json.loads((limited / "result.json").read_text())["options"]["corpus_limit"] == 20


@pytest.mark.parametrize("asked", [("xquad-r", "is read whole"), ("miracl", "wants 1 or more")])
def test_a_limit_that_makes_no_sense_is_refused(
    root: Path, asked: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    task, message = asked
    limit = "5" if task == "xquad-r" else "0"
    args = ["run", "--model", "builtin:random", "--task", task, "--corpus-limit", limit]
    assert exit_code([*args, "--data", str(root)]) == 2
    assert message in capsys.readouterr().err


def test_what_it_costs_is_measured_on_tasks_in_memory_alone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["profile", "--model", "builtin:ngram", "--task", "miracl", "--langs", "sw"]
    assert exit_code([*args, "--data", str(root)]) == 2
    assert re.search("miracl .*on disk.*--task ", capsys.readouterr().err)
