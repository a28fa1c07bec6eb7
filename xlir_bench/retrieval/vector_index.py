"""Exact ranks by counting: one pass over the pool for all queries, a block of passages at a time.

The rank of a relevant passage is one more than the number of passages that score higher, or score the same and stand
before it in the pool. A fast score counts only if it is further from the relevant passage's true score than its error can
be. All others are settled by their true scores, which depend on nothing but the two texts. So ranks and ties are exact
however the pool is cut, and memory does not grow with the number of passages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.records import ROLES, Floats, Ints, Progress, Role, Setting
from xlir_bench.retrieval.counting import PoolBlock, Search, inside, joined
from xlir_bench.retrieval.elsewhere import Elsewhere, engine_for
from xlir_bench.retrieval.faiss_index import FaissIndex
from xlir_bench.retrieval.pool import Partial, Pool, Want
from xlir_bench.retrieval.retriever import ScoringIndex
from xlir_bench.retrieval.similarity import COSINE, Similarity
from xlir_bench.retrieval.tiles import NUMBA, Engine
from xlir_bench.retrieval.vectors import Rows, Vectors, stacked
from xlir_bench.threads import product_threads

BLOCK = 16_000
"""Prepared passages that are held at a time. Not a power of two: rows of scores would then push each other out of the
processor's cache, and the matrix product would take 3 % longer."""
SHARE = 512
"""Queries that a thread compares with a block at a time. The block is fetched once for all; the scores take 32 MB."""
FEW_ROWS = 64
"""Fewer queries to compare, or fewer passages to prepare, are not worth a thread of their own."""
PIECE = 16_384
"""Workers search a multiple of this many passages at a time, so that few units end inside a shard or a window of texts."""


@dataclass(frozen=True, slots=True)
class VectorIndex(ScoringIndex):
    """Vectors of queries and passages, searched without any approximation."""

    pool: Pool
    queries: Mapping[str, Vectors]
    passages: Mapping[str, Vectors]
    similarity: Similarity = COSINE
    engine: Engine = NUMBA
    """What computes and counts scores: it decides how long a search takes, and nothing else."""
    block: int | None = None
    """Passages that are held at a time; None: `BLOCK`."""
    elsewhere: Elsewhere | None = None
    """Workers that search the passages, if they can read them."""

    @classmethod
    def of(
        cls,
        vectors: Mapping[tuple[Role, str], Vectors],
        similarity: Similarity = COSINE,
        engine: Engine = NUMBA,
        block: int | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> VectorIndex:
        """The index of these vectors, by role and language."""
        queries, passages = (
            {lang: rows for (role, lang), rows in vectors.items() if role == wanted}
            for wanted in ROLES
        )
        pool = Pool.of({lang: len(rows) for lang, rows in passages.items()})
        return cls(pool, queries, passages, similarity, engine, block, elsewhere)

    def search(self, wants: Sequence[Want], progress: Progress) -> list[Partial]:
        """Search for all wants in one pass over the pool."""
        searches = self._searches(wants)
        langs = {lang for want in wants for lang in want.langs}
        progress.start("search", sum(len(self.passages[lang]) for lang in langs), "passages")
        if self.elsewhere is not None and self.on_disk:
            self._compare_elsewhere(self.elsewhere, searches, langs, progress.advance)
        else:
            self.compare(searches, langs, progress.advance)
        progress.finish()
        return [search.partial for search in searches]

    @property
    def on_disk(self) -> bool:
        """Whether workers can read the passages; vectors in memory are better searched here."""
        return all(rows.on_disk for rows in self.passages.values())

    @property
    def search_device(self) -> str:
        """The workers' device if they search, else this process's."""
        if self.elsewhere is not None and self.on_disk:
            return self.elsewhere.search_device
        return self.engine.name

    @property
    def scores_fast(self) -> bool:
        """False if texts are compared token by token."""
        return self.similarity.form != "tokens"

    def by_faiss(self, factory: str, depth: int) -> FaissIndex | None:
        """FAISS indexes of the same vectors; None unless a text has one dense vector."""
        if self.similarity.form != "dense":
            return None
        return FaissIndex(self.pool, self.queries, self.passages, self.similarity, factory, depth)

    def _searches(self, wants: Sequence[Want]) -> list[Search]:
        """A search for each want. Each relevant passage is prepared once and scored; no other is compared yet."""
        stored = [self.queries[want.query_lang] for want in wants]
        queries = [self.similarity.prepared(rows.rows(slice(0, len(rows)))) for rows in stored]
        own = [np.empty(len(want.relevant.query)) for want in wants]
        positions = np.unique(
            np.concatenate([np.empty(0, np.int64), *(want.relevant.position for want in wants)])
        )

        def score(number: int, held: Ints, passages: Rows) -> None:
            relevant = wants[number].relevant
            items = np.flatnonzero((relevant.position >= held[0]) & (relevant.position <= held[-1]))
            place = np.searchsorted(held, relevant.position[items])
            own[number][items] = self.similarity.exact(
                queries[number], relevant.query[items], passages, place
            )

        with product_threads() as (_, threads):
            for part in slices(len(positions), self.block or BLOCK):
                held = positions[part]
                passages = self.take(held)
                numbers = range(len(wants))
                for done in [threads.submit(score, n, held, passages) for n in numbers]:
                    done.result()
        return [
            self.new_search(want, self.engine.placed(rows), scores)
            for want, rows, scores in zip(wants, queries, own, strict=True)
        ]

    def new_search(self, want: Want, queries: Rows, own: Floats) -> Search:
        """A search that has found nothing yet; `own` are the true scores of the relevant passages of these placed queries."""
        return Search(self.similarity, self.engine, Partial.of(want, with_ties=True), queries, own)

    def compare(
        self, searches: Sequence[Search], langs: set[str], advance: Callable[[int], None]
    ) -> None:
        """Compare the passages of these languages with the queries of all searches."""
        with product_threads() as (count, threads):
            tasks = []
            for search in searches:
                queries = search.queries.shape[0]
                size = self.engine.share or min(SHARE, _share(queries, count))
                tasks += [(search, rows) for rows in slices(queries, size)]
            for block in self._blocks(langs, count, threads):
                for done in [threads.submit(s.see, rows, block) for s, rows in tasks]:
                    done.result()
                advance(block.passages.shape[0])

    def _compare_elsewhere(
        self,
        elsewhere: Elsewhere,
        searches: Sequence[Search],
        langs: set[str],
        advance: Callable[[int], None],
    ) -> None:
        """Let each worker compare one span of the pool after another, and add up what they find."""
        questions = [(search.partial.want, search.queries, search.own) for search in searches]
        share = -(-sum(len(self.passages[lang]) for lang in langs) // elsewhere.units)
        size = PIECE * max(1, -(-share // PIECE))
        spans = (
            (f"search of {lang} passages from {span.start:,}", self.part(lang, span))
            for lang in sorted(langs)
            for span in self.passages[lang].spans(size)
        )
        for done in elsewhere.executor.run(SearchJob(elsewhere.search_device, questions), spans):
            count, parts = done.result()
            for search, part in zip(searches, parts, strict=True):
                search.partial.merge(part)
            advance(count)

    def part(self, lang: str, rows: slice) -> VectorIndex:
        """An index of these passages of a language alone, to be sent to a worker; their positions in the pool stay the same."""
        first, passages = self.pool.bounds[lang].start, self.passages[lang].only(rows)
        pool = Pool((lang,), {lang: slice(first + rows.start, first + rows.stop)})
        return VectorIndex(pool, {}, {lang: passages}, self.similarity, block=self.block)

    def take(self, positions: Ints) -> Rows:
        """The passages at these positions, which must ascend; prepared."""
        return self.similarity.prepared(self.pool.rows_at(positions, self.passages))

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """The true score of each pair of a query and a passage."""
        scores, stored = np.empty(len(query)), self.queries[setting.query_lang]
        for rows in slices(len(query), self.block or BLOCK):
            distinct, place = np.unique(positions[rows], return_inverse=True)
            distinct_queries, number = np.unique(query[rows], return_inverse=True)
            queries = self.similarity.prepared(stored.rows(distinct_queries))
            scores[rows] = self.similarity.exact(queries, number, self.take(distinct), place)
        return scores

    def tables(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The true scores of all candidates, a row for each query, of `size` queries at a time."""
        candidates = self.pool.rows(setting)
        passages = self.take(np.arange(candidates.start, candidates.stop))
        stored = self.queries[setting.query_lang]
        for rows in slices(len(stored), size):
            queries = self.similarity.prepared(stored.rows(rows))
            yield self.similarity.table(queries, passages)

    def _blocks(
        self, langs: set[str], count: int, threads: ThreadPoolExecutor
    ) -> Iterator[PoolBlock]:
        """The passages of these languages in pool order; a block ends before a language that is not searched."""
        most = self.block or BLOCK
        for span in joined(self.pool.bounds[lang] for lang in self.pool.langs if lang in langs):
            for start in range(span.start, span.stop, most):
                wanted = slice(start, min(start + most, span.stop))
                yield PoolBlock(start, self.engine.placed(self._held(wanted, count, threads)))

    def _held(self, wanted: slice, count: int, threads: ThreadPoolExecutor) -> Rows:
        """The passages at these positions, prepared by `count` threads; dense ones are copied once."""
        block: Floats | None = None
        if self.similarity.form == "dense":
            dimension = self.passages[self.pool.langs[0]].dimension
            block = np.empty((wanted.stop - wanted.start, dimension), np.float32)
        pieces, end = [], 0
        for lang, bounds in self.pool.bounds.items():
            part = inside(wanted, bounds)
            if part.stop == part.start:
                continue
            start, end = end, end + part.stop - part.start
            place = None if block is None else block[start:end]
            # Only this thread reads: rows may be encoded when they are read.
            rows = self.passages[lang].rows(part, place)
            for piece in slices(end - start, _share(end - start, count)):
                pieces.append((rows[piece], None if place is None else place[piece]))
        prepared = list(threads.map(self.similarity.prepared, *zip(*pieces, strict=True)))
        return stacked(prepared) if block is None else block


@dataclass(frozen=True, slots=True)
class SearchJob:
    """Searches spans of a pool, each for the same queries."""

    device: str
    questions: Sequence[tuple[Want, Rows, Floats]]
    """For each query language: the want, the prepared queries, and the true scores of relevant passages."""

    def open(self) -> Callable[[VectorIndex], tuple[int, list[Partial]]]:
        """Place the queries on the device."""
        engine = engine_for(self.device)
        placed = [(want, engine.placed(queries), own) for want, queries, own in self.questions]

        def search(span: VectorIndex) -> tuple[int, list[Partial]]:
            """How many passages were compared, and what each search has found among them."""
            index, (lang,) = replace(span, engine=engine), span.pool.langs
            searches = [
                index.new_search(want.of_passages(lang), queries, own)
                for want, queries, own in placed
            ]
            index.compare(searches, {lang}, lambda _count: None)
            return len(index.passages[lang]), [search.partial for search in searches]

        return search


def _share(rows: int, threads: int) -> int:
    """How many of these rows a thread takes."""
    return max(FEW_ROWS, -(-rows // threads))
