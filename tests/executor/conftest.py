"""What Ray reads once, when it is imported: any test of this folder may be the first to do so."""

from __future__ import annotations

import os

os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 2,
    "RAY_worker_niceness": "0",  # by default workers give way to everything else
}
