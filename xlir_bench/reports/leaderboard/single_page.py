"""index.html: one page that needs no other file. Names from outside get into it as text only, never as HTML.

If the data is at hand, it can show the questions that encoders answer worst and best, with their texts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures.bias import BiasFigure
from xlir_bench.measures.bootstrap import intervals
from xlir_bench.measures.retrieval import bounds_of
from xlir_bench.records import Collection, Kind, Progress, Silent
from xlir_bench.rendering.numbers import rounded
from xlir_bench.reports import tables
from xlir_bench.reports.alignment import MATRIX_DIGITS, alignment_data
from xlir_bench.reports.generated import MARKER
from xlir_bench.reports.leaderboard.board import Board, Entry, TaskBoard, standings_explained
from xlir_bench.reports.scores import MEAN, SOURCES, Score
from xlir_bench.results import Result
from xlir_bench.results.schema import SettingPart
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
"""With more languages than this, pairs of them have intervals of the main measure only: these are most of the page."""
WORST, BEST = 20, 5
"""How many questions are chosen for each encoder and language: the worst and the best answered."""
MOST = 20_000
"""Fewer are chosen where the questions of all encoders and languages would be more than this."""
LONGEST = 300
"""Texts are cut after this many characters."""
_Question = tuple[str, str]
"""The language and id of a question."""
Bounds = tuple[float, float]
_Setting = tuple[str, str, str, int, int, float]
"""Kind, languages of the query and the passages (``*``: the pool), queries, candidates, map by chance."""
Intervals = Mapping[tuple[str, str] | None, Bounds]
"""The intervals of settings by query and passage language (``*``: the pool), and under None that of their mean."""


def html_page(
    board: Board,
    questions: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> str:
    """The page. `questions`: see `question_data`, by the file name of the task.

    Its content security policy allows its own script and style, by digest, and nothing else.
    """
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
        _task(task, progress)
        | ({"questions": questions[task.file]} if questions and task.file in questions else {})
        for task in board.tasks
    ]
    progress.finish()
    parts = {
        "@MARKER@": f"{MARKER} --html: changes here are overwritten",
        "@POLICY@": "; ".join(policy),
        "@STYLE@": style,
        "@DATA@": inert_json(rounded({"version": __version__, "tasks": tasks})),
        "@SCRIPT@": script,
    }
    # In one pass, so that a text such as @DATA@ within one part is not replaced by another part.
    return re.sub("|".join(parts), lambda match: parts[match[0]], _asset("page.html"))


def inert_json(value: Any) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _task(board: TaskBoard, progress: Progress) -> dict[str, Any]:
    first = board.first
    settings = list(dict.fromkeys(_setting(s) for row in board.rows for s in row.record.settings))
    rows = []
    for rank, row in enumerate(board.rows, 1):
        rows.append(_row(row, rank, settings))
        progress.advance(1)
    columns = board.reported.columns
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
        "counts": [[kind, board.count(kind)] for kind in board.kinds],
        "measures": first.options.measures,
        "rankedBy": board.ranked_by,
        "chance": {kind: Score(kind, board.main).chance(first) for kind in board.kinds},
        "main": board.main,
        "told": standings_explained(board),
        "rows": rows,
        "reportedColumns": columns,
        "reported": [
            {
                "encoder": encoder,
                "training": training,
                "values": values,
                "short": source.split(" (")[0],
                "url": SOURCES[source].url,
            }
            for (source, encoder, training), values in board.reported.rows(
                [(column, MEAN) for column in columns]
            )
        ],
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
    try:
        bounds = {measure: _bounds(values) for measure, values in row.values(shown)}
    except InputError:  # `read_board` has reported the damaged table
        bounds = {}
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
            measure: rounded([cells.get(s, {}).get(measure) for s in settings], MATRIX_DIGITS)
            for measure in record.options.measures
        },
        "intervals": {
            measure: rounded(
                [by_langs.get(s[1:3]) if s in cells else None for s in settings], MATRIX_DIGITS
            )
            for measure, by_langs in bounds.items()
            if measure != RANK_DISTANCE
        },
        "bias": {name: _bias(part, bounds.get(name, {})) for name, part in record.bias.items()},
    }
    alignment = alignment_data(record.alignment)
    return data | ({"alignment": alignment} if alignment else {})


def _bounds(values: QueryValues) -> Intervals:
    """The 95 % intervals of one measure."""
    used = np.unique(values.setting).tolist()
    if not used:
        return {}
    limits = None if values.measure == RANK_DISTANCE else bounds_of(values.measure)
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


@dataclass(frozen=True, slots=True)
class _Answered:
    """How an encoder answered every question."""

    values: Mapping[_Question, float]
    ranks: Mapping[_Question, int]
    """The rank of the first answer; 0: none was retrieved."""
    answers: Mapping[_Question, tuple[str, str]]
    """The language and id of an answer, in the question's own language if there is one."""

    @classmethod
    def of(cls, result: Result, measure: str, kind: Kind) -> _Answered:
        by_question = result.values(measure).by_question([kind])
        ranks = result.table("ranks").to_pandas()
        ranks = ranks[ranks["kind"] == kind.value]
        answers: dict[_Question, tuple[str, str]] = {}
        first: dict[_Question, int] = {}
        columns = ["query_lang", "query_id", "passage_lang", "passage_id", "rank"]
        for lang, name, answer_lang, answer, rank in ranks[columns].itertuples(index=False):
            question = lang, name
            if question not in answers or (answer_lang == lang != answers[question][0]):
                answers[question] = answer_lang, answer
            retrieved = filter(None, (first.get(question), rank))
            first[question] = min(retrieved, default=0)
        means = {question: mean for question, (mean, _) in by_question.items()}
        return cls(means, first, answers)


def question_data(board: TaskBoard, collection: Collection) -> dict[str, Any]:
    """For index.html: in each language the questions that some encoder answers worst or best, with the values of all."""
    kind = board.ranked_by
    results = (Result.load(row.folder) for row in board.rows)
    answered = [_Answered.of(r, board.main, kind) if r.has_values else None for r in results]
    known = [each for each in answered if each is not None]
    share = MOST // max(1, len(board.rows) * len(board.langs))
    worst, best = (max(1, min(most, share * most // (WORST + BEST))) for most in (WORST, BEST))
    chosen = {
        lang: sorted({q for each in known for q in _extremes(each.values, lang, worst, best)})
        for lang in board.langs
    }
    answers = {question: answer for each in known for question, answer in each.answers.items()}
    all_chosen = [question for questions in chosen.values() for question in questions]
    question_texts = _texts(collection.queries, all_chosen)
    answer_texts = _texts(collection.passages, (answers[q] for q in all_chosen if q in answers))
    return {
        "kind": kind,
        "worst": worst,
        "best": best,
        "byLang": {
            lang: [
                {
                    "id": question[1],
                    "text": question_texts.get(question, ""),
                    "answer": answer_texts.get(answers.get(question, ("", "")), ""),
                    "values": [each and each.values.get(question) for each in answered],
                    "ranks": [each and each.ranks.get(question) for each in answered],
                }
                for question in questions
            ]
            for lang, questions in chosen.items()
        },
    }


def _extremes(
    values: Mapping[_Question, float], lang: str, worst: int, best: int
) -> list[_Question]:
    """The questions of a language with the lowest values and with the highest; those with equal values by id."""
    of_lang = sorted(question for question in values if question[0] == lang)
    lowest = sorted(of_lang, key=lambda question: values[question])
    highest = sorted(of_lang, key=lambda question: -values[question])
    return [*lowest[:worst], *highest[:best]]


def _texts(
    by_lang: Mapping[str, Any], wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The wanted texts, cut to `LONGEST`, by language and id."""
    ids: dict[str, set[str]] = {}
    for lang, name in wanted:
        ids.setdefault(lang, set()).add(name)
    texts = {}
    for lang, of_lang in by_lang.items():
        for place, name in enumerate(of_lang.ids):
            if name in ids.get(lang, ()):
                text = of_lang.texts[place]
                texts[lang, name] = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return texts


def _asset(name: str) -> str:
    return (files("xlir_bench.reports") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
