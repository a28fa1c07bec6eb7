"""The tables of one result, and a table of several results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from xlir_bench.records import POOL, Kind
from xlir_bench.rendering.document import Block, Bold, Lines, Listing, Table
from xlir_bench.rendering.numbers import (
    big,
    interval,
    millions,
    number,
    percent,
    rate,
    short,
    signed,
)
from xlir_bench.reports.alignment import alignment_lines, alignment_table, relevance_table
from xlir_bench.reports.scores import DISTANCE, Score, compared_by
from xlir_bench.results.schema import ResultRecord

BIAS_NAMES = {
    "rank_distance": ("rank distance", "lower is better; K answers side by side are K - 1 apart"),
    "same_language_preference": ("own language first", "nearer to chance is better"),
    "map_without_same_language": ("map without own language", "higher is better"),
    "parallel_query_agreement": (
        "agreement of translations",
        "higher is better; 1 is the same ranking",
    ),
}
"""The name of each bias figure that is one number, and how to read it."""
FAIRNESS_NAMES = {
    "tlr@20": ("recall@20 of other languages", "TLR; higher is better"),
    "oracle_gap@10": (
        "gap@10 to one language",
        "how many more answers are found if one searches their language alone; lower is better",
    ),
    "rank_variance": ("variance of ranks", "MRV, of the answers in all languages; lower is better"),
    "mrc@20": (
        "MRC@20",
        "correlation of the scores that two translations of a question give to the passages that either ranks first",
    ),
    "peer@20": (
        "PEER@20",
        "how probable such ranks are if no language is favoured; 1 is fair (two values with one answer a language)",
    ),
    "peer@100": ("PEER@100", "as PEER@20, for the best 100"),
    "peer_unretrieved_mean@20": (
        "PEER@20 as first published",
        "as PEER@20, with another rank for passages below the best 20",
    ),
}
"""The name of each published measure of fairness, and how to read it."""
BIAS, SHARES = "language bias in the pool of all languages", "languages of the ten best passages"
TEXTS = "texts as the tokenizer sees them"
"""Titles of sections that the pages of a leaderboard have too."""

TIES_SHOWN = 0.001
"""If the order of equal scores can change a score by this much, the report says so."""
CHOSEN_ON_IT = "its settings were chosen on this task: scores on other tasks are better evidence"
"""Shown beside the scores of an encoder whose settings were tuned on the task."""
MANY = 40
"""With more languages than this, a report shows only some of them."""
SOME = 6
"""It shows this many of the strongest languages, and as many of the weakest."""


def heading(record: ResultRecord) -> Lines:
    """Who was evaluated on what."""
    encoder = record.encoder
    length = f", {encoder.max_tokens} tokens" if encoder.max_tokens else ""
    vectors = f"{encoder.dimension}-d {encoder.dtype}{length}"
    lines = [f"{record.task.title}: {encoder.name} ({vectors})"]
    prompts = {"query": encoder.query_prompt, "passage": encoder.passage_prompt}
    lines += [f"{role} prompt {prompt!r}" for role, prompt in prompts.items() if prompt]
    if part := record.options.part:
        lines.append("part: " + "; ".join(part.values()))
    return Lines(*lines)


def summary_table(record: ResultRecord) -> Table:
    """A row for each kind: the macro averages of all measures, the main one first and with its interval, and chance."""
    measures = list(dict.fromkeys(m for by_measure in record.summary.values() for m in by_measure))
    measures.sort(key=lambda measure: measure != record.main_measure)
    rows = []
    for kind, values in record.summary.items():
        row = {"kind": kind.value, "settings": str(len(record.scored(kind)))}
        for measure in measures:
            row[measure] = number(values[measure].mean)
            row.setdefault("95 % interval", interval(values[measure].low, values[measure].high))
        if "map" in measures:
            row["chance map"] = number(Score(kind, "map").chance(record))
        rows.append(row)
    # A terminal without room for all of them shows the first measure and its interval.
    return Table.of(rows, spare=("chance map", *reversed(measures[1:])))


def _ties(record: ResultRecord) -> list[str]:
    """What other orders of equal scores would give, where that matters."""
    return [
        f"{kind.value} {measure} depends on the order of equal scores: {number(ties.expected)} on average over all"
        f" orders, {interval(ties.low, ties.high)}"
        for kind, by_measure in record.ties.items()
        if (ties := by_measure.get(measure := record.main_measure))
        and ties.high - ties.low >= TIES_SHOWN
    ]


def matrix_table(record: ResultRecord, measure: str) -> Table:
    """Query languages down, passage languages across, the pool of all languages last."""
    values = {(s.query_lang, s.passage_lang): s.measures.get(measure) for s in record.settings}
    columns = passage_columns(lang for _, lang in values)
    rows = [
        [lang, *(short(values.get((lang, column))) for column in columns)]
        for lang in sorted({query for query, _ in values})
    ]
    return Table(["query \\ passage", *columns.values()], rows)


def passage_columns(langs: Iterable[str]) -> dict[str, str]:
    """The headings of passage languages: by code, the pool last and called ``all``."""
    in_order = sorted({*langs}, key=lambda lang: (lang == POOL, lang))
    return {lang: "all" if lang == POOL else lang for lang in in_order}


def bias_table(record: ResultRecord) -> Table:
    """The bias figures by query language, their mean, and chance."""
    views = {name: record.bias[name] for name in BIAS_NAMES if name in record.bias}
    langs = sorted({lang for view in views.values() for lang in view.by_query_lang})
    rows: dict[str, list[object]] = {
        lang: [view.by_query_lang.get(lang) for view in views.values()] for lang in langs
    }
    rows["mean"] = [view.mean for view in views.values()]
    if any(view.low is not None for view in views.values()):
        rows["95 % from"] = [view.low for view in views.values()]
        rows["to"] = [view.high for view in views.values()]
    rows["chance"] = [view.chance for view in views.values()]
    cells = [[label, *map(_bias, views, values)] for label, values in rows.items()]
    return Table(["query", *(BIAS_NAMES[name][0] for name in views)], cells)


def fairness_table(record: ResultRecord) -> Table:
    """Published measures of fairness, each beside its interval and chance."""
    return Table.of([
        {
            "measure": name,
            "mean": _bias(key, figure.mean),
            "95 % interval": interval(figure.low, figure.high, partial(_bias, key)),
            "chance": _bias(key, figure.chance),
        }
        for key, (name, _) in FAIRNESS_NAMES.items()
        if (figure := record.bias.get(key)) is not None
    ])  # fmt: skip


def _bias(name: str, value: object) -> str:
    if not isinstance(value, float | int):
        return "-"
    return big(value) if name in ("rank_distance", "rank_variance") else number(value)


def share_table(record: ResultRecord) -> Table:
    """The share of each language (columns) in the ten best passages, by query language."""
    view = record.bias["top10_language_share"]
    if not isinstance(view.chance, dict):
        raise TypeError("top10_language_share is given by language")
    columns = sorted(view.chance)
    shares = {**view.by_query_lang, "mean": view.mean, "of the pool": view.chance}
    rows = [
        [label, *(percent(by_lang.get(column, 0.0), ".0f") for column in columns)]
        for label, by_lang in shares.items()
        if isinstance(by_lang, dict)
    ]
    return Table(["query \\ top 10", *columns], rows)


def texts_table(record: ResultRecord) -> Table:
    """How the tokenizer splits the texts of each language."""
    return Table.of([
        {
            "language": lang,
            "queries": f"{part.queries:,}",
            "passages": f"{part.passages:,}",
            "tokens a text": "-" if part.tokens_mean is None else f"{part.tokens_mean:.1f}",
            "texts cut": percent(part.truncated_share),
            "unknown tokens": percent(part.unknown_share),
        }
        for lang, part in record.texts.items()
    ])  # fmt: skip


def texts_per_second(record: ResultRecord) -> float | None:
    """How fast the encoder was when the result was made; None if all vectors came from the cache."""
    profile = record.profile
    seconds = profile.seconds.get("encode", 0.0)
    return profile.encoded_texts / seconds if profile.encoded_texts and seconds > 0 else None


def facts(record: ResultRecord) -> dict[str, str]:
    """What was run, of which revision, how and when, as plain text."""
    encoder, made_with = record.encoder, sorted(record.environment.versions.items())
    digests = {
        "weights": encoder.weights_digest,
        "fingerprint": encoder.fingerprint,
        "task digest": record.task.digest,
    }
    revision = encoder.options and encoder.options.revision
    return {
        "kind": encoder.kind,
        **({"revision": revision} if revision else {}),
        "dimension": f"{encoder.dimension:,} ({encoder.dtype})",
        "parameters": millions(encoder.parameters),
        "longest text": f"{encoder.max_tokens:,} tokens" if encoder.max_tokens else "no limit",
        "query prompt": encoder.query_prompt or "none",
        "passage prompt": encoder.passage_prompt or "none",
        **({"similarity": encoder.similarity} if encoder.similarity else {}),
        "candidate text": record.options.candidate,
        "texts encoded per second": rate(texts_per_second(record)),
        **{name: (x or "-").removeprefix("sha256:")[:16] for name, x in digests.items()},
        "made with": ", ".join(f"{package} {version}" for package, version in made_with),
        "made on": record.created,
    }


def cost_line(record: ResultRecord) -> Lines:
    """How long each stage took, and how much memory was needed."""
    profile = record.profile
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in profile.seconds.items())
    texts = f"{profile.encoded_texts:,} texts encoded, {profile.cached_texts:,} from the cache"
    peak = profile.peak_memory_bytes
    return Lines(f"{stages} ({texts})" + (f"; peak memory {peak / 2**20:,.0f} MB" if peak else ""))


def notes(record: ResultRecord) -> list[str]:
    """The notes of a result, and a warning if the encoder was tuned on the task."""
    return [*([CHOSEN_ON_IT] if record.chosen_on_task else []), *record.notes]


def sections(record: ResultRecord) -> dict[str, tuple[Table, Sequence[str]]]:
    """What a result says besides its scores, by title: a table, and lines below it."""
    tables: dict[str, tuple[Table, Sequence[str]]] = {}
    bias, alignment, index = record.bias, record.alignment, record.profile.index
    for title, table, names in (
        (BIAS, bias_table, BIAS_NAMES),
        ("fairness of the pool, as others measure it", fairness_table, FAIRNESS_NAMES),
    ):
        if readings := [f"  {text}: {how}" for key, (text, how) in names.items() if key in bias]:
            tables[title] = table(record), readings
    if "top10_language_share" in bias:
        tables[SHARES] = share_table(record), ()
    if alignment.anisotropy:
        lines = alignment_lines(record)
        tables["alignment of the languages"] = alignment_table(alignment), lines
    if alignment.relevance:
        tables["queries and their passages"] = relevance_table(alignment), ()
    if any(part.tokens_mean is not None for part in record.texts.values()):
        tables[TEXTS] = texts_table(record), ()
    if index is not None:
        rows = [
            {
                "setting": kind,
                "recall of the exact top 100": number(recall),
                "map, index minus exact": signed(index.map_difference[kind]),
            }
            for kind, recall in index.recall_of_exact_top100.items()
        ]
        title = f"index {index.factory}, {index.depth} passages asked for"
        tables[title] = Table.of(rows), ()
    return tables


def report(record: ResultRecord) -> list[Block]:
    """Everything about a result, as `run` and `show` print it."""
    measure = record.main_measure
    blocks: list[Block] = [
        heading(record),
        summary_table(record),
        Lines(*_ties(record)),
        Lines(f"{measure} by query language (rows) and passage language (columns)"),
        matrix_table(record, measure),
    ]
    for title, (table, lines) in sections(record).items():
        blocks += [Lines(title), table, Lines(*lines)]
    return [*blocks, Listing("notes", notes(record)), cost_line(record)]


def shortened(record: ResultRecord, blocks: Iterable[Block]) -> list[Block]:
    """The blocks of a report; with very many languages, only the rows and columns of some."""
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
                block, shown[-1] = by_language, Lines(title)
            # A pair of languages is shown if both languages are.
            rows = [x for x in block.rows if not {str(x[0]), *str(x[0]).split("-")} & hidden]
            places = [i for i, header in enumerate(block.headers) if header not in hidden]
            block = replace(block, rows=rows).columns(places)
        shown.append(block)
    return shown


def language_table(record: ResultRecord, measure: str) -> Table:
    """A row for each language, the strongest first: the measure of its questions against passages in the same language, in
    the others and in all, and of its passages for questions in the others.
    """
    kinds = dict(zip(("own passages", "others' (mean)", "all"), Kind, strict=True))
    views = {name: Score(kind, measure).by_query_language(record) for name, kind in kinds.items()}
    from_others = defaultdict[str, list[float]](list)
    for s in record.settings:
        if s.kind == Kind.CROSS_LINGUAL and measure in s.measures:
            from_others[s.passage_langs[0]].append(s.measures[measure])
    views["own, from others"] = {
        lang: sum(values) / len(values) for lang, values in from_others.items()
    }
    means = {name: view for name, view in views.items() if view}
    langs = {lang for view in means.values() for lang in view}
    strength = {lang: sum(view.get(lang, 0.0) for view in means.values()) for lang in langs}
    rows = [
        [lang, *(number(view.get(lang)) for view in means.values())]
        for lang in sorted(langs, key=lambda lang: (-strength[lang], lang))
    ]
    return Table(["language", *means], rows)


def results_table(records: Sequence[ResultRecord]) -> Table:
    """A row for each result: its main measure by kind and the rank distance, in the order given."""
    # Where tasks have different main measures, each row names its own.
    several = len({record.main_measure for record in records}) > 1
    tasks = [record.task.name + (" (part)" if record.options.part else "") for record in records]
    names = Counter(
        (record.encoder.name, task) for record, task in zip(records, tasks, strict=True)
    )
    rows = []
    for record, task, cells in zip(records, tasks, compared_cells(records, Kind), strict=True):
        name, slug, measure = record.encoder.name, record.encoder.slug, record.main_measure
        row = {"encoder": name if names[name, task] == 1 else f"{name} ({slug})", "task": task}
        row |= {"measure": measure} if several else {}
        kinds = (kind.value if several else f"{kind.value} {measure}" for kind in Kind)
        rows.append(row | dict(zip((*kinds, DISTANCE.name), cells, strict=True)))
    return Table.of(rows, text=2)


def compared_cells(records: Sequence[ResultRecord], kinds: Iterable[Kind]) -> list[list[str]]:
    """For each result its main measure by kind, and the rank distance; the best of its task (or part of it) is bold."""
    places = [(record.task.digest, *record.options.part.values()) for record in records]
    rows = []
    for place, record in zip(places, records, strict=True):
        same_task = [r for other, r in zip(places, records, strict=True) if other == place]
        row = []
        for column in compared_by(record.main_measure, kinds):
            value = column.value(record)
            known = {column.value(other) for other in same_task} - {None}
            is_best = len(known) > 1 and value == column.best(same_task)
            row.append(Bold(column.text(value)) if is_best else column.text(value))
        rows.append(row)
    return rows
