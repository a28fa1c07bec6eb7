"""Parts of a result's record: what each stage of a run computed, and on which machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.arrays import groups
from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.digest import installed_versions
from xlir_bench.errors import WARNING, listed
from xlir_bench.evaluation.searching import mean_by_kind
from xlir_bench.executor import processor
from xlir_bench.measures import score
from xlir_bench.measures.retrieval import expected_map
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import options_of
from xlir_bench.records import ROLES, Collection, Ranking, Role, Scores
from xlir_bench.results.schema import (
    EncoderPart,
    EnvironmentPart,
    GitPart,
    IndexPart,
    MachinePart,
    OptionsPart,
    SettingPart,
    TaskPart,
    TextsPart,
    data_digest,
)
from xlir_bench.retrieval import Represented, recall_of_exact
from xlir_bench.retrieval.similarity import normalised
from xlir_bench.retrieval.vectors import Vectors
from xlir_bench.tasks import Task

MANY_UNKNOWN, MANY_EQUAL = 0.3, 0.2
"""A result warns above these shares of unknown tokens and of equal vectors."""
NARROW = 0.02
"""A result warns if almost all cosines lie within a range of this width."""
SAMPLED, FEW = 2000, 20
"""How many texts of a language are checked for equal vectors, and how many for the range of cosines."""
PACKAGES = (
    "xlir-bench", "numpy", "torch", "transformers", "tokenizers", "sentence-transformers", "faiss-cpu", "ranx",
)  # fmt: skip
"""A result records the versions of these packages."""


def task_part(task: Task, collection: Collection, clusters: int) -> TaskPart:
    """The task, and the files that were read."""
    return TaskPart(
        name=task.name,
        title=task.title,
        version=task.version,
        digest=task.digest,
        domain=task.domain,
        licence=task.licence,
        cluster=collection.cluster,
        clusters=clusters,
        files=dict(collection.digests),
        data=data_digest(collection.digests) if collection.digests else None,
    )


def options_part(
    options: RunOptions, task: Task, collection: Collection, measures: Sequence[str]
) -> OptionsPart:
    """The options of a run that decide its numbers, with the task's values where an option was left open."""
    part = options.part(task)
    stated_options = {o.name: getattr(options, o.name) for o in options_of(RunOptions) if o.decides}
    stated = {
        "langs": part.get("langs", []),
        "kinds": part.get("kinds", []),
        "candidate": options.candidate or task.candidate,
        "usual_candidate": task.candidate,
        "word_lists": options.word_lists_digest,
        "changed_data": list(collection.changed),
        "measures": list(measures),
    }
    return OptionsPart(**stated_options | stated)


def encoder_part(
    card: EncoderCard, dimension: int, device: str | None, options: EncoderOptions | None
) -> EncoderPart:
    """The encoder, its device, and the options with which it was loaded."""
    stated = {
        name: value for name, value in asdict(card).items() if name in EncoderPart.model_fields
    }
    return EncoderPart(**stated, dimension=dimension, device=device, options=options)


def setting_part(scores: Scores, ranking: Ranking) -> SettingPart:
    """One setting: its size and its means."""
    _, _, relevant = groups(ranking.query)
    chance = float(expected_map(scores.candidates, relevant).mean()) if len(relevant) else 0.0
    return SettingPart(
        kind=scores.setting.kind,
        query_lang=scores.setting.query_lang,
        passage_langs=list(scores.setting.passage_langs),
        queries=len(scores.query),
        candidates=scores.candidates,
        measures={m: float(v.mean()) for m, v in scores.values.items()}
        if len(scores.query)
        else {},
        chance_map=chance,
    )


def texts_part(
    collection: Collection, represented: Represented, card: EncoderCard
) -> dict[str, TextsPart]:
    """How many texts each language has, how long they are in tokens, and how much the tokenizer loses of them."""
    counts = represented.tokens or {}
    parts = {}
    for lang in sorted({*collection.queries, *collection.passages}):
        by_role = {role: counts[role, lang] for role in ROLES if (role, lang) in counts}
        tokens = np.concatenate([c.tokens for c in by_role.values()]) if by_role else np.empty(0)
        unknown = sum(int(c.unknown.sum()) for c in by_role.values())
        cut = [c.tokens > (card.cut(role) or np.inf) for role, c in by_role.items()]
        parts[lang] = TextsPart(
            queries=len(collection.queries[lang].ids) if lang in collection.queries else 0,
            passages=len(collection.passages[lang].ids) if lang in collection.passages else 0,
            tokens_mean=_mean(tokens),
            query_tokens_mean=_mean(by_role["query"].tokens) if "query" in by_role else None,
            passage_tokens_mean=_mean(by_role["passage"].tokens) if "passage" in by_role else None,
            truncated_share=_mean(np.concatenate(cut)) if cut else None,
            unknown_share=unknown / max(1, int(tokens.sum())) if by_role else None,
        )
    return parts


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None


def misleading_notes(
    texts: Mapping[str, TextsPart],
    collection: Collection,
    vectors: Mapping[tuple[Role, str], Vectors] | None,
) -> list[str]:
    """Warnings about scores that may mislead: unknown tokens, equal vectors, or cosines that hardly differ."""
    shares = {lang: part.unknown_share or 0 for lang, part in texts.items()}
    unknown = [f"{lang} {share:.0%}" for lang, share in shares.items() if share > MANY_UNKNOWN]
    notes = []
    if unknown:
        notes.append(f"many tokens are unknown to the tokenizer: {listed(unknown)}")
    equal = []
    for (role, lang), rows in (vectors or {}).items():
        distinct_texts = {text.strip() for text in collection.texts(role, lang)[:SAMPLED]} - {""}
        distinct_vectors = {row.tobytes() for row in np.asarray(rows.rows(slice(0, SAMPLED)))}
        if len(distinct_texts) > FEW and len(distinct_vectors) < len(distinct_texts) * (
            1 - MANY_EQUAL
        ):
            equal.append(f"{lang} {role} {1 - len(distinct_vectors) / len(distinct_texts):.0%}")
    if equal:
        notes.append(f"many texts have the vector of another text: {listed(equal)}")
    if vectors:
        queries, passages = (
            np.concatenate([
                normalised(np.asarray(rows.rows(slice(0, FEW)), np.float32))
                for (text_role, _), rows in vectors.items() if text_role == role
            ])
            for role in ROLES
        )  # fmt: skip
        low, high = np.percentile(queries @ passages.T, [1, 99])
        if high - low < NARROW and len(queries) > FEW:
            notes.append(
                f"98 % of the cosines of queries and passages lie from {low:.4f} to {high:.4f}: the vectors hardly"
                " differ"
            )
    return [f"{WARNING}{note}; scores say little there" for note in notes]


def unscored_notes(rankings: Sequence[Ranking], collection: Collection) -> list[str]:
    """A note with the number of queries that could not be scored."""
    unscored = [len(collection.queries[r.setting.query_lang].ids) - len(r.scored) for r in rankings]
    total, settings = sum(unscored), np.count_nonzero(unscored)
    if not total:
        return []
    if collection.answers:
        return [f"{total:,} of the queries have no answer other than yes or no and are left out"]
    return [
        f"{total:,} queries in {settings:,} settings have no relevant passage there and are left out"
        " (`queries` of a setting counts those that were scored)"
    ]


def alignment_notes(represented: Represented, card: EncoderCard) -> list[str]:
    """Notes on how alignment is measured, for runs that measure it."""
    if represented.vectors is None:
        return ["alignment is measured on vectors, and this retriever has none"]
    if card.similarity == "dot":
        return ["alignment is measured by cosine, and the correlation of scores (MRC) by dot"]
    return []


def machine_notes(workers: Mapping[str, int]) -> list[str]:
    """A note if workers ran on several kinds of machine; `workers` counts them by kind."""
    if len(workers) < 2:
        return []
    return [
        f"workers ran on {len(workers)} kinds of machine: the last bits of vectors may depend on the kind"
    ]


def index_part(
    factory: str,
    exact: Sequence[Ranking],
    approximate: Sequence[Ranking],
    depth: int,
) -> IndexPart:
    """How much the best `depth` passages of an approximate index differ from exact search."""
    scores = (score(rankings, ["map"]) for rankings in (exact, approximate))
    recall, change = [], []
    for one, other, before, after in zip(exact, approximate, *scores, strict=True):
        if len(before.query):
            kind = before.setting.kind
            recall.append((kind, recall_of_exact(one, other)))
            change.append((kind, float(after.values["map"].mean() - before.values["map"].mean())))
    return IndexPart(
        factory=factory,
        depth=depth,
        recall_of_exact_top100={kind.value: mean for kind, mean in mean_by_kind(recall).items()},
        map_difference={kind.value: mean for kind, mean in mean_by_kind(change).items()},
    )


def environment_part(workers: Mapping[str, int]) -> EnvironmentPart:
    """The machine and software of this run; `workers` counts the workers by kind of machine."""
    return EnvironmentPart(
        python=platform.python_version(),
        platform=platform.platform(),
        processors=os.cpu_count() or 0,
        versions=installed_versions(PACKAGES),
        git=_git(),
        workers=dict(workers) or None,
    )


@cache
def _git() -> GitPart | None:
    """The commit of the checkout that this code runs from; None without a checkout or without git."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(checkout), *words]
        done = subprocess.run(command, capture_output=True, check=True, timeout=10)  # noqa: S603
        return done.stdout.decode("utf-8", "replace").strip()

    try:
        commit, changes = (
            git("rev-parse", "HEAD"),
            git("status", "--porcelain", "--untracked-files=no"),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return GitPart(commit=commit, changed=bool(changes))


def machine_part(device: str) -> MachinePart:
    """The machine and its load, on which latencies depend."""
    processors = os.cpu_count() or 0
    threads, name, memory = processors, device, 0
    with suppress(ImportError):
        import torch

        threads = torch.get_num_threads()
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    with suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MachinePart(
        processor=processor(),
        processors=processors,
        threads=threads,
        memory_bytes=memory,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        device=name,
    )


def peak_memory() -> int:
    """The most memory this process has held, in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
