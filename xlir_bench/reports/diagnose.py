"""A diagnosis for people and programs: classes of misses, parts of the loss, language pairs and examples."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from xlir_bench.rendering.document import Block, Lines, Listing, Table
from xlir_bench.rendering.numbers import percent
from xlir_bench.reports.misses import CLASSES, RANKING, Diagnosis, Example
from xlir_bench.reports.tables import heading
from xlir_bench.results import Result

PAIRS_SHOWN = 10


def diagnosis_blocks(result: Result, diagnosis: Diagnosis, shortened: bool) -> list[Block]:
    """The classes, the parts of the loss and the language pairs; `shortened`: only the pairs that miss most."""
    relevant, misses = sum(diagnosis.relevant.values()), diagnosis.count()
    limits = diagnosis.limits
    text = f"{misses:,} of {relevant:,} answers are missed ({percent(misses / relevant)}): they are not among the best {limits.rank}"
    blocks: list[Block] = [heading(result.record), Lines(text)]
    by_reason: dict[str, list[str]] = {}
    for name, reason in diagnosis.not_judged.items():
        by_reason.setdefault(reason, []).append(name)
    reasons = [f"{', '.join(names)}: not judged ({reason})" for reason, names in by_reason.items()]
    if not misses:
        return [*blocks, Listing("notes", reasons)]
    parts = [f"{part} {percent(n / misses)}" for part, n in diagnosis.parts().items() if n]
    by_chance = ""
    if diagnosis.chance is not None:
        share = percent(diagnosis.chance)
        by_chance = f" (with random ranks {share} of these misses would be {RANKING})"
    blocks.append(Lines(f"of the misses: {', '.join(parts)}{by_chance}"))
    rows = [
        {
            "class": name,
            "misses": "not judged" if count is None else f"{count:,}",
            "share": "" if count is None else percent(count / misses),
            "part of the loss": CLASSES[name][0],
            "when": CLASSES[name][1],
        }
        for name, count in diagnosis.classes().items()
    ]
    blocks.append(Table.of(rows, words=("part of the loss", "when"), spare=("when",)))
    worst = sorted(diagnosis.misses, key=lambda pair: (-sum(diagnosis.misses[pair].values()), pair))
    shown = worst[: PAIRS_SHOWN if shortened else None]
    which = f"the {len(shown)} of {len(worst)} pairs that miss most" if shortened else "by pair"
    blocks.append(Lines(f"{which}: the question's language and the answer's"))
    judged = [name for name in CLASSES if name not in diagnosis.not_judged]
    blocks.append(
        Table(
            ["question", "answer", "misses", "of answers", *judged],
            [
                [*pair, f"{sum(by_class.values()):,}", percent(sum(by_class.values()) / diagnosis.relevant[pair]),
                 *(f"{by_class[name]:,}" for name in judged)]
                for pair in shown
                if (by_class := diagnosis.misses[pair])
            ],
            text=2,
        )
    )  # fmt: skip
    for name, examples in diagnosis.examples.items():
        lines = [line for example in examples for line in _example_lines(example)]
        blocks += [Lines(f"{name}:", *lines)] if lines else []
    return [*blocks, Listing("notes", reasons)]


def _example_lines(example: Example) -> list[str]:
    place = "not retrieved" if not example.rank else f"rank {example.rank:,}"
    if example.rank_in_language is not None:
        place += f", {example.rank_in_language:,} in its language"
    lines = [
        f"  {example.query_lang} {example.query_id}",
        f"    {example.answer_id} ({place})",
        *([f"    instead {example.instead}"] if example.instead else []),
    ]
    if example.texts is None:
        return lines
    return [": ".join(filter(None, pair)) for pair in zip(lines, example.texts, strict=False)]


def diagnosis_record(result: Result, diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis for programs, with every language pair."""
    misses, relevant = diagnosis.count(), sum(diagnosis.relevant.values())
    return {
        "encoder": result.record.encoder.slug,
        "task": result.record.task.name,
        "limits": asdict(diagnosis.limits),
        "relevant": relevant,
        "misses": misses,
        "ranking_by_chance": diagnosis.chance,
        "parts": diagnosis.parts(),
        "classes": diagnosis.classes(),
        "not_judged": dict(diagnosis.not_judged),
        "pairs": [
            {"query_lang": a, "answer_lang": b, "relevant": count, **diagnosis.misses[a, b]}
            for (a, b), count in diagnosis.relevant.items()
        ],
        "examples": {
            name: [asdict(example) for example in examples]
            for name, examples in diagnosis.examples.items()
        },
    }  # fmt: skip
