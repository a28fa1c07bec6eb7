"""Exports on disk: a file of all results, or a folder with files for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.escaping import cell
from xlir_bench.files import explained, replacing
from xlir_bench.files import write as write_file
from xlir_bench.reports.export.card import model_card
from xlir_bench.reports.export.mteb import model_meta, model_name, mteb_record, revision, task_name
from xlir_bench.reports.export.parts import named
from xlir_bench.reports.export.tidy import tidy_frame
from xlir_bench.results import Result
from xlir_bench.results.store import REMEDY, RESULT_FILE
from xlir_bench.results.trec import write_trec


def write(form: str, results: Sequence[Result], output: Path) -> list[Path]:
    """Write results in one of `FORMATS`; the files."""
    if form not in FORMATS:
        raise UnknownNameError("export format", [form], FORMATS)
    with explained(output, REMEDY):
        return FORMATS[form](results, output)


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
    with replacing(output) as temporary:
        tidy_frame(results).to_parquet(temporary, index=False)
    return [output]


def _queries(results: Sequence[Result], output: Path) -> list[Path]:
    """``<encoder>/<task>/queries.parquet``: the value of every query, setting and measure."""
    import pyarrow.parquet as pq

    paths = [folder / "queries.parquet" for folder in _folders(results, output)]
    for result, path in zip(results, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(result.table("queries"), temporary, compression="zstd")
    return paths


def _result(results: Sequence[Result], output: Path) -> list[Path]:
    """The results themselves with their ranks alone, which every comparison can be made from: they fit Git."""
    saved = [
        _with_speeds(result, folder).save(folder, tables=("ranks",))
        for result, folder in zip(results, _folders(results, output), strict=True)
    ]
    return [
        result.folder / file
        for result in saved
        if result.folder
        for file in (RESULT_FILE, *(result.record.tables or {}).values())
    ]


def _with_speeds(result: Result, folder: Path) -> Result:
    """With the speeds of the same encoder's result that lies there, and its cost unless it was measured anew.

    Results are made again on whatever machine, busy or not, and often from a cache: speeds are not.
    """
    if not (folder / RESULT_FILE).is_file():
        return result
    new, old = result.record, Result.load(folder).record
    if new.encoder.fingerprint != old.encoder.fingerprint or not old.profile.encoded_texts:
        return result
    cost = new.profile.cost or old.profile.cost
    profile = old.profile.model_copy(update={"cost": cost})
    return replace(result, record=new.model_copy(update={"profile": profile}))


FORMATS: dict[str, Callable[[Sequence[Result], Path], list[Path]]] = {
    "trec": _trec,
    "mteb": _mteb,
    "hf": _hf,
    "csv": _csv,
    "parquet": _parquet,
    "queries": _queries,
    "result": _result,
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
    write_file(path, text)
    return path
