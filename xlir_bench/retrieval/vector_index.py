"""Exact ranks by counting: one pass over the pool for all queries, a block of passages at a time.

The rank of a relevant passage is one more than the number of passages that score higher, or the same and stand
before it in the pool. A fast score only tells apart what lies further from each other than it can be off;
whatever is nearer is settled by the true score, which depends on nothing but the two texts. So ranks and
ties are exact however the pool is cut, and memory does not grow with the number of passages.
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
"""Passages held at a time, prepared. No power of two: rows of scores would lie so far apart that they push each other
out of the processor's cache, which costs the matrix product 3 %."""
SHARE = 512
"""Queries that a thread compares with a block at a time, which is fetched once for all: the scores are 32 MB."""
FEW_ROWS = 64
"""Queries, or passages to prepare: fewer are not worth a thread of their own."""
PIECE = 16_384
"""Workers search a multiple of so many passages at a time, so that few units end within a shard or a window of texts."""


@dataclass(frozen=True, slots=True)
class VectorIndex(ScoringIndex):
    """Vectors of queries and passages, searched without any approximation."""

    pool: Pool
    queries: Mapping[str, Vectors]
    passages: Mapping[str, Vectors]
    similarity: Similarity = COSINE
    engine: Engine = NUMBA
    """Where scores are computed and counted: it decides how long a search takes, and nothing else."""
    block: int | None = None
    """Passages held at a time; None: `BLOCK`."""
    elsewhere: Elsewhere | None = None
    """Workers who search it, where they can."""

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
            {lang: rows for (of_role, lang), rows in vectors.items() if of_role == role}
            for role in ROLES
        )
        pool = Pool.of({lang: len(rows) for lang, rows in passages.items()})
        return cls(pool, queries, passages, similarity, engine, block, elsewhere)

    def search(self, wants: Sequence[Want], progress: Progress) -> list[Partial]:
        """What each of these wants to know, in one pass over the pool."""
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
        """Whether the passages are where workers can read them: what is in memory is better searched here."""
        return all(rows.on_disk for rows in self.passages.values())

    @property
    def search_device(self) -> str:
        """That of the workers, where they search."""
        if self.elsewhere is not None and self.on_disk:
            return self.elsewhere.search_device
        return self.engine.name

    @property
    def scores_fast(self) -> bool:
        """Not where texts are compared token by token."""
        return self.similarity.form != "tokens"

    def by_faiss(self, factory: str, depth: int) -> FaissIndex | None:
        """FAISS indexes of the same vectors, where a text has one."""
        if self.similarity.form != "dense":
            return None
        return FaissIndex(self.pool, self.queries, self.passages, self.similarity, factory, depth)

    def _searches(self, wants: Sequence[Want]) -> list[Search]:
        """Nothing is compared yet; each relevant passage is prepared once for the queries of all languages."""
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
            self.asked(want, self.engine.placed(rows), of)
            for want, rows, of in zip(wants, queries, own, strict=True)
        ]

    def asked(self, want: Want, queries: Rows, own: Floats) -> Search:
        """A search of these placed queries, with the true scores of their relevant passages."""
        return Search(self.similarity, self.engine, Partial.of(want, with_ties=True), queries, own)

    def compare(
        self, searches: Sequence[Search], langs: set[str], advance: Callable[[int], None]
    ) -> None:
        """Take the passages of these languages into account in all searches."""
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
        """Each worker compares a span of the pool at a time, and what they find adds up."""
        asked = [(search.partial.want, search.queries, search.own) for search in searches]
        share = -(-sum(len(self.passages[lang]) for lang in langs) // elsewhere.units)
        size = PIECE * max(1, -(-share // PIECE))
        spans = (
            (f"search of {lang} passages from {span.start:,}", self.part(lang, span))
            for lang in sorted(langs)
            for span in self.passages[lang].spans(size)
        )
        for done in elsewhere.executor.run(SearchJob(elsewhere.search_device, asked), spans):
            count, parts = done.result()
            for search, part in zip(searches, parts, strict=True):
                search.partial.merge(part)
            advance(count)

    def part(self, lang: str, rows: slice) -> VectorIndex:
        """These passages of a language as an index of their own, to be sent; they are where they were in the pool."""
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
            asked, number = np.unique(query[rows], return_inverse=True)
            queries = self.similarity.prepared(stored.rows(asked))
            scores[rows] = self.similarity.exact(queries, number, self.take(distinct), place)
        return scores

    def tables(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The true scores of all candidates, a row a query, of so many queries at a time."""
        candidates = self.pool.rows(setting)
        passages = self.take(np.arange(candidates.start, candidates.stop))
        stored = self.queries[setting.query_lang]
        for rows in slices(len(stored), size):
            queries = self.similarity.prepared(stored.rows(rows))
            yield self.similarity.table(queries, passages)

    def _blocks(
        self, langs: set[str], count: int, threads: ThreadPoolExecutor
    ) -> Iterator[PoolBlock]:
        """The passages of these languages in pool order; a block ends where the next position is not wanted."""
        most = self.block or BLOCK
        for span in joined(self.pool.bounds[lang] for lang in self.pool.langs if lang in langs):
            for start in range(span.start, span.stop, most):
                wanted = slice(start, min(start + most, span.stop))
                yield PoolBlock(start, self.engine.placed(self._held(wanted, count, threads)))

    def _held(self, wanted: slice, count: int, threads: ThreadPoolExecutor) -> Rows:
        """The passages at these positions, prepared by so many threads; dense ones are copied once."""
        block: Floats | None = None
        if self.similarity.form == "dense":
            dimension = self.passages[self.pool.langs[0]].dimension
            block = np.empty((wanted.stop - wanted.start, dimension), np.float32)
        pieces, end = [], 0
        for lang, of_lang in self.pool.bounds.items():
            part = inside(wanted, of_lang)
            if part.stop == part.start:
                continue
            start, end = end, end + part.stop - part.start
            place = None if block is None else block[start:end]
            # Read by this thread alone: rows may be encoded by being read.
            rows = self.passages[lang].rows(part, place)
            for piece in slices(end - start, _share(end - start, count)):
                pieces.append((rows[piece], None if place is None else place[piece]))
        made = list(threads.map(self.similarity.prepared, *zip(*pieces, strict=True)))
        return stacked(made) if block is None else block


@dataclass(frozen=True, slots=True)
class SearchJob:
    """What is asked of every span of a pool."""

    device: str
    asked: Sequence[tuple[Want, Rows, Floats]]
    """What is wanted, the queries, prepared, and the true score of each relevant passage."""

    def open(self) -> Callable[[VectorIndex], tuple[int, list[Partial]]]:
        """The queries are where they are compared."""
        engine = engine_for(self.device)
        asked = [(want, engine.placed(queries), own) for want, queries, own in self.asked]

        def search(span: VectorIndex) -> tuple[int, list[Partial]]:
            """How many passages were compared, and what is found among them by each search."""
            index, (lang,) = replace(span, engine=engine), span.pool.langs
            searches = [
                index.asked(want.of_passages(lang), queries, own) for want, queries, own in asked
            ]
            index.compare(searches, {lang}, lambda _count: None)
            return len(index.passages[lang]), [search.partial for search in searches]

        return search


def _share(rows: int, threads: int) -> int:
    """How many of these rows a thread takes."""
    return max(FEW_ROWS, -(-rows // threads))
