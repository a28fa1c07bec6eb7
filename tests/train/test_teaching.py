"""LaKDA's second languages and the teacher of `distil`: what they take of the rows, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from train.rowfiles import row, stored, write_rows
from train.trained import Asked, falling, log_of, same, weights

from xlir_bench.errors import InputError
from xlir_bench.options.training import BatchOptions, Strategy, TrainingSource
from xlir_bench.train.batches import Planner
from xlir_bench.train.trainer import train


def source(path: Path, rows: list[Any]) -> dict[str, Any]:
    return {"sources": (TrainingSource(str(write_rows(path / "own.jsonl", rows))),)}


def test_a_second_language_is_another_one_with_another_text(tmp_path: Path) -> None:
    rows = [row(n, ("de", "de en", "de en es")[n % 3]) for n in range(30)]
    rows[1]["question"]["en"] = rows[1]["question"]["de"]
    store = stored(rows, tmp_path)
    planner = Planner(store, BatchOptions(batch_size=6, seed=3))
    for number, batch in enumerate(planner.batches(8)):
        second = planner.second_languages(batch, number)
        assert np.array_equal(second, planner.second_languages(batch, number))
        for n, asked, other in zip(batch.rows, batch.question, second, strict=True):
            if other < 0:
                assert n % 3 == 0 or n == 1
            else:
                assert other != asked
                assert store.keys[n, 0, other] not in (0, store.keys[n, 0, asked])


def test_lakda_trains_on_the_batches_of_infonce_and_logs_what_counts_for_that_alone(
    asked: Asked, tmp_path: Path
) -> None:
    rows = source(tmp_path, [row(n, "de en es" if n % 2 else "en") for n in range(40)])
    mixed = {"log_steps": 1, "batches": {"strategy": Strategy.MIXED}, **rows}
    one = train(asked(loss="lakda", **mixed))
    two = train(asked(output=tmp_path / "plain", **mixed))
    planned = dict(one.record["batches"])
    shares = [line["infonce_alone"] for line in log_of(one.folder)]
    assert planned.pop("infonce_alone") == pytest.approx(np.mean(shares), abs=0.05)
    assert 0 < np.mean(shares) < 1
    assert planned == two.record["batches"]
    assert "infonce_alone" not in log_of(two.folder)[0]
    alone = one.record["batches"]["infonce_alone"]
    assert re.search(f" {alone:.1%} .*InfoNCE", (one.folder / "README.md").read_text())


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ({"loss": "lakda"}, "--loss lakda .*question .*two languages"),
        ({"loss": "distil"}, "wants a --teacher"),
        ({"loss": "distil", "teacher": "builtin:ngram"}, "--loss distil .*transformers"),
        ({"cached": True}, "--cached .*transformers"),
        ({"loss": "one-to-k", "vrn_weight": 1.0}, "--vrn-weight .*one answer"),
        ({"lakda_weight": 0.2}, "--lakda-weight .*--loss lakda: .*--config"),
        ({"loss": "lakda", "teacher": "a"}, "--teacher .*--loss distil:"),
        ({"lakda_weight": 2.0}, "--lakda-weight 2.0 .*0 to 1"),
    ],
)
def test_what_a_loss_can_do_nothing_with_is_refused(
    asked: Asked, tmp_path: Path, stated: dict[str, Any], what: str
) -> None:
    model = "builtin:static:16"
    if "lakda" not in str(stated) and "transformers" not in what:
        model = "some-transformer"
    german = source(tmp_path, [row(n, "de") for n in range(20)])
    options = asked(model, batches={"strategy": Strategy.MIXED}, **german, **stated)
    with pytest.raises(InputError, match=what) as error:
        train(options)
    assert error.value.exit_code == 2
    assert not list(options.output.glob("*"))


def test_rows_without_english_and_a_file_without_a_vector_are_refused(
    asked: Asked, tiny_transformer: Path, tmp_path: Path
) -> None:
    german = source(tmp_path, [row(n, "de") for n in range(20)])
    german["batches"] = {"strategy": Strategy.MIXED}
    options = asked(tiny_transformer, loss="distil", teacher="builtin:ngram", **german)
    with pytest.raises(InputError, match=r"\ben \(--teacher-lang\).*\bde$"):
        train(options)
    few = tmp_path / "few.parquet"
    pq.write_table(pa.table({"text": ["question 1 in de"], "vector": [[1.0, 2.0]]}), few)
    options = replace(options, teacher=str(few), teacher_lang="de", output=tmp_path / "few")
    with pytest.raises(InputError, match=r"few\.parquet .*\b39 of 40 .*\bde, .*'"):
        train(options)


@pytest.fixture
def files_as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mapped into memory is neither renamed nor removed."""
    rename, remove = Path.replace, shutil.rmtree

    def require_unmapped(path: Path) -> None:
        if str(path) in Path("/proc/self/maps").read_text(encoding="utf-8"):
            raise PermissionError(13, "in use", str(path))

    def replaced(path: Path, target: Path) -> Path:
        require_unmapped(path)
        return rename(path, target)

    def removed(path: Path, ignore_errors: bool = False, **how: Any) -> None:
        if not ignore_errors:
            require_unmapped(path)
        remove(path, ignore_errors, **how)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(shutil, "rmtree", removed)


@pytest.mark.usefixtures(*["files_as_on_windows"] * (sys.platform == "linux"))
def test_a_model_and_the_file_of_its_vectors_teach_the_same_and_a_second_stage_goes_on(
    asked: Asked, tiny_transformer: Path, tmp_path: Path
) -> None:
    """Three transformers are trained: some seconds."""
    from xlir_bench.encoders import load_encoder

    rows = [row(n, "de en es" if n % 4 else "de es") for n in range(40)]
    own = source(tmp_path, rows)
    teacher = load_encoder("builtin:ngram")
    sides = (("question", "query"), ("answer", "passage"))
    texts = [(x[side]["en"], role) for x in rows for side, role in sides if "en" in x[side]]
    vectors = [teacher.encode([text], role)[0].tolist() for text, role in texts]  # type: ignore[arg-type]
    file = tmp_path / "teacher.parquet"
    pq.write_table(pa.table({"text": [text for text, _ in texts], "vector": vectors}), file)
    asked_of = {"loss": "distil", "lr": 1e-2, "log_steps": 1, "warmup": 0.0, **own}
    one = train(asked(tiny_transformer, teacher="builtin:ngram", **asked_of))
    two = train(asked(tiny_transformer, teacher=str(file), output=tmp_path / "two", **asked_of))
    assert same(weights(one.folder), weights(two.folder))
    losses = [line["loss"] for line in log_of(one.folder) if "loss" in line]
    assert losses[-1] < losses[0]
    assert 0 < one.record["batches"]["infonce_alone"] < 0.5
    assert one.record["teacher"]["name"] == teacher.name
    assert load_encoder(str(one.folder)).dimension == 32
    assert (one.folder / "projection" / "model.safetensors").is_file()
    next_stage = asked(
        one.folder, teacher=str(file), infonce_weight=0.2, output=tmp_path / "three", **asked_of
    )
    third = train(next_stage)
    assert any(re.search("projection .*the base", n) for n in third.record["base"]["notes"])
    stated = json.loads((third.folder / "training.json").read_text())["options"]
    assert stated["infonce_weight"] == 0.2
    assert "infonce_weight" not in train(asked(output=tmp_path / "plain")).record["options"]


def test_an_interrupted_distillation_resumes_to_the_same_weights(
    asked: Asked, tiny_transformer: Path, tmp_path: Path
) -> None:
    """The projection is in the checkpoints."""
    told = {
        "loss": "distil",
        "teacher": "builtin:ngram",
        "steps": 6,
        "save_steps": 2,
        "eval_steps": 2,
    }
    whole = asked(tiny_transformer, lr=1e-2, output=tmp_path / "whole", **told)
    train(whole, evaluate=falling)
    looks = []

    def interrupting(model: Any) -> dict[str, float]:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return falling(model)

    part = replace(whole, output=tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        train(part, evaluate=interrupting)
    done = train(replace(part, resume=True), evaluate=falling)
    assert done.record["outcome"]["resumed_from"] == 2
    assert same(weights(whole.output), weights(part.output))
