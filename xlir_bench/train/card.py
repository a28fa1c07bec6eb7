"""The model card: what a model was trained on and how, from the record of its run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlir_bench.train.leakage import short_texts
from xlir_bench.train.rows import ORIGINAL


def model_card(record: Mapping[str, Any]) -> str:
    """README.md of a trained model."""
    parts = [
        _front_matter(record),
        "# A retrieval model trained by xlir-bench",
        _summary(record),
        _use(record["base"]),
        "## Scores\n\n" + _scores(record),
        "## Training data\n\n" + _data(record["data"]),
        _pruning(record.get("pruning")),
        "## Evaluation data among it\n\n" + _leakage(record["leakage"]),
        "## Batches\n\n" + _batches(record),
        "## Hyper-parameters\n\n" + _options(record["options"]),
        "## Environment\n\n" + _environment(record["environment"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _front_matter(record: Mapping[str, Any]) -> str:
    base = record["options"]["model"]
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
    if not base.startswith("builtin:") and not Path(base).exists():
        lines.append(f"base_model: {json.dumps(base)}")
    lines.append("language:")
    lines += [f"- {json.dumps(lang)}" for lang in record["data"]["texts_by_language"]]
    lines += [
        "tags:",
        "- sentence-transformers",
        "- multilingual",
        "- cross-lingual",
        "- xlir-bench",
    ]
    return "\n".join([*lines, "---"])


def _summary(record: Mapping[str, Any]) -> str:
    options, outcome = record["options"], record["outcome"]
    stopped = ""
    if outcome["chosen_step"] != outcome["steps"]:
        stopped = f"; these are the weights of step {outcome['chosen_step']:,}, the best"
    notes = "".join(f"\n- {_told(note)}" for note in record["base"]["notes"])
    strategy = options["batches"]["strategy"]
    return (
        f"{_told(record['base']['name'])} ({record['base']['digest'][:19]}…), trained with the strategy"
        f" **{strategy}** and the loss **{options['loss']}** for {outcome['steps']:,} steps of"
        f" {options['batches']['batch_size']}{stopped}. Seed {options['batches']['seed']}.\n{notes}"
    )


def _use(base: Mapping[str, Any]) -> str:
    query, passage = (_told(repr(base[f"{role}_prompt"])) for role in ("query", "passage"))
    prompts = f"Prompts: {query} before queries, {passage} before passages"
    if not base["query_prompt"] and not base["passage_prompt"]:
        prompts = "No prompts"
    return f"""{prompts} (registered: `encode_query` and `encode_document` put them).

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
scores = model.similarity(model.encode_query(["…"]), model.encode_document(["…", "…"]))
```"""


def _scores(record: Mapping[str, Any]) -> str:
    before, after = record["before"], record["after"]
    if not after:
        return "Not evaluated."
    rows = [
        (name, _number(before.get(name)), _number(value)) for name, value in sorted(after.items())
    ]
    text = _table(("", "before", "after"), rows)
    if record.get("curves"):
        text += f"\n\n![curves]({record['curves']})"
    return text


def _data(data: Mapping[str, Any]) -> str:
    sources = [
        (
            _told(s["name"]),
            f"{s['rows']:,}",
            f"{s['weight']:g}",
            s["use"],
            s["dropped"],
            f"`{s['digest'][7:19]}`",
        )
        for s in data["sources"]
    ]
    texts = [(_told(lang), f"{count:,}") for lang, count in data["texts_by_language"].items()]
    return (
        _table(("source", "rows", "weight", "batches", "dropped", "SHA-256"), sources)
        + _origins(data)
        + "\n\n"
        + _table(("language", "texts"), texts)
    )


def _origins(data: Mapping[str, Any]) -> str:
    """How many rows a machine made, if any."""
    if set(data["origins"]) <= {ORIGINAL}:
        return ""
    rows = [
        (f"`{name.replace('`', '')}`", f"{n:,}", f"{n / data['rows']:.1%}")
        for name, n in data["origins"].items()
    ]
    return "\n\n" + _table(("origin", "rows", "share"), rows)


def _pruning(pruning: Mapping[str, Any] | None) -> str:
    """Whose pieces a vocabulary was cut to, and what other text loses, if it was."""
    if pruning is None:
        return ""
    (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
    texts = [
        (_told(x["name"]), f"{x['texts']:,}", f"`{x['digest'][7:19]}`") for x in pruning["texts"]
    ]
    text = (
        f"## Vocabulary\n\nCut from {whole:,} pieces to {left:,} before training, {large:,.1f} MB of weights and"
        f" tokenizer to {small:,.1f}. These texts keep their pieces and had the same vectors:\n\n"
        + _table(("texts", "number", "SHA-256"), texts)
    )
    losses = pruning["elsewhere"]["languages"]
    if not losses:
        return text + "\n\nWhat other text loses was not measured: no other task is on disk."
    tasks = _told(", ".join(pruning["elsewhere"]["tasks"]))
    rows = [
        (lang, n["texts"], f"{n['lost']:.1%}", f"{n['unknown']:.1%}", f"{n['growth']:+.1%}",
         f"{n['cosine']:.4f}", f"{n['lowest']:.4f}")
        for lang, n in losses.items()
    ]  # fmt: skip
    return (
        f"{text}\n\nOther text ({tasks}) before training, beside the whole vocabulary: pieces that it has no"
        " more, unknown ones, tokens a text, and the cosine to the vector of before:\n\n"
        + _table(("language", "texts", "lost", "unknown", "tokens", "cosine", "lowest"), rows)
    )


def _leakage(leakage: Mapping[str, Any]) -> str:
    checked = ", ".join(f"{t} ({' '.join(x)})" for t, x in leakage["checked"].items()) or "nothing"
    lines = [
        f"Compared with {checked}. Rows with evaluation text: {leakage['leaking']:,}"
        f" of {leakage['rows']:,} (`--leakage {leakage['action']}`). What counts: {leakage['rule']}.\n"
    ]
    lines += [f"- {line}" for line in short_texts(leakage["texts"])]
    lines += [f"- Not checked: {task}" for task in leakage["unchecked"]]
    rows = [
        (task, lang, n["exact"], n["near"])
        for task, langs in leakage["found"].items()
        for lang, n in langs.items()
    ]
    return "\n".join(lines) + (
        "\n\n" + _table(("task", "language", "exact", "near"), rows) if rows else ""
    )


def _batches(record: Mapping[str, Any]) -> str:
    batches = record["batches"]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in batches["batches"].items())
    total = sum(batches["questions"].values())
    rows = [(_told(x), f"{n:,}", f"{n / total:.1%}") for x, n in batches["questions"].items()]
    left = "".join(
        f" No {kind} batch has {_told(', '.join(langs))}: too few rows."
        for kind, langs in batches["left_out"].items()
    )
    return f"{kinds}; an epoch is {batches['steps_per_epoch']:,}.{left}\n\n" + _table(
        ("questions in", "rows", "share"), rows
    )


def _options(options: Mapping[str, Any]) -> str:
    flat = {
        k: v for k, v in options.items() if k not in ("batches", "arguments", "model", "sources")
    }
    flat |= {**options["batches"], **options["arguments"]}
    return _table(("", ""), [(name, _told(_value(value))) for name, value in sorted(flat.items())])


def _environment(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return f"Python {environment['python']}, {versions}."


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _told(text: str) -> str:
    """A name or prompt from outside, as one line that Markdown renders as just that."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
