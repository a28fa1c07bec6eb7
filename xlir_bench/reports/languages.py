"""A report of very many languages for a terminal: the strongest and the weakest of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from xlir_bench.records import Kind
from xlir_bench.reports.document import Block, Table, Text
from xlir_bench.reports.numbers import Column, number
from xlir_bench.reports.tables import matrix_table
from xlir_bench.results.schema import ResultRecord

MANY = 40
"""Languages from which on only some are shown."""
SOME = 6
"""How many of the strongest and of the weakest."""


def shortened(record: ResultRecord, blocks: Iterable[Block]) -> list[Block]:
    """The blocks of a report, of very many languages with the rows and columns of some alone."""
    measure = record.main_measure
    by_language = language_table(record, measure)
    if len(by_language.rows) <= MANY:
        return list(blocks)
    hidden = {str(row[0]) for row in by_language.rows[SOME:-SOME]}
    matrix = matrix_table(record, measure).headers
    title = (
        f"{measure} of the {SOME} strongest and the {SOME} weakest of {len(by_language.rows)} languages, here and"
        " below (all of them: --markdown, --json)"
    )
    shown: list[Block] = []
    for block in blocks:
        if isinstance(block, Table):
            if block.headers == matrix:
                block, shown[-1] = by_language, Text(title)
            # A pair of languages is shown where both are.
            rows = [x for x in block.rows if not {str(x[0]), *str(x[0]).split("-")} & hidden]
            places = [i for i, header in enumerate(block.headers) if header not in hidden]
            block = replace(block, rows=rows).columns(places)
        shown.append(block)
    return shown


def language_table(record: ResultRecord, measure: str) -> Table:
    """A row for each language, the strongest first: asked of its own passages, others' and all, and by others."""
    asked = dict(zip(("own passages", "others' (mean)", "all"), Kind, strict=True))
    views = {name: Column(kind, measure).by_query_language(record) for name, kind in asked.items()}
    found = defaultdict[str, list[float]](list)
    for s in record.settings:
        if s.kind == Kind.CROSS_LINGUAL and measure in s.measures:
            found[s.passage_langs[0]].append(s.measures[measure])
    views["own, from others"] = {lang: sum(of) / len(of) for lang, of in found.items()}
    means = {name: view for name, view in views.items() if view}
    langs = {lang for view in means.values() for lang in view}
    strength = {lang: sum(view.get(lang, 0.0) for view in means.values()) for lang in langs}
    rows = [
        [lang, *(number(view.get(lang)) for view in means.values())]
        for lang in sorted(langs, key=lambda lang: (-strength[lang], lang))
    ]
    return Table(["language", *means], rows)
