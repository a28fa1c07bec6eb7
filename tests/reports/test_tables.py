from __future__ import annotations

import re

from changed import evaluated

from xlir_bench.measures.bias import BiasFigure
from xlir_bench.records import Setting
from xlir_bench.rendering.document import render
from xlir_bench.reports.tables import report, results_table, shortened, summary_table
from xlir_bench.results.schema import ResultRecord, SettingPart


def told(record: ResultRecord) -> str:
    """What a terminal of eighty columns shows."""
    return render(shortened(record, report(record)), width=80)


def of_many_languages(count: int) -> ResultRecord:
    """A result of so many languages; the later a language, the worse it is."""
    langs = [f"l{n:03d}" for n in range(count)]
    settings = [
        SettingPart(
            kind=Setting(q, p).kind,
            query_lang=q,
            passage_langs=list(p),
            queries=9,
            candidates=9,
            measures={"map": 1 - int(q[1:]) / 1000},
            chance_map=0.1,
        )
        for q in langs
        for p in [*((lang,) for lang in langs), tuple(langs)]
    ]
    share = dict.fromkeys(langs, 1 / count)
    bias = {
        "rank_distance": BiasFigure(
            mean=5.0, chance=9.0, by_query_lang=dict.fromkeys(langs, 5.0), queries=9
        ),
        "top10_language_share": BiasFigure(
            mean=share, chance=share, by_query_lang=dict.fromkeys(langs, share), queries=9
        ),
    }
    return evaluated().record.model_copy(update={"settings": settings, "bias": bias, "texts": {}})


def test_on_a_terminal_very_many_languages_are_told_by_the_best_and_the_worst() -> None:
    text = told(of_many_languages(122))
    assert max(len(x) for x in text.splitlines() if x.startswith("-")) <= 80
    assert len(text.splitlines()) < 110
    assert re.search(r"^map\b.*\b6 strongest\b.*\b6 weakest\b.*\b122\b", text, re.MULTILINE)
    for lang in ("l000", "l005", "l116", "l121"):
        assert lang in text
    for lang in ("l006", "l060", "l115"):
        assert lang not in text
    row = next(line for line in text.splitlines() if line.startswith("l121"))
    # Own, of others (121 of them), of all, own asked in the others.
    assert row.split() == ["l121", ".8790", ".8790", ".8790", ".9400"]
    assert next(line for line in text.splitlines() if line.startswith("mean ")).split()[-1] == "5.0"


def test_some_languages_and_other_forms_are_told_whole() -> None:
    assert "l020" in told(of_many_languages(40))
    assert "l060" in render(report(of_many_languages(122)), "markdown")


def test_the_measure_that_encoders_are_ranked_by_stands_first() -> None:
    record = evaluated().record
    turned = {kind: dict(reversed(values.items())) for kind, values in record.summary.items()}
    table = summary_table(record.model_copy(update={"summary": turned}))
    assert list(table.headers)[:4] == ["kind", "settings", "map", "95 % interval"]
    assert "map" not in table.headers[3:]
    assert [row[1] for row in table.rows] == ["3", "6", "3"]


def test_results_of_one_name_are_told_apart() -> None:
    one = evaluated().record
    other = one.encoder.model_copy(update={"slug": "ngram-of-others"})
    records = [one, one.model_copy(update={"encoder": other}), evaluated("builtin:random").record]
    assert [row[0] for row in results_table(records).rows] == [
        "builtin:ngram (builtin-ngram)", "builtin:ngram (ngram-of-others)", "builtin:random",
    ]  # fmt: skip
