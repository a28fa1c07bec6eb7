"""Embed: every distinct text once, whatever the number of settings; nothing is lost when it is killed."""

from xlir_bench.embed.cache import (
    CacheEntry,
    Pruned,
    VectorStore,
    cache_entries,
    prune,
    store_folder,
)
from xlir_bench.embed.stream import Embedded, EmbedRequest, embed, zero_vectors

__all__ = [
    "CacheEntry",
    "EmbedRequest",
    "Embedded",
    "Pruned",
    "VectorStore",
    "cache_entries",
    "embed",
    "prune",
    "store_folder",
    "zero_vectors",
]
