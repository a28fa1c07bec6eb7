"""result.json, schema 1: a field is added, never renamed; a change of meaning raises the number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from statistics import fmean
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.files import json_digest
from xlir_bench.measures.alignment import PairAlignment, RelevanceCosines, semantic_affinity
from xlir_bench.measures.bias import BiasFigure
from xlir_bench.measures.bootstrap import Interval
from xlir_bench.measures.retrieval import token_budget
from xlir_bench.measures.ties import TieRange
from xlir_bench.options.encoding import LoadOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import options_of
from xlir_bench.records import POOL, Kind, Role

RESULT_SCHEMA: Literal[1] = 1
Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


class _Part(BaseModel):
    # "inf" and "nan" are not JSON; a measure that gives one is a bug that must not reach a file. That is why records
    # of measures, which are plain dataclasses, are validated too when a result is made of them.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, revalidate_instances="always"
    )


def data_digest(files: Mapping[str, str]) -> str:
    """One digest of files, from their paths and SHA-256."""
    return f"sha256:{json_digest(dict(files))}"


class TaskPart(_Part):
    """The task that was evaluated."""

    name: str
    title: str
    version: int
    digest: Digest
    """Of the task's definition and the pinned digests of its files."""
    domain: str = ""
    licence: str = ""
    cluster: str
    """What intervals resample: ``article``, ``document`` or ``question``."""
    clusters: int
    """The number of clusters."""
    files: dict[str, str]
    """SHA-256 of every file as it was read, by path under the data root."""
    data: Digest | None = None
    """The digest of `files`: only results with the same one are compared. Missing in older results."""

    @property
    def data_read(self) -> str | None:
        """The digest of `files`, in older results too; None where neither they nor `data` is stated."""
        return data_digest(self.files) if self.files else self.data


class EncoderPart(_Part):
    """The encoder that was evaluated."""

    name: str
    kind: str
    slug: str
    fingerprint: Digest
    weights_digest: str | None
    dimension: int
    dtype: str
    max_tokens: int | None
    query_prompt: str
    passage_prompt: str
    parameters: int | None
    reranker: str | None = None
    """The model that reordered the best passages: its name, and a piece of the digest of its weights."""
    transform: str | None = None
    """How the vectors were transformed, and the text from which that was estimated, with a piece of the text's digest."""
    fused: list[tuple[str, str]] = []
    """The retrievers that were fused, the model first: name and fingerprint of each."""
    chosen_on: list[str] = []
    """Tasks on which its settings were tuned: scores on them are weaker evidence than on others."""
    similarity: str | None = None
    """How its vectors were compared: cosine, dot or maxsim; null where it has none, and in older results."""
    device: str | None = None
    """Where it ran; null where that makes no difference, and in older results."""
    options: LoadOptions | None = None
    """Null for an encoder that was handed over already loaded."""


class SettingPart(_Part):
    """One setting and its means over queries."""

    kind: Kind
    query_lang: str
    passage_langs: list[str]
    queries: int
    """The number of scored queries: those with a relevant passage in the pool."""
    candidates: int
    measures: dict[str, float]
    chance_map: float
    """Expected map of a random ranking."""

    @property
    def passage_lang(self) -> str:
        """The passage language, or ``*`` for the pool."""
        return self.passage_langs[0] if len(self.passage_langs) == 1 else POOL


USUAL = {option.name: option.default for option in options_of(RunOptions)}
"""The default of every option of a run."""
DECIDING = {option.name: option for option in options_of(RunOptions) if option.decides}
"""The options of a run that decide its numbers."""


class OptionsPart(_Part):
    """The options of the run; empty `langs` and `kinds` mean all of them.

    Any other option that decides figures is kept by its name: it needs no field here.
    """

    model_config = ConfigDict(extra="allow")

    langs: list[str]
    kinds: list[Kind]
    limit: int | None
    corpus_limit: int | None = None
    """At most how many passages besides the judged ones were searched; null: the whole corpus."""
    candidate: str
    query_form: str | None = None
    """How questions were changed; null: they are as the task has them."""
    word_lists: str | None = None
    """The digest of the word lists by which code-switched questions were changed."""
    usual_candidate: str | None = None
    """The candidate text of the task where no other is asked for. Missing in older results."""
    index: str
    vectors: str = "float32"
    """The dtype in which vectors were kept and compared."""
    seed: int
    changed_data: list[str]
    measures: list[str]

    @property
    def others(self) -> dict[str, Any]:
        """The options without a field here whose value is not the default."""
        extra = self.model_extra or {}
        return {name: x for name, x in extra.items() if x not in ([], USUAL.get(name))}

    @property
    def part(self) -> dict[str, str]:
        """What makes this a partial run, in words, by option; empty for a full run."""
        values = dict(self) | {"langs": sorted(self.langs)}
        usual = self.usual_candidate
        if self.candidate in (("sentence", "passage") if usual is None else (usual,)):
            del values["candidate"]
        words = {}
        for name, option in DECIDING.items():
            value = values.get(name, option.default)
            if option.told is not None and value not in ([], option.default):
                shown = " ".join(value) if isinstance(value, list) else value
                words[name] = option.told.format(shown, name=name.replace("_", " "))
        if self.changed_data:
            words["changed_data"] = f"CHANGED DATA: {', '.join(sorted(self.changed_data))}"
        return words | {
            name: f"{name.replace('_', ' ')} {value}"
            for name, value in self.others.items()
            if name not in DECIDING
        }

    def asked_again(self, options: RunOptions) -> RunOptions:
        """`options`, with this run's values of the options that decide its numbers."""
        values = {name: getattr(self, name, option.default) for name, option in DECIDING.items()}
        lists = {name: tuple(x) or None for name, x in values.items() if isinstance(x, list)}
        return replace(options, **values | lists, allow_changed_data=bool(self.changed_data))


class TextsPart(_Part):
    """How the tokenizer sees the texts of one language; null where the encoder has none."""

    queries: int
    passages: int
    tokens_mean: float | None
    query_tokens_mean: float | None
    passage_tokens_mean: float | None
    truncated_share: float | None
    """Share of texts cut at the length limit."""
    unknown_share: float | None
    """Share of tokens that the vocabulary does not know."""


class IndexPart(_Part):
    """How far an approximate index is from exact search, by kind of setting."""

    factory: str
    depth: int
    recall_of_exact_top100: dict[str, float]
    map_difference: dict[str, float]
    """Approximate minus exact."""


class LatencyPart(_Part):
    """Milliseconds of a step: percentiles over all rounds."""

    p50: float
    p95: float
    p99: float
    rounds: list[float]
    """The p50 of each round."""


class ModelCostPart(_Part):
    """What a model costs in one dtype, however its vectors are used."""

    dtype: str
    dimension: int
    parameters: int | None
    weights_bytes: int | None
    load_seconds: float
    """Until the first text is encoded; files and libraries are in memory already."""
    passages_per_second: float
    """Of the median round."""
    slowest: float
    fastest: float
    gpu_memory_bytes: int | None
    """The peak that torch held for it on the GPU; null where it runs elsewhere."""


class VariantPart(_Part):
    """One way to ship the encoder: a dtype, a number of dimensions, an index."""

    dtype: str
    dimension: int
    index: str
    map: dict[Kind, float]
    mean_map: float
    """Over the kinds."""
    index_bytes: int
    """Of the passages of all languages, as the index is stored."""
    bytes_per_vector: float
    query: LatencyPart
    """One query: encoding it, and searching the pool of all languages."""
    batch: LatencyPart
    """A batch of queries: encoding them, and searching the pool of all languages."""
    encode_ms: float
    """Of one query, the median."""
    search_ms: float
    unbeaten: list[Literal["latency", "size"]]
    """The costs (p50 of a query, index bytes) for which it is on the Pareto front: no other variant is as good in both
    that cost and mean map, and better in one of them. A latency is better only if it is lower in every round."""


class MachinePart(_Part):
    """Where latencies were measured."""

    processor: str
    processors: int
    threads: int
    """Threads of torch."""
    memory_bytes: int
    load: float | None
    """Load average of the minute before: other work on the machine."""
    device: str
    """Where the model ran; the index is always searched on the CPU."""


class CostPart(_Part):
    """What the encoder costs in use, and how each variant changes map."""

    machine: MachinePart
    queries: int
    """Distinct queries that were timed."""
    repeats: int
    """Rounds: in each, every variant answers every query, in turns."""
    batch: int
    passages: int
    """In the index that is searched."""
    searched: int
    """How many passages a search returns."""
    depth: int | None
    """How many of the best passages count in map; null: all that a search returns."""
    peak_memory_bytes: int
    """Of the process after the first batches of the first model; 0 where the platform does not say."""
    models: list[ModelCostPart]
    variants: list[VariantPart]
    """The first has whole vectors and exact search, in the dtype of the result."""
    command: str
    created: str


class ProfilePart(_Part):
    """What the run cost."""

    seconds: dict[str, float] = {}
    """By stage: read, encode, search, measure, align."""
    encoded_texts: int = 0
    cached_texts: int = 0
    peak_memory_bytes: int = 0
    search_device: str = "cpu"
    """Where vectors were compared: it decides no rank."""
    index: IndexPart | None = None
    cost: CostPart | None = None
    """Where ``xlir-bench profile`` measured it."""


class GitPart(_Part):
    """The state of a checkout."""

    commit: str
    changed: bool
    """Whether tracked files differ from that commit."""


class EnvironmentPart(_Part):
    """The machine and versions of a run."""

    python: str
    platform: str
    processors: int
    versions: dict[str, str]
    """Of the packages that can change figures."""
    git: GitPart | None = None
    """Of xlir-bench, where it runs from a checkout."""
    workers: dict[str, int] | None = None
    """Where a cluster did the work: how many workers there were of each kind of machine."""


ROLE_OF: dict[str, Role] = {"questions": "query", "answers": "passage"}
"""The texts that are aligned, and their role."""


class AlignmentPart(_Part):
    """How the languages relate in the embedding; empty unless asked for. Pairs are named ``de-en``."""

    questions: dict[str, PairAlignment] = {}
    answers: dict[str, PairAlignment] = {}
    """Relevant passages, each text once."""
    relevance: dict[str, RelevanceCosines] = {}
    """Where the task has no translations."""
    anisotropy: dict[str, dict[str, float]] = {}
    """By role and language: the mean cosine of different texts."""
    language_variance: dict[str, float] = {}
    """By role: the share of the variance that lies between languages."""
    map_without_centroids: dict[Kind, float] = {}
    """Map once each language's centroid is subtracted from its vectors."""
    hubness: float | None = None
    """Skew of how often a passage of the pool is among the ten best of a query."""
    affinity_interval: dict[str, tuple[float, float]] = {}
    """The 95 % interval of `affinity` over articles; empty in older results."""

    @property
    def affinity(self) -> dict[str, tuple[float, float | None]]:
        """Semantic Affinity of ``questions`` and ``answers``, beside that of pairs that are no translations."""
        by_kind = {}
        for kind, role in ROLE_OF.items():
            pairs: dict[str, PairAlignment] = getattr(self, kind)
            # A language with a single text has no pair of different texts: its mean cosine is stored as 0.
            of_langs = [cosine for cosine in self.anisotropy.get(role, {}).values() if cosine]
            if pairs and of_langs:
                within = fmean(of_langs)
                cosines = [
                    fmean(getattr(p, name) for p in pairs.values())
                    for name in ("translations", "others")
                ]
                value, chance = (semantic_affinity(cosine, within) for cosine in cosines)
                if value is not None:
                    by_kind[kind] = (value, chance)
        return by_kind

    @model_validator(mode="after")
    def _has_recall_at_1(self) -> Self:
        if any(
            "recall@1" not in p.recall for p in (*self.questions.values(), *self.answers.values())
        ):
            raise ValueError("recall@1 is missing")
        return self


TableFile = Annotated[str, Field(pattern=r"^[a-z]+-[0-9a-f]{12}\.parquet$")]
"""A table beside result.json: its name has the first 12 digits of the SHA-256 of its content."""


class ResultRecord(_Part, title="xlir-bench result, schema 1"):
    """Everything about one run; its ranks are in a table beside it."""

    schema_: Literal[1] = Field(default=RESULT_SCHEMA, alias="schema")
    task: TaskPart
    encoder: EncoderPart
    settings: list[SettingPart]
    summary: dict[Kind, dict[str, Interval]]
    """By kind, then measure."""
    ties: dict[Kind, dict[str, TieRange]] = {}
    """By kind and measure, where equal scores decide a mean: what it would be if they stood in another order."""
    bias: dict[str, BiasFigure]
    options: OptionsPart
    texts: dict[str, TextsPart]
    alignment: AlignmentPart = AlignmentPart()
    profile: ProfilePart
    environment: EnvironmentPart
    tables: dict[Literal["ranks", "queries", "run", "best", "scores"], TableFile] | None = None
    """The files of the tables beside this one, by the name of the table. Missing in older results, whose tables are
    called ``ranks.parquet`` and so on; null in a result that was never saved."""
    notes: list[str]
    command: str
    created: str

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        datetime.fromisoformat(self.created)
        scored = [setting for setting in self.settings if setting.queries]
        measures = set().union(*self.summary.values())
        for kind, values in self.summary.items():
            if values.keys() != measures or not any(s.kind == kind for s in scored):
                raise ValueError(f"summary: {kind.value} lacks measures or settings")
        for s in scored:
            if s.kind in self.summary and not measures <= s.measures.keys():
                raise ValueError(f"settings: {s.query_lang!r} lacks measures of the summary")
        return self

    @property
    def chosen_on_task(self) -> bool:
        """Whether the encoder's settings were tuned on this task."""
        return self.task.name in self.encoder.chosen_on

    def average(self, kind: Kind, measure: str) -> Interval | None:
        """The macro average of a measure over the settings of a kind; None if there is none."""
        return self.summary.get(kind, {}).get(measure)

    def scored(self, kind: Kind) -> list[SettingPart]:
        """The settings of a kind in which any query was scored: what its averages are over."""
        return [s for s in self.settings if s.kind == kind and s.queries]

    @property
    def rank_distance(self) -> float | None:
        """The mean rank distance; None without a pool of several languages."""
        figure = self.bias.get("rank_distance")
        return figure.mean if figure is not None and isinstance(figure.mean, float) else None

    @property
    def by_ranks(self) -> bool:
        """Whether every measure is computed from ranks, none from answers in passages."""
        return not any(token_budget(measure) for measure in self.options.measures)

    @property
    def main_measure(self) -> str:
        """The measure that encoders are ranked and gated by: map, or the first one of a task without map."""
        measures = self.options.measures
        return "map" if "map" in measures or not measures else measures[0]
