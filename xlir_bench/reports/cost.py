"""What an encoder costs in use, as tables."""

from __future__ import annotations

from xlir_bench.records import Kind
from xlir_bench.rendering.document import Block, Lines, Table
from xlir_bench.rendering.numbers import millions, milliseconds, number, rate, signed, size
from xlir_bench.results.schema import CostPart, VariantPart


def cost_blocks(cost: CostPart) -> list[Block]:
    """Which variant to ship, where its time goes, what the model takes, and how it was measured."""
    machine = cost.machine
    blocks: list[Block] = [
        Lines(f"what it costs: one query of {cost.queries:,} among {cost.passages:,} passages"),
        Table.of(_variants(cost)),
        Lines(
            "unbeaten by latency, or by size of the index: no other unbeaten variant is at least as good in both mean"
            " map and this cost, and better in one; a variant is faster only if it is faster in every round"
        ),
        Lines(f"milliseconds of a query, and of a batch of {cost.batch} queries"),
        Table.of(_latencies(cost)),
        Lines("the model"),
        Table.of(_models(cost)),
    ]
    if cost.peak_memory_bytes:
        peak = f"peak memory of the process with the first model: {size(cost.peak_memory_bytes)}"
        blocks.append(Lines(f"{peak}, libraries and texts included"))
    facts = [
        f"{machine.processor} ({machine.processors} processors, {machine.threads} in use)",
        f"{size(machine.memory_bytes)} of memory" if machine.memory_bytes else "",
        f"model on {machine.device}",
        "" if machine.load is None else f"load {machine.load:.1f} before",
    ]
    depth = f"only the {cost.depth:,} best passages count in map; " if cost.depth else ""
    method = (
        f"{depth}a search asks for {cost.searched:,} passages; {cost.repeats} rounds after a warm-up; in each round"
        " variants take turns query by query; percentiles are over all rounds, spans go from the fastest"
        " round's median to the slowest's"
    )
    return [*blocks, Lines("; ".join(filter(None, facts))), Lines(method)]


def first_costs(cost: CostPart) -> dict[str, str]:
    """What the first variant (whole vectors, exact search) and its model cost, and on which machine, by column."""
    machine = cost.machine
    where = f"{machine.processor}, threads: {machine.threads}, {machine.device}"
    return _variants(cost)[0] | _latencies(cost)[0] | _models(cost)[0] | {"machine": where}


def _variants(cost: CostPart) -> list[dict[str, str]]:
    """A row for each variant: quality, latency, size, and by which costs it is unbeaten."""
    first = cost.variants[0]
    kinds = [kind for kind in Kind if kind in first.map]
    return [
        {
            "variant": variant_name(v),
            **{kind.value: number(v.map.get(kind)) for kind in kinds},
            "mean map": number(v.mean_map),
            "change": "" if v is first else signed(v.mean_map - first.mean_map),
            "query ms": milliseconds(v.query.p50),
            "span of rounds": f"{milliseconds(min(v.query.rounds))} to {milliseconds(max(v.query.rounds))}",
            "bytes a vector": f"{v.bytes_per_vector:,.0f}",
            "index size": size(v.index_bytes),
            "unbeaten by": ", ".join(v.unbeaten),
        }
        for v in cost.variants
    ]


def _latencies(cost: CostPart) -> list[dict[str, str]]:
    """Percentiles of a query and of a batch, and how much of a query is encoding and how much search."""
    return [
        {
            "variant": variant_name(v),
            "p50": milliseconds(v.query.p50),
            "p95": milliseconds(v.query.p95),
            "p99": milliseconds(v.query.p99),
            "encode": milliseconds(v.encode_ms),
            "search": milliseconds(v.search_ms),
            "batch p50": milliseconds(v.batch.p50),
            "batch p95": milliseconds(v.batch.p95),
            "batch p99": milliseconds(v.batch.p99),
            "queries/s": rate(1000 * cost.batch / v.batch.p50),
        }
        for v in cost.variants
    ]


def _models(cost: CostPart) -> list[dict[str, str]]:
    """A row for each dtype: the costs that do not depend on dimensions and index."""
    on_gpu = any(model.gpu_memory_bytes is not None for model in cost.models)
    return [
        {
            "dtype": model.dtype,
            "dimension": f"{model.dimension:,}",
            "parameters": millions(model.parameters),
            "weights": size(model.weights_bytes),
            "load": f"{model.load_seconds:.2f} s",
            "passages/s": rate(model.passages_per_second),
            "span of rounds": f"{rate(model.slowest)} to {rate(model.fastest)}",
            **({"GPU memory": size(model.gpu_memory_bytes)} if on_gpu else {}),
        }
        for model in cost.models
    ]


def variant_name(variant: VariantPart) -> str:
    """The name of a variant: dtype, dimensions, index."""
    return f"{variant.dtype} {variant.dimension} {variant.index}"
