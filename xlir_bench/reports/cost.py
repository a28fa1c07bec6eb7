"""What an encoder costs in use, as tables."""

from __future__ import annotations

from typing import Any

from xlir_bench.records import Kind
from xlir_bench.reports.document import Block, Table, Text, Title
from xlir_bench.reports.tables import number
from xlir_bench.results.schema import (
    CostPart,
    LatencyPart,
    MachinePart,
    ModelCostPart,
    ResultRecord,
    VariantPart,
)

READING = (
    "by latency, by size (of the index): no other unbeaten variant has as high a mean map at as low a cost,"
    " and one of them better; faster is what is so in every round"
)


def cost_blocks(cost: CostPart) -> list[Block]:
    """Which variant to ship, where its time goes, what the model takes, and how it was measured."""
    return [
        Title(f"what it costs: one query of {cost.queries:,} among {cost.passages:,} passages"),
        variants_table(cost),
        Text.of(READING),
        Title(f"milliseconds of a query, and of a batch of {cost.batch} queries"),
        latency_table(cost),
        Title("the model"),
        models_table(cost),
        *memory_line(cost),
        Text.of(machine_line(cost.machine)),
        Text.of(method_line(cost)),
    ]


def variants_table(cost: CostPart) -> Table:
    """A row a variant: quality, latency, size, and which are unbeaten."""
    kinds = [kind for kind in Kind if kind in cost.variants[0].map]
    first = cost.variants[0].mean_map
    rows = [
        [
            _name(variant),
            *(number(variant.map.get(kind)) for kind in kinds),
            number(variant.mean_map),
            "" if i == 0 else f"{variant.mean_map - first:+.4f}",
            milliseconds(variant.query.p50),
            _span(variant.query),
            f"{variant.bytes_per_vector:,.0f}",
            size(variant.index_bytes),
            ", ".join(variant.unbeaten),
        ]
        for i, variant in enumerate(cost.variants)
    ]
    headers = ["variant", *(kind.value for kind in kinds), "mean map", "change"]
    headers += ["query ms", "span of rounds", "bytes a vector", "index size", "unbeaten by"]
    return Table(headers, rows)


def latency_table(cost: CostPart) -> Table:
    """Percentiles of a query and of a batch, and how much of a query is encoding and how much search."""
    rows = [
        [
            _name(variant),
            *_percentiles(variant.query),
            milliseconds(variant.encode_ms),
            milliseconds(variant.search_ms),
            *_percentiles(variant.batch),
            rate(1000 * cost.batch / variant.batch.p50),
        ]
        for variant in cost.variants
    ]
    headers = ["variant", "p50", "p95", "p99", "encode", "search"]
    headers += ["batch p50", "batch p95", "batch p99", "queries/s"]
    return Table(headers, rows)


def models_table(cost: CostPart) -> Table:
    """A row a dtype: what does not depend on dimensions and index."""
    gpu = any(model.gpu_memory_bytes is not None for model in cost.models)
    rows = [
        [
            model.dtype,
            f"{model.dimension:,}",
            millions(model.parameters),
            "-" if model.weights_bytes is None else size(model.weights_bytes),
            f"{model.load_seconds:.2f} s",
            rate(model.passages_per_second),
            f"{rate(model.slowest)} to {rate(model.fastest)}",
            *([_gpu(model)] if gpu else []),
        ]
        for model in cost.models
    ]
    headers = [
        "dtype",
        "dimension",
        "parameters",
        "weights",
        "load",
        "passages/s",
        "span of rounds",
    ]
    return Table([*headers, *(["GPU memory"] if gpu else [])], rows)


def memory_line(cost: CostPart) -> list[Text]:
    """The most memory that it took, where that is known."""
    if not cost.peak_memory_bytes:
        return []
    told = "peak memory of the process with the first of them"
    return [Text.of(f"{told}: {size(cost.peak_memory_bytes)}, libraries and texts included")]


def machine_line(machine: MachinePart) -> str:
    """The machine in a line."""
    facts = [
        f"{machine.processor} ({machine.processors} processors, {machine.threads} in use)",
        f"{size(machine.memory_bytes)} of memory" if machine.memory_bytes else "",
        f"model on {machine.device}",
        "" if machine.load is None else f"load {machine.load:.1f} before",
    ]
    return "; ".join(fact for fact in facts if fact)


def method_line(cost: CostPart) -> str:
    """How it was measured."""
    counted = f"only the {cost.depth:,} best passages count in map; " if cost.depth else ""
    return (
        f"{counted}a search asks for {cost.searched:,} passages; {cost.repeats} rounds after a warm-up, in which"
        " variants take turns query by query; percentiles are over all rounds, spans go from the fastest"
        " round's median to the slowest's"
    )


def cost_record(record: ResultRecord, cost: CostPart) -> dict[str, Any]:
    """The same for programs."""
    names = {"task": record.task.name, "encoder": record.encoder.name, "slug": record.encoder.slug}
    return names | cost.model_dump(mode="json")


def milliseconds(value: float) -> str:
    """Three figures or so."""
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def rate(value: float) -> str:
    """So many a second."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def millions(parameters: int | None) -> str:
    """A number of parameters as people say it."""
    if parameters is None:
        return "-"
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f} B"
    return f"{parameters / 10**6:.1f} M" if parameters >= 10**5 else f"{parameters:,}"


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 10 * factor or (count >= factor and unit != "kB"):
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"


def _name(variant: VariantPart) -> str:
    return f"{variant.dtype} {variant.dimension} {variant.index}"


def _span(latency: LatencyPart) -> str:
    return f"{milliseconds(min(latency.rounds))} to {milliseconds(max(latency.rounds))}"


def _percentiles(latency: LatencyPart) -> list[str]:
    return [milliseconds(v) for v in (latency.p50, latency.p95, latency.p99)]


def _gpu(model: ModelCostPart) -> str:
    return "-" if model.gpu_memory_bytes is None else size(model.gpu_memory_bytes)
