"""`xlir-bench profile`: what an encoder costs in use."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli.conftest import tells

from xlir_bench.rendering.numbers import signed
from xlir_bench.results import Result

QUICK = (
    "--model",
    "builtin:ngram",
    "--langs",
    "de,en",
    "--queries",
    "5",
    "--batch",
    "4",
    "--repeats",
    "2",
    "--quiet",
)


def stored(slug: str) -> Path:
    """The one result of this encoder."""
    (file,) = Path("results", slug).glob("mini*/result.json")
    return file.parent


def test_the_table_says_what_each_variant_does_to_map_and_which_are_unbeaten(xlir):
    said = xlir("profile", *QUICK, "--dims", "256", "--index", "SQ8", "--index", "IVF8,Flat")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "mini: builtin:ngram (1024-d float32)"
    assert tells(said.out, "query", "5", "290 passages")
    cost = Result.load(stored("builtin-ngram")).record.profile.cost
    for i, variant in enumerate(cost.variants):
        name = f"float32 {variant.dimension} {variant.index} "
        line = next(x for x in lines if x.startswith(name))
        assert f"{variant.mean_map:.4f}".removeprefix("0") in line
        assert f"{variant.bytes_per_vector:,.0f}" in line
        assert line.rstrip().endswith(", ".join(variant.unbeaten))
        change = signed(variant.mean_map - cost.variants[0].mean_map)
        assert (change in line) == (i > 0)
    assert f"written to {stored('builtin-ngram')}" in said.out


def test_json_has_every_figure_and_nothing_else_is_printed(xlir):
    said = xlir("profile", *QUICK, "--index", "SQ8", "--json")
    found = json.loads(said.out)
    assert (found["task"], found["encoder"], found["slug"]) == (
        "mini", "builtin:ngram", "builtin-ngram",
    )  # fmt: skip
    assert [v["index"] for v in found["variants"]] == ["Flat", "SQ8"]
    assert set(found["variants"][0]["query"]) == {"p50", "p95", "p99", "rounds"}
    assert found["models"][0]["passages_per_second"] > 0
    assert found["machine"]["processors"] >= 1
    kept = json.loads((stored("builtin-ngram") / "result.json").read_text())["profile"]["cost"]
    assert {k: v for k, v in found.items() if k in kept} == kept


def test_a_stored_result_gets_the_figures_and_stays_as_it_is(xlir):
    assert (
        xlir("run", "--model", "builtin:ngram", "--langs", "de,en", "--alignment", "--quiet").code
        == 0
    )
    before = Result.load(stored("builtin-ngram"))
    ranks = before.tables["ranks"]
    assert before.record.profile.cost is None
    assert xlir("profile", *QUICK).code == 0
    after = Result.load(stored("builtin-ngram"))
    assert after.record.profile.cost is not None
    assert after.record.profile.cost.command == "xlir-bench profile " + " ".join(QUICK)
    assert after.with_cost(None).record == before.record
    assert after.tables["ranks"].equals(ranks)
    again = ("run", "--model", "builtin:ngram", "--langs", "de,en", "--quiet")
    assert xlir(*again).code == 0
    kept = Result.load(stored("builtin-ngram")).record
    assert kept.profile.cost == after.record.profile.cost
    file = stored("builtin-ngram") / "result.json"
    file.write_text(file.read_text().replace(kept.encoder.fingerprint, "sha256:" + "0" * 64))
    assert xlir(*again).code == 0
    assert Result.load(file).record.profile.cost is None, "it was of another model"


def test_a_model_that_is_cut_is_measured_as_it_was_run(xlir, tiny_transformer):
    cut = ("--model", str(tiny_transformer), "--truncate-dim", "8", "--langs", "de,en", "--quiet")
    assert xlir("run", *cut).code == 0
    (file,) = Path("results").glob("*/*/result.json")
    assert xlir("profile", *cut, "--queries", "5", "--batch", "4", "--repeats", "1").code == 0
    assert list(Path("results").glob("*/*/result.json")) == [file]
    (variant,) = Result.load(file).record.profile.cost.variants
    assert variant.dimension == 8


def test_a_result_of_other_weights_is_made_anew(xlir):
    assert xlir("run", "--model", "builtin:ngram", "--langs", "de,en", "--quiet").code == 0
    file = stored("builtin-ngram") / "result.json"
    record = json.loads(file.read_text())
    record["encoder"]["fingerprint"] = "sha256:" + "0" * 64
    record["notes"] = ["of other weights"]
    file.write_text(json.dumps(record))
    assert xlir("profile", *QUICK).code == 0
    assert Result.load(file).record.notes != ["of other weights"]


def test_show_tells_it_again(xlir):
    xlir("profile", *QUICK)
    said = xlir("show", stored("builtin-ngram"))
    assert tells(said.out, "query", "5", "290 passages")
    assert "| float32 1024 Flat |" in xlir("show", stored("builtin-ngram"), "--markdown").out


def test_markdown(xlir):
    said = xlir("profile", *QUICK, "--markdown")
    assert "| float32 1024 Flat" in said.out


def test_a_picture_names_the_unbeaten(xlir):
    pytest.importorskip("matplotlib")
    said = xlir("profile", *QUICK, "--dims", "256", "--plot", "cost.svg")
    assert said.code == 0, said.err
    assert Path("cost.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert tells(said.out, "written", "cost.svg")


def test_a_name_that_is_no_picture_is_refused_before_anything_is_measured(xlir):
    said = xlir("profile", *QUICK, "--plot", "cost.txt")
    assert said.code == 2
    assert re.fullmatch(r"error: --plot cost\.txt .*\.png, \.svg, \.pdf\n", said.err)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("args", "facts"),
    [
        (("--dims", "x"), ["--dims 'x'", "whole numbers"]),
        (("--dims", "4096"), ["--dims 4096", "builtin:ngram", "1024"]),
        (("--dtype", "float64"), ["--dtype 'float64'", "'float16'"]),
        (("--dtype", ","), ["--dtype", "empty"]),
        (("--dtype", "float32,float16"), ["--dtype float16", "builtin:ngram", "float32"]),
        (("--index", "HSNW"), ["--index 'HSNW'", "FAISS", "'HNSW32'"]),
        (("--batch", "0"), ["--batch 0", "1 or more"]),
        (("--task", "minny"), ["'minny'", "'mini'"]),
    ],
)
def test_what_is_asked_wrongly_is_one_line(xlir, args, facts):
    found = xlir("profile", *QUICK, *args)
    assert (found.code, tells(found.err, *facts)) == (2, True), found.err
    assert found.err.count("\n") == 1
    assert not Path("results").exists()


def test_options_may_stand_in_a_file(xlir):
    Path("profile.toml").write_text(
        'index = ["SQ8", "IVF8,Flat"]\ndims = [128]\nqueries = 3\n', encoding="utf-8"
    )
    said = xlir(
        "profile", "--config", "profile.toml", "--langs", "de,en", "--repeats", "1", "--json"
    )
    found = json.loads(said.out)
    assert {(v["dimension"], v["index"]) for v in found["variants"]} == {
        (d, i) for d in (384, 128) for i in ("Flat", "SQ8", "IVF8,Flat")
    }
