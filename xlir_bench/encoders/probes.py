"""A few texts whose vectors tell two encoders apart that have no files."""

from __future__ import annotations

import hashlib

import numpy as np

from xlir_bench.records import Floats

PROBES = ("What is the capital of France?", "Париж — столица Франции.", "巴黎是法国的首都。", "a")


def probe_digest(vectors: Floats) -> str:
    """Digest of some vectors, rounded so that the noise of another batch or thread is forgotten."""
    rounded = np.round(vectors.astype(np.float64), 3) + 0.0  # -0.0 becomes 0.0
    return hashlib.sha256(str(rounded.shape).encode() + rounded.tobytes()).hexdigest()
