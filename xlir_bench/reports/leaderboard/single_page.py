"""index.html: one page that needs no other file, and in which names from outside are only text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures.bias import BiasFigure
from xlir_bench.measures.bootstrap import UNIT, intervals
from xlir_bench.records import Progress, Silent
from xlir_bench.reports import tables
from xlir_bench.reports.alignment import Pair, relevance, translations
from xlir_bench.reports.generated import MARKER
from xlir_bench.reports.leaderboard.board import (
    RANKED_BY,
    Board,
    Entry,
    TaskBoard,
    standings_explained,
)
from xlir_bench.reports.scores import MEAN, SOURCES, ReportedTask, Score, reported_tasks
from xlir_bench.results.schema import AlignmentPart, SettingPart
from xlir_bench.results.values import RANK_DISTANCE, QueryValues
from xlir_bench.version import __version__

SCRIPTS = (
    "dom.js",
    "saving.js",
    "detail.js",
    "ranking.js",
    "alignment.js",
    "questions.js",
    "main.js",
)
MANY = 40
"""From so many languages on, pairs of them have intervals of the main measure alone: they are most of the page."""
MATRIX_DIGITS = 5
"""One more than the page shows: matrices of many languages are most of its size."""
Bounds = tuple[float, float]
_Setting = tuple[str, str, str, int, int, float]
"""Kind, languages of the query and the passages (``*``: the pool), queries, candidates, map by chance."""
Intervals = Mapping[tuple[str, str] | None, Bounds]
"""Of settings by query and passage language (``*``: the pool), and of their mean under None."""


def html_page(
    board: Board,
    questions: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> str:
    """The page, with the questions of tasks (by file) where there are some; its content security policy allows its own script and style, by digest, and nothing else."""
    style = "\n" + _asset("page.css")
    script = '\n"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    policy = [
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    progress = progress or Silent()
    progress.start("page", sum(len(task.rows) for task in board.tasks), "encoders")
    tasks = [
        _task(task, None if task.is_part else reported_tasks().get(task.first.task.name), progress)
        | ({"questions": questions[task.file]} if questions and task.file in questions else {})
        for task in board.tasks
    ]
    progress.finish()
    parts = {
        "@MARKER@": f"{MARKER} --html: changes here are overwritten",
        "@POLICY@": "; ".join(policy),
        "@STYLE@": style,
        "@DATA@": inert_json(_rounded({"version": __version__, "tasks": tasks})),
        "@SCRIPT@": script,
    }
    # In one pass, so that text of one part is never taken for the place of another.
    return re.sub("|".join(parts), lambda found: parts[found[0]], _asset("page.html"))


def inert_json(value: Any) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _rounded(value: Any, digits: int = 7) -> Any:
    """All numbers with so many digits after the point: the last bits of a sum differ between machines."""
    if isinstance(value, float):
        return round(value, digits if abs(value) < 100 else 2)
    if isinstance(value, Mapping):
        return {key: _rounded(each, digits) for key, each in value.items()}
    return [_rounded(each, digits) for each in value] if isinstance(value, list | tuple) else value


def _task(board: TaskBoard, reported: ReportedTask | None, progress: Progress) -> dict[str, Any]:
    first = board.first
    settings = list(dict.fromkeys(_setting(s) for row in board.rows for s in row.record.settings))
    rows = []
    for rank, row in enumerate(board.rows, 1):
        rows.append(_row(row, rank, settings))
        progress.advance(1)
    return {
        "id": board.file,
        "title": board.title,
        "part": "; ".join(first.options.part.values()),
        "settings": settings,
        "licence": first.task.licence,
        "cluster": first.task.cluster,
        "clusters": first.task.clusters,
        "langs": board.langs,
        "kinds": board.kinds,
        "counts": [[kind, len({s[1:3] for s in settings if s[0] == kind})] for kind in board.kinds],
        "measures": first.options.measures,
        "rankedBy": next(kind for kind in RANKED_BY if kind in board.kinds),
        "chance": {kind: Score(kind, board.main).chance(first) for kind in board.kinds},
        "main": board.main,
        "told": standings_explained(board),
        "rows": rows,
        "reportedColumns": reported.columns if reported else [],
        "reported": _reported(reported) if reported else [],
    }


def _setting(setting: SettingPart) -> _Setting:
    langs = (setting.query_lang, setting.passage_lang)
    return setting.kind, *langs, setting.queries, setting.candidates, round(setting.chance_map, 7)


def _row(row: Entry, rank: int, settings: Sequence[_Setting]) -> dict[str, Any]:
    record, encoder = row.record, row.record.encoder
    many = len({s.query_lang for s in record.settings}) > MANY
    cells = {_setting(setting): setting.measures for setting in record.settings}
    variant = None if record.profile.cost is None else record.profile.cost.variants[0]
    shown = [record.main_measure] if many else record.options.measures
    bounds = _setting_intervals(row, shown)
    data: dict[str, Any] = {
        "id": row.file,
        "rank": rank,
        "name": row.name,
        "kind": encoder.kind,
        "note": tables.CHOSEN_ON_IT if record.chosen_on_task else "",
        "dimension": encoder.dimension,
        "parameters": encoder.parameters,
        "speed": tables.texts_per_second(record),
        "latency": None if variant is None else variant.query.p50,
        "bytesPerVector": None if variant is None else variant.bytes_per_vector,
        "standings": {
            RANK_DISTANCE if column.lower_is_better else column.kind: [s.first, s.last, s.letters]
            for column, s in row.standings.items()
        },
        "summary": {
            kind: {m: [part.mean, part.low, part.high] for m, part in by_measure.items()}
            for kind, by_measure in record.summary.items()
        },
        "about": list(tables.facts(record).items()),
        "values": {
            measure: _rounded([cells.get(s, {}).get(measure) for s in settings], MATRIX_DIGITS)
            for measure in record.options.measures
        },
        "intervals": {
            measure: _rounded(
                [by_langs.get(s[1:3]) if s in cells else None for s in settings], MATRIX_DIGITS
            )
            for measure, by_langs in bounds.items()
            if measure != RANK_DISTANCE
        },
        "bias": {name: _bias(part, bounds.get(name, {})) for name, part in record.bias.items()},
    }
    alignment = alignment_data(record.alignment)
    return data | ({"alignment": alignment} if alignment else {})


def _setting_intervals(row: Entry, measures: Sequence[str]) -> dict[str, Intervals]:
    """95 % intervals by measure, the rank distance among them; empty where the ranks are not at hand."""
    try:
        return {measure: _bounds(values) for measure, values in row.values(measures)}
    except InputError:  # the board reports it already
        return {}


def _bounds(values: QueryValues) -> Intervals:
    used = np.unique(values.setting).tolist()
    if not used:
        return {}
    limits = None if values.measure == RANK_DISTANCE else UNIT
    settings = [values.settings[i] for i in used]
    names = [*((s.query_lang, s.passage_lang) for s in settings), None]
    figures = intervals(values.sums(), [*([i] for i in used), used], bounds=limits)
    return {
        name: (figure.low, figure.high)
        for name, figure in zip(names, figures, strict=True)
        if figure.low is not None and figure.high is not None
    }


def _bias(part: BiasFigure, bounds: Intervals) -> dict[str, Any]:
    """One figure by query language; shares of languages in the top ten by passage language."""
    shares = isinstance(part.mean, dict)
    view: dict[str, Any] = {
        "mean": None if shares else part.mean,
        "chance": None if shares else part.chance,
        "by": part.mean if shares else part.by_query_lang,
        "chanceBy": part.chance if isinstance(part.chance, dict) else part.chance_by_query_lang,
        "n": part.queries,
        "nBy": {},
    }
    if None in bounds:
        by_lang = {langs[0]: each for langs, each in bounds.items() if langs is not None}
        view |= {"low": bounds[None][0], "high": bounds[None][1], "intervals": by_lang}
    return view


def _reported(task: ReportedTask) -> list[dict[str, Any]]:
    return [
        {
            "encoder": encoder,
            "training": training,
            "values": values,
            "short": source.split(" (")[0],
            "url": SOURCES[source].url,
        }
        for (source, encoder, training), values in task.rows(
            [(column, MEAN) for column in task.columns]
        )
    ]


def alignment_data(part: AlignmentPart) -> dict[str, Any] | None:
    """A matrix a figure, in the order of its languages; None where a result has no alignment."""
    if not part.anisotropy:
        return None
    matrices = []
    for name, pairs in translations(part).items():
        figures = {
            langs: {"margin": p.margin, "near": p.translations, **p.recall}
            for langs, p in pairs.items()
        }
        matrices.append(_matrices(name, figures, {langs: p.items for langs, p in pairs.items()}))
    if related := relevance(part):
        figures = {
            langs: {"margin": p.relevant - p.others, "near": p.relevant}
            for langs, p in related.items()
        }
        matrices.append(_matrices("relevance", figures, {}))
    langs = sorted({lang for by_lang in part.anisotropy.values() for lang in by_lang})
    data = {
        "texts": matrices,
        "cosines": [
            [lang, *(by_lang.get(lang) for by_lang in part.anisotropy.values())] for lang in langs
        ],
        "variance": list(part.language_variance.items()),
        "centred": list(part.map_without_centroids.items()),
        "hubness": part.hubness,
    }
    rounded: dict[str, Any] = _rounded(data, MATRIX_DIGITS)
    return rounded


def _matrices(
    name: str, pairs: Mapping[Pair, Mapping[str, float]], items: Mapping[Pair, int]
) -> dict[str, Any]:
    langs = sorted({lang for pair in pairs for lang in pair})
    figures = dict.fromkeys(figure for by_figure in pairs.values() for figure in by_figure)
    return {
        "name": name,
        "langs": langs,
        "n": [[items.get((a, b)) for b in langs] for a in langs] if items else None,
        "values": {
            figure: [[pairs.get((a, b), {}).get(figure) for b in langs] for a in langs]
            for figure in figures
        },
    }


def _asset(name: str) -> str:
    return (files("xlir_bench.reports") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
