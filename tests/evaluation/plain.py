"""The other opinion: a fixed encoder, and its scores computed in the plainest way there is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xlir_bench import Kind, Result, RunOptions, evaluate
from xlir_bench.records import POOL
from xlir_bench.tasks import catalogue, tasks_folder

MEASURES = ("map", "mrr", "ndcg@10", "recall@1", "recall@10", "recall@100")


class Signs:
    """A fixed random encoder: the sign of the sum of a vector for each piece of the text.

    All components of unit vectors are 1/8 or -1/8: every score is exact, whoever computes it, and most are ties.
    """

    name, fingerprint = "signs", "sha256:" + "5" * 64

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension

    def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
        return np.stack([_signs(text, self.dimension) for text in texts])


@cache
def _signs(text: str, dimension: int) -> np.ndarray:
    words = text.casefold().split()
    pieces = [w[i : i + 3] for w in words for i in range(max(1, len(w) - 2))]
    rows = [_row(piece) for piece in pieces]
    return np.where(_table(dimension)[rows].sum(axis=0) >= 0, 1, -1).astype(np.float32)


@cache
def _row(piece: str) -> int:
    return zlib.crc32(piece.encode()) % 4096


@cache
def _table(dimension: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4096, dimension)).astype(np.float32)


class Plain:
    """A LAReQA file and its scores, read and computed in the plainest way: the other opinion."""

    def __init__(self, paths: Mapping[str, Path], encoder: Any) -> None:
        self.ids: dict[str, list[str]] = {}
        self.relevant: dict[str, dict[str, int]] = {}
        """By language: the row of the sentence that answers each question."""
        self.queries, self.passages = {}, {}
        for lang, path in sorted(paths.items()):
            questions: dict[str, str] = {}
            answer: dict[str, int] = {}
            sentences: list[str] = []
            for article in json.loads(path.read_text("utf-8"))["data"]:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        start = question["answers"][0]["answer_start"]
                        inside = [a <= start < b for a, b in paragraph["sentence_breaks"]]
                        answer[question["id"]] = len(sentences) + inside.index(True)
                        questions[question["id"]] = question["question"]
                    sentences += paragraph["sentences"]
            self.ids[lang], self.relevant[lang] = list(questions), answer
            self.queries[lang] = self._unit(encoder.encode(list(questions.values()), "query"))
            self.passages[lang] = self._unit(encoder.encode(sentences, "passage"))

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        vectors = vectors.astype(float)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    def _scores(
        self, query_lang: str, passage_langs: Sequence[str], dtype: type = np.float64
    ) -> np.ndarray:
        passages = np.concatenate([self.passages[lang] for lang in passage_langs])
        return self.queries[query_lang].astype(dtype) @ passages.astype(dtype).T

    def _answers(self, query_lang: str, passage_langs: Sequence[str]) -> np.ndarray:
        """Positions in the pool: a row a question, a column a language; -1 where there is none."""
        starts = np.cumsum([0, *(len(self.passages[lang]) for lang in passage_langs)])
        found = np.full((len(self.ids[query_lang]), len(passage_langs)), -1)
        for row, name in enumerate(self.ids[query_lang]):
            for column, lang in enumerate(passage_langs):
                if name in self.relevant[lang]:
                    found[row, column] = starts[column] + self.relevant[lang][name]
        return found

    def ranks(self, query_lang: str, passage_langs: Sequence[str]) -> np.ndarray:
        """Of every answer of every question by a full stable sort; 0 where there is none.

        For scores that are whole multiples of 1/64: float32 is exact, eight bits hold them and sort fast.
        """
        keys = (self._scores(query_lang, passage_langs, np.float32) * -64).astype(np.int8)
        answers = self._answers(query_lang, passage_langs)
        ranks, rank = np.empty_like(answers), np.empty(keys.shape[1], np.int64)
        for row, order in enumerate(np.argsort(keys, axis=1, kind="stable")):
            rank[order] = np.arange(1, len(order) + 1)
            ranks[row] = rank[answers[row]]
        return np.where(answers < 0, 0, ranks)

    def bounds(
        self, query_lang: str, passage_langs: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best and the worst rank that rounding leaves open for every answer of every question."""
        scores = self._scores(query_lang, passage_langs)
        answers = self._answers(query_lang, passage_langs)
        best, worst = np.zeros_like(answers), np.zeros_like(answers)
        for row, column in np.argwhere(answers >= 0):
            apart = scores[row] - scores[row, answers[row, column]]
            best[row, column] = 1 + (apart > 2e-7).sum()
            worst[row, column] = (apart > -2e-7).sum()
        return best, worst


def plain_measures(ranks: np.ndarray, cuts: Sequence[int] = (10,)) -> dict[str, float]:
    """Means over questions with an answer, nDCG at `cuts`; 0 stands for an answer that there is not."""
    ranks = ranks[ranks.max(axis=1) > 0]
    found = np.sort(np.where(ranks > 0, ranks, np.inf), axis=1)
    count = (ranks > 0).sum(axis=1)
    values = {
        "map": (np.arange(1, found.shape[1] + 1) / found).sum(axis=1) / count,
        "mrr": 1 / found[:, 0],
    }
    for cut in cuts:
        gains = np.where(found <= cut, 1 / np.log2(found + 1), 0).sum(axis=1)
        ideal = np.cumsum(1 / np.log2(np.arange(cut) + 2))[np.minimum(count, cut) - 1]
        values[f"ndcg@{cut}"] = gains / ideal
    values |= {f"recall@{k}": (found <= k).sum(axis=1) / count for k in (1, 10, 100)}
    return {measure: float(np.mean(v)) for measure, v in values.items()}


def assert_equals_plain(result: Result, plain: Plain) -> None:
    """Every measure of every setting, and the rank distance, to 1e-6."""
    spans = {}
    for setting in result.record.settings:
        ranks = plain.ranks(setting.query_lang, setting.passage_langs)
        wanted = plain_measures(ranks)
        assert setting.measures == pytest.approx(wanted, abs=1e-6), (setting, wanted)
        assert setting.queries == (ranks.max(axis=1) > 0).sum()
        if setting.kind == Kind.MULTILINGUAL:
            several = [r[r > 0] for r in ranks if (r > 0).sum() > 1]
            spans[setting.query_lang] = float(np.mean([np.ptp(r) for r in several]))
    distance = result.record.bias["rank_distance"]
    assert distance.by_query_lang == pytest.approx(spans, abs=1e-6)
    assert distance.mean == pytest.approx(np.mean(list(spans.values())), abs=1e-6)
    for kind, measures in result.summary.items():
        mine = [s.measures for s in result.record.settings if s.kind == kind]
        for measure, found in measures.items():
            assert found.mean == pytest.approx(np.mean([m[measure] for m in mine]), abs=1e-9)
            if found.low is not None and found.high is not None:
                assert found.low <= found.mean <= found.high


def mini_files() -> dict[str, Path]:
    (task,) = catalogue().get(["mini"])
    return {lang: tasks_folder() / file.path for lang, file in task.files.items()}


def settings_of(result: Result) -> dict[tuple[str, str], Any]:
    """The settings by query language and passage language, `*` for the pool."""
    return {
        (s.query_lang, POOL if len(s.passage_langs) > 1 else s.passage_langs[0]): s
        for s in result.record.settings
    }


def small(**options: Any) -> RunOptions:
    """A run of two languages of `mini`."""
    return RunOptions(**{"langs": ("de", "en"), "cache": None, "data": None} | options)


@cache
def full_small() -> Result:
    """Of the built-in encoder."""
    return evaluate("mini", "builtin:ngram", small())
