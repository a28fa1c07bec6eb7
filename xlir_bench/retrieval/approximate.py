"""Search by any FAISS index: what it does not retrieve has no rank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.records import Floats, Ints, Progress, Ranking, Setting
from xlir_bench.retrieval.exact import VectorIndex
from xlir_bench.retrieval.pool import Partial, Pool, Want
from xlir_bench.retrieval.reranking import RerankedIndex
from xlir_bench.retrieval.retriever import Index
from xlir_bench.retrieval.similarity import Dense

DEPTH = 1000
"""How many passages an index is asked for; a relevant passage beyond them counts as not retrieved."""

TRAINED_ON = 262_144
"""Of how many vectors an index learns its clusters; of a smaller pool it sees every one."""


@dataclass(frozen=True, slots=True)
class FaissIndex:
    """FAISS indexes of the same vectors, one a set of candidates."""

    vectors: VectorIndex
    factory: str
    depth: int = DEPTH
    _built: dict[tuple[str, ...], Any] = field(default_factory=dict)
    """Those of FAISS, by the languages of their passages."""

    @property
    def pool(self) -> Pool:
        """The pool that it searches."""
        return self.vectors.pool

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """What each of these wants to know, one after another."""
        indexes = self._built
        progress.start("search", len(wants), "languages")
        for want in wants:
            rows = np.asarray(self.vectors.queries[want.query_lang])
            queries = self.vectors.similarity.prepared(rows)
            partial = Partial.of(want)
            for setting in want.settings:
                if setting.passage_langs not in indexes:
                    indexes[setting.passage_langs] = build_index(
                        self.vectors, setting, self.factory
                    )
                index = indexes[setting.passage_langs]
                scores, top = retrieve(index, queries, min(self.depth, index.ntotal))
                self._put(partial, setting, scores, top)
            yield partial
            progress.advance(1)
        progress.finish()

    def _put(self, partial: Partial, setting: Setting, scores: Floats, top: Ints) -> None:
        want, rows = partial.want, self.pool.rows(setting)
        top = np.where(top < 0, -1, top + rows.start)
        if want.own is not None and want.query_lang in setting.passage_langs:
            scores, top = _without(scores, top, want.own)
        relevant, items = want.relevant, want.items(setting)
        hit = top[relevant.query[items]] == relevant.position[items][:, None]
        before = np.where(hit.any(axis=1), hit.argmax(axis=1), -1)
        partial.before[setting.pooled][items] = before
        if setting in partial.best:
            best = partial.best[setting]
            width = min(best.scores.shape[1], top.shape[1])
            best.scores[:, :width] = scores[:, :width]
            best.positions[:, :width] = top[:, :width]


def approximated(index: Index, factory: str, depth: int = DEPTH) -> Index | None:
    """The same search by FAISS, whose best passages a reranker orders where it did before; None without dense vectors."""
    if isinstance(index, RerankedIndex):
        first = approximated(index.first, factory, max(depth, index.depth))
        return None if first is None else replace(index, first=first)
    is_dense = isinstance(index, VectorIndex) and isinstance(index.similarity, Dense)
    return FaissIndex(index, factory, depth) if is_dense else None  # type: ignore[arg-type]


def depth_of(index: Index) -> int:
    """How many passages FAISS is asked for, by what `approximated` made."""
    return depth_of(index.first) if isinstance(index, RerankedIndex) else index.depth  # type: ignore[attr-defined]


def build_index(vectors: VectorIndex, setting: Setting, factory: str) -> Any:
    """A trained FAISS index of a setting's candidates, by inner product."""
    rows = vectors.pool.rows(setting)
    # Spread over the whole pool: its first rows may be of one language.
    sample = np.linspace(rows.start, rows.stop - 1, min(rows.stop - rows.start, TRAINED_ON))
    learned = vectors.take(sample.astype(np.int64))
    index = empty_index(learned.shape[1], factory)
    try:
        index.train(learned)
        for block in vectors.blocks(setting, TRAINED_ON):
            index.add(block)
    except RuntimeError as error:
        raise InputError(
            f"--index {factory!r} cannot be built from the {rows.stop - rows.start} candidates of"
            f" {setting} ({_reason(error)}); use fewer clusters, or 'Flat'"
        ) from error
    return index


def empty_index(dimension: int, factory: str) -> Any:
    """A FAISS index without vectors; a factory string that FAISS does not take is refused."""
    try:
        return _made(dimension, factory)
    except RuntimeError as error:
        raise _refused(factory, f" for {dimension} dimensions", error) from error


def require_factory(factory: str) -> None:
    """Refuse a string that FAISS cannot read, or not for inner products, whatever the dimension: it need not be known yet."""
    try:
        _made(1, factory)
    except RuntimeError as error:
        if "could not parse" in str(error) or "METRIC_L2" in str(error):
            raise _refused(factory, "", error) from error


def _made(dimension: int, factory: str) -> Any:
    with suppress(ImportError):
        import torch  # noqa: F401  # before faiss: the other order can crash on two OpenMP runtimes

    import faiss  # isort: skip

    return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)


def _refused(factory: str, dimensions: str, error: RuntimeError) -> InputError:
    what = "index of inner products" if "METRIC_L2" in str(error) else "FAISS factory string"
    return InputError(
        f"--index {factory!r} is not a{'n' * what.startswith('i')} {what}{dimensions} ({_reason(error)});"
        " try 'Flat', 'HNSW32' or 'IVF64,Flat'"
    )


def index_bytes(index: Any) -> int:
    """The size of an index when it is stored: codes, graph, centroids and all."""
    import faiss

    return len(faiss.serialize_index(index))


def retrieve(index: Any, queries: Floats, depth: int) -> tuple[Floats, Ints]:
    """Scores and positions found for each query, score descending, then position; -inf and -1 pad."""
    scores, top = index.search(queries, depth)
    scores = np.where(top < 0, -np.inf, scores)
    # -1 has no place in the pool, so it stands last whatever its score.
    position = np.where(top < 0, np.iinfo(np.int64).max, top)
    order = np.lexsort((position, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(top, order, axis=1)


def _without(scores: Floats, top: Ints, own: Ints) -> tuple[Floats, Ints]:
    """What was retrieved, without the query itself; the others move up."""
    order = np.argsort(top == own[:, None], axis=1, kind="stable")
    left = np.where(top == own[:, None], -1, top)
    return (
        np.take_along_axis(np.where(left < 0, -np.inf, scores), order, axis=1)[:, :-1],
        np.take_along_axis(left, order, axis=1)[:, :-1],
    )


def _reason(error: RuntimeError) -> str:
    """FAISS's own words, without the C++ place they come from."""
    words = re.sub(r"^Error in .*?(?:failed: |:\d+: )", "", str(error).strip(), flags=re.DOTALL)
    return words.splitlines()[0].removeprefix("Error: ").strip()


def recall_of_exact(exact: Ranking, approximate: Ranking, depth: int = 100) -> float:
    """Which share of the exact best passages an index has among its best, mean over queries."""
    if exact.top is None or approximate.top is None:
        raise ValueError("both rankings must keep their best passages")
    depth = min(depth, exact.candidates)
    best = exact.top[:, :depth]
    shares = [np.isin(a, b[:depth]).mean() for a, b in zip(best, approximate.top, strict=True)]
    return float(np.mean(shares)) if shares else 0.0
