"""What is measured of the cost of an encoder."""

from __future__ import annotations

from dataclasses import dataclass

from xlir_bench.options.encoding import Dtype
from xlir_bench.options.stating import check_bounds, option

VARIANTS, TIMING = "Variants", "Timing"


@dataclass(frozen=True, slots=True)
class CostOptions:
    """Which variants are set side by side, and how long they are looked at."""

    dtypes: tuple[Dtype, ...] = option(
        "What the model computes in: float32, float16, bfloat16; each is loaded anew. Others are compared with the"
        " first.",
        ("float32",), group=VARIANTS, flag="dtype", metavar="NAME,NAME", in_recipes="cost",
    )  # fmt: skip
    dims: tuple[int, ...] = option(
        "Keep the first N dimensions too.",
        (), group=VARIANTS, metavar="N,N", least=1, in_recipes="cost",
    )  # fmt: skip
    indexes: tuple[str, ...] = option(
        "A FAISS factory string besides Flat: SQ8, HNSW32, 'IVF64,Flat'; may be given again.",
        (), group=VARIANTS, flag="index", metavar="FACTORY", many=True, in_recipes="cost",
    )  # fmt: skip
    batch: int = option(
        "Time batches of so many queries, too; passages come in such batches.",
        32, group=TIMING, metavar="B", least=1,
    )  # fmt: skip
    queries: int = option(
        "How many different queries are timed.",
        100, group=TIMING, metavar="N", least=1, in_recipes="cost",
    )  # fmt: skip
    repeats: int = option(
        "Rounds; in each, every variant answers all these queries.",
        5, group=TIMING, metavar="R", least=1, in_recipes="cost",
    )  # fmt: skip
    depth: int | None = option(
        "Search for the K best passages and let only them count in map.  [default: search for 1,000; exact map"
        " counts all]",
        None, group=TIMING, metavar="K", least=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Whoever makes one gets one that can be measured."""
        check_bounds(self)
