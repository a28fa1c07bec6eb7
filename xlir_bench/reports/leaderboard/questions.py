"""The questions of a board: which of them encoders fail and answer, with texts of data that is at hand, and what it costs
to ask them in another form (`run --query-form`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlir_bench.measures.bootstrap import intervals
from xlir_bench.records import Collection, Kind
from xlir_bench.rendering.document import Table
from xlir_bench.rendering.numbers import bounds, signed
from xlir_bench.reports.leaderboard.board import RANKED_BY, TaskBoard
from xlir_bench.reports.pairing import pair
from xlir_bench.results import Result

WORST, BEST = 20, 5
"""How many are shown of an encoder and language."""
MOST = 20_000
"""Fewer, where encoders and languages are so many that more than these would be shown."""
LONGEST = 300
"""Characters of a text."""
_Question = tuple[str, str]
"""Language and id."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """What an encoder made of every question."""

    values: Mapping[_Question, float]
    ranks: Mapping[_Question, int]
    """Of the first answer; 0: none was retrieved."""
    answers: Mapping[_Question, tuple[str, str]]
    """Language and id of an answer, in the question's own language where there is one."""

    @classmethod
    def of(cls, result: Result, measure: str, kind: Kind) -> _Answered:
        asked = result.values(measure).by_question([kind])
        ranks = result.table("ranks").to_pandas()
        ranks = ranks[ranks["kind"] == kind.value]
        answers: dict[_Question, tuple[str, str]] = {}
        first: dict[_Question, int] = {}
        columns = ["query_lang", "query_id", "passage_lang", "passage_id", "rank"]
        for lang, name, answer_lang, answer, rank in ranks[columns].itertuples(index=False):
            question = lang, name
            if question not in answers or (answer_lang == lang != answers[question][0]):
                answers[question] = answer_lang, answer
            found = filter(None, (first.get(question), rank))
            first[question] = min(found, default=0)
        return cls({question: mean for question, (mean, _) in asked.items()}, first, answers)


def question_data(board: TaskBoard, collection: Collection) -> dict[str, Any]:
    """For the page: of each language the questions that some encoder fails or answers best, and what all made of them."""
    kind = next(kind for kind in RANKED_BY if kind in board.kinds)
    results = (Result.load(row.folder) for row in board.rows)
    answered = [_Answered.of(r, board.main, kind) if r.has_values else None for r in results]
    known = [each for each in answered if each is not None]
    share = MOST // max(1, len(board.rows) * len(board.langs))
    worst, best = (max(1, min(most, share * most // (WORST + BEST))) for most in (WORST, BEST))
    chosen = {
        lang: sorted({a for each in known for a in _extremes(each.values, lang, worst, best)})
        for lang in board.langs
    }
    answers = {asked: found for each in known for asked, found in each.answers.items()}
    all_chosen = [asked for of_lang in chosen.values() for asked in of_lang]
    questions = _texts(collection.queries, all_chosen)
    passages = _texts(collection.passages, (answers[a] for a in all_chosen if a in answers))
    return {
        "kind": kind,
        "worst": worst,
        "best": best,
        "byLang": {
            lang: [
                {
                    "id": asked[1],
                    "text": questions.get(asked, ""),
                    "answer": passages.get(answers.get(asked, ("", "")), ""),
                    "values": [e and e.values.get(asked) for e in answered],
                    "ranks": [e and e.ranks.get(asked) for e in answered],
                }
                for asked in of_lang
            ]
            for lang, of_lang in chosen.items()
        },
    }


def _extremes(
    values: Mapping[_Question, float], lang: str, worst: int, best: int
) -> list[_Question]:
    """The questions of a language with the lowest values, and with the highest; of equals the first by id."""
    asked = sorted(question for question in values if question[0] == lang)
    lowest = sorted(asked, key=lambda question: values[question])
    highest = sorted(asked, key=lambda question: -values[question])
    return [*lowest[:worst], *highest[:best]]


def _texts(
    by_lang: Mapping[str, Any], wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The beginnings of these texts, by language and id."""
    ids: dict[str, set[str]] = {}
    for lang, name in wanted:
        ids.setdefault(lang, set()).add(name)
    found = {}
    for lang, of_lang in by_lang.items():
        for place, name in enumerate(of_lang.ids):
            if name in ids.get(lang, ()):
                text = of_lang.texts[place]
                found[lang, name] = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return found


def forms_table(plain: Path, forms: Mapping[str, Path]) -> Table:
    """The change of the main measure with its interval, a row a kind of setting and query language, a column a form."""
    result = Result.load(plain)
    measure = result.record.main_measure
    values = result.values(measure)
    cells: dict[tuple[Kind, str], dict[str, str]] = {}
    for form, folder in sorted(forms.items()):
        change = pair(values, Result.load(folder).values(measure)).change
        groups: dict[tuple[Kind, str], list[int]] = {}
        for i in change.of_kinds():
            setting = change.settings[i]
            for lang in ("all", setting.query_lang):
                groups.setdefault((setting.kind, lang), []).append(i)
        found = intervals(change.sums(), list(groups.values()), bounds=(-1.0, 1.0))
        for group, interval in zip(groups, found, strict=True):
            text = signed(interval.mean)
            if interval.low is not None and interval.high is not None:
                text += f" ({bounds(interval.low, interval.high)})"
            cells.setdefault(group, {})[form] = text
    order = sorted(cells, key=lambda group: ([*Kind].index(group[0]), group[1] != "all", group[1]))
    rows = [
        [f"{kind.value} {lang}", *(cells[kind, lang].get(form, "-") for form in sorted(forms))]
        for kind, lang in order
    ]
    return Table(["questions", *sorted(forms)], rows)
