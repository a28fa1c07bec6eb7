"""Options of measuring what an encoder costs in use."""

from __future__ import annotations

from dataclasses import dataclass

from xlir_bench.options.encoding import Dtype
from xlir_bench.options.stating import check_bounds, option

VARIANTS, TIMING = "Variants", "Timing"


@dataclass(frozen=True, slots=True)
class CostOptions:
    """Which variants are compared, and how long they are timed."""

    dtypes: tuple[Dtype, ...] = option(
        "What the model computes in: float32, float16, bfloat16. The model is loaded for each; all others are"
        " compared with the first.",
        ("float32",), group=VARIANTS, flag="dtype", metavar="NAME,NAME", in_recipes="cost",
    )  # fmt: skip
    dims: tuple[int, ...] = option(
        "Also measure vectors cut to their first N dimensions.",
        (), group=VARIANTS, metavar="N,N", least=1, in_recipes="cost",
    )  # fmt: skip
    indexes: tuple[str, ...] = option(
        "Also measure an index with this FAISS factory string: SQ8, HNSW32, 'IVF64,Flat'; may be given again.",
        (), group=VARIANTS, flag="index", metavar="FACTORY", many=True, in_recipes="cost",
    )  # fmt: skip
    batch: int = option(
        "Also time batches of B queries; passages are encoded in batches of B.",
        32, group=TIMING, metavar="B", least=1,
    )  # fmt: skip
    queries: int = option(
        "How many different queries are timed.",
        100, group=TIMING, metavar="N", least=1, in_recipes="cost",
    )  # fmt: skip
    repeats: int = option(
        "How many rounds; in each, every variant answers all queries.",
        5, group=TIMING, metavar="R", least=1, in_recipes="cost",
    )  # fmt: skip
    depth: int | None = option(
        "Search for the K best passages, and count only these in map.  [default: search for 1,000; exact map"
        " counts all]",
        None, group=TIMING, metavar="K", least=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse values that are out of bounds."""
        check_bounds(self)
