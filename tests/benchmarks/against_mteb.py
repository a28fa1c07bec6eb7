"""(g) Ranking and measuring all 132 settings of XQuAD-R, against mteb's search and scoring of the same vectors.

mteb is installed in an environment of its own, where this module runs as a script. The vectors are random.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LANGS = ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]
PASSAGES, QUERIES, DIMENSION = 1183, 1190, 384
PAIRS = [(q, (p,)) for q in ("en", "de") for p in ("en", "de", "ar")]
POOLS = [(q, tuple(LANGS)) for q in ("en", "de")]


def drawn() -> tuple[dict, dict, np.ndarray]:
    """Vectors of queries and passages by language, and the relevant row of each query."""
    rng = np.random.default_rng(0)
    passages = {x: rng.standard_normal((PASSAGES, DIMENSION)).astype("f4") for x in LANGS}
    relevant = rng.integers(0, PASSAGES, QUERIES)
    # Near the answer, so that ranks are as good as those of a decent encoder.
    queries = {
        x: passages[x][relevant] + 3 * rng.standard_normal((QUERIES, DIMENSION)).astype("f4")
        for x in LANGS
    }
    return queries, passages, relevant


def rank_and_measure(queries: dict, passages: dict, relevant: np.ndarray) -> None:
    """All 132 settings of the vectors: normalise, rank, measure, bias."""
    from xlir_bench.measures import PoolRanking, language_bias, score
    from xlir_bench.records import Collection, Passages, Queries, Relevance, Setting, Silent
    from xlir_bench.retrieval import VectorIndex, Vectors, Want

    rows = np.arange(QUERIES)
    relevance = Relevance(rows, relevant, np.ones(QUERIES, int))
    names = tuple(map(str, rows))
    asked = dict.fromkeys(LANGS, Queries(names, names, names))
    judged = {(a, b): relevance for a in LANGS for b in LANGS}
    there = dict.fromkeys(LANGS, Passages(range(PASSAGES), range(PASSAGES)))  # type: ignore[arg-type]
    collection = Collection(asked, there, judged, "question", True, {})
    index = VectorIndex.of(
        {("query", x): Vectors.of(queries[x]) for x in LANGS}
        | {("passage", x): Vectors.of(passages[x]) for x in LANGS}
    )
    wants = []
    for lang in LANGS:
        settings = [Setting(lang, (x,)) for x in LANGS] + [Setting(lang, tuple(LANGS))]
        wants.append(Want.of(collection, settings))
    rankings = [r for found in index.search(wants, Silent()) for r in found.rankings()]
    score(rankings, ["map", "mrr", "ndcg@10", "recall@1", "recall@10", "recall@100"])
    pools = [
        PoolRanking(r, names, dict.fromkeys(LANGS, PASSAGES), np.arange(len(names)))
        for r in rankings
        if len(r.setting.passage_langs) > 1
    ]
    language_bias(pools, parallel=True)


def theirs() -> None:
    """Print mteb's seconds per setting, for a pair of languages and for the pool, without those of its encoder."""
    import mteb
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta

    queries, passages, relevant = drawn()

    class Drawn(AbsEncoder):
        """Gives each text the vector that was drawn for it."""

        mteb_model_meta = ModelMeta.create_empty({"name": "bench/drawn", "revision": "1"})
        seconds = 0.0

        def encode(self, inputs, **_):
            began = time.perf_counter()
            found = []
            for batch in inputs:
                for text in batch["text"]:
                    role, lang, row = text.split()
                    found.append((queries if role == "q" else passages)[lang][int(row)])
            Drawn.seconds += time.perf_counter() - began
            return np.stack(found)

    def task(query_lang, passage_langs):
        class Pair(AbsTaskRetrieval):
            metadata = TaskMetadata(
                name=f"Pair{query_lang}{len(passage_langs)}{passage_langs[0]}",
                description="-", dataset={"path": "bench/drawn", "revision": "1"}, type="Retrieval",
                category="t2t", eval_splits=["test"], eval_langs=["eng-Latn"],
                main_score="ndcg_at_10", modalities=["text"],
            )  # fmt: skip

            def load_data(self, **_):
                corpus = [
                    {"id": f"{x}-{i}", "text": f"p {x} {i}", "title": ""}
                    for x in passage_langs
                    for i in range(PASSAGES)
                ]
                asked = [{"id": f"q{i}", "text": f"q {query_lang} {i}"} for i in range(QUERIES)]
                judged = {
                    f"q{i}": {f"{x}-{relevant[i]}": 1 for x in passage_langs}
                    for i in range(QUERIES)
                }
                self.dataset = {
                    "default": {
                        "test": {
                            "corpus": Dataset.from_list(corpus),
                            "queries": Dataset.from_list(asked),
                            "relevant_docs": judged,
                            "top_ranked": None,
                        }
                    }
                }
                self.data_loaded = True

        made = Pair()
        made.load_data()
        return made

    for settings in (PAIRS, POOLS):
        tasks = [task(*setting) for setting in settings]
        Drawn.seconds = 0.0
        began = time.perf_counter()
        mteb.evaluate(
            Drawn(), tasks, cache=None, overwrite_strategy="always", show_progress_bar=False
        )
        print("SECONDS", (time.perf_counter() - began - Drawn.seconds) / len(settings), flush=True)


def main() -> None:
    """Measure both in one run; mteb only on a few settings, from which the time for all is computed."""
    from tests.benchmarks.targets import Measured, python_with_mteb

    python = python_with_mteb()
    if python is None:
        print("skipped: mteb cannot be installed here")
        return
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, str(Path(__file__).absolute())], cwd=folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    found = [
        float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("SECONDS")
    ]
    if len(found) != 2:
        sys.exit(done.stderr[-2000:])
    vectors = drawn()
    rank_and_measure(*vectors)  # ranx compiles
    began = time.perf_counter()
    rank_and_measure(*vectors)
    ours = time.perf_counter() - began
    whole = 121 * found[0] + 11 * found[1]
    Measured(
        "(g) mteb's search and scoring / ours, 132 settings", whole / ours, ">= 10",
        f"mteb {found[0]:.2f} s a pair, {found[1]:.2f} s a pool, {whole:.0f} s in all; ours {ours:.1f} s",
    ).show()  # fmt: skip


if __name__ == "__main__":
    theirs()
