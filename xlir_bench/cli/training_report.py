"""What is reported of training rows, and of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import WARNING, plural
from xlir_bench.rendering.document import Block, Lines, Listing, Table
from xlir_bench.train.card import leaks_table, scores_table
from xlir_bench.train.leakage import rows_by_language, short_texts
from xlir_bench.train.rows import ORIGINAL, SIDES, no_codes

if TYPE_CHECKING:
    from xlir_bench.train.checking import TrainingCheck
    from xlir_bench.train.leakage import LeakageReport

SHOWN_TEXT = 70
TABLED = 100
"""Languages whose pairs still make a table that can be read."""


def check_blocks(found: TrainingCheck) -> list[Block]:
    """Rows, languages, pairs, lengths, repetitions and faults."""
    lines = [f"{plural(count, 'row')} in {name}" for name, count in found.by_source.items()]
    blocks: list[Block] = []
    if found.rows:
        lines += _origins(found.origins, found.rows)
        blocks += [_languages(found), Lines("characters at the percentiles 5 / 50 / 95 / 100")]
        langs = list(found.pairs)
        if len(langs) > TABLED:
            blocks.append(Lines(f"rows by pairs of {len(langs):,} languages: --json has them"))
        elif len(langs) > 1:
            rows = [[q, *(f"{found.pairs[q][a]:,}" for a in langs)] for q in langs]
            blocks.append(Lines("rows by question language (down) and answer language (across)"))
            blocks.append(Table(["", *langs], rows))
        repeated = (
            f"{found.duplicates:,} repeat an earlier row, {found.repeated_ids:,} have an earlier row's id"
            " (rows of one id never share a batch)"
        )
        blocks.append(Lines(repeated))
    if found.same_text:
        counts = ", ".join(f"{lang} {count:,}" for lang, count in found.same_text.items())
        blocks.append(Lines(f"question and answer are the same (no monolingual batch): {counts}"))
    if found.nulls:
        blocks.append(Lines(f"read as absent, for they are null: {plural(found.nulls, 'text')}"))
    if found.unknown_languages:
        blocks.append(Lines(WARNING + no_codes(found.unknown_languages)))
    if found.fault_count:
        shown = len(found.faults)
        more = f", the first {shown}:" if found.fault_count > shown else ":"
        title = plural(found.fault_count, "fault") + more
        blocks.append(Listing(title, tuple(str(fault) for fault in found.faults)))
    elif found.rows:
        blocks.append(Lines("no faults"))
    return [Lines(*lines), *blocks]


def leakage_blocks(found: LeakageReport) -> list[Block]:
    """What was compared with what, and what was found by task and language."""
    counted = [f"{task} ({len(x)} languages)" for task, x in found.evaluation.checked.items()]
    nothing = "nothing: no task's data is on disk (name a root with --data, or set XLIR_DATA)"
    record = found.as_json()
    lines = [
        f"{plural(found.rows, 'row')} compared with {', '.join(counted) or nothing}",
        *(f"not checked: {task} ({why})" for task, why in found.evaluation.unchecked.items()),
        *short_texts(record["texts"]),
        record["rule"],
    ]
    if not found.leaking:
        return [Lines(*lines, "no evaluation text found")]
    examples = tuple(
        f"row {leak['row']}: {leak['match']}, {leak['task']} {leak['lang']}: {leak['text'][:SHOWN_TEXT]}"
        for leak in found.examples
    )
    return [
        Lines(*lines),
        Lines(f"{plural(found.leaking, 'row')} with evaluation text"),
        leaks_table(found.found),
        Listing("for example", examples),
    ]


def trained_blocks(record: Mapping[str, Any]) -> list[Block]:
    """What a training run was and what came of it."""
    data, outcome, leakage = record["data"], record["outcome"], record["leakage"]
    lines = [
        f"{plural(data['rows'], 'row')}, {len(data['texts_by_language'])} languages;"
        f" {outcome['steps']:,} steps in {outcome['seconds']:,.0f} s on {outcome['device']}"
    ]
    lines += _origins(data.get("origins", {}), data["rows"])
    if pruning := record.get("pruning"):
        (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
        lines.append(
            f"vocabulary: {left:,} of {whole:,} pieces, {small:,.0f} of {large:,.0f} MB; the model card says what other text loses"
        )
    if outcome["chosen_step"] != outcome["steps"]:
        lines.append(f"kept: step {outcome['chosen_step']:,}, the best")
    lines += [
        f"no {kind} batch has {', '.join(langs)}: fewer than two rows could stand in one"
        for kind, langs in record["batches"]["left_out"].items()
    ]
    lines.append(_leaked(leakage))
    if leakage["unchecked"]:
        lines.append(f"not checked for leakage: {', '.join(leakage['unchecked'])}")
    lines += [f"leakage: {line}" for line in short_texts(leakage.get("texts", {}))]
    summary = Lines(*lines)
    return [summary, scores_table(record)] if record["after"] else [summary]


def _origins(origins: Mapping[str, int], rows: int) -> list[str]:
    """A line that says how many rows a machine made, if any."""
    if set(origins) <= {ORIGINAL}:
        return []
    shares = [f"{name} {count:,} ({count / rows:.1%})" for name, count in origins.items()]
    return ["origin of the rows: " + ", ".join(shares)]


def _languages(found: TrainingCheck) -> Table:
    """Texts by side, each with the percentiles of their lengths; negatives only where there are any."""
    negatives = any(sides["negative"] for sides in found.languages.values())
    sides = SIDES if negatives else SIDES[:2]
    headers = [x for side in sides for x in (f"{side}s", "characters")]
    rows = []
    for lang, counts in found.languages.items():
        cells = [lang]
        for side in sides:
            lengths = " / ".join(map(str, found.lengths[side].get(lang, ())))
            cells += [f"{counts[side]:,}", lengths]
        rows.append(cells)
    return Table(["", *headers], rows)


def _leaked(leakage: Mapping[str, Any]) -> str:
    checked = ", ".join(leakage["checked"]) or "nothing: no task's data is on disk"
    if not leakage["leaking"]:
        return f"no evaluation text among the rows (checked: {checked})"
    where = rows_by_language(leakage["found"])
    done = "dropped" if leakage["action"] == "drop" else "kept"
    return f"{plural(leakage['leaking'], 'row')} with evaluation text {done}: {where} (checked: {checked})"
