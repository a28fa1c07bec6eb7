"""What people see of a finished run, made from its record: the model card, and the curves of training."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xlir_bench.files import replacing
from xlir_bench.train.leakage import short_texts
from xlir_bench.train.rows import ORIGINAL

USE = """
```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
scores = model.similarity(model.encode_query(["…"]), model.encode_document(["…", "…"]))
```"""


def model_card(record: Mapping[str, Any]) -> str:
    """README.md of a trained model."""
    environment = record["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    sections = [
        _front_matter(record),
        "# A retrieval model trained by xlir-bench",
        _summary(record),
        _prompts(record["base"]) + USE,
        "## Scores\n\n" + _scores(record),
        "## Training data\n\n" + _data(record["data"]),
        _pruning(record["pruning"]) if "pruning" in record else "",
        "## Evaluation data among it\n\n" + _leakage(record["leakage"]),
        "## Batches\n\n" + _batches(record["batches"]),
        "## Hyper-parameters\n\n" + _options(record["options"]),
        f"## Environment\n\nPython {environment['python']}, {versions}.",
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _front_matter(record: Mapping[str, Any]) -> str:
    base = record["options"]["model"]
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
    if not base.startswith("builtin:") and not Path(base).exists():
        lines.append(f"base_model: {json.dumps(base)}")
    lines.append("language:")
    lines += [f"- {json.dumps(lang)}" for lang in record["data"]["texts_by_language"]]
    tags = ("sentence-transformers", "multilingual", "cross-lingual", "xlir-bench")
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _summary(record: Mapping[str, Any]) -> str:
    base, options, outcome = record["base"], record["options"], record["outcome"]
    batches = options["batches"]
    stopped = ""
    if outcome["chosen_step"] != outcome["steps"]:
        stopped = f"; these are the weights of step {outcome['chosen_step']:,}, the best"
    notes = "".join(f"\n- {_escaped(note)}" for note in base["notes"])
    if teacher := record.get("teacher"):
        notes += f"\n- the teacher was {_escaped(teacher['name'])} ({teacher['digest'][:19]}…)"
    return (
        f"{_escaped(base['name'])} ({base['digest'][:19]}…), trained with the strategy"
        f" **{batches['strategy']}** and the loss **{options['loss']}** for {outcome['steps']:,} steps of"
        f" {batches['batch_size']}{stopped}. Seed {batches['seed']}.\n{notes}"
    )


def _prompts(base: Mapping[str, Any]) -> str:
    prompts = "No prompts"
    if base["query_prompt"] or base["passage_prompt"]:
        query, passage = (_escaped(repr(base[f"{role}_prompt"])) for role in ("query", "passage"))
        prompts = f"Prompts: {query} before queries, {passage} before passages"
    return f"{prompts} (registered: `encode_query` and `encode_document` put them).\n"


def _scores(record: Mapping[str, Any]) -> str:
    before, after = record["before"], record["after"]
    if not after:
        return "Not evaluated."
    rows = [
        (name, _number(before.get(name)), _number(value)) for name, value in sorted(after.items())
    ]
    curves = f"\n\n![curves]({record['curves']})" if record.get("curves") else ""
    return _table(("", "before", "after"), rows) + curves


def _data(data: Mapping[str, Any]) -> str:
    sources = [
        (_escaped(s["name"]), f"{s['rows']:,}", f"{s['weight']:g}", s["use"], s["dropped"],
         f"`{s['digest'][7:19]}`")
        for s in data["sources"]
    ]  # fmt: skip
    tables = [_table(("source", "rows", "weight", "batches", "dropped", "SHA-256"), sources)]
    if not set(data["origins"]) <= {ORIGINAL}:  # a machine made some
        origins = [
            (f"`{name.replace('`', '')}`", f"{n:,}", f"{n / data['rows']:.1%}")
            for name, n in data["origins"].items()
        ]
        tables.append(_table(("origin", "rows", "share"), origins))
    texts = [(_escaped(lang), f"{count:,}") for lang, count in data["texts_by_language"].items()]
    return "\n\n".join([*tables, _table(("language", "texts"), texts)])


def _pruning(pruning: Mapping[str, Any]) -> str:
    """Which texts kept their pieces when the vocabulary was cut, and what other text loses."""
    (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
    kept = [
        (_escaped(x["name"]), f"{x['texts']:,}", f"`{x['digest'][7:19]}`") for x in pruning["texts"]
    ]
    text = (
        f"## Vocabulary\n\nCut from {whole:,} pieces to {left:,} before training, {large:,.1f} MB of weights and"
        f" tokenizer to {small:,.1f}. These texts keep their pieces and had the same vectors:\n\n"
        + _table(("texts", "number", "SHA-256"), kept)
    )
    losses = pruning["elsewhere"]["languages"]
    if not losses:
        return text + "\n\nWhat other text loses was not measured: no other task is on disk."
    tasks = _escaped(", ".join(pruning["elsewhere"]["tasks"]))
    rows = [
        (lang, n["texts"], f"{n['lost']:.1%}", f"{n['unknown']:.1%}", f"{n['growth']:+.1%}",
         f"{n['cosine']:.4f}", f"{n['lowest']:.4f}")
        for lang, n in losses.items()
    ]  # fmt: skip
    return (
        f"{text}\n\nOther text ({tasks}) before training, compared with the whole vocabulary: the share of its"
        " pieces that are gone and of those unknown now, the growth of its number of tokens, and the cosine of"
        " its vectors to those from before, on average and at worst:\n\n"
        + _table(("language", "texts", "lost", "unknown", "tokens", "cosine", "lowest"), rows)
    )


def _leakage(leakage: Mapping[str, Any]) -> str:
    checked = ", ".join(f"{t} ({' '.join(x)})" for t, x in leakage["checked"].items()) or "nothing"
    lines = [
        f"Compared with {checked}. Rows with evaluation text: {leakage['leaking']:,}"
        f" of {leakage['rows']:,} (`--leakage {leakage['action']}`). What counts: {leakage['rule']}.\n"
    ]
    lines += [f"- {line}" for line in short_texts(leakage["texts"])]
    if leakage["unchecked"]:
        lines.append(f"- Not checked: {', '.join(leakage['unchecked'])}")
    rows = [
        (task, lang, n["exact"], n["near"])
        for task, langs in leakage["found"].items()
        for lang, n in langs.items()
    ]
    table = "\n\n" + _table(("task", "language", "exact", "near"), rows) if rows else ""
    return "\n".join(lines) + table


def _batches(batches: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in batches["batches"].items())
    total = sum(batches["questions"].values())
    rows = [(_escaped(x), f"{n:,}", f"{n / total:.1%}") for x, n in batches["questions"].items()]
    left_out = "".join(
        f" No {kind} batch has {_escaped(', '.join(langs))}: too few rows."
        for kind, langs in batches["left_out"].items()
    )
    if alone := batches.get("infonce_alone"):
        left_out += f" {alone:.1%} of the rows or texts count for InfoNCE alone."
    table = _table(("questions in", "rows", "share"), rows)
    return f"{kinds}; an epoch is {batches['steps_per_epoch']:,}.{left_out}\n\n{table}"


def _options(options: Mapping[str, Any]) -> str:
    flat = {**options, **options["batches"], **options["arguments"]}
    rows = [
        (name, _escaped(_value(value)))
        for name, value in sorted(flat.items())
        if name not in ("batches", "arguments", "model", "sources")
    ]
    return _table(("", ""), rows)


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _escaped(text: str) -> str:
    """A name or prompt from outside, as one line that Markdown shows as it is."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def draw_curves(log: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw loss, maps and rank distances over the steps; False without matplotlib (the extra ``plot``)."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, dict[str, list[tuple[int, float]]]]
    panels = {"loss": {"loss": []}, "map": {}, "rank distance": {}}
    for line in log:
        if "loss" in line:
            panels["loss"]["loss"].append((line["step"], line["loss"]))
        for name, value in line.get("evaluation", {}).items():
            if name.endswith((".map", "rank_distance")):
                panel = panels["map" if name.endswith(".map") else "rank distance"]
                panel.setdefault(name.removesuffix(".map"), []).append((line["step"], value))
    shown = {title: curves for title, curves in panels.items() if curves}
    figure = Figure(figsize=(5 * len(shown), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, (title, curves) in zip(axes, shown.items(), strict=True):
        axis.set_prop_cycle(
            color=["#0b5aa8", "#c45a00", "#2f7d5b", "#a83279", "#6b4fa0", "#8a6d00"]
        )
        marker = None if title == "loss" else "o"
        for name, points in sorted(curves.items()):
            if points:
                axis.plot(*zip(*points, strict=True), marker=marker, label=name)
        if title != "loss":
            axis.legend(fontsize="small", frameon=False)
        axis.set_xlabel("step")
        axis.set_title(title, loc="left")
        axis.grid(color="#dfe2e6", linewidth=0.7)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.ticklabel_format(useOffset=False, style="plain")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return True
