"""Real stored results: the built-in encoders on the bundled task, evaluated once for all tests."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from sources.layouts import belebele_row, write_belebele

import xlir_bench as xb
from xlir_bench.tasks import catalogue


@cache
def mini_results() -> Path:
    """A results folder with `builtin:ngram` and `builtin:random` on mini; copy it, do not change it."""
    folder = Path(tempfile.mkdtemp(prefix="xlir-stored-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("ngram", "random"):
        result = xb.evaluate("mini", f"builtin:{name}", xb.RunOptions(cache=None))
        result.save(folder / f"builtin-{name}" / "mini")
    return folder


@cache
def aligned_result() -> xb.Result:
    """`builtin:ngram` on mini with its alignment."""
    return xb.evaluate("mini", "builtin:ngram", xb.RunOptions(cache=None, alignment=True))


@cache
def long_codes() -> xb.Result:
    """`builtin:ngram` on three passages in 24 languages of Belebele, with codes such as ``zho_Hans``."""
    task = catalogue().tasks["belebele"]
    langs = ("amh_Ethi", "zho_Hans", *task.languages[30:52])
    with tempfile.TemporaryDirectory(prefix="xlir-stored-") as folder:
        rows = {
            lang: [
                belebele_row(lang, f"link {n}", 1, f"text {n} {lang}", f"{n}?") for n in (1, 2, 3)
            ]
            for lang in langs
        }
        root = write_belebele(Path(folder), rows)
        options = xb.RunOptions(
            langs=langs, data=root, cache=None, alignment=True, measures=("map", "ndcg@10")
        )
        return xb.evaluate(task, "builtin:ngram", options)


def copy_results(folder: Path) -> Path:
    """A copy of `mini_results` that a test may change."""
    shutil.copytree(mini_results(), folder)
    return folder


def change(folder: Path, **parts: dict[str, Any]) -> None:
    """Edit a result.json by hand: ``change(folder, encoder={"name": "x"})``."""
    file = folder / "result.json"
    record = json.loads(file.read_text())
    for part, fields in parts.items():
        if isinstance(fields, dict):
            record[part].update(fields)
        else:
            record[part] = fields
    file.write_text(json.dumps(record))


def another(results: Path, name: str, slug: str, source: str = "builtin-ngram") -> Path:
    """The same figures under another encoder's name."""
    folder = results / slug.replace("/", "_") / "mini"
    shutil.copytree(results / source / "mini", folder)
    change(folder, encoder={"name": name, "slug": slug})
    return folder
