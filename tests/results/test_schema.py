from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from pydantic import ValidationError

from xlir_bench import Result
from xlir_bench.results import schema
from xlir_bench.results.schema import RESULT_SCHEMA, ResultRecord

FILE = Path(schema.__file__).with_name("result.schema.json")
"""For programs that are not written in Python."""
SCHEMA: dict[str, Any] = ResultRecord.model_json_schema(by_alias=True, mode="serialization")
TEXT = json.dumps(SCHEMA, ensure_ascii=False, indent=1) + "\n"
REGENERATE = "the types and the schema file differ; if the types are right: cd tests && python -m results.test_schema"


@pytest.mark.skipif(
    pydantic.VERSION.startswith("2.12."), reason="pydantic 2.12 leaves descriptions out"
)
def test_the_schema_file_is_the_one_of_the_types() -> None:
    assert FILE.read_text(encoding="utf-8") == TEXT, REGENERATE


def test_the_schema_is_a_json_schema() -> None:
    meta = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    assert list(meta.iter_errors(SCHEMA)) == []


def test_a_real_result_is_what_the_schema_says(result: Result) -> None:
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(json.loads(result.to_json()))
    assert list(errors) == []


@pytest.fixture
def stated(result: Result) -> dict[str, Any]:
    """result.json as an object that may be spoiled."""
    loaded: dict[str, Any] = json.loads(result.to_json())
    return loaded


def test_a_real_result_is_read_as_it_was_written(stated: dict[str, Any], result: Result) -> None:
    assert ResultRecord.model_validate(stated) == result.record


def test_the_fields_are_those_of_the_design(stated: dict[str, Any]) -> None:
    """A field is added, never renamed: scripts read these."""
    assert stated["schema"] == RESULT_SCHEMA == 1
    assert set(stated) >= {
        "schema", "task", "encoder", "settings", "summary", "bias", "options", "texts", "alignment",
        "profile", "environment", "notes", "command", "created",
    }  # fmt: skip
    assert set(stated["task"]) >= {"name", "version", "digest"}
    assert set(stated["encoder"]) >= {
        "name", "kind", "fingerprint", "dimension", "dtype", "max_tokens", "query_prompt",
        "passage_prompt",
    }  # fmt: skip
    assert set(stated["settings"][0]) >= {
        "kind", "query_lang", "passage_langs", "queries", "candidates", "measures",
    }  # fmt: skip
    assert list(stated["summary"]) == ["monolingual", "cross-lingual", "multilingual"]
    assert set(stated["summary"]["multilingual"]["map"]) == {"mean", "low", "high"}
    assert set(stated["bias"]["rank_distance"]) >= {"mean", "by_query_lang"}
    assert set(stated["options"]) >= {
        "langs", "kinds", "limit", "candidate", "index", "seed", "changed_data",
    }  # fmt: skip
    assert set(stated["texts"]["ar"]) >= {
        "queries", "tokens_mean", "truncated_share", "unknown_share",
    }  # fmt: skip


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("task"),
        lambda r: r.update(schema=2),
        lambda r: r.update(speed=1),
        lambda r: r["task"].update(digest="sha256:0"),
        lambda r: r["settings"][0].update(kind="bilingual"),
        lambda r: r["settings"][0].update(queries="many"),
        lambda r: r["settings"][0]["measures"].update(map="NaN?"),
        lambda r: r["summary"]["monolingual"]["map"].pop("low"),
        lambda r: r["bias"]["rank_distance"].update(mean=None),
    ],
)
def test_what_is_no_result_is_refused_by_types_and_schema_alike(
    stated: dict[str, Any], spoil: Any
) -> None:
    spoil(stated)
    with pytest.raises(ValidationError):
        ResultRecord.model_validate(stated)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(stated, SCHEMA)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_never_reaches_a_file(
    stated: dict[str, Any], value: float
) -> None:
    stated["settings"][0]["measures"]["map"] = value
    with pytest.raises(ValidationError):
        ResultRecord.model_validate(stated)


def test_a_summary_has_one_set_of_measures_and_settings_to_be_of(stated: dict[str, Any]) -> None:
    """And only of kinds that have a scored setting."""
    spoilt = json.loads(json.dumps(stated))
    del spoilt["summary"]["monolingual"]["map"]
    with pytest.raises(ValidationError, match="monolingual lacks measures"):
        ResultRecord.model_validate(spoilt)
    spoilt = json.loads(json.dumps(stated))
    for setting in spoilt["settings"]:
        if setting["kind"] == "multilingual":
            setting |= {"queries": 0, "measures": {}}
    with pytest.raises(ValidationError, match=r"summary: multilingual\b.*\bsettings"):
        ResultRecord.model_validate(spoilt)


@pytest.mark.parametrize(
    ("measures", "main"),
    [(["ndcg@10", "map"], "map"), ([], "map"), (["recall@2kt", "recall@5kt"], "recall@2kt")],
)
def test_the_main_measure_is_map_or_the_first(
    result: Result, measures: list[str], main: str
) -> None:
    options = result.record.options.model_copy(update={"measures": measures})
    assert result.record.model_copy(update={"options": options}).main_measure == main


def test_rank_distance_is_a_number_where_there_is_a_pool(result: Result) -> None:
    assert result.record.rank_distance == result.record.bias["rank_distance"].mean > 0
    assert result.record.model_copy(update={"bias": {}}).rank_distance is None


def test_a_part_is_said_in_words(result: Result) -> None:
    options = result.record.options
    assert options.part == {"langs": "languages ar de en"}
    changed = options.model_copy(update={"langs": [], "index": "SQ8", "vectors": "float16"})
    assert changed.part == {"index": "index SQ8", "vectors": "vectors kept as float16"}


if __name__ == "__main__":
    FILE.write_text(TEXT, "utf-8")
