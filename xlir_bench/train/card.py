"""Makes the model card and the curves of training from the record and log of a finished run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

from xlir_bench.rendering.document import Block, Table, as_markdown, bullets, code, escape
from xlir_bench.train.leakage import short_texts
from xlir_bench.train.rows import ORIGINAL

Parts = list[str | Block]
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
    parts: Parts = [
        _front_matter(record),
        "# A retrieval model trained by xlir-bench",
        *_summary(record),
        _prompts(record["base"]) + USE,
        "## Scores",
        scores_table(record) if record["after"] else "Not evaluated.",
        f"![curves]({record['curves']})" if record["after"] and record.get("curves") else "",
        "## Training data",
        *_data(record["data"]),
        *(_pruning(record["pruning"]) if "pruning" in record else ()),
        "## Evaluation data among it",
        *_leakage(record["leakage"]),
        "## Batches",
        *_batches(record["batches"]),
        "## Hyper-parameters",
        _options(record["options"]),
        "## Environment",
        f"Python {environment['python']}, {versions}.",
    ]
    return as_markdown(parts) + "\n"


def scores_table(record: Mapping[str, Any]) -> Table:
    """The figures of a model before and after its training."""

    def shown(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"

    before, after = record["before"], record["after"]
    rows = [(name, shown(before.get(name)), shown(after[name])) for name in sorted(after)]
    return Table(["", "before", "after"], rows)


def leaks_table(by_task: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    """How many rows hold text of each task and language; `by_task` is from a `LeakageReport`."""
    rows = [
        (task, lang, counts["exact"], counts["near"])
        for task, langs in by_task.items()
        for lang, counts in langs.items()
    ]
    return Table(["task", "language", "exact", "near"], rows, text=2)


def _front_matter(record: Mapping[str, Any]) -> str:
    base = record["options"]["model"]
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
    if not base.startswith("builtin:") and not Path(base).exists():
        lines.append(f"base_model: {json.dumps(base)}")
    lines.append("language:")
    lines += [f"- {json.dumps(lang)}" for lang in record["data"]["texts_by_language"]]
    tags = ("sentence-transformers", "multilingual", "cross-lingual", "xlir-bench")
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _summary(record: Mapping[str, Any]) -> Parts:
    base, options, outcome = record["base"], record["options"], record["outcome"]
    batches = options["batches"]
    stopped = ""
    if outcome["chosen_step"] != outcome["steps"]:
        stopped = f"; these are the weights of step {outcome['chosen_step']:,}, the best"
    notes = [escape(note) for note in base["notes"]]
    if teacher := record.get("teacher"):
        notes.append(f"the teacher was {escape(teacher['name'])} ({teacher['digest'][:19]}…)")
    return [
        f"{escape(base['name'])} ({base['digest'][:19]}…), trained with the strategy"
        f" **{batches['strategy']}** and the loss **{options['loss']}** for {outcome['steps']:,} steps of"
        f" {batches['batch_size']}{stopped}. Seed {batches['seed']}.",
        bullets(notes),
    ]


def _prompts(base: Mapping[str, Any]) -> str:
    prompts = "No prompts"
    if base["query_prompt"] or base["passage_prompt"]:
        query, passage = (escape(repr(base[f"{role}_prompt"])) for role in ("query", "passage"))
        prompts = f"Prompts: {query} before queries, {passage} before passages"
    return f"{prompts} (registered: `encode_query` and `encode_document` put them).\n"


def _data(data: Mapping[str, Any]) -> Parts:
    sources = [
        (s["name"], f"{s['rows']:,}", f"{s['weight']:g}", s["use"], s["dropped"], code(s["digest"][7:19]))
        for s in data["sources"]
    ]  # fmt: skip
    headers = ["source", "rows", "weight", "batches", "dropped", "SHA-256"]
    parts: Parts = [Table(headers, sources, words=("batches", "SHA-256"))]
    if not set(data["origins"]) <= {ORIGINAL}:  # a machine made some
        shares = [(code(x), f"{n:,}", f"{n / data['rows']:.1%}") for x, n in data["origins"].items()]  # fmt: skip
        parts.append(Table(["origin", "rows", "share"], shares))
    texts = [(lang, f"{count:,}") for lang, count in data["texts_by_language"].items()]
    return [*parts, Table(["language", "texts"], texts)]


def _pruning(pruning: Mapping[str, Any]) -> Parts:
    """Which texts kept their pieces when the vocabulary was cut, and what other texts lose."""
    (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
    kept = [(x["name"], f"{x['texts']:,}", code(x["digest"][7:19])) for x in pruning["texts"]]
    parts: Parts = [
        "## Vocabulary",
        f"Cut from {whole:,} pieces to {left:,} before training, {large:,.1f} MB of weights and tokenizer to"
        f" {small:,.1f}. These texts keep their pieces and had the same vectors:",
        Table(["texts", "number", "SHA-256"], kept, words=("SHA-256",)),
    ]
    losses = pruning["elsewhere"]["languages"]
    if not losses:
        return [*parts, "What other texts lose was not measured: no other task is on disk."]
    rows = [
        (lang, n["texts"], f"{n['lost']:.1%}", f"{n['unknown']:.1%}", f"{n['growth']:+z.1%}",
         f"{n['cosine']:.4f}", f"{n['lowest']:.4f}")
        for lang, n in losses.items()
    ]  # fmt: skip
    return [
        *parts,
        f"Other texts ({escape(', '.join(pruning['elsewhere']['tasks']))}) before training, compared with the whole"
        " vocabulary: the share of their pieces that are gone, the share of their pieces now that are unknown, the growth"
        " of their number of tokens, and the cosine of their vectors to those from before, on average and at worst:",
        Table(["language", "texts", "lost", "unknown", "tokens", "cosine", "lowest"], rows),
    ]


def _leakage(leakage: Mapping[str, Any]) -> Parts:
    checked = ", ".join(f"{t} ({' '.join(x)})" for t, x in leakage["checked"].items()) or "nothing"
    notes = short_texts(leakage["texts"])
    if leakage["unchecked"]:
        notes.append(f"Not checked: {', '.join(leakage['unchecked'])}")
    return [
        f"Compared with {checked}. Rows with evaluation text: {leakage['leaking']:,}"
        f" of {leakage['rows']:,} (`--leakage {leakage['action']}`). What counts: {leakage['rule']}.",
        bullets(notes),
        leaks_table(leakage["found"]) if leakage["found"] else "",
    ]


def _batches(batches: Mapping[str, Any]) -> Parts:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in batches["batches"].items())
    total = sum(batches["questions"].values())
    rows = [(x, f"{n:,}", f"{n / total:.1%}") for x, n in batches["questions"].items()]
    left_out = "".join(
        f" No {kind} batch has {escape(', '.join(langs))}: too few rows."
        for kind, langs in batches["left_out"].items()
    )
    if alone := batches.get("infonce_alone"):
        left_out += f" {alone:.1%} of the rows or texts count only for InfoNCE."
    return [
        f"{kinds}; an epoch has {batches['steps_per_epoch']:,}.{left_out}",
        Table(["questions in", "rows", "share"], rows),
    ]


def _options(options: Mapping[str, Any]) -> Table:
    flat = {**options, **options["batches"], **options["arguments"]}
    for name in ("batches", "arguments", "model", "sources"):
        del flat[name]
    rows = []
    for name, value in sorted(flat.items()):
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        rows.append((name, "not set" if value is None else shown))
    return Table(["", ""], rows, text=2)


def draw_curves(log: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw loss, maps and rank distances over the steps; False without matplotlib (the extra ``plot``)."""
    if find_spec("matplotlib") is None:
        return False
    from xlir_bench.rendering import canvas

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
    with canvas.style():
        figure, axes = canvas.new_figure(5 * len(shown), 3.6, 1, len(shown))
        for axis, (title, curves) in zip(axes, shown.items(), strict=True):
            marker = None if title == "loss" else "o"
            for colour, (name, points) in zip(cycle(canvas.SERIES), sorted(curves.items())):
                if points:
                    steps, values = zip(*points, strict=True)
                    axis.plot(steps, values, marker=marker, label=name, color=colour)
            if title != "loss":
                axis.legend(fontsize="small", frameon=False)
            axis.set_xlabel("step")
            axis.set_title(title)
            canvas.plain_ticks(axis.yaxis, distance=title == "rank distance")
            canvas.grid_lines(axis)
    canvas.save(figure, path, 110)
    return True
