"""index.html: one page that needs nothing else, and lets nothing from outside be more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

from xlir_bench.records import POOL
from xlir_bench.reports import tables
from xlir_bench.reports.leaderboard.alignment import alignment_data
from xlir_bench.reports.leaderboard.board import RANKED_BY, Board, Row, TaskBoard
from xlir_bench.reports.leaderboard.intervals import Intervals, setting_intervals
from xlir_bench.reports.leaderboard.pages import MARKER, VERSION, standings_told
from xlir_bench.reports.published import SOURCES, ReportedTask, reported_tasks
from xlir_bench.results.schema import BiasPart, SettingPart
from xlir_bench.results.values import RANK_DISTANCE

SCRIPTS = ("dom.js", "ranking.js", "detail.js", "alignment.js", "main.js")


def html_page(board: Board) -> str:
    """The page; its policy allows its own script and style, by their digests, and no address at all."""
    style = "\n" + _asset("page.css")
    script = '\n"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "@MARKER@": f"{MARKER} --html: changes here are overwritten",
        "@POLICY@": policy,
        "@STYLE@": style,
        "@DATA@": inert_json(_board(board)),
        "@SCRIPT@": script,
    }
    # One pass: what stands in one part is never taken for the place of another.
    return re.sub("|".join(parts), lambda found: parts[found[0]], _asset("page.html"))


def inert_json(value: Any) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _board(board: Board) -> dict[str, Any]:
    reported = {task.name: task for task in reported_tasks()}
    return {
        "version": VERSION,
        "tasks": [
            _task(task, None if task.is_part else reported.get(task.first.task.name))
            for task in board.tasks
        ],
    }


def _task(board: TaskBoard, reported: ReportedTask | None) -> dict[str, Any]:
    first = board.first
    settings = {(s.kind, s.query_lang, *s.passage_langs) for s in first.settings}
    ranked_by = next(kind for kind in RANKED_BY if kind in board.kinds)
    columns = reported.columns if reported else []
    return {
        "id": board.file,
        "title": board.title,
        "licence": first.task.licence,
        "cluster": first.task.cluster,
        "clusters": first.task.clusters,
        "langs": board.langs,
        "kinds": [kind.value for kind in board.kinds],
        "counts": [[k.value, sum(s[0] == k for s in settings)] for k in board.kinds],
        "measures": first.options.measures,
        "rankedBy": ranked_by.value,
        "chance": {kind.value: _figure(board.chance(kind)) for kind in board.kinds},
        "main": board.main,
        "told": standings_told(board),
        "rows": [_row(row, i) for i, row in enumerate(board.rows, 1)],
        "reportedColumns": [[kind.value, measure] for kind, measure in columns],
        "reported": _reported(reported) if reported else [],
    }


def _row(row: Row, rank: int) -> dict[str, Any]:
    record, encoder, cost = row.record, row.record.encoder, row.cost
    found = setting_intervals(row.folder, record.options.measures)
    aligned = alignment_data(record.alignment)
    told: dict[str, Any] = {
        "id": row.file,
        "rank": rank,
        "name": row.name,
        "kind": encoder.kind,
        "note": tables.CHOSEN_ON_IT if record.chosen_on_it else "",
        "dimension": encoder.dimension,
        "parameters": encoder.parameters,
        "speed": _figure(row.texts_per_second),
        "latency": None if cost is None else _figure(cost.variants[0].query.p50),
        "bytesPerVector": None if cost is None else _figure(cost.variants[0].bytes_per_vector),
        "standings": {
            RANK_DISTANCE if measure == RANK_DISTANCE else kind.value: [s.first, s.last, s.letters]
            for (kind, measure), s in row.standings.items()
        },
        "summary": {
            kind.value: {
                m: [_figure(v) for v in (part.mean, part.low, part.high)] for m, part in by.items()
            }
            for kind, by in record.summary.items()
        },
        "cells": [_cell(setting, found) for setting in record.settings],
        "bias": {name: _bias(name, part, found) for name, part in record.bias.items()},
    }
    return told | ({"alignment": aligned} if aligned else {})


def _cell(setting: SettingPart, found: Intervals) -> dict[str, Any]:
    passage = setting.passage_langs[0] if len(setting.passage_langs) == 1 else POOL
    langs = (setting.query_lang, passage)
    cell: dict[str, Any] = {
        "kind": setting.kind.value,
        "q": setting.query_lang,
        "p": passage,
        "n": setting.queries,
        "candidates": setting.candidates,
        "chance": _figure(setting.chance_map),
        "values": {m: _figure(v) for m, v in setting.measures.items()},
    }
    bounds = {
        m: [_figure(v) for v in found.cells[m][langs]]
        for m in setting.measures
        if langs in found.cells.get(m, ())
    }
    return cell | ({"intervals": bounds} if bounds else {})


def _bias(name: str, part: BiasPart, found: Intervals) -> dict[str, Any]:
    """One view; that of languages in the top ten is told by passage language."""
    shares = isinstance(part.mean, dict)
    by = part.mean if isinstance(part.mean, dict) else part.by_query_lang
    chance_by = part.chance if isinstance(part.chance, dict) else part.chance_by_query_lang
    view: dict[str, Any] = {
        "mean": None if shares else _figure(part.mean),
        "chance": None if shares else _figure(part.chance),
        "by": {lang: _figure(value) for lang, value in by.items()},
        "chanceBy": {lang: _figure(value) for lang, value in chance_by.items()},
        "n": part.queries,
        "nBy": {},
    }
    if name == RANK_DISTANCE and found.distance:
        view["low"], view["high"] = map(_figure, found.distance)
        view["intervals"] = {
            lang: [_figure(v) for v in bounds] for lang, bounds in found.distance_by_lang.items()
        }
    return view


def _reported(task: ReportedTask) -> list[dict[str, Any]]:
    return [
        {
            "encoder": system[1],
            "training": system[2],
            "short": system[0].split(" (")[0],
            "url": SOURCES[system[0]].url,
            "values": [task.value(system, kind, measure) for kind, measure in task.columns],
        }
        for system in task.systems
        if any(task.value(system, *column) is not None for column in task.columns)
    ]


def _figure(value: Any) -> float | None:
    """Seven figures after the point: the last bits of a sum differ from machine to machine."""
    if not isinstance(value, float | int):
        return None
    return round(float(value), 7) if abs(value) < 100 else round(float(value), 2)


def _asset(name: str) -> str:
    return (files("xlir_bench.reports") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
