"""result.json, schema 1: a field is added, never renamed; a change of meaning raises the number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from xlir_bench.measures.answers import token_budget
from xlir_bench.options.running import EXACT
from xlir_bench.records import Kind

RESULT_SCHEMA: Literal[1] = 1
Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


class _Part(BaseModel):
    # "inf" and "nan" are no JSON; a measure that gives one is a bug that must not reach a file.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def data_digest(files: Mapping[str, str]) -> str:
    """One digest of files by their paths and SHA-256."""
    text = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class TaskPart(_Part):
    """What was evaluated."""

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
    """How many of them there are."""
    files: dict[str, str]
    """SHA-256 of every file as it was read, by path under the data root."""
    data: Digest | None = None
    """Of `files`: results are compared only where it agrees. Absent from results of before."""

    @property
    def data_read(self) -> str | None:
        """What `files` give, in results of before too; None where neither they nor `data` is stated."""
        return data_digest(self.files) if self.files else self.data


class EncoderOptionsPart(_Part):
    """How the encoder was asked to be loaded and used; null: as it says itself."""

    query_prompt: str | None = None
    passage_prompt: str | None = None
    revision: str | None = None
    dtype: str = "float32"
    device: str | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    trust_remote_code: bool = False


class EncoderPart(_Part):
    """Who was evaluated."""

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
    chosen_on: list[str] = []
    """Tasks that its settings were chosen on: a score on them says less than one on others."""
    device: str | None = None
    """Where it ran; null where that makes no difference, and in results of before."""
    options: EncoderOptionsPart | None = None
    """What was asked for; null where an encoder was handed over that was loaded already."""


class SettingPart(_Part):
    """One setting and its means over queries."""

    kind: Kind
    query_lang: str
    passage_langs: list[str]
    queries: int
    """How many were scored: those with a relevant passage in the pool."""
    candidates: int
    measures: dict[str, float]
    chance_map: float
    """Expected map of a random ranking."""


class IntervalPart(_Part):
    """A macro average over the settings of a kind, with its 95 % interval over clusters."""

    mean: float
    low: float | None
    high: float | None


class BiasPart(_Part):
    """One bias figure; shares are given by passage language."""

    mean: float | dict[str, float]
    chance: float | dict[str, float]
    by_query_lang: dict[str, float] | dict[str, dict[str, float]]
    chance_by_query_lang: dict[str, float] = {}
    queries: int


class OptionsPart(_Part):
    """What was asked for, where it differs from everything."""

    langs: list[str]
    kinds: list[Kind]
    limit: int | None
    corpus_limit: int | None = None
    """Set where not all passages of the task were searched, but the judged ones and so many others."""
    candidate: str
    index: str
    vectors: str = "float32"
    """How they were kept and compared."""
    seed: int
    changed_data: list[str]
    measures: list[str]

    @property
    def part(self) -> dict[str, str]:
        """What makes it less or other than a full run, in words, by option; empty for a full one."""
        usual = self.candidate in ("sentence", "passage")  # the texts that tasks rank by default
        told = {
            "langs": f"languages {' '.join(sorted(self.langs))}" if self.langs else "",
            "kinds": f"kinds {' '.join(self.kinds)}" if self.kinds else "",
            "limit": f"the first {self.limit} queries of each language" if self.limit else "",
            "corpus_limit": f"NOT THE WHOLE CORPUS: at most {self.corpus_limit} unjudged passages"
            if self.corpus_limit
            else "",
            "candidate": "" if usual else f"candidate text {self.candidate}",
            "index": f"index {self.index}" if self.index != EXACT else "",
            "vectors": f"vectors kept as {self.vectors}" if self.vectors != "float32" else "",
            "changed_data": f"CHANGED DATA: {', '.join(sorted(self.changed_data))}"
            if self.changed_data
            else "",
        }
        return {name: words for name, words in told.items() if words}


class TextsPart(_Part):
    """How the texts of one language look to the encoder; null where it has no tokenizer."""

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
    """Milliseconds that a step took: percentiles over all rounds."""

    p50: float
    p95: float
    p99: float
    rounds: list[float]
    """The p50 of each round."""


class ModelCostPart(_Part):
    """What a model costs in one dtype, whatever is done with its vectors."""

    dtype: str
    dimension: int
    parameters: int | None
    weights_bytes: int | None
    load_seconds: float
    """Until the first text is encoded, files and libraries being in memory already."""
    passages_per_second: float
    """Of the median round."""
    slowest: float
    fastest: float
    gpu_memory_bytes: int | None
    """The most that torch held on the GPU for it; null where it runs elsewhere."""


class VariantPart(_Part):
    """One way to ship the encoder: a dtype, a number of dimensions, an index."""

    dtype: str
    dimension: int
    index: str
    map: dict[Kind, float]
    mean_map: float
    """Of the kinds."""
    index_bytes: int
    """Of the passages of all languages, as the index is stored."""
    bytes_per_vector: float
    query: LatencyPart
    """One query: encoded, and searched for in the pool of all languages."""
    batch: LatencyPart
    """The same for a batch of queries."""
    encode_ms: float
    """Encoding's part of one query, the median."""
    search_ms: float
    unbeaten: list[Literal["latency", "size"]]
    """The costs (p50 of a query, index bytes) by which no other unbeaten variant is as good in this cost and
    in mean map, and better in one of them; a latency is better if it is so in every round."""


class MachinePart(_Part):
    """Where latencies were measured."""

    processor: str
    processors: int
    threads: int
    """That torch uses."""
    memory_bytes: int
    load: float | None
    """What the machine had to do besides, just before: the load average of a minute."""
    device: str
    """Where the model ran; the index is always searched on the processor."""


class CostPart(_Part):
    """What the encoder costs in use, and what each variant does to map."""

    machine: MachinePart
    queries: int
    """Different queries that were timed."""
    repeats: int
    """Rounds: in each, every variant answers every query, in turns."""
    batch: int
    passages: int
    """In the index that is searched."""
    searched: int
    """How many of the best of them are asked for."""
    depth: int | None
    """How many of the best count in map; null: all, or as many as an index is asked for."""
    peak_memory_bytes: int
    """Of the process when the first model had encoded some batches; 0 where the platform does not say."""
    models: list[ModelCostPart]
    variants: list[VariantPart]
    """The first is of whole vectors and exact search, in the dtype of the result."""
    command: str
    created: str


class ProfilePart(_Part):
    """What the run cost."""

    seconds: dict[str, float] = {}
    """By stage: read, encode, search, measure."""
    encoded_texts: int = 0
    cached_texts: int = 0
    peak_memory_bytes: int = 0
    index: IndexPart | None = None
    cost: CostPart | None = None
    """What the encoder costs in use, where ``xlir-bench profile`` measured it."""


class GitPart(_Part):
    """The state of a checkout."""

    commit: str
    changed: bool
    """Whether files differ from that commit."""


class EnvironmentPart(_Part):
    """Where the run took place."""

    python: str
    platform: str
    processors: int
    versions: dict[str, str]
    """Of the packages that decide about figures."""
    git: GitPart | None = None
    """Of xlir-bench, where it runs from a checkout."""


class PairAlignmentPart(_Part):
    """How texts of one language lie to their translations in another."""

    items: int
    translations: float
    """Mean cosine of translations."""
    others: float
    """Mean cosine of all other pairs."""
    margin: float
    recall: dict[str, float]
    """How often the translation is among the 1, 5, 10 nearest."""

    @field_validator("recall")
    @classmethod
    def _has_the_first(cls, stated: dict[str, float]) -> dict[str, float]:
        if "recall@1" not in stated:
            raise ValueError("recall@1 is missing")
        return stated


class RelevancePart(_Part):
    """How queries lie to their relevant passages, by mean cosine, and to the others."""

    relevant: float
    others: float


class AlignmentPart(_Part):
    """How languages lie to each other; empty unless it was asked for. Pairs are named ``de-en``."""

    questions: dict[str, PairAlignmentPart] = {}
    answers: dict[str, PairAlignmentPart] = {}
    """Relevant passages, each text once."""
    relevance: dict[str, RelevancePart] = {}
    """Where the task has no translations."""
    anisotropy: dict[str, dict[str, float]] = {}
    """By role and language: the mean cosine of different texts."""
    language_variance: dict[str, float] = {}
    """By role: which share of the variance lies between languages."""
    map_without_centroids: dict[Kind, float] = {}
    """What map becomes when each language's centroid is taken out of its vectors."""
    hubness: float | None = None
    """Skew of how often a passage of the pool is among the ten best of a query."""


TableFile = Annotated[str, Field(pattern=r"^[a-z]+-[0-9a-f]{12}\.parquet$")]
"""A table beside result.json: its name holds the first 12 digits of the SHA-256 of what is in it."""


class ResultRecord(_Part):
    """Everything one run found, means and settings; per-query values lie beside it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, title="xlir-bench result, schema 1"
    )

    schema_: Literal[1] = Field(default=RESULT_SCHEMA, alias="schema")
    task: TaskPart
    encoder: EncoderPart
    settings: list[SettingPart]
    summary: dict[Kind, dict[str, IntervalPart]]
    """By kind, then measure."""
    bias: dict[str, BiasPart]
    options: OptionsPart
    texts: dict[str, TextsPart]
    alignment: AlignmentPart = AlignmentPart()
    profile: ProfilePart
    environment: EnvironmentPart
    tables: dict[Literal["ranks", "queries", "run"], TableFile] | None = None
    """The tables beside this file, by what is in them. Absent from results of before, whose tables are
    called ``ranks.parquet`` and so on; null in one that was never saved."""
    notes: list[str]
    command: str
    created: str

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        datetime.fromisoformat(self.created)
        asked = [setting for setting in self.settings if setting.queries]
        measures = set().union(*self.summary.values())
        for kind, values in self.summary.items():
            if values.keys() != measures or not any(s.kind == kind for s in asked):
                raise ValueError(f"summary: {kind.value} lacks measures or settings")
        for s in asked:
            if s.kind in self.summary and not measures <= s.measures.keys():
                raise ValueError(f"settings: {s.query_lang!r} lacks measures of the summary")
        return self

    @property
    def chosen_on_it(self) -> bool:
        """Whether the encoder's settings were chosen on this task."""
        return self.task.name in self.encoder.chosen_on

    @property
    def by_ranks(self) -> bool:
        """Whether ranks decide about every measure, not the answers that stand in passages."""
        return not any(token_budget(measure) for measure in self.options.measures)

    @property
    def main_measure(self) -> str:
        """What encoders are ranked and gated by: map, or the first measure of a task that has none."""
        measures = self.options.measures
        return "map" if "map" in measures or not measures else measures[0]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of result.json."""
    return ResultRecord.model_json_schema(by_alias=True, mode="serialization")


SCHEMA_FILE = Path(__file__).with_name("result.schema.json")
"""The JSON Schema as a file, for programs that are not written in Python."""


def schema_text() -> str:
    """What `SCHEMA_FILE` holds."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n"
