from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from xlir_bench import RunOptions, evaluate
from xlir_bench.adapters import SentenceTransformerEvaluator

BRIEF = RunOptions(langs=("de", "en"), limit=5, measures=("map",), cache=None)


def test_the_evaluator_gives_the_figures_of_a_run(tiny_transformer: Path) -> None:
    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    evaluator = SentenceTransformerEvaluator("mini", BRIEF)
    found = evaluator(model)
    result = evaluate("mini", str(tiny_transformer), BRIEF)
    assert found["mini.cross-lingual.map"] == result.score("cross-lingual")
    assert found["mini.rank_distance"] == result.record.bias["rank_distance"].mean
    maps = [found[f"mini.{kind.value}.map"] for kind in result.summary]
    assert found[evaluator.primary_metric] == sum(maps) / 3


def test_the_evaluator_fits_into_a_training_loop_that_is_not_ours(
    tiny_transformer: Path, tmp_path: Path
) -> None:
    texts = [f"text {n}" for n in range(16)]
    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / "loop"),
            max_steps=2,
            eval_strategy="steps",
            eval_steps=1,
            per_device_train_batch_size=4,
            use_cpu=True,
            report_to="none",
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_dict({"anchor": texts, "positive": texts}),
        loss=MultipleNegativesRankingLoss(model),
        evaluator=SentenceTransformerEvaluator("mini", BRIEF),
    )
    trainer.train()
    seen = [line for line in trainer.state.log_history if "eval_mini.mean" in line]
    assert [line["step"] for line in seen] == [1, 2]
