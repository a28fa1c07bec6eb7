"""Exports on disk: a file of all results, or a folder with files for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.escaping import cell
from xlir_bench.reports.export.card import model_card
from xlir_bench.reports.export.mteb import model_meta, model_name, mteb_record, revision, task_name
from xlir_bench.reports.export.parts import named
from xlir_bench.reports.export.tidy import tidy_frame
from xlir_bench.results import Result
from xlir_bench.results.store import not_writable, replacing
from xlir_bench.results.trec import write_trec


def write(form: str, results: Sequence[Result], output: Path) -> list[Path]:
    """Write results in one of `FORMATS`; the files."""
    if form not in FORMATS:
        raise UnknownNameError("export format", [form], FORMATS)
    try:
        return FORMATS[form](results, output)
    except OSError as error:
        raise not_writable(output, error.strerror or str(error), error) from error


def _trec(results: Sequence[Result], output: Path) -> list[Path]:
    folders = _folders(results, output)
    return [
        path for r, folder in zip(results, folders, strict=True) for path in write_trec(r, folder)
    ]


def _mteb(results: Sequence[Result], output: Path) -> list[Path]:
    """``<model>/<revision>/<task>.json`` with ``model_meta.json`` beside it, as mteb's cache has them."""
    written: dict[Path, str] = {}
    for result in results:
        record = result.record
        folder = output / model_name(record).replace("/", "__") / revision(record)
        path = folder / f"{task_name(record)}.json"
        if path in written:
            raise InputError(f"two results would both be {path}; export them to two folders")
        written[path] = _json(mteb_record(result))
        written[folder / "model_meta.json"] = _json(model_meta(result))
    return [_text(path, text) for path, text in written.items()]


def _hf(results: Sequence[Result], output: Path) -> list[Path]:
    """``<encoder>.md`` for each encoder."""
    by_encoder: dict[str, list[Result]] = {}
    for result in results:
        by_encoder.setdefault(result.record.encoder.slug, []).append(result)
    return [
        _text(output / f"{quote(slug, safe='')}.md", model_card(mine))
        for slug, mine in by_encoder.items()
    ]


def _csv(results: Sequence[Result], output: Path) -> list[Path]:
    frame = tidy_frame(results)
    texts: list[str] = list(frame.select_dtypes("string").columns)
    for name in texts:
        frame[name] = frame[name].map(cell, na_action="ignore")
    return [_text(output, frame.to_csv(index=False, lineterminator="\n"))]


def _parquet(results: Sequence[Result], output: Path) -> list[Path]:
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary:
        tidy_frame(results).to_parquet(temporary, index=False)
    return [output]


FORMATS: dict[str, Callable[[Sequence[Result], Path], list[Path]]] = {
    "trec": _trec,
    "mteb": _mteb,
    "hf": _hf,
    "csv": _csv,
    "parquet": _parquet,
}
"""A new format is a function and a row here."""


def _folders(results: Sequence[Result], output: Path) -> list[Path]:
    """One folder a result, by encoder and task; a part of a task is never taken for the whole."""
    found = [
        output / quote(r.record.encoder.slug, safe="") / quote(named(r.record), safe="~")
        for r in results
    ]
    if twice := [folder for folder in found if found.count(folder) > 1]:
        raise InputError(f"two results would both go to {twice[0]}; export them to two folders")
    return found


def _json(record: object) -> str:
    return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
