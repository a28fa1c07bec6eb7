"""Progress bars on stderr, with rate and time left."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from xlir_bench.escaping import visible


@dataclass(slots=True)
class Bars:
    """A `Progress` of tqdm bars; off a terminal a stage says a line when it begins and every half minute."""

    quiet: bool = False
    _bar: Any = field(default=None, init=False)

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        # A bar that is still open when something fails would be drawn over the message.
        self.finish()

    def start(self, stage: str, total: int, unit: str) -> None:
        """Open a bar."""
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        in_bytes = unit == "B"
        self._bar = tqdm(
            total=total,
            desc=visible(stage),
            unit=unit if in_bytes else f" {unit}",
            unit_scale=in_bytes,
            disable=self.quiet,
            leave=not terminal,
            file=sys.stderr,
            mininterval=0.2 if terminal else 30.0,
            dynamic_ncols=True,
        )

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def finish(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
