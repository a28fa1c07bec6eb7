"""What was found in training rows, as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xlir_bench.cli.terminal import as_text
from xlir_bench.escaping import visible
from xlir_bench.reports.document import Table

if TYPE_CHECKING:
    from xlir_bench.train.checking import TrainingCheck
    from xlir_bench.train.leakage import LeakageReport

SHOWN_TEXT = 70
TABLED = 100
"""Languages whose pairs still make a table that can be read."""


def check_text(found: TrainingCheck) -> str:
    """Rows, languages, pairs, lengths, repetitions and faults."""
    sources = [
        f"{count:,} {_rows(count)} in {visible(name)}" for name, count in found.by_source.items()
    ]
    parts = [*sources, *(_held(found) if found.rows else ())]
    if found.fault_count:
        shown = len(found.faults)
        more = f", the first {shown}:" if found.fault_count > shown else ":"
        faults = "fault" if found.fault_count == 1 else "faults"
        parts += [
            "",
            f"{found.fault_count:,} {faults}{more}",
            *(f"  {visible(str(f))}" for f in found.faults),
        ]
    elif found.rows:
        parts.append("no faults")
    return "\n".join(parts)


def _held(found: TrainingCheck) -> list[str]:
    """What stands in the rows that there are."""
    parts = [*_origins(found.origins, found.rows), "", _languages(found)]
    if len(found.pairs) > TABLED:
        parts += ["", f"rows by pairs of {len(found.pairs):,} languages: --json has them"]
    elif len(found.pairs) > 1:
        pairs = "rows by question language (down) and answer language (across)"
        parts += ["", pairs, _pairs(found)]
    parts += [
        "",
        f"{found.duplicates:,} repeat an earlier row, {found.repeated_ids:,} have an earlier row's id"
        " (rows of one id never share a batch)",
    ]
    if found.same_text:
        counts = ", ".join(f"{visible(lang)} {count:,}" for lang, count in found.same_text.items())
        parts.append(f"question and answer are the same text (no monolingual batch): {counts}")
    return parts


def _origins(origins: Mapping[str, int], rows: int) -> list[str]:
    """A line that says how many rows a machine made, if any."""
    from xlir_bench.train.rows import ORIGINAL

    if set(origins) <= {ORIGINAL}:
        return []
    shares = [f"{visible(name)} {count:,} ({count / rows:.1%})" for name, count in origins.items()]
    return ["origin of the rows: " + ", ".join(shares)]


def _languages(found: TrainingCheck) -> str:
    rows = []
    for lang, sides in found.languages.items():
        cells: list[Any] = [lang]
        for side, count in sides.items():
            lengths = found.lengths[side].get(lang)
            cells += [f"{count:,}", " / ".join(map(str, lengths)) if lengths else ""]
        rows.append(cells)
    headers = ["", "questions", "characters", "answers", "characters", "negatives", "characters"]
    if not any(sides["negative"] for sides in found.languages.values()):
        rows, headers = [cells[:5] for cells in rows], headers[:5]
    note = "characters at the percentiles 5 / 50 / 95 / 100"
    return f"{as_text(Table(headers, rows))}\n{note}"


def _pairs(found: TrainingCheck) -> str:
    langs = list(found.pairs)
    rows = [[q, *(f"{found.pairs[q][a]:,}" for a in langs)] for q in langs]
    return as_text(Table(["", *langs], rows))


def leakage_text(found: LeakageReport) -> str:
    """What was compared with what, and what was found by task and language."""
    from xlir_bench.train.leakage import short_texts

    parts = [f"{found.rows:,} {_rows(found.rows)} compared with {_checked(found)}"]
    parts += [visible(f"not checked: {task} ({why})") for task, why in found.unchecked.items()]
    stated = found.as_json()
    parts += [*short_texts(stated["texts"]), stated["rule"]]
    if not found.leaking:
        return "\n".join([*parts, "no evaluation text found"])
    rows = [
        [task, lang, counts["exact"], counts["near"]]
        for task, langs in found.found.items()
        for lang, counts in langs.items()
    ]
    parts += [
        "",
        f"{found.leaking:,} {_rows(found.leaking)} with evaluation text",
        as_text(Table(["task", "language", "exact", "near"], rows, text=2)),
        "",
        "for example",
        *(
            visible(
                f"  row {leak.row}: {leak.match}, {leak.task} {leak.lang}: {leak.text[:SHOWN_TEXT]}"
            )
            for leak in found.examples
        ),
    ]
    return "\n".join(parts)


def _checked(found: LeakageReport) -> str:
    if not found.checked:
        return "nothing: no task's data is on disk (name a root with --data, or set XLIR_DATA)"
    return ", ".join(f"{task} ({len(langs)} languages)" for task, langs in found.checked.items())


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def trained_text(record: Mapping[str, Any]) -> str:
    """What a training run was and what came of it."""
    from xlir_bench.train.leakage import short_texts

    data, outcome, leakage = record["data"], record["outcome"], record["leakage"]
    lines = [
        f"{data['rows']:,} {_rows(data['rows'])}, {len(data['texts_by_language'])} languages;"
        f" {outcome['steps']:,} steps in {outcome['seconds']:,.0f} s on {outcome['device']}"
    ]
    lines += _origins(data.get("origins", {}), data["rows"])
    if pruning := record.get("pruning"):
        (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
        lines.append(
            f"vocabulary: {left:,} of {whole:,} pieces, {small:,.0f} of {large:,.0f} MB; the model card says"
            " what other text loses"
        )
    if outcome["chosen_step"] != outcome["steps"]:
        lines.append(f"kept: step {outcome['chosen_step']:,}, the best")
    lines += [
        f"no {kind} batch has {', '.join(langs)}: fewer than two rows could stand in one"
        for kind, langs in record["batches"]["left_out"].items()
    ]
    lines.append(_leaked(leakage))
    lines += [visible(f"not checked for leakage: {task}") for task in leakage["unchecked"]]
    lines += [f"leakage: {line}" for line in short_texts(leakage.get("texts", {}))]
    if record["after"]:
        rows = [
            [name, _figure(record["before"].get(name)), _figure(value)]
            for name, value in record["after"].items()
        ]
        lines += ["", as_text(Table(["", "before", "after"], rows))]
    return "\n".join(lines)


def _leaked(leakage: Mapping[str, Any]) -> str:
    checked = ", ".join(leakage["checked"]) or "nothing: no task's data is on disk"
    if not leakage["leaking"]:
        return f"no evaluation text among the rows (checked: {checked})"
    where = ", ".join(
        f"{task} {lang} {sum(counts.values())}"
        for task, langs in leakage["found"].items()
        for lang, counts in langs.items()
    )
    done = "dropped" if leakage["action"] == "drop" else "kept"
    return f"{leakage['leaking']:,} rows with evaluation text {done}: {where} (checked: {checked})"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}"
