"""A result in the layout of mteb's own result files, which its loaders read."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from xlir_bench.records import POOL
from xlir_bench.reports.export.parts import named, part_of, version
from xlir_bench.reports.tables import passage
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.schema import SettingPart

LAYOUT = "2.0.0"
"""The version of mteb whose layout this is, and which the files state: its loaders ask for one."""
SPLIT = "test"
SCRIPTS = {
    "ar": "ara-Arab", "bn": "ben-Beng", "cs": "ces-Latn", "da": "dan-Latn", "de": "deu-Latn",
    "el": "ell-Grek", "en": "eng-Latn", "es": "spa-Latn", "fa": "fas-Arab", "fi": "fin-Latn",
    "fil": "fil-Latn", "fr": "fra-Latn", "he": "heb-Hebr", "hi": "hin-Deva", "hr": "hrv-Latn",
    "hu": "hun-Latn", "id": "ind-Latn", "it": "ita-Latn", "ja": "jpn-Jpan", "ko": "kor-Kore",
    "mi": "mri-Latn", "nl": "nld-Latn", "no": "nor-Latn", "pl": "pol-Latn", "pt": "por-Latn",
    "quz": "quz-Latn", "ro": "ron-Latn", "ru": "rus-Cyrl", "sv": "swe-Latn", "sw": "swa-Latn",
    "te": "tel-Telu", "th": "tha-Thai", "tr": "tur-Latn", "uk": "ukr-Cyrl", "vi": "vie-Latn",
    "yo": "yor-Latn", "zh": "zho-Hans",
}  # fmt: skip
"""mteb names a language by ISO 639-3 and a script; other codes, such as FLORES's ``zho_Hans``, are joined as it joins them."""


def mteb_record(result: Result) -> dict[str, Any]:
    """One result file: every setting is a subset, such as ``en-de``, or ``en-all`` for the pool."""
    record = result.record
    return {
        "dataset_revision": record.task.digest,
        "task_name": task_name(record),
        "mteb_version": LAYOUT,
        "scores": {SPLIT: [_subset(s, record) for s in record.settings if s.queries]},
        "evaluation_time": sum(record.profile.seconds.values()),
        "kg_co2_emissions": None,
        "date": datetime.fromisoformat(record.created).timestamp(),
        "evaluated_by": f"xlir-bench {version(record)}",
        "part": part_of(record),
    }


def model_meta(result: Result) -> dict[str, Any]:
    """The file beside the results that tells mteb's loader whose they are."""
    encoder = result.record.encoder
    return {
        "name": model_name(result.record),
        "revision": revision(result.record),
        "release_date": None,
        "languages": None,
        "loader": None,
        "n_parameters": encoder.parameters,
        "memory_usage_mb": None,
        "max_tokens": encoder.max_tokens,
        "embed_dim": encoder.dimension,
        "license": None,
        "open_weights": None,
        "public_training_code": None,
        "public_training_data": None,
        "framework": [],
        "similarity_fn_name": "cosine",
        "use_instructions": bool(encoder.query_prompt or encoder.passage_prompt),
        "training_datasets": None,
    }


def task_name(record: ResultRecord) -> str:
    """No name of mteb's own tasks: pools and candidates differ, so scores must not be mixed."""
    return "xlir-bench_" + re.sub(r"[^A-Za-z0-9.~-]", "-", named(record))


def model_name(record: ResultRecord) -> str:
    """``organisation/name``, as mteb wants it."""
    name = re.sub(r"[^A-Za-z0-9._/-]", "-", record.encoder.name).strip("/.")
    parts = [part for part in name.split("/") if part.strip(".")]
    return "/".join(parts) if len(parts) == 2 else f"xlir-bench/{'-'.join(parts) or 'encoder'}"


def revision(record: ResultRecord) -> str:
    """A piece of the fingerprint: different weights, prompts or lengths never share a folder."""
    return record.encoder.fingerprint.removeprefix("sha256:")[:16]


def _subset(setting: SettingPart, record: ResultRecord) -> dict[str, Any]:
    target = passage(setting.passage_langs)
    langs = dict.fromkeys([setting.query_lang, *setting.passage_langs])
    scores = {name.replace("@", "_at_"): value for name, value in setting.measures.items()}
    main = "ndcg@10" if "ndcg@10" in setting.measures else next(iter(record.options.measures))
    return {
        **scores,
        "main_score": setting.measures[main],
        "hf_subset": f"{setting.query_lang}-{'all' if target == POOL else target}",
        "languages": [SCRIPTS.get(lang, lang.replace("_", "-")) for lang in langs],
    }
