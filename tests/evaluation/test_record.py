"""What a record says of texts, and of settings that nobody can answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import (
    Plain,
    Signs,
    assert_equals_plain,
    full_small,
    mini_files,
    settings_of,
    small,
)

import xlir_bench as xb
from xlir_bench import Kind, Result, evaluate
from xlir_bench.tasks import Task, catalogue


@pytest.fixture
def apart(tmp_path: Path) -> Task:
    """`mini` in German and English, where the first German questions are asked of nobody else."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (task,) = catalogue().get(["mini"])
    files = {}
    for lang in ("de", "en"):
        stated = json.loads(mini_files()[lang].read_text("utf-8"))
        for article in stated["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    question["id"] += f"-{lang}" if article is not stated["data"][-1] else ""
        (folder / f"{lang}.json").write_text(json.dumps(stated), "utf-8")
        files[lang] = task.files[lang].model_copy(
            update={"path": f"{lang}.json", "sha256": None, "bytes": None}
        )
    return task.model_copy(
        update={"name": "apart", "languages": ["de", "en"], "files": files, "folder": folder}
    )


@pytest.mark.parametrize("index", ["Flat", "HNSW32"])
def test_settings_without_any_answer_are_counted_and_left_out_of_means(
    apart: Task, index: str
) -> None:
    result = evaluate(apart, "builtin:ngram", small(limit=4, index=index, save_run=3))
    found = settings_of(result)
    assert {key: s.queries for key, s in found.items()} == {
        ("de", "de"): 4, ("en", "en"): 4, ("de", "en"): 0, ("en", "de"): 0, ("de", "*"): 4,
        ("en", "*"): 4,
    }  # fmt: skip
    assert found["de", "en"].measures == {}
    assert Kind.CROSS_LINGUAL not in result.summary
    assert any(re.search(r"^8 queries .*\b2 settings ", note) for note in result.record.notes)
    assert "rank_distance" not in result.record.bias
    assert Result(result.record, result.tables).save(Path(str(apart.folder)) / "out")


def test_questions_that_some_languages_lack_are_scored_where_they_have_answers(
    apart: Task,
) -> None:
    result = evaluate(apart, Signs(), small())
    files = {lang: Path(str(apart.folder)) / f"{lang}.json" for lang in ("de", "en")}
    assert_equals_plain(result, Plain(files, Signs()))
    assert settings_of(result)["de", "en"].queries < settings_of(result)["de", "de"].queries


def test_texts_say_how_the_tokenizer_sees_each_language(tiny_transformer: Path) -> None:
    encoder = xb.load_encoder(str(tiny_transformer))
    texts = evaluate("mini", encoder, small(langs=("th", "zh"))).record.texts
    for lang in ("th", "zh"):
        data = json.loads(mini_files()[lang].read_text("utf-8"))["data"]
        paragraphs = [p for article in data for p in article["paragraphs"]]
        sentences = [s for p in paragraphs for s in p["sentences"]]
        questions = [q["question"] for p in paragraphs for q in p["qas"]]
        asked = encoder.count_tokens(questions, "query")
        given = encoder.count_tokens(sentences, "passage")
        tokens = np.concatenate([asked.tokens, given.tokens])
        found = texts[lang]
        assert (found.queries, found.passages) == (len(questions), len(sentences))
        assert found.tokens_mean == pytest.approx(tokens.mean())
        assert found.query_tokens_mean == pytest.approx(asked.tokens.mean())
        assert found.passage_tokens_mean == pytest.approx(given.tokens.mean())
        assert found.truncated_share == pytest.approx((tokens > 128).mean())
        unknown = asked.unknown.sum() + given.unknown.sum()
        assert found.unknown_share == pytest.approx(unknown / tokens.sum())
    assert texts["zh"].unknown_share > texts["th"].unknown_share


def test_an_encoder_without_a_tokenizer_says_nothing_of_tokens() -> None:
    found = full_small().record.texts["en"]
    assert (found.queries, found.passages) == (72, 145)
    assert (found.tokens_mean, found.truncated_share, found.unknown_share) == (None, None, None)


def test_what_may_hold_a_secret_is_not_recorded() -> None:
    asked = xb.RunOptions(langs=("de",), kinds=("monolingual",), limit=3, cache=None)
    how = xb.EncoderOptions(device="cpu", api_key_env="MY_SECRET_KEY")
    stated = json.loads(evaluate("mini", "builtin:random", asked, encoder_options=how).to_json())
    assert stated["encoder"]["options"]["device"] == "cpu"
    assert not {"offline", "api_key_env", "http_body"} & stated["encoder"]["options"].keys()
    assert "MY_SECRET_KEY" not in json.dumps(stated)
