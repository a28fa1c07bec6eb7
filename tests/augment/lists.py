"""Word lists written to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def write_lists(folder: Path, lists: Mapping[str, Sequence[str]]) -> Path:
    """A folder of ``en-de.tsv``, …; a line is ``word translation`` (``_`` for a space within one)."""
    folder.mkdir(parents=True, exist_ok=True)
    for pair, lines in lists.items():
        rows = ["\t".join(cell.replace("_", " ") for cell in line.split(" ")) for line in lines]
        text = "".join(row + "\n" for row in rows)
        (folder / f"{pair}.tsv").write_text(text, encoding="utf-8")
    return folder
