"""Repairs of vectors without training, against a plain computation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import Plain, mini_files, small

from xlir_bench import EncoderOptions, evaluate
from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError
from xlir_bench.tasks import catalogue

LANGS = ("de", "en", "zh")


class Moving:
    """Encodes as `builtin:ngram` does; then vectors of unit length are moved as told, by role and language."""

    def __init__(self) -> None:
        self.encoder = load_encoder("builtin:ngram")
        self.seen: list[np.ndarray] = []
        self.move = lambda number, rows: rows

    def encode(self, texts, role):
        rows = self.encoder.encode(list(texts), role).astype(float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.seen.append(rows)
        return self.move(len(self.seen) - 1, rows)


def moved(how: str) -> Plain:
    """A plain computation: files are read by language, queries and then passages of each."""
    files = {x: mini_files()[x] for x in LANGS}
    first = Moving()
    Plain(files, first)
    roles = [np.arange(n, len(first.seen), 2) for n in (0, 1)]
    again = Moving()

    def move(number, rows):
        same_role = [first.seen[i] for i in roles[number % 2]]
        of_all = np.mean([of_lang.mean(axis=0) for of_lang in same_role], axis=0)
        if how == "centroids":
            return rows - rows.mean(axis=0)
        if how == "offsets":
            return rows - (rows.mean(axis=0) - of_all)
        centred = np.concatenate(same_role) - of_all
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        scale = np.where(values > 1e-6 * values[-1], 1 / np.sqrt(np.maximum(values, 1e-300)), 0)
        return (rows - of_all) @ (vectors * scale) @ vectors.T

    again.move = move
    return Plain(files, again)


@pytest.mark.parametrize("how", ["centroids", "offsets", "whitening"])
def test_ranks_are_those_of_vectors_that_were_moved(how: str) -> None:
    plain = moved(how)
    options = EncoderOptions(transform=how)
    result = evaluate("mini", "builtin:ngram", small(langs=LANGS), encoder_options=options)
    ranks = result.tables["ranks"].to_pandas()
    ranks = ranks[ranks["kind"] == "multilingual"]
    for lang in LANGS:
        best, worst = plain.bounds(lang, LANGS)
        wanted = dict(zip(plain.ids[lang], zip(best - 1, worst + 1, strict=True), strict=True))
        of_lang = ranks[ranks["query_lang"] == lang]
        for name, rows in of_lang.groupby("query_id"):
            low, high = wanted[name]
            found = rows.sort_values("passage_lang")["rank"].to_numpy()
            assert (low <= found).all(), (how, name)
            assert (found <= high).all(), (how, name)
    assert result.record.encoder.name == f"builtin:ngram | {how}"
    assert any(how in note for note in result.record.notes)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("how", ["centroids", "offsets", "whitening"])
def test_equal_vectors_stay_equal(how: str) -> None:
    def constant(texts, role):
        return np.tile(np.linspace(0.1, 1, 16, dtype=np.float32), (len(texts), 1))

    two = small(langs=("de", "en"))
    moved = evaluate("mini", constant, two, encoder_options=EncoderOptions(transform=how))
    assert moved.tables["ranks"].equals(evaluate("mini", constant, two).tables["ranks"])


def test_held_out_text_says_how_far_languages_are_moved(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text": {"de": f"Der Fluss {n} ist lang.", "en": f"The river {n} is long."}}
        for n in range(20)
    ]
    path = tmp_path / "held-out.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    two = small(langs=("de", "en"), alignment=True)
    how = EncoderOptions(transform="offsets", transform_text=str(path))
    held_out = evaluate("mini", "builtin:ngram", two, encoder_options=how)
    own = evaluate(
        "mini", "builtin:ngram", two, encoder_options=EncoderOptions(transform="offsets")
    )
    assert held_out.record.encoder.slug != own.record.encoder.slug
    assert held_out.record.encoder.fingerprint != own.record.encoder.fingerprint
    assert own.record.alignment.language_variance["passage"] < 0.001
    assert held_out.record.alignment.language_variance["passage"] > 0.001


def test_held_out_text_that_lacks_a_language_is_refused_before_anything_is_encoded(
    tmp_path: Path,
) -> None:
    path = tmp_path / "held-out.jsonl"
    path.write_text('{"id": "1", "text": {"de": "Ein Fluss.", "en": "A river."}}\n', "utf-8")
    asked = []

    def encode(texts, role):
        asked.append(role)
        return np.ones((len(texts), 4))

    how = EncoderOptions(transform="offsets", transform_text=str(path))
    with pytest.raises(InputError, match="zh"):
        evaluate("mini", encode, small(langs=("de", "zh")), encoder_options=how)
    assert not asked


def test_languages_that_the_task_lacks_have_no_part_in_it(tmp_path: Path) -> None:
    text = {"de": "Der Fluss {} ist lang.", "en": "River {} is long.", "xx": "{}!"}
    rows = [
        {"id": str(n), "text": {lang: words.format(n * n) for lang, words in text.items()}}
        for n in range(20)
    ]
    path = tmp_path / "held-out.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    how = EncoderOptions(transform="offsets", transform_text=str(path))
    task = catalogue().get(["mini"])[0]
    two = task.model_copy(update={"languages": ["de", "en"]})
    named, unnamed = (
        evaluate(two, "builtin:ngram", small(langs=langs), encoder_options=how)
        for langs in (("de", "en"), None)
    )
    assert named.record.encoder.slug == unnamed.record.encoder.slug
    assert named.tables["ranks"].equals(unnamed.tables["ranks"])


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("builtin:bm25", {"transform": "centroids"}, "dense"),
        ("builtin:ngram", {"transform": "centroids", "similarity": "dot"}, "cosine"),
        ("builtin:ngram", {"transform_text": "x.jsonl"}, "--transform"),
        ("builtin:ngram", {"fuse_depth": 7}, "--fuse-depth"),
    ],
)
def test_options_without_use_are_refused(spec: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        evaluate("mini", spec, small(), encoder_options=EncoderOptions(**options))
