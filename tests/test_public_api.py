from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import full_small

import xlir_bench as xb
from xlir_bench.encoders.python import takes_role
from xlir_bench.errors import InputError


def test_the_public_names_are_these_and_no_others() -> None:
    assert xb.__all__ == [
        "Collection",
        "Encoder",
        "EncoderOptions",
        "Kind",
        "Result",
        "RunOptions",
        "SentenceTransformerEvaluator",
        "Setting",
        "Task",
        "TrainOptions",
        "XlirError",
        "catalogue",
        "compare",
        "evaluate",
        "load_encoder",
        "load_results",
        "train_hybrid",
    ]


@pytest.mark.parametrize("name", xb.__all__)
def test_every_public_name_is_there_documented_and_listed(name: str) -> None:
    assert getattr(xb, name).__doc__
    assert name in dir(xb)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'evaluates'"):
        _ = xb.evaluates  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_installed_package() -> None:
    assert xb.__version__ == version("xlir-bench")


HEAVY = {
    "numpy", "pandas", "pyarrow", "pydantic", "torch", "transformers", "sentence_transformers",
    "faiss", "ranx", "numba", "datasets", "httpx", "click", "tqdm", "tabulate",
}  # fmt: skip


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, xlir_bench; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
    assert [name for name in loaded if name.startswith("xlir_bench")] == [
        "xlir_bench",
        "xlir_bench.version",
    ]


def test_a_star_import_brings_every_name() -> None:
    names: dict[str, object] = {}
    exec("from xlir_bench import *", names)
    assert set(xb.__all__) <= set(names)
    homes = [names[name].__module__ for name in ("evaluate", "Result")]
    assert homes == ["xlir_bench.evaluation.run", "xlir_bench.results.store"]


def test_the_package_says_that_it_is_typed() -> None:
    from importlib.resources import files

    assert (files("xlir_bench") / "py.typed").is_file()


QUICK = {"langs": ["de", "en"], "measures": "nDCG_at_10, MAP", "cache": None, "data": None}


def letters(texts: list[str]) -> np.ndarray:
    """An encoder as people first write one."""
    return np.array([[text.count(letter) for letter in "aeinrst "] for text in texts], np.float32)


def test_options_are_given_by_name_and_as_people_write_them() -> None:
    plain = xb.RunOptions(**QUICK | {"langs": ("de", "en"), "measures": ("ndcg@10", "map")})
    by_name = xb.evaluate("mini", letters, kinds=["Cross_Lingual", "monolingual"], **QUICK)
    as_record = xb.evaluate(
        "mini", lambda texts, role: letters(texts),
        xb.RunOptions(kinds=("monolingual", "cross-lingual"), **QUICK),
    )  # fmt: skip
    assert by_name.record.settings == as_record.record.settings
    assert by_name.record.options == as_record.record.options
    assert plain == xb.RunOptions(**QUICK)
    limited = xb.evaluate("mini", "builtin:random", plain, limit=3, seed=5, query_prompt="q: ")
    assert limited.record.options.limit == 3
    assert limited.record.encoder.options.query_prompt == "q: "


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("mini", "builtin:ngram"),
            {"lang": "de", "devise": "cpu"},
            "'langs'.; unknown .*'device'",
        ),
        (("mini", "builtin:ngram"), {"kinds": "multi,bi"}, "kind 'multi'.*kind 'bi'"),
        ((["mini"], "builtin:ngram"), {}, "one task .*Task, not list"),
        (("mini", 7), {}, "int is no encoder"),
    ],
)
def test_what_is_asked_wrongly_is_told(arguments, options, message) -> None:
    with pytest.raises(xb.XlirError, match=message):
        xb.evaluate(*arguments, **options)


def test_a_role_is_given_to_what_can_take_one() -> None:
    assert takes_role(lambda texts, role: ...)
    assert takes_role(lambda texts, prompt_name=None: ...)
    assert takes_role(lambda *everything: ...)
    assert not takes_role(letters)
    assert not takes_role(lambda sentences, show_progress_bar=False: ...)
    assert not takes_role(lambda texts, batch_size=32: ...)
    assert not takes_role(lambda texts, *, batch_size=32: ...)


def test_a_score_forgives_spelling_and_names_what_there_is() -> None:
    result = full_small()
    mean = np.mean([s.measures["map"] for s in result.record.settings if s.kind == "cross-lingual"])
    assert (
        result.score("CrossLingual", "MAP") == result.score("cross_lingual") == pytest.approx(mean)
    )
    assert result.score("monolingual", "recall_at_10") == result.score("monolingual", "Recall@10")
    with pytest.raises(xb.XlirError, match="unknown kind 'bilingual'"):
        result.score("bilingual")
    with pytest.raises(xb.XlirError, match=r"'recal@10'.*'recall@10'"):
        result.score("monolingual", "recal@10")
    alone = xb.evaluate("mini", letters, kinds="monolingual", **QUICK)
    with pytest.raises(xb.XlirError, match=r"mini 'multilingual'.*: monolingual\)"):
        alone.score("multilingual")


def test_a_result_is_told_in_a_line_and_in_a_notebook_as_a_table_that_nothing_breaks_out_of() -> (
    None
):
    result = full_small()
    line = repr(result)
    assert re.match(r"<Result .*builtin:ngram .*mini .*\bde en\b.*map .*monolingual 0\.\d", line)
    assert "\n" not in line
    assert len(line) < 160
    interval = result.summary[xb.Kind.MULTILINGUAL]["mrr"]
    assert (
        f"<td>{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]</td>"
        in result._repr_html_()
    )
    hostile = result.record.encoder.model_copy(update={"name": "<script>\x1b[2J"})
    spoilt = xb.Result(result.record.model_copy(update={"encoder": hostile}), {})
    assert "<script>" not in spoilt._repr_html_()
    assert "\x1b" not in repr(spoilt)


def test_frames_of_results_stand_below_each_other() -> None:
    result = full_small()
    settings, kinds = result.to_frame(), result.to_frame("kind")
    assert len(settings) == len(result.record.settings) * len(result.record.options.measures)
    assert set(settings["encoder"]) == {"builtin:ngram"}
    assert set(settings["part"]) == {"languages de en"}
    means = settings.groupby(["kind", "measure"])["value"].mean()
    for row in kinds.itertuples():
        assert means[row.kind, row.measure] == pytest.approx(row.value)
        assert row.low < row.value < row.high
    with pytest.raises(xb.XlirError, match=r"'kinds'.*'kind'"):
        result.to_frame("kinds")


def test_a_comparison_is_told_in_a_line_and_printed_as_tables() -> None:
    compared = xb.compare(
        full_small(), xb.evaluate("mini", "builtin:random", **QUICK | {"measures": None})
    )
    assert re.match("<Comparison .*builtin:random .*builtin:ngram .*mini, map:", repr(compared))
    assert "monolingual -." in repr(compared)
    assert "by query language" in str(compared)


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: xb.compare("a", "b"), ("two results", "Result.load", "'a'")),
        (lambda: xb.evaluate("mini", "builtin:ngram", xb.EncoderOptions()), ("RunOptions", "EncoderOptions(")),
        (lambda: xb.evaluate("mini", "builtin:ngram", encoder_options=xb.RunOptions()), ("EncoderOptions,",)),
        (lambda: xb.evaluate("mini", "builtin:ngram", progress=5), ("progress", "5")),
        (lambda: xb.evaluate("mini", "builtin:ngram", executor="ray"), ("opened", "'ray'")),
        (lambda: xb.evaluate("mini", "builtin:ngram", seed=None), ("--seed None", "whole number")),
        (lambda: xb.load_encoder(5), ("builtin:ngram", "5")),
        (lambda: xb.load_encoder("builtin:ngram", {"device": "cpu"}), ("EncoderOptions", "{'device': 'cpu'}")),
        (lambda: xb.load_results(5), ("a path", "5")),
        (lambda: xb.Result.load(None), ("a path", "None")),
        (lambda: xb.catalogue("no-such-folder"), ("no-such-folder", "TOML")),
        (lambda: xb.catalogue().get([5]), ("tasks", "5")),
        (lambda: xb.RunOptions(cache=5), ("a path", "5")),
        (lambda: xb.RunOptions(measures=5), ("--measures 5", "text")),
        (lambda: xb.TrainOptions(sources="x", output=5), ("a path", "5")),
        (lambda: xb.TrainOptions(sources="x", output="o", batches=5), ("BatchOptions", "5")),
        (lambda: xb.SentenceTransformerEvaluator("mini", lang="de"), ("'lang'", "'langs'")),
        (lambda: xb.SentenceTransformerEvaluator("mini")("a model"), ("str", "SentenceTransformer")),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_in_a_line_that_says_what_is_wanted(
    call: Callable[[], object], facts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as refused:
        call()
    told = str(refused.value)
    assert [fact for fact in facts if fact not in told] == []
    assert "\n" not in told


def test_a_path_is_taken_where_text_is() -> None:
    assert xb.EncoderOptions(rerank=Path("reranker")).rerank == "reranker"
    assert xb.load_encoder(Path("builtin:ngram")).name == "builtin:ngram"
