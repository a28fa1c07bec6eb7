"""A few texts whose vectors tell two encoders apart that have no files.

Vectors of one model differ a little from day to day: with the batch, the threads, in half precision. So those
that were seen first are kept, and later ones that are nearly the same count as the same:

    <cache>/probes/<what is known of the encoder without them>/<their digest>-….safetensors     see `shardfile`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from xlir_bench.encoders.digest import fingerprint
from xlir_bench.places import cache_root
from xlir_bench.records import Floats
from xlir_bench.shardfile import SUFFIX, is_sound, mapped, write_shard

PROBES = ("What is the capital of France?", "Париж — столица Франции.", "巴黎是法国的首都。", "a")
TOLERANCE = 0.015
"""How far a vector may be from the one it is compared with, as a part of its length.

all-MiniLM-L6-v2 on these texts: .0012 between batches in float16 and .011 in bfloat16, .021 after one step of
training (Adam, 2e-5).
"""


def probed_fingerprint(parts: Mapping[str, Any], vectors: Floats) -> str:
    """The fingerprint of what is known of an encoder and the vectors of `PROBES`, within `TOLERANCE`."""
    return fingerprint({**parts, "probes": _known_digest(fingerprint(parts), vectors)})


def _known_digest(encoder: str, vectors: Floats) -> str:
    """The digest of the first vectors of this encoder that are like these; its own where it has none."""
    own = hashlib.blake2b(str(vectors.shape).encode() + vectors.tobytes(), digest_size=16)
    folder = cache_root() / "probes" / encoder.removeprefix("sha256:")[:32]
    with suppress(OSError):  # nothing is kept where nothing can be
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with suppress(ValueError, LookupError):
                if is_sound(path) and _alike(mapped(path)["vectors"], vectors):
                    return path.stem.partition("-")[0]
        write_shard(folder, f"{own.hexdigest()}-", {"vectors": vectors})
    return own.hexdigest()


def _alike(first: Floats, second: Floats) -> bool:
    if first.shape != second.shape:
        return False
    distance = np.linalg.norm(first - second, axis=1)
    return bool((distance <= TOLERANCE * np.linalg.norm(first, axis=1)).all())
