"""What is told of one result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xlir_bench.records import POOL, Kind
from xlir_bench.reports.aligned import translations
from xlir_bench.reports.document import Block, Items, Table, Text, Title
from xlir_bench.results.schema import BiasPart, IndexPart, IntervalPart, ResultRecord

BIAS_NAMES = {
    "rank_distance": (
        "rank distance",
        "lower is better; K answers side by side are K - 1 apart",
    ),
    "same_language_preference": ("own language first", "nearer to chance is better"),
    "map_without_same_language": ("map without own language", "higher is better"),
    "parallel_query_agreement": (
        "agreement of translations",
        "higher is better; 1 is the same ranking",
    ),
}
"""Title and reading of each bias figure that is one number."""

CHOSEN_ON_IT = (
    "its settings were chosen on this task, so that figures of other tasks say more of it"
)
"""Told of an encoder wherever its figures on such a task stand."""


def number(value: float | None, digits: int = 4) -> str:
    """A score as people write it: ``.3197``; ``1.0000`` keeps its one."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text.replace("-0.", "-.", 1)


def big(value: float) -> str:
    """A count or distance with separated thousands."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def heading(record: ResultRecord) -> Text:
    """Who was evaluated on what."""
    task, encoder, options = record.task, record.encoder, record.options
    length = f", {encoder.max_tokens} tokens" if encoder.max_tokens else ""
    told = f"{encoder.dimension}-d {encoder.dtype}{length}"
    lines = [f"{task.title}: {encoder.name} ({told})"]
    prompts = {"query": encoder.query_prompt, "passage": encoder.passage_prompt}
    lines += [f"{name} prompt {prompt!r}" for name, prompt in prompts.items() if prompt]
    if part := options.part:
        lines.append("part: " + "; ".join(part.values()))
    return Text(tuple(lines))


def summary_table(record: ResultRecord) -> Table:
    """One row a kind: every measure's macro average, map with its interval and its chance level."""
    measures = list(dict.fromkeys(m for by in record.summary.values() for m in by))
    rows = []
    for kind, values in record.summary.items():
        mine = [s for s in record.settings if s.kind == kind and s.queries]
        row = [kind.value, str(len(mine))]
        for measure in measures:
            row.append(number(values[measure].mean))
            if measure == measures[0]:
                row.append(interval(values[measure]))
        if "map" in measures:
            row.append(number(sum(s.chance_map for s in mine) / len(mine)))
        rows.append(row)
    headers = ["setting", "n", measures[0], "95 % interval", *measures[1:]]
    headers += ["chance map"] if "map" in measures else []
    # A terminal that has no room for all of them shows the first, and how sure it is.
    return Table(headers, rows, spare=("chance map", *reversed(measures[1:])))


def interval(part: IntervalPart) -> str:
    """Low to high."""
    return f"{number(part.low)} to {number(part.high)}" if part.low is not None else "-"


def matrix_table(record: ResultRecord, measure: str) -> Table:
    """Query languages down, passage languages across, the pool of all last."""
    values = {
        (s.query_lang, passage(s.passage_langs)): s.measures.get(measure) for s in record.settings
    }
    rows_langs = sorted({q for q, _ in values})
    columns = sorted({p for _, p in values} - {POOL}) + (
        [POOL] if any(p == POOL for _, p in values) else []
    )
    rows = [[q, *(number(values.get((q, p)), 3) for p in columns)] for q in rows_langs]
    names = ["all" if c == POOL else c for c in columns]
    return Table(["query \\ passage", *names], rows)


def passage(langs: Sequence[str]) -> str:
    """The one passage language, or ``*`` for a pool of several."""
    return langs[0] if len(langs) == 1 else POOL


def bias_table(record: ResultRecord) -> Table:
    """The bias figures by query language, their mean, and what chance gives."""
    views = {name: record.bias[name] for name in BIAS_NAMES if name in record.bias}
    langs = sorted({lang for view in views.values() for lang in view.by_query_lang})
    rows = [
        [
            lang,
            *(_figure(name, view.by_query_lang.get(lang)) for name, view in views.items()),
        ]
        for lang in langs
    ]
    rows.append(["mean", *(_figure(name, view.mean) for name, view in views.items())])
    rows.append(["chance", *(_figure(name, view.chance) for name, view in views.items())])
    return Table(["query", *(BIAS_NAMES[name][0] for name in views)], rows)


def _figure(name: str, value: Any) -> str:
    if not isinstance(value, float | int):
        return "-"
    return big(value) if name == "rank_distance" else number(value)


def share_table(record: ResultRecord) -> Table:
    """Which share of the top ten is in each language (columns), by query language, as percentages."""
    view: BiasPart = record.bias["top10_language_share"]
    if not isinstance(view.chance, dict) or not isinstance(view.mean, dict):
        raise TypeError("top10_language_share is given by language")
    columns = sorted(view.chance)
    rows = [
        [lang, *(_percent(shares.get(c, 0.0)) for c in columns)]
        for lang, shares in view.by_query_lang.items()
        if isinstance(shares, dict)
    ]
    rows.append(["mean", *(_percent(view.mean.get(c, 0.0)) for c in columns)])
    rows.append(["of the pool", *(_percent(view.chance[c]) for c in columns)])
    headers = ["query \\ top 10", *columns]
    return Table(headers, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def texts_table(record: ResultRecord) -> Table:
    """How each language looks to the tokenizer: it often explains a bias."""
    rows = [
        [
            lang,
            big(part.queries).removesuffix(".0"),
            big(part.passages).removesuffix(".0"),
            "-" if part.tokens_mean is None else f"{part.tokens_mean:.1f}",
            "-" if part.truncated_share is None else f"{100 * part.truncated_share:.1f}%",
            "-" if part.unknown_share is None else f"{100 * part.unknown_share:.1f}%",
        ]
        for lang, part in record.texts.items()
    ]
    headers = ["language", "queries", "passages", "tokens a text", "texts cut", "unknown tokens"]
    return Table(headers, rows)


def alignment_table(record: ResultRecord) -> Table:
    """By language, the means over the other languages."""
    part = record.alignment
    shown = translations(part)
    langs = sorted({lang for by_role in part.anisotropy.values() for lang in by_role})
    rows = []
    for lang in [*langs, None]:
        row = ["mean" if lang is None else lang]
        for by_pair in shown.values():
            mine = [p for (asked, _), p in by_pair.items() if lang in (None, asked)]
            row += [_mean([p.recall["recall@1"] for p in mine]), _mean([p.margin for p in mine])]
        for by_lang in part.anisotropy.values():
            row.append(_mean([v for x, v in by_lang.items() if lang in (None, x)]))
        rows.append(row)
    headers = ["language"]
    for name in shown:
        one = name.removesuffix("s")
        headers += [f"{one} finds its translation", f"{one} margin"]
    headers += ["cosine of two queries", "cosine of two passages"]
    return Table(headers, rows)


def alignment_lines(record: ResultRecord) -> Text:
    """What is one figure for all languages."""
    part = record.alignment
    variance = " and ".join(
        f"{_percent(share)} of the variance of {role} vectors"
        for role, share in part.language_variance.items()
    )
    lines = [f"language explains {variance}"]
    for kind, value in part.map_without_centroids.items():
        before = record.summary.get(kind, {}).get("map")
        change = "" if before is None else f" ({value - before.mean:+.4f})"
        lines.append(f"{kind.value} map without the languages' centroids: {number(value)}{change}")
    if part.hubness is not None:
        lines.append(
            f"hubness: {part.hubness:.2f} (0: every passage is found as often as any other)"
        )
    return Text(tuple(lines))


def _mean(values: Sequence[float]) -> str:
    return number(sum(values) / len(values)) if values else "-"


def relevance_table(record: ResultRecord) -> Table:
    """Mean cosine of queries with their relevant passages and with all others, by pair of languages."""
    rows = [
        [pair, number(p.relevant), number(p.others), number(p.relevant - p.others)]
        for pair, p in record.alignment.relevance.items()
    ]
    headers = ["query-passage", "cosine with relevant", "with others", "margin"]
    return Table(headers, rows)


def cost_line(record: ResultRecord) -> Text:
    """Where the time went, and how much memory it took."""
    profile = record.profile
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in profile.seconds.items())
    memory = (
        f"; peak memory {profile.peak_memory_bytes / 2**20:,.0f} MB"
        if profile.peak_memory_bytes
        else ""
    )
    return Text.of(
        f"{stages} ({profile.encoded_texts:,} texts encoded, {profile.cached_texts:,} from the cache){memory}"
    )


def report(record: ResultRecord) -> list[Block]:
    """All that is told of a result, as `run` and `show` print it."""
    measure = record.main_measure
    parts: list[Block] = [
        heading(record),
        summary_table(record),
        Title(f"{measure} by query language (rows) and passage language (columns)"),
        matrix_table(record, measure),
    ]
    if shown := [name for name in BIAS_NAMES if name in record.bias]:
        parts += [Title("language bias in the pool of all languages"), bias_table(record)]
        parts.append(Text(tuple(f"  {BIAS_NAMES[n][0]}: {BIAS_NAMES[n][1]}" for n in shown)))
    if "top10_language_share" in record.bias:
        parts += [Title("languages of the ten best passages"), share_table(record)]
    if record.alignment.anisotropy:
        parts += [Title("how the languages lie to each other"), alignment_table(record)]
        parts.append(alignment_lines(record))
    if record.alignment.relevance:
        parts += [Title("queries and their passages"), relevance_table(record)]
    if any(part.tokens_mean is not None for part in record.texts.values()):
        parts += [Title("texts as the tokenizer sees them"), texts_table(record)]
    if (index := record.profile.index) is not None:
        parts.append(Title(f"index {index.factory}, {index.depth} passages asked for"))
        parts.append(index_table(index))
    if told := notes(record):
        parts.append(Items("notes", tuple(told)))
    return [*parts, cost_line(record)]


def notes(record: ResultRecord) -> list[str]:
    """What a reader of the figures has to know besides."""
    return [*([CHOSEN_ON_IT] if record.chosen_on_it else []), *record.notes]


def index_table(index: IndexPart) -> Table:
    """How far an approximate index is from exact search."""
    rows = [
        [kind, number(recall), f"{index.map_difference[kind]:+.4f}"]
        for kind, recall in index.recall_of_exact_top100.items()
    ]
    return Table(["setting", "recall of the exact top 100", "map, index minus exact"], rows)


def comparison_rows(records: Sequence[ResultRecord]) -> Table:
    """One row a result: its main measure by kind and the rank distance, in the order given."""
    rows = []
    measures = list(dict.fromkeys(record.main_measure for record in records))
    for record in records:
        distance = record.bias.get("rank_distance")
        row = [record.encoder.name, record.task.name]
        row += [record.main_measure] if len(measures) > 1 else []
        parts = [record.summary.get(kind, {}).get(record.main_measure) for kind in Kind]
        row += ["-" if part is None else number(part.mean) for part in parts]
        rows.append([*row, _figure("rank_distance", distance.mean if distance else None)])
    # Tasks that are ranked by different measures say in each row which one it is.
    several = len(measures) > 1
    told = [kind.value if several else f"{kind.value} {measures[0]}" for kind in Kind]
    headers = ["encoder", "task", *(["measure"] if several else []), *told, "rank distance"]
    return Table(headers, rows, text=2)
