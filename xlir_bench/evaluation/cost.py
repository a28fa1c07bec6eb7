"""What an encoder costs in use, and its map, for each variant: a dtype, a number of dimensions and an index."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import numpy as np

from xlir_bench.encoders import Encoder, checked, describe, load_encoder
from xlir_bench.errors import InputError
from xlir_bench.evaluation.record import machine_part, peak_memory
from xlir_bench.evaluation.run import settings_asked
from xlir_bench.evaluation.searching import map_by_kind, search
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.profiling import CostOptions
from xlir_bench.options.running import EXACT, RunOptions
from xlir_bench.records import (
    Collection,
    Floats,
    Kind,
    Progress,
    Role,
    Setting,
    Silent,
    TextsOnDisk,
)
from xlir_bench.results.schema import CostPart, LatencyPart, ModelCostPart, VariantPart
from xlir_bench.retrieval import (
    EmbedRequest,
    FaissIndex,
    Similarity,
    VectorIndex,
    Vectors,
    embed,
    similarity_of,
)
from xlir_bench.retrieval.faiss_index import DEPTH, empty_index, index_bytes
from xlir_bench.retrieval.similarity import COSINE
from xlir_bench.sources import load_collection
from xlir_bench.tasks import Task

PASSAGE_BATCHES = 8
"""Batches of passages that are encoded in each round."""
WARM_UP = 5
"""Queries that each variant answers before the clock counts."""
Item = TypeVar("Item")
Measured = TypeVar("Measured")
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The encoder in one dtype, with the time and memory that loading it took."""

    encoder: Encoder
    similarity: Similarity
    """How its vectors are compared."""
    device: str
    load_seconds: float
    gpu_memory_bytes: int | None
    peak_memory_bytes: int
    """The most memory that the process had held when the model was loaded."""

    def seconds(self, passages: Sequence[str]) -> float:
        """How long the encoder takes for these passages."""
        began = time.perf_counter()
        self.encoder.encode(passages, "passage")
        return time.perf_counter() - began

    def part(self, rates: Sequence[float]) -> ModelCostPart:
        """The record of this model; `rates` are its passages per second in each round."""
        card = describe(self.encoder)
        weights_bytes = card.weights_bytes
        if weights_bytes is None and card.parameters is not None:
            weights_bytes = card.parameters * DTYPE_BYTES[card.dtype]
        return ModelCostPart(
            dtype=card.dtype,
            dimension=self.encoder.dimension,
            parameters=card.parameters,
            weights_bytes=weights_bytes,
            load_seconds=round(self.load_seconds, 3),
            passages_per_second=float(np.median(rates)),
            slowest=min(rates),
            fastest=max(rates),
            gpu_memory_bytes=self.gpu_memory_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Variant:
    """A model, a number of dimensions, and an index of the passages of all languages."""

    model: LoadedModel
    dimension: int
    factory: str
    map: dict[Kind, float]
    index: Any
    depth: int

    def answer(self, texts: Sequence[str]) -> tuple[float, float]:
        """Encode and search these queries; the seconds of both steps."""
        began = time.perf_counter()
        vectors = checked(self.model.encoder.encode(texts, "query"), texts)
        queries = self.model.similarity.prepared(vectors[:, : self.dimension])
        encoded = time.perf_counter()
        self.index.search(queries, self.depth)
        return encoded - began, time.perf_counter() - encoded

    def part(self, alone: Floats, together: Floats) -> VariantPart:
        """The record of this variant, from the seconds of single queries and of batches: by round, item and step.

        `measure_cost` fills in `unbeaten`, which depends on the other variants.
        """
        size = index_bytes(self.index)
        encode, search = np.median(alone, axis=(0, 1))
        return VariantPart(
            dtype=describe(self.model.encoder).dtype,
            dimension=self.dimension,
            index=self.factory,
            map=self.map,
            mean_map=float(np.mean(list(self.map.values()))),
            index_bytes=size,
            bytes_per_vector=size / self.index.ntotal,
            query=latency(list(alone.sum(axis=2))),
            batch=latency(list(together.sum(axis=2))),
            encode_ms=1000 * float(encode),
            search_ms=1000 * float(search),
            unbeaten=[],
        )


def load_models(
    task: Task,
    spec: str,
    options: CostOptions,
    run_options: RunOptions,
    encoder_options: EncoderOptions,
    progress: Progress | None = None,
) -> list[LoadedModel]:
    """The encoder in every dtype that is asked for, each warmed up with passages of the task.

    What cannot be measured is refused here, before all texts of the task are encoded.
    """
    collection = load_collection(task, run_options, progress or Silent())
    if any(isinstance(passages.texts, TextsOnDisk) for passages in collection.passages.values()):
        raise InputError(
            f"the corpus of {task.name} lies on disk, and profile holds every variant's vectors in"
            " memory: try another task, such as --task xquad-r"
        )
    texts = sample(collection, "passage", options.batch)
    models = []
    for dtype in dict.fromkeys(options.dtypes):
        encoder = load_encoder(spec, replace(encoder_options, dtype=cast(Any, dtype)))
        similarity = similarity_of(encoder_options.similarity, encoder)
        if similarity.form != "dense":
            raise InputError(
                f"{spec} gives no dense vectors, and profile measures only those and their FAISS index"
            )
        models.append(warmed_up(encoder, dtype, texts, similarity))
        _check_variants(encoder, options)
    return models


def warmed_up(
    encoder: Encoder, dtype: str, texts: Sequence[str], similarity: Similarity = COSINE
) -> LoadedModel:
    """Load the encoder, and measure how much time and memory that takes."""
    card = describe(encoder)
    if card.kind == "vectors":
        raise InputError(
            f"npy: {card.name} holds vectors and cannot encode: the cost of a query cannot be measured"
        )
    if card.dtype != dtype:
        raise InputError(f"--dtype {dtype}: {card.name} computes only in {card.dtype}")
    if card.kind == "sentence-transformers":
        import sentence_transformers  # noqa: F401  # imported before timing: a server does it once
    device, cuda = str(getattr(encoder, "device", "cpu")), cast(Any, None)
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            cuda = torch.cuda
            cuda.reset_peak_memory_stats(device)
            held_before = cuda.memory_allocated(device)
    began = time.perf_counter()
    try:
        _ = encoder.dimension
        encoder.encode(texts[:1], "query")
        seconds = time.perf_counter() - began
        checked(encoder.encode(texts, "passage"), texts)
    except (RuntimeError, TypeError) as error:
        if dtype == "float32":
            raise  # every device computes in float32: the cause is another
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--dtype {dtype}: {card.name} cannot compute in this dtype on {device} ({reason});"
            " leave it out, or name another --device"
        ) from error
    gpu_memory = None if cuda is None else cuda.max_memory_allocated(device) - held_before
    return LoadedModel(encoder, similarity, device, seconds, gpu_memory, peak_memory())


def _check_variants(encoder: Encoder, options: CostOptions) -> None:
    for dim in options.dims:
        if dim > encoder.dimension:
            raise InputError(
                f"--dims {dim}: the vectors of {encoder.name} have only {encoder.dimension} numbers"
            )
    for dim, factory in _shapes(encoder, options):
        try:
            empty_index(dim, factory)
        except InputError as error:
            several = "; for several indexes, give several --index" if "," in factory else ""
            raise InputError(f"{error}{several}") from error


def _shapes(encoder: Encoder, options: CostOptions) -> list[tuple[int, str]]:
    """Dimensions and index of each variant, whole vectors and the exact index first."""
    dims = sorted({encoder.dimension, *options.dims}, reverse=True)
    return [(dim, factory) for dim in dims for factory in dict.fromkeys((EXACT, *options.indexes))]


def measure_cost(
    task: Task,
    models: Sequence[LoadedModel],
    options: CostOptions,
    run_options: RunOptions,
    progress: Progress | None = None,
    command: str = "",
) -> CostPart:
    """Measure every variant of these models on one task; texts not in the cache are encoded once for each dtype."""
    progress = progress or Silent()
    collection = load_collection(task, run_options, progress)
    settings = settings_asked(task, run_options)
    request = EmbedRequest(run_options.cache, run_options.batch_tokens)
    machine = machine_part(models[0].device)
    variants: list[_Variant] = []
    for model in models:
        vectors = embed(collection, model.encoder, request, progress).vectors or {}
        variants += _variants(collection, settings, model, vectors, options, progress)
    rates = _passage_rates(collection, models, options, progress)
    queries = sample(collection, "query", options.queries)
    parts = _timed(variants, queries, options, progress)
    maps = [part.mean_map for part in parts]
    fast = unbeaten(maps, [part.query.rounds for part in parts])
    small = unbeaten(maps, [[part.index_bytes] for part in parts])
    return CostPart(
        machine=machine,
        queries=len(queries),
        repeats=options.repeats,
        batch=options.batch,
        passages=variants[0].index.ntotal,
        searched=variants[0].depth,
        depth=options.depth,
        peak_memory_bytes=models[0].peak_memory_bytes,
        models=[model.part(of_model) for model, of_model in zip(models, rates, strict=True)],
        variants=[
            part.model_copy(update={"unbeaten": ["latency"] * fast[i] + ["size"] * small[i]})
            for i, part in enumerate(parts)
        ],
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def sample(collection: Collection, role: Role, count: int) -> list[str]:
    """`count` texts, spread evenly over all languages and shuffled; the same texts in every call."""
    texts = [text for lang in collection.languages(role) for text in collection.texts(role, lang)]
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(np.int64))
    return [texts[i] for i in np.random.default_rng(0).permutation(chosen)]


def _variants(
    collection: Collection,
    settings: Sequence[Setting],
    model: LoadedModel,
    vectors: Mapping[tuple[Role, str], Vectors],
    options: CostOptions,
    progress: Progress,
) -> list[_Variant]:
    shapes = _shapes(model.encoder, options)
    progress.start(f"map, {describe(model.encoder).dtype}", len(shapes), "variants")
    variants, faiss_depth = [], options.depth or DEPTH
    pool = Setting(settings[0].query_lang, tuple(collection.languages("passage")))
    for dimension, factory in shapes:
        exact = VectorIndex.of(
            {key: Vectors.of(np.asarray(rows)[:, :dimension]) for key, rows in vectors.items()},
            model.similarity,
        )
        by_faiss = FaissIndex(
            exact.pool, exact.queries, exact.passages, model.similarity, factory, faiss_depth
        )
        rankings = search(exact if factory == EXACT else by_faiss, collection, settings)
        by_kind, index = map_by_kind(rankings, options.depth), by_faiss.index_of(pool)
        depth = min(by_faiss.depth, index.ntotal)
        variants.append(_Variant(model, dimension, factory, by_kind, index, depth))
        progress.advance(1)
    progress.finish()
    return variants


def _passage_rates(
    collection: Collection, models: Sequence[LoadedModel], options: CostOptions, progress: Progress
) -> list[list[float]]:
    """Passages per second: for each model, by round."""
    # Texts of similar length share a batch, as when a corpus is encoded.
    passages = sample(collection, "passage", PASSAGE_BATCHES * options.batch)
    passages.sort(key=len, reverse=True)
    progress.start("passages", options.repeats, "rounds")
    batches, runs = _batches(passages, options.batch), [model.seconds for model in models]
    times = in_turns(runs, batches, options.repeats, progress.advance)
    progress.finish()
    return [[len(passages) / sum(of_round) for of_round in of_model] for of_model in times]


def _timed(
    variants: Sequence[_Variant], queries: Sequence[str], options: CostOptions, progress: Progress
) -> list[VariantPart]:
    in_full_batches = max(1, len(queries) // options.batch) * options.batch
    # Where a task has too few queries for one batch, they are repeated until it is full.
    batches = _batches([queries[i % len(queries)] for i in range(in_full_batches)], options.batch)
    alone = _batches(queries, 1)
    runs = [variant.answer for variant in variants]
    in_turns(runs, [*alone[:WARM_UP], batches[0]], 1)
    progress.start("queries", 2 * options.repeats, "rounds")
    of_queries, of_batches = (
        in_turns(runs, texts, options.repeats, progress.advance) for texts in (alone, batches)
    )
    progress.finish()
    return [
        variant.part(np.array(one), np.array(many))
        for variant, one, many in zip(variants, of_queries, of_batches, strict=True)
    ]


def _batches(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def in_turns(
    runs: Sequence[Callable[[Item], Measured]],
    items: Sequence[Item],
    rounds: int,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[list[list[Measured]]]:
    """The result of each run for each item, by run and round; `advance` is called after each round.

    All runs process an item before the next item, and another run goes first each time: while the machine is slow, it
    is slow for all runs.
    """
    results: list[list[list[Measured]]] = [[[] for _ in range(rounds)] for _ in runs]
    for number in range(rounds):
        for place, item in enumerate(items):
            for step in range(len(runs)):
                turn = (number + place + step) % len(runs)
                results[turn][number].append(runs[turn](item))
        advance(1)
    return results


def latency(rounds: Sequence[Floats]) -> LatencyPart:
    """In milliseconds: percentiles over all rounds, and the median of each round."""
    p50, p95, p99 = (float(v) for v in 1000 * np.percentile(np.concatenate(rounds), [50, 95, 99]))
    medians = [1000 * float(np.median(seconds)) for seconds in rounds]
    return LatencyPart(p50=p50, p95=p95, p99=p99, rounds=medians)


def unbeaten(quality: Sequence[float], costs: Sequence[Sequence[float]]) -> list[bool]:
    """For each variant, whether no unbeaten variant beats it.

    A variant beats another if it is no worse in quality and in cost, and better in one of them. `costs` are those of
    each variant by round: a variant is cheaper if it is cheaper in every round, since a difference in some rounds may
    be noise. A variant that is beaten by beaten variants only is unbeaten: otherwise a chain of variants with almost
    equal costs could hide one that is clearly cheaper than the best.

    >>> unbeaten([0.5, 0.4, 0.4], [(1.0, 1.2), (0.7, 1.1), (0.7, 1.3)])
    [True, True, False]
    """

    def cheaper(one: int, other: int) -> bool:
        return all(a < b for a, b in zip(costs[one], costs[other], strict=True))

    def beats(one: int, other: int) -> bool:
        if quality[one] < quality[other] or cheaper(other, one):
            return False
        return quality[one] > quality[other] or cheaper(one, other)

    kept: list[int] = []
    # In this order, every variant comes after those that beat it.
    for variant in sorted(range(len(quality)), key=lambda i: (-quality[i], sum(costs[i]))):
        if not any(beats(other, variant) for other in kept):
            kept.append(variant)
    return [variant in kept for variant in range(len(quality))]
