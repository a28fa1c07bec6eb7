"""What questions in another form (`run --query-form`) cost an encoder, by language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xlir_bench.measures.bootstrap import intervals
from xlir_bench.records import Kind
from xlir_bench.reports.document import Table
from xlir_bench.reports.numbers import bounds, signed
from xlir_bench.reports.pairing import pair
from xlir_bench.results import Result


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
