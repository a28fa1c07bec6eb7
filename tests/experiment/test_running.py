"""The paper's recipes on small models of the architectures they name: a few steps, the whole way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from models import save_tiny_bert, wordpiece_tokenizer

from xlir_bench.errors import InputError
from xlir_bench.experiment import find_recipe, recipe_tasks
from xlir_bench.experiment.running import Trainings
from xlir_bench.options.training import Strategy
from xlir_bench.recipe import Recipe
from xlir_bench.records import Kind
from xlir_bench.rendering.document import escape
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.experiment.pages import experiment_pages
from xlir_bench.reports.experiment.stored import read_experiment
from xlir_bench.tasks import catalogue
from xlir_bench.train.folder import RunFolder
from xlir_bench.train.row_store import open_rows


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed: curves take longer to draw than these trainings."""
    monkeypatch.setattr("xlir_bench.train.trainer.draw_curves", lambda log, path: False)


def save_tiny_xlmr(folder: Path) -> Path:
    """XLM-R's architecture with random weights, bare as it is published."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tokenizer = wordpiece_tokenizer()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=160, pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        XLMRobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_labse(folder: Path) -> Path:
    """LaBSE's modules: BERT, the first token's vector, a dense layer, length 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Dense,
        Normalize,
        Pooling,
        Transformer,
    )

    bare = save_tiny_bert(folder.parent / "bare")
    modules = [
        Transformer(str(bare), max_seq_length=128), Pooling(32, pooling_mode="cls"), Dense(32, 32), Normalize(),
    ]  # fmt: skip
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    return folder


def reduced(name: str, model: Path) -> Recipe:
    """A shipped recipe with a small model, bundled rows and the bundled task; its settings are as shipped."""
    stated = find_recipe(name)[0].model_dump(exclude_none=True)
    training = stated["training"] | {"max_length": 24}
    claims = [claim | {"task": "mini"} for claim in stated["claims"]]
    changed = {
        "models": [str(model)], "data": {"rows": ["mini-train"]}, "steps": 3, "seeds": [0],
        "batch_sizes": [16], "tasks": ["mini"], "measures": ["map"], "training": training, "claims": claims,
        "strategies": ["monolingual", "cross-lingual", "hybrid"], "look": None,
        "parts": {"mini": {"langs": ["de", "en", "zh"]}},
    }  # fmt: skip
    return Recipe.model_validate(stated | changed)


@pytest.mark.parametrize(
    ("name", "save"), [("paper-xlmr", save_tiny_xlmr), ("paper-labse", save_tiny_labse)]
)
def test_the_papers_recipe_runs_on_a_small_model_of_its_architecture(
    name: str, save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    recipe = reduced(name, save(tmp_path / "model"))
    trainings = Trainings(
        recipe, tmp_path / "out", catalogue().tasks, device="cpu", discard_models=True
    )
    assert trainings.run(lambda _: None) == {}
    found = read_experiment(recipe, trainings.folder)
    assert not found.missing
    record = next(r for c, r in found.records.items() if c.variant.strategy == "hybrid")
    assert record.training["base"]["query_prompt"] == "Query: "
    assert record.training["batches"]["questions"].keys() <= set(recipe.training.langs or ())
    result = next(iter(found.results.values())).record
    assert result.encoder.passage_prompt == "Passage: "
    page = experiment_pages(found, "").texts["README.md"]
    assert "4 of 4 trainings" in page


def test_the_papers_recipe_says_its_settings_to_the_trainer(tmp_path: Path) -> None:
    recipe, _ = find_recipe("paper-xlmr")
    trainings = Trainings(recipe, tmp_path, catalogue().tasks, data=tmp_path)
    cell = next(c for c in recipe.cells() if c.variant.strategy == "hybrid")
    options = trainings.train_options(cell)
    options.check()
    assert (options.lr, options.weight_decay, options.batches.batch_size) == (3e-5, 0.01, 100)
    assert (options.batches.strategy, options.batches.alpha) == (Strategy.HYBRID, 0.5)
    assert options.select_by == "last"
    assert len(options.batches.langs or ()) == 9
    assert str(options.sources[0]) == str(tmp_path / "train/rows.jsonl.gz")
    assert f"{tmp_path / 'train/rows.jsonl.gz'} is not there" in trainings.missing_data()


def test_a_training_is_told_what_its_loss_has_and_a_base_may_lie_in_the_data_root(
    tmp_path: Path,
) -> None:
    recipe, _ = find_recipe("more-objectives-captions")
    base = "{data}/pretrained/base"
    teaching = recipe.training.model_copy(update={"teacher": "{data}/a@1.2.3"})
    recipe = recipe.model_copy(update={"models": (base,), "training": teaching})
    trainings = Trainings(recipe, tmp_path, catalogue(recipe_tasks()).tasks, data=tmp_path)
    for cell in recipe.cells():
        options = trainings.train_options(cell)
        options.check()
        assert options.model == str(tmp_path / "pretrained/base")
        teacher = str(tmp_path / "a@1.2.3") if options.loss == "distil" else None
        assert options.teacher == teacher
    missing = trainings.missing_data()
    assert f"{tmp_path / 'pretrained/base'} is not there" in missing
    assert f"{tmp_path / 'a@1.2.3'} is not there" in missing
    nowhere = Trainings(recipe, tmp_path, trainings.tasks).missing_data()
    (told,) = [line for line in nowhere if line.startswith(f"{base}: ")]
    assert re.search("no data root.*--data.*XLIR_DATA", told)


def test_a_cell_whose_rows_were_half_copied_at_a_kill_gets_them_whole(tmp_path: Path) -> None:
    recipe, _ = find_recipe("mini")
    trainings = Trainings(recipe, tmp_path, catalogue().tasks)
    cell = recipe.cells()[0]
    data = RunFolder(trainings.train_options(cell).output).data
    half = data.with_name(".data.building")
    half.mkdir(parents=True)
    (half / "texts").write_text("half")
    trainings._share_rows(cell)
    assert open_rows(data) is not None
    assert [path.name for path in data.parent.iterdir()] == ["data"]


def test_the_recipe_of_a_pretrained_model_runs_in_short_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    stated = find_recipe("hybrid-pretrained")[0].model_dump(exclude_none=True)
    model = save_tiny_bert(tmp_path / "model")
    parts = {
        "mini": {"langs": ["de", "en", "zh"], "of": ["untrained", {"alpha": 0.75}], "seeds": [1]}
    }
    rates = {"monolingual": 1e-4, "hybrid": 4e-4}
    changed = {
        "models": [str(model)], "data": {"rows": ["mini-train"]}, "steps": 2, "seeds": [0, 1],
        "batch_sizes": [8], "tasks": ["mini"], "measures": ["map"], "claims": [], "parts": parts,
        "training": stated["training"] | {"max_length": 24, "lr": rates},
        "strategies": list(rates), "alphas": [0.25, 0.75], "baselines": ["untrained"],
    }  # fmt: skip
    reranker = tmp_path / "mine.py"
    changed |= {"rerank": f"py:{reranker}:scores", "rerank_depth": 9}
    recipe = Recipe.model_validate(stated | changed)
    trainings = Trainings(
        recipe, tmp_path / "out", catalogue().tasks, device="cpu", discard_models=True
    )
    with pytest.raises(InputError, match=rf"no file.*{re.escape(str(reranker))}"):
        trainings.run(lambda _: None)
    reranker.write_text("def scores(pairs):\n    return [-len(p) for q, p in pairs]\n")
    said: list[str] = []
    assert trainings.run(said.append) == {}
    cells = [c for c in recipe.cells() if c.variant.trained]
    assert said[0] == f"1 of 7: {recipe.cells()[0].name}"
    assert [line.count("-s1-") for line in said[1:]] == [0] * 3 + [1] * 3  # the first seed first
    found = read_experiment(recipe, trainings.folder)
    assert not found.missing
    assert not found.lacking("mini")
    evaluated = {cell.name for cell, _ in found.results}
    wanted = [c for c in cells if c.variant.alpha == 0.75 and c.seed == 1]
    assert evaluated == {recipe.cells()[0].name, *(c.name for c in wanted)}
    records = [result.record for result in found.results.values()]
    assert {tuple(record.options.langs) for record in records} == {("de", "en", "zh")}
    assert {record.encoder.kind for record in records} == {"reranked"}
    for cell in cells:
        options = trainings.train_options(cell)
        assert options.lr == rates[cell.variant.strategy]
        assert options.freeze == "embeddings"
    record = found.records[wanted[0]].training
    assert any(note.startswith("not trained: ") for note in record["base"]["notes"])
    page = experiment_pages(found, "").texts["README.md"]
    assert "7 of 7 trainings" in page
    assert "hybrid, alpha 0.75" in page


def test_a_recipe_of_encodings_trains_once_and_tells_losses_costs_and_alignment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    stated = find_recipe("inference-cost")[0].model_dump(exclude_none=True)
    short = {name: how | {"max_length": 24} for name, how in stated["encodings"].items()}
    short = {"float32": short["float32"], "int8": short["int8"], "dims-8": {"truncate_dim": 8}}
    cost = stated["cost"] | {
        "task": "mini",
        "dims": [8],
        "dtypes": ["float32"],
        "queries": 2,
        "repeats": 1,
    }
    changed = {
        "models": [str(save_tiny_bert(tmp_path / "model"))], "data": {"rows": ["mini-train"]}, "steps": 2,
        "batch_sizes": [8], "tasks": ["mini"], "measures": ["map"], "claims": stated["claims"][1:2],
        "parts": {"mini": {"langs": ["de", "en"]}}, "encodings": short, "cost": cost, "seeds": [0, 1],
        "training": {"max_length": 24}, "alignment": True, "relative": True, "answer": "It <costs> less.",
    }  # fmt: skip
    changed["claims"][0]["task"] = "mini"
    recipe = Recipe.model_validate(stated | changed)
    trainings = Trainings(
        recipe, tmp_path / "out", catalogue().tasks, device="cpu", discard_models=True
    )
    said: list[str] = []
    assert trainings.run(said.append) == {}
    assert [line[:6] for line in said] == ["1 of 2", "2 of 2"]
    assert not (trainings.folder / "models").exists()
    found = read_experiment(recipe, trainings.folder)
    records = {(c.variant.encoding, c.seed): r.record for (c, _), r in found.results.items()}
    assert len(records) == 6
    assert {r.encoder.weights_digest for (_, seed), r in records.items() if seed == 0} == {
        records["float32", 0].encoder.weights_digest
    }
    assert records["dims-8", 0].encoder.dimension == 8
    assert records["int8", 1].options.vectors == "int8"
    assert [key for key, r in records.items() if r.profile.cost] == [("float32", 0)]
    page = experiment_pages(found, "").texts["README.md"]
    exact, kept = records["float32", 0], records["int8", 0]
    change = (
        kept.summary[Kind.MULTILINGUAL]["map"].mean - exact.summary[Kind.MULTILINGUAL]["map"].mean
    )
    assert abs(change) < 0.02
    recall = exact.alignment.questions["de-en"].recall["recall@1"]
    for told in (
        "**It &lt;costs&gt; less.**", "a loss of .005 allowed", "## What it costs: hybrid, seed 0",
        "float32 8 SQ8", "## From task to task", escape(recipe.doubts),
        f"| de to en | {number(sum([recall, records['float32', 1].alignment.questions['de-en'].recall['recall@1']]) / 2)}",
    ):  # fmt: skip
        assert told in page
    assert trainings.run(said.append) == {}
    assert len(said) == 2
