"""The parts of a result's record, each from what one stage found."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.encoders import EncoderCard
from xlir_bench.evaluation.clusters import Clusters
from xlir_bench.measures import BiasView, LanguageShares, score
from xlir_bench.measures.chance import expected_map
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import ROLES, Collection, Ranking, Scores
from xlir_bench.results.schema import (
    BiasPart,
    EncoderOptionsPart,
    EncoderPart,
    EnvironmentPart,
    GitPart,
    IndexPart,
    MachinePart,
    SettingPart,
    TaskPart,
    TextsPart,
    data_digest,
)
from xlir_bench.retrieval import Represented, recall_of_exact
from xlir_bench.retrieval.approximate import DEPTH
from xlir_bench.tasks import Task

PACKAGES = (
    "xlir-bench", "numpy", "torch", "transformers", "tokenizers", "sentence-transformers", "faiss-cpu",
    "ranx",
)  # fmt: skip


def task_part(task: Task, collection: Collection, clusters: Clusters) -> TaskPart:
    """What was evaluated."""
    return TaskPart(
        name=task.name,
        title=task.title,
        version=task.version,
        digest=task.digest,
        domain=task.domain,
        licence=task.licence,
        cluster=collection.cluster,
        clusters=len(clusters.names),
        files=dict(collection.digests),
        data=data_digest(collection.digests) if collection.digests else None,
    )


def encoder_part(
    card: EncoderCard, represented: Represented, device: str | None, options: EncoderOptions | None
) -> EncoderPart:
    """Who was evaluated, where, and how it was asked to be loaded."""
    # No field of it holds a secret.
    names = EncoderOptionsPart.model_fields
    asked = None if options is None else {name: getattr(options, name) for name in names}
    return EncoderPart(
        name=card.name,
        kind=card.kind,
        slug=card.slug,
        fingerprint=card.fingerprint,
        weights_digest=card.weights_digest,
        dimension=represented.dimension,
        dtype=card.dtype,
        max_tokens=card.max_tokens,
        query_prompt=card.query_prompt,
        passage_prompt=card.passage_prompt,
        parameters=card.parameters,
        chosen_on=list(card.chosen_on),
        device=device,
        options=None if asked is None else EncoderOptionsPart(**asked),
    )


def setting_part(scores: Scores, ranking: Ranking) -> SettingPart:
    """One setting: its size and its means."""
    _, relevant = np.unique(ranking.query, return_counts=True)
    scored = len(scores.query) > 0
    return SettingPart(
        kind=scores.setting.kind,
        query_lang=scores.setting.query_lang,
        passage_langs=list(scores.setting.passage_langs),
        queries=len(scores.query),
        candidates=scores.candidates,
        measures={m: float(v.mean()) for m, v in scores.values.items()} if scored else {},
        chance_map=float(expected_map(scores.candidates, relevant).mean())
        if len(relevant)
        else 0.0,
    )


def bias_part(view: BiasView | LanguageShares) -> BiasPart:
    """One bias figure."""
    if isinstance(view, LanguageShares):
        return BiasPart(
            mean=dict(view.mean),
            chance=dict(view.chance),
            by_query_lang={lang: dict(shares) for lang, shares in view.by_query_lang.items()},
            queries=view.queries,
        )
    return BiasPart(
        mean=view.mean,
        chance=view.chance,
        by_query_lang=dict(view.by_query_lang),
        chance_by_query_lang=dict(view.chance_by_query_lang),
        queries=view.queries,
    )


def texts_part(
    collection: Collection, represented: Represented, max_tokens: int | None
) -> dict[str, TextsPart]:
    """How each language's texts look to the tokenizer."""
    parts = {}
    for lang in sorted({*collection.queries, *collection.passages}):
        queries = len(collection.queries[lang].ids) if lang in collection.queries else 0
        passages = len(collection.passages[lang].ids) if lang in collection.passages else 0
        counts = represented.tokens or {}
        mine = {role: counts[role, lang] for role in ROLES if (role, lang) in counts}
        tokens = np.concatenate([c.tokens for c in mine.values()]) if mine else np.empty(0)
        unknown = sum(int(c.unknown.sum()) for c in mine.values())
        parts[lang] = TextsPart(
            queries=queries,
            passages=passages,
            tokens_mean=_mean(tokens),
            query_tokens_mean=_mean(mine["query"].tokens) if "query" in mine else None,
            passage_tokens_mean=_mean(mine["passage"].tokens) if "passage" in mine else None,
            truncated_share=_mean(tokens > max_tokens) if max_tokens else (0.0 if mine else None),
            unknown_share=unknown / max(1, int(tokens.sum())) if mine else None,
        )
    return parts


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None


def left_out(rankings: Sequence[Ranking], collection: Collection) -> list[str]:
    """How many queries some settings could not score."""
    missing = [
        (r.setting, left)
        for r in rankings
        if (left := len(collection.queries[r.setting.query_lang].ids) - len(r.scored))
    ]
    if not missing:
        return []
    total = sum(left for _, left in missing)
    if collection.answers:
        return [f"{total} queries have no answer other than yes or no and are left out"]
    return [
        f"{total} queries in {len(missing)} settings have no relevant passage there and are left out"
        " of them (each setting's `queries` is what was scored)"
    ]


def peak_memory() -> int:
    """The most memory this process has held, in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def environment() -> EnvironmentPart:
    """Where this runs."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return EnvironmentPart(
        python=platform.python_version(),
        platform=platform.platform(),
        processors=os.cpu_count() or 0,
        versions=versions,
        git=_git(),
    )


@cache
def _git() -> GitPart | None:
    """The state of the checkout that this runs from; None where it is installed, or git is not."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    asked = ("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")
    try:
        commit, changed = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(checkout), *words],  # noqa: S607
                capture_output=True,
                check=True,
                text=True,
                timeout=10,
            ).stdout.strip()
            for words in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return GitPart(commit=commit, changed=bool(changed))


def machine(device: str) -> MachinePart:
    """What latencies depend on besides the encoder."""
    processors = os.cpu_count() or 0
    threads, name = processors, device
    with suppress(ImportError):
        import torch

        threads = torch.get_num_threads()
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return MachinePart(
        processor=_processor(),
        processors=processors,
        threads=threads,
        memory_bytes=_memory(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        device=name,
    )


def _processor() -> str:
    """Its name; Python's own answer is empty on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def index_part(
    factory: str, exact: Sequence[Ranking], found: Sequence[Ranking], compared: int
) -> IndexPart:
    """How far an index is from exact search, looking at so many of the best passages."""
    recall: dict[str, list[float]] = {}
    difference: dict[str, list[float]] = {}
    scores = (score(rankings, ["map"]) for rankings in (exact, found))
    for a, b, x, y in zip(exact, found, *scores, strict=True):
        if not len(x.query):
            continue
        change = float(y.values["map"].mean() - x.values["map"].mean())
        recall.setdefault(a.setting.kind.value, []).append(recall_of_exact(a, b, compared))
        difference.setdefault(a.setting.kind.value, []).append(change)
    return IndexPart(
        factory=factory,
        depth=DEPTH,
        recall_of_exact_top100={kind: float(np.mean(v)) for kind, v in recall.items()},
        map_difference={kind: float(np.mean(v)) for kind, v in difference.items()},
    )
