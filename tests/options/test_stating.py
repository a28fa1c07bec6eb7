"""What decides the numbers is marked once, on the option: results, their folders, gates and experiments go by the mark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from changed import evaluated, stated
from recipes import REDUCED, with_lines

from xlir_bench import EncoderOptions, RunOptions
from xlir_bench.cli import exit_code
from xlir_bench.cli.command import FORM, ReportForm, command
from xlir_bench.cli.gate import _as_the_baseline
from xlir_bench.errors import InputError, NotComparableError
from xlir_bench.evaluation.record import options_part
from xlir_bench.measures import check_measures
from xlir_bench.options.encoding import LoadOptions
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import Option, build, option, options_of
from xlir_bench.options.training import TrainOptions
from xlir_bench.recipe import parse_recipe
from xlir_bench.records import Silent
from xlir_bench.reports.leaderboard.board import LEAVES_OUT
from xlir_bench.reports.pairing import require_comparable
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue
from xlir_bench.untrusted import read_toml

OTHER: dict[str, Any] = {
    "langs": ("de", "en"), "kinds": ("monolingual",), "limit": 3, "corpus_limit": 5, "candidate": "sentence+context",
    "query_form": "typos", "measures": ("mrr",), "seed": 7, "index": "SQ8", "vectors": "int8",
    "query_prompt": "query: ", "passage_prompt": "passage: ", "revision": "v2", "dtype": "float16", "max_length": 8,
    "truncate_dim": 4, "similarity": "dot", "transform": "offsets", "transform_text": "text.jsonl",
    "fuse": ("builtin:bm25",), "fuse_weights": (1.0, 2.0), "fuse_depth": 9, "rerank": "reranker", "rerank_depth": 9,
    "alignment": True,
}  # fmt: skip
"""Another value than the default of every option with a mark: a new one has its line here."""
IN_RECIPES = [o for record in (RunOptions, LoadOptions) for o in options_of(record) if o.in_recipes]
MOVES_NO_SCORE = {"measures", "seed"}


def marked(record: type[Any]) -> list[Option]:
    return [option for option in options_of(record) if option.decides]


@pytest.mark.parametrize("option", marked(RunOptions), ids=lambda option: option.name)
def test_a_run_with_another_value_is_of_a_part_says_so_and_can_be_asked_again(
    option: Option,
) -> None:
    (task,) = catalogue().get(["mini"])
    full = RunOptions(data=None, cache=None)
    asked = replace(full, **{option.name: OTHER[option.name]})
    assert asked.part(task).keys() == {option.name}
    collection = load_collection(task, full, Silent())
    measures = check_measures(asked.measures or task.measures)
    stored = options_part(asked, task, collection, measures)
    assert stored.part.keys() == {option.name} - MOVES_NO_SCORE
    assert stored.asked_again(full).part(task) == asked.part(task)
    assert (option.name in LEAVES_OUT) == option.partial


@pytest.mark.parametrize("option", marked(RunOptions), ids=lambda option: option.name)
def test_results_with_another_value_are_not_compared_but_for_the_seed(option: Option) -> None:
    first, value = evaluated(), OTHER[option.name]
    other = stated(first, **{option.name: [*value] if isinstance(value, tuple) else value})
    if option.name == "seed":
        assert not require_comparable([first, other], force=False, remedy="")
        return
    with pytest.raises(NotComparableError, match=r"\(.* against .*\)"):
        require_comparable([first, other], force=False, remedy="")


@pytest.mark.parametrize("option", marked(LoadOptions), ids=lambda option: option.name)
def test_a_candidate_is_loaded_as_its_baseline_was(option: Option) -> None:
    asked = EncoderOptions(**{option.name: OTHER[option.name]})
    part = evaluated().record.encoder.model_copy(update={"name": "org/model"})
    baseline = part.model_copy(update={"options": asked})
    assert _as_the_baseline("org/model", baseline, EncoderOptions()) == asked


@pytest.mark.parametrize("option", IN_RECIPES, ids=lambda option: option.name)
def test_models_of_a_recipe_are_evaluated_with_what_it_states(option: Option) -> None:
    line = f"{option.flag} = {json.dumps(OTHER[option.name])}"
    text = f"{REDUCED}\n[encodings]\nmine = {{ {line} }}"
    if option.in_recipes == "recipe":
        text = with_lines("rerank = 'reranker'", line) + "\n[encodings.mine]"
    asked = parse_recipe(text, "it").evaluation("mine")
    assert asked[option.name] == OTHER[option.name] != option.default


def test_what_decides_no_number_is_the_candidates_own() -> None:
    idle = [o.name for o in options_of(LoadOptions) if not o.decides]
    assert idle == ["device", "trust_remote_code"]


def test_spaces_around_what_python_gives_do_not_count() -> None:
    for given in (" builtin:bm25 ", [" builtin:bm25"]):
        assert EncoderOptions(fuse=given).fuse == ("builtin:bm25",)
    (source,) = TrainOptions(sources=" rows.jsonl@2:monolingual ", output=Path("out")).sources
    assert (source.name, source.weight, source.use) == ("rows.jsonl", 2.0, "monolingual")


def test_what_is_no_list_and_no_word_of_a_choice_is_refused() -> None:
    with pytest.raises(InputError, match="--http-body "):
        EncoderOptions(http_body={"query": {}})
    with pytest.raises(InputError, match="--strategy 5"):
        build(TrainOptions, {"sources": "rows.jsonl", "output": "out", "strategy": 5})


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("limit", "x", "--limit 'x' wants a whole number"),
        ("limit", 0, "--limit 0 wants 1 or more"),
        ("vectors", "float33", "unknown --vectors 'float33': did you mean 'float32'?"),
        ("langs", "", "--langs is empty"),
    ],
)
def test_a_value_is_refused_in_the_same_words_from_python_a_file_and_the_command_line(
    name: str, typed: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"{name} = {typed!r}")
    assert exit_code(["run", f"--{name}", str(typed)]) == 2
    assert exit_code(["run", "--config", str(file)]) == 2
    typed_there, of_file = capsys.readouterr().err.splitlines()
    with pytest.raises(InputError) as refused:
        RunOptions(**{name: typed})
    assert str(refused.value).startswith(told)
    assert (typed_there, of_file) == (f"error: {refused.value}", f"error: {file}: {refused.value}")


def some(
    data: DataOptions,
    device: str | None = option("Text.", None),
    alpha: float = option("A number.", 0.5, least=0),
    arguments: Mapping[str, Any] | None = option("A file.", None, parse=read_toml),
    form: ReportForm | None = FORM,
) -> dict[str, Any]:
    """A command with an option of each kind that a file states in another type than the command line."""
    return {"data": data, "device": device, "alpha": alpha, "arguments": arguments, "form": form}


def given_in(line: str, tmp_path: Path, *typed: str) -> dict[str, Any]:
    """What a command is given whose --config file has this line."""
    file = tmp_path / "options.toml"
    file.write_text(line)
    taken: dict[str, Any] = command(config=Path)(some).main(
        ["--config", str(file), *typed], standalone_mode=False
    )
    return taken


def test_a_file_of_options_names_the_root_of_the_data_as_the_command_line_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "root").mkdir()
    assert given_in("data = '~/root'", tmp_path)["data"].data == tmp_path / "root"
    assert given_in("", tmp_path, "--data=~/root")["data"].data == tmp_path / "root"
    with pytest.raises(InputError, match=r"data root .*absent"):
        given_in("data = '/absent'", tmp_path)
    typed = given_in("data = '/absent'", tmp_path, "--data", str(tmp_path / "root"))
    assert typed["data"].data == tmp_path / "root", "the command line wins"


def test_a_whole_number_in_a_file_of_options_is_the_word_that_it_is_on_the_command_line(
    tmp_path: Path,
) -> None:
    assert given_in("device = 1", tmp_path)["device"] == "1"
    assert type(given_in("alpha = 1", tmp_path)["alpha"]) is float


@pytest.mark.parametrize("key", ["data", "tasks-dir", "device", "alpha", "arguments", "latex"])
def test_a_table_in_a_file_of_options_is_no_value(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"options.toml: --{key} "):
        given_in(f"{key} = {{a = 1}}", tmp_path)


@pytest.mark.parametrize("key", ["data", "device", "alpha", "arguments", "latex"])
@pytest.mark.parametrize("value", ["true", "[]", "['a']", "nan", "1979-05-27"])
def test_what_a_file_of_options_says_wrongly_is_named_by_its_flag(
    key: str, value: str, tmp_path: Path
) -> None:
    if (key, value) != ("latex", "true"):
        with pytest.raises(InputError, match=f"options.toml: --{key} "):
            given_in(f"{key} = {value}", tmp_path)
