"""What an encoder costs: figures that can be computed by hand are, and turns are counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import Plain, mini_files, plain_measures, small

from xlir_bench.encoders import EncoderCard, EncoderOptions, load_encoder
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.evaluation import CostOptions, evaluate, load_models, measure_cost
from xlir_bench.evaluation.cost import sample, warmed_up
from xlir_bench.records import Kind, Setting
from xlir_bench.results.schema import CostPart, VariantPart
from xlir_bench.retrieval import VectorIndex, Vectors
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

LANGS = ("de", "en")
(MINI,) = catalogue().get(["mini"])
QUICK = {"queries": 6, "batch": 4, "repeats": 2}


def costs(spec: str, encoder: EncoderOptions | None = None, **options: object) -> CostPart:
    asked = CostOptions(**{**QUICK, **options})  # type: ignore[arg-type]
    models = load_models(MINI, spec, asked, small(), encoder or EncoderOptions(device="cpu"))
    return measure_cost(MINI, models, asked, small(), command="xlir-bench profile")


@cache
def ngram() -> CostPart:
    return costs("builtin:ngram", dims=(256, 1024), indexes=("SQ8", "HNSW8", "Flat"))


def variant(cost: CostPart, dimension: int, index: str, dtype: str = "float32") -> VariantPart:
    (found,) = [
        v for v in cost.variants if (v.dimension, v.index, v.dtype) == (dimension, index, dtype)
    ]
    return found


def test_variants_are_all_combinations_each_once_whole_vectors_and_exact_search_first():
    assert [(v.dimension, v.index) for v in ngram().variants] == [
        (dimension, index) for dimension in (1024, 256) for index in ("Flat", "SQ8", "HNSW8")
    ]


@pytest.mark.parametrize("dimension", [1024, 256])
def test_map_of_cut_vectors_is_that_of_plain_numpy(dimension):
    class Cut:
        def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
            whole = load_encoder("builtin:ngram").encode(texts, role)  # type: ignore[arg-type]
            return whole[:, :dimension]

    plain = Plain({x: path for x, path in mini_files().items() if x in LANGS}, Cut())

    def bounds(query: str, passages: tuple[str, ...]) -> list[float]:
        best, worst = plain.bounds(query, passages)
        return [plain_measures(ranks)["map"] for ranks in (worst, best)]

    wanted = {
        Kind.MONOLINGUAL: [bounds(x, (x,)) for x in LANGS],
        Kind.CROSS_LINGUAL: [bounds("de", ("en",)), bounds("en", ("de",))],
        Kind.MULTILINGUAL: [bounds(x, LANGS) for x in LANGS],
    }
    found = variant(ngram(), dimension, "Flat")
    for kind, span in wanted.items():
        low, high = np.mean(span, axis=0)
        assert low - 1e-9 <= found.map[kind] <= high + 1e-9
    assert found.mean_map == pytest.approx(np.mean(list(found.map.values())))


def test_the_first_variant_has_the_map_of_the_result():
    result = evaluate("mini", "builtin:ngram", small())
    for kind, value in ngram().variants[0].map.items():
        assert value == pytest.approx(result.score(kind), abs=1e-12)


def test_an_index_has_the_map_that_run_gives_it():
    result = evaluate("mini", "builtin:ngram", small(index="HNSW8"))
    for kind, value in variant(ngram(), 1024, "HNSW8").map.items():
        assert value == pytest.approx(result.score(kind), abs=1e-12)


@pytest.mark.parametrize("dimension", [1024, 256])
def test_an_index_takes_the_bytes_of_its_codes_and_little_more(dimension):
    cost = ngram()
    flat, eight = (variant(cost, dimension, index) for index in ("Flat", "SQ8"))
    # A header; scalar quantisation has a range of two floats a dimension besides.
    assert 0 <= flat.index_bytes - 4 * dimension * cost.passages < 200
    assert 0 <= eight.index_bytes - (dimension * cost.passages + 8 * dimension) < 300
    for found in (flat, eight):
        assert found.bytes_per_vector == found.index_bytes / cost.passages
    # A graph of 8 neighbours, 16 on the ground floor, 4 bytes each, on top of the vectors.
    graph = variant(cost, dimension, "HNSW8").bytes_per_vector - flat.bytes_per_vector
    assert 64 <= graph < 120


def test_index_bytes_are_those_of_the_file_that_faiss_writes(tmp_path):
    import faiss

    from xlir_bench.retrieval.faiss_index import index_bytes

    rng = np.random.default_rng(0)
    for factory in ("Flat", "SQ8", "HNSW8", "IVF4,Flat", "PQ4x4"):
        rows = {("passage", "en"): Vectors.of(rng.standard_normal((300, 16)).astype(np.float32))}
        index = VectorIndex.of(rows).by_faiss(factory, 10).index_of(Setting("en", ("en",)))
        faiss.write_index(index, str(tmp_path / "index"))
        assert index_bytes(index) == (tmp_path / "index").stat().st_size


def test_the_pool_is_of_all_languages():
    collection = load_collection(MINI, small(), _quiet())
    assert ngram().passages == sum(len(p.ids) for p in collection.passages.values())
    assert ngram().searched == ngram().passages < 1000


def test_percentiles_rise_and_parts_make_the_whole():
    for v in ngram().variants:
        for latency in (v.query, v.batch):
            assert 0 < latency.p50 <= latency.p95 <= latency.p99
            assert len(latency.rounds) == 2
            assert 0 < min(latency.rounds) <= latency.p50 <= max(latency.rounds)
        assert 0 < v.encode_ms < v.query.p99
        assert 0 < v.search_ms < v.query.p99


def test_unbeaten_by_size_is_what_map_and_bytes_say():
    variants = ngram().variants
    for v in variants:
        better = [
            o for o in variants
            if o.mean_map >= v.mean_map and o.index_bytes <= v.index_bytes
            and (o.mean_map, o.index_bytes) != (v.mean_map, v.index_bytes)
        ]  # fmt: skip
        assert ("size" in v.unbeaten) == (not better)
    assert any("latency" in v.unbeaten for v in variants)


class Counting:
    """An encoder that remembers how many texts it was given at a time, and for whom."""

    name, fingerprint, dimension = "counting", "sha256:" + "6" * 64, 8

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
        self.calls.append((role, len(texts)))
        return np.array([[len(t), *map(len, (t + " " * 7).split(" ")[:7])] for t in texts], float)


def test_texts_are_encoded_once_and_then_queries_in_turns():
    encoder = Counting()
    model = warmed_up(encoder, "float32", ["a b", "c"])
    assert encoder.calls == [("query", 1), ("passage", 2)]
    encoder.calls.clear()
    options = CostOptions(dims=(4,), indexes=("SQ8",), queries=6, batch=4, repeats=3)
    cost = measure_cost(MINI, [model], options, small())
    assert (len(cost.variants), cost.queries, cost.repeats) == (4, 6, 3)
    calls = Counter(encoder.calls)
    collection = load_collection(MINI, small(), _quiet())
    # Warm-up: five queries and one batch for each variant.
    assert calls["query", 1] == 4 * (5 + 3 * 6)
    assert calls["query", 4] == 4 * (1 + 3 * 1)
    assert calls["passage", 4] == 3 * 8
    left = [c for c in encoder.calls if c not in (("query", 1), ("query", 4), ("passage", 4))]
    texts = {
        role: {t for x in collection.languages(role) for t in collection.texts(role, x)}
        for role in ("query", "passage")
    }
    for role, distinct in texts.items():
        assert sum(n for r, n in left if r == role) == len(distinct)


def test_a_task_with_few_queries_has_them_several_times_in_a_batch():
    cost = costs("builtin:ngram", queries=3, batch=8, repeats=1)
    assert (cost.queries, cost.batch) == (3, 8)


def test_the_sample_is_spread_over_languages_and_the_same_every_time():
    collection = load_collection(MINI, small(), _quiet())
    texts = sample(collection, "query", 10)
    assert texts == sample(collection, "query", 10)
    assert len(set(texts)) == 10
    german = set(collection.queries["de"].texts)
    assert sum(text in german for text in texts) == 5
    everything = sum(len(q.texts) for q in collection.queries.values())
    assert len(sample(collection, "query", 10_000)) == everything


def test_only_so_many_of_the_best_count_in_map_whatever_the_index():
    cost = costs("builtin:ngram", indexes=("SQ8",), depth=10)
    plain = Plain(
        {x: p for x, p in mini_files().items() if x in LANGS}, load_encoder("builtin:ngram")
    )
    best, worst = plain.bounds("de", ("en",))
    other = plain.bounds("en", ("de",))

    def at_ten(ranks: np.ndarray) -> float:
        there = ranks[ranks.max(axis=1) > 0]
        return float(np.where(there <= 10, 1 / there, 0).mean())

    low, high = (at_ten(worst) + at_ten(other[1])) / 2, (at_ten(best) + at_ten(other[0])) / 2
    assert low - 1e-9 <= cost.variants[0].map[Kind.CROSS_LINGUAL] <= high + 1e-9
    whole = ngram().variants[0].map
    assert all(v.map[k] < whole[k] for v in cost.variants for k in whole)
    assert (cost.searched, cost.depth) == (10, 10)


def test_weights_that_stay_int8_in_memory_count_as_such() -> None:
    [model] = costs("builtin:multilingual", dims=(8,)).models
    assert model.parameters is not None
    assert model.weights_bytes is not None
    assert model.parameters < model.weights_bytes < 1.1 * model.parameters


def test_every_dtype_is_a_model_of_its_own(tiny_transformer: Path):
    cost = costs(str(tiny_transformer), dtypes=("float32", "bfloat16", "float32"), dims=(8,))
    assert [m.dtype for m in cost.models] == ["float32", "bfloat16"]
    assert [(v.dtype, v.dimension) for v in cost.variants] == [
        ("float32", 32), ("float32", 8), ("bfloat16", 32), ("bfloat16", 8),
    ]  # fmt: skip
    whole, half = cost.models
    parameters = evaluate("mini", str(tiny_transformer), small()).record.encoder.parameters
    assert whole.parameters == half.parameters == parameters
    assert (whole.weights_bytes, half.weights_bytes) == (4 * parameters, 2 * parameters)
    for model in cost.models:
        assert model.dimension == 32
        assert model.load_seconds > 0
        assert 0 < model.slowest <= model.passages_per_second <= model.fastest
        assert model.gpu_memory_bytes is None
    assert cost.peak_memory_bytes > 50e6
    maps = {v.dtype: v.mean_map for v in cost.variants if v.dimension == 32}
    assert maps["bfloat16"] != maps["float32"]
    assert maps["bfloat16"] == pytest.approx(maps["float32"], abs=0.05)


def test_the_machine_is_described():
    machine = ngram().machine
    assert machine.processor
    assert machine.processors >= machine.threads >= 1
    assert machine.memory_bytes > 1e8
    assert machine.device == "cpu"


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("builtin:ngram", {"dims": (2048,)},
         r"--dims 2048: .*builtin:ngram .*\b1024\b"),
        ("builtin:ngram", {"dims": (0,)}, "--dims 0 .*1 or more"),
        ("builtin:ngram", {"repeats": 0}, "--repeats 0 .*1 or more"),
        ("builtin:ngram", {"depth": 0}, "--depth 0 .*1 or more"),
        ("builtin:ngram", {"dtypes": ("float16",)},
         "--dtype float16: builtin:ngram .*float32"),
        ("builtin:ngram", {"indexes": ("HSNW",)}, "--index 'HSNW' .*FAISS"),
        ("builtin:ngram", {"indexes": ("Flat,SQ8,HNSW32",)}, "several --index"),
        ("builtin:ngram", {"indexes": ("PQ10",)}, "for 1024 dimensions"),
        ("builtin:ngram", {"indexes": ("IVF500,Flat",)}, r"'IVF500,Flat' .*\b1\d\d candidates"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_a_line(spec, options, said):
    with pytest.raises(InputError) as error:
        costs(spec, **options)
    assert re.search(said, str(error.value))
    assert "\n" not in str(error.value)


def test_a_dtype_that_is_none_is_named(tiny_transformer: Path):
    with pytest.raises(UnknownNameError, match=r"'flaot16'.*'float16'"):
        costs(str(tiny_transformer), dtypes=("flaot16",))


def test_a_dtype_that_the_device_does_not_have_is_a_line():
    import torch

    class Inverting(Counting):
        """torch inverts no matrix in half precision on a processor."""

        card = EncoderCard("halved", "python", "halved", Counting.fingerprint, dtype="float16")

        def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
            return torch.linalg.inv(torch.eye(8, dtype=torch.float16)).numpy()

    with pytest.raises(InputError) as error:
        warmed_up(Inverting(), "float16", ["a"])
    assert re.search("^--dtype float16: halved .* cpu .*--device", str(error.value))
    assert "\n" not in str(error.value)


def test_vectors_that_exist_have_no_latency(tmp_path: Path):
    for name in ("query.de.npy", "passage.de.npy"):
        np.save(tmp_path / name, np.ones((3, 4), np.float32))
    with pytest.raises(InputError, match=f"{tmp_path.name} holds vectors"):
        costs(f"npy:{tmp_path}")


def _quiet():
    from xlir_bench.records import Silent

    return Silent()
