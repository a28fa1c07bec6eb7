"""Search: where each relevant passage stands in the pool of each setting, exactly or by a FAISS index."""

from xlir_bench.search.approximate import approximate_rankings, recall_of_exact
from xlir_bench.search.exact import exact_rankings
from xlir_bench.search.pool import Pool, SearchRequest, ShardedPool, normalised, pool_of
from xlir_bench.search.sharded import sharded_rankings

__all__ = [
    "Pool",
    "SearchRequest",
    "ShardedPool",
    "approximate_rankings",
    "exact_rankings",
    "normalised",
    "pool_of",
    "recall_of_exact",
    "sharded_rankings",
]
