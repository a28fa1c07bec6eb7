from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import save_tiny_transformer, wordpiece_tokenizer
from train.rowfiles import row, write_rows
from train.trained import PICKLES, Asked, falling, log_of, same, weights

import xlir_bench as xb
from xlir_bench.encoders import describe, load_encoder
from xlir_bench.encoders.transformer import chosen_on
from xlir_bench.errors import InputError, UnknownNameError, XlirError
from xlir_bench.files import InUseError
from xlir_bench.options.training import Strategy, TrainingSource, TrainOptions
from xlir_bench.tasks import catalogue, tasks_folder
from xlir_bench.train.leakage import LeakageFoundError
from xlir_bench.train.trainer import train


def unlike(number: int) -> dict[str, Any]:
    """A row whose question and answer share no letter: which belong together has to be learnt."""
    digits = f"{number:02d}"
    question, answer = ("".join(chr(ord(first) + int(d)) for d in digits) for first in "am")
    langs = {"de": "D", "en": "E"}
    return {
        "id": number,
        "question": {x: f"{mark}{question} {question}" for x, mark in langs.items()},
        "answer": {x: f"{mark}{answer} {answer}" for x, mark in langs.items()},
    }


@pytest.mark.parametrize(
    ("loss", "strategy"),
    [
        *(("infonce", strategy) for strategy in Strategy),
        ("symmetric", Strategy.HYBRID),
        ("one-to-k", Strategy.HYBRID),
    ],
)
def test_every_loss_and_every_strategy_learn(
    asked: Asked, tmp_path: Path, loss: str, strategy: Strategy
) -> None:
    rows = write_rows(tmp_path / "unlike.jsonl", [unlike(n) for n in range(32)])
    options = asked(
        loss=loss,
        sources=(TrainingSource(str(rows)),),
        steps=60,
        temperature=0.5,
        batches={"strategy": strategy, "batch_size": 16, "whole_answers": loss == "one-to-k"},
    )
    done = train(options)
    losses = [line["loss"] for line in log_of(done.folder) if "loss" in line]
    assert losses[-1] < losses[0] - 0.1


def test_the_cached_loss_is_the_plain_one_in_pieces(asked: Asked, tmp_path: Path) -> None:
    base = save_tiny_transformer(tmp_path / "base")
    dropout_off(base)
    found = []
    for loss in ("infonce", "cached"):
        options = asked(base, loss=loss, mini_batch=3, output=tmp_path / loss, log_steps=1)
        lines = log_of(train(options).folder)
        found.append([line["loss"] for line in lines])
    assert np.allclose(found[0], found[1], rtol=1e-3)


def dropout_off(folder: Path) -> None:
    path = folder / "config.json"
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | off))


def test_the_same_seed_gives_the_same_weights_and_another_others(
    asked: Asked, tmp_path: Path
) -> None:
    one, two, other = (
        weights(train(asked(output=tmp_path / name, batches={"seed": seed})).folder)
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert same(one, two)
    assert not same(one, other)


def test_half_precision_trains_weights_that_stay_float32(
    asked: Asked, tiny_transformer: Path
) -> None:
    done = train(asked(tiny_transformer, precision="bf16", lr=1e-3))
    assert not {"vocabulary", "smoothing", "identity"} & set(done.record["options"])  # its own
    trained = weights(done.folder)
    assert {x.dtype for x in trained.values()} == {np.dtype("float32")}
    assert all(np.isfinite(x).all() for x in trained.values())


def test_prompts_are_trained_with_and_registered(asked: Asked, tiny_transformer: Path) -> None:
    done = train(asked(tiny_transformer, query_prompt="Query: ", passage_prompt="Passage: "))
    stated = json.loads((done.folder / "config_sentence_transformers.json").read_text())
    assert stated["prompts"]["query"] == "Query: "
    assert stated["prompts"]["document"] == "Passage: "
    card = load_encoder(str(done.folder)).card  # type: ignore[attr-defined]
    assert (card.query_prompt, card.passage_prompt) == ("Query: ", "Passage: ")


def test_prompts_that_the_base_registers_are_taken(asked: Asked, tmp_path: Path) -> None:
    base = save_tiny_transformer(tmp_path / "base", prompts={"query": "q: ", "passage": "p: "})
    done = train(asked(base))
    assert done.record["base"]["query_prompt"] == "q: "
    assert done.record["base"]["passage_prompt"] == "p: "


def xlm_roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tokenizer = wordpiece_tokenizer()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=130, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    XLMRobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    from models import save_tiny_bert

    return save_tiny_bert(folder)


def labse(folder: Path) -> Path:
    """LaBSE is a BERT whose first token's vector goes through a dense layer and a normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(bert(folder.parent / "bare")), max_seq_length=64)
    modules = [transformer, Pooling(32, pooling_mode="cls"), Dense(32, 32), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("make", [xlm_roberta, bert, labse])
def test_models_of_the_architectures_of_the_paper_are_trained(
    asked: Asked, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    base = make(tmp_path / "base")
    done = train(asked(base, lr=1e-3, max_length=32))
    assert load_encoder(str(done.folder)).dimension == 32
    bare = not (base / "modules.json").is_file()
    assert any("mean pooling added" in note for note in done.record["base"]["notes"]) == bare
    assert not any(p.suffix in PICKLES for p in done.folder.rglob("*"))


@pytest.mark.parametrize("static", [{}, {"identity": 8}])
def test_an_interrupted_run_resumes_to_the_same_weights(
    asked: Asked, tmp_path: Path, static: dict[str, Any]
) -> None:
    whole = asked(steps=20, eval_steps=5, output=tmp_path / "whole", static=static)
    train(whole, evaluate=falling)
    looks = []

    def interrupting(model: Any) -> dict[str, float]:
        looks.append(1)
        if len(looks) == 4:  # before, step 5, step 10, step 15
            raise KeyboardInterrupt
        return falling(model)

    part = replace(whole, output=tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        train(part, evaluate=interrupting)
    done = train(replace(part, resume=True), evaluate=falling)
    assert done.record["outcome"]["resumed_from"] == 10
    assert same(weights(whole.output), weights(part.output))
    logs = [
        [{k: v for k, v in line.items() if k != "steps_per_second"} for line in log_of(folder)]
        for folder in (whole.output, part.output)
    ]
    assert logs[0] == logs[1]


class Stages:
    """A progress of the user's that shows no remarks."""

    def __init__(self) -> None:
        self.began: list[str] = []

    def start(self, stage: str, total: int, unit: str) -> None:
        self.began.append(stage)

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


def test_options_may_be_given_by_their_names(rows_file: Path, tmp_path: Path) -> None:
    stated = {"model": "builtin:static:16", "steps": 2, "batch_size": 8, "alpha": 0.25}
    output, stages = str(tmp_path / "out"), Stages()
    done = xb.train_hybrid(sources=str(rows_file), output=output, progress=stages, **stated)
    assert "train" in stages.began
    assert any("loss" in line for line in log_of(done.folder))
    assert done.folder == tmp_path / "out"
    again = {"sources": [rows_file], "output": tmp_path / "b", "arguments": {"adam_beta1": 0.8}}
    assert xb.train_hybrid(**again, **stated).record["options"]["arguments"] == {"adam_beta1": 0.8}
    options = done.record["options"]
    assert (options["batches"]["alpha"], options["batches"]["batch_size"]) == (0.25, 8)
    options_of_run = TrainOptions(sources=("mini-train",), output="other")  # type: ignore[arg-type]
    for wrong, told in (
        ({"sources": "mini-train"}, "train_hybrid .*output"),
        ({"sources": "mini-train", "output": "out", "step": 2}, "'step'.*'steps'"),
        ({"options": options_of_run, "steps": 2}, "options, or steps "),
    ):
        with pytest.raises(InputError, match=told):
            xb.train_hybrid(**wrong)


def test_a_resumed_run_has_to_be_told_the_same(asked: Asked) -> None:
    options = asked(steps=20, save_steps=5, keep_checkpoints=True)

    def interrupted(model: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(options, eval_steps=10), evaluate=interrupted)
    with pytest.raises(InputError, match=r"--resume: .*\(eval_steps, lr\)"):
        train(replace(options, resume=True, lr=1.0))


def test_what_is_refused_takes_nothing_from_a_run_without_a_checkpoint(asked: Asked) -> None:
    options = asked(steps=20, eval_steps=10, save_steps=20)

    def interrupted(model: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(options, evaluate=interrupted)
    there = sorted(path.relative_to(options.output) for path in options.output.rglob("*"))
    assert there
    with pytest.raises(InputError, match=r"other options \(lr\)"):
        train(replace(options, resume=True, lr=1.0), evaluate=interrupted)
    assert sorted(path.relative_to(options.output) for path in options.output.rglob("*")) == there


def test_a_torn_checkpoint_is_not_gone_on_from(asked: Asked) -> None:
    from xlir_bench.train.folder import RunFolder

    folder = RunFolder(asked().output)
    for step, state in ((5, "{}"), (10, '{"glob'), (15, None)):
        checkpoint = folder.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-5"
    assert len(list(folder.checkpoints.iterdir())) == 1


def test_the_best_step_is_kept_and_training_stops_early(asked: Asked) -> None:
    figures = iter([0.1, 0.2, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])

    def up_and_down(model: Any) -> dict[str, float]:
        return {"t.monolingual.map": next(figures, 0.0)}

    done = train(asked(steps=40, eval_steps=4, patience=2), evaluate=up_and_down)
    assert done.record["outcome"] | {"seconds": 0, "device": ""} == {
        "steps": 16, "chosen_step": 8, "seconds": 0, "resumed_from": None, "device": "",
    }  # fmt: skip


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(p.name.split("-")[1]) for p in folder.glob("checkpoints/checkpoint-*"))


def test_a_short_run_writes_no_checkpoint_but_the_best_and_the_last(asked: Asked) -> None:
    figures = iter([0.1, 0.2, 0.6, 0.5, 0.7, 0.3, 0.2, 0.1, 0.0])

    def up_and_down(model: Any) -> dict[str, float]:
        return {"t.monolingual.map": next(figures, 0.0)}

    options = asked(steps=20, eval_steps=4, keep_checkpoints=True)
    done = train(options, evaluate=up_and_down)
    assert checkpoints(done.folder) == [4, 8, 16, 20]  # 12 is neither
    assert done.record["outcome"]["chosen_step"] == 16
    plain = train(replace(options, output=done.folder.parent / "plain", eval_steps=None))
    assert checkpoints(plain.folder) == [20]
    said: list[str] = []
    often = replace(options, output=done.folder.parent / "often", eval_steps=None, save_steps=5)
    assert checkpoints(train(often, say=said.append).folder) == [5, 10, 15, 20]
    assert said == []


def test_checkpoints_of_a_large_model_are_rarer_unless_asked_for_aloud(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlir_bench.train import loop

    assert loop.intervals(asked(), falling, 20, size=1_400_000_000) == (14, 14)
    assert loop.intervals(asked(), None, 20, size=9_000_000_000) == (0, 20)
    assert loop.intervals(asked(), falling, 1000, size=1_400_000_000) == (100, 100)
    assert loop.intervals(asked(save_steps=2), None, 20, size=1_400_000_000) == (0, 2)
    monkeypatch.setattr(loop, "BYTES_A_STEP", 1.0)
    said: list[str] = []
    train(asked(steps=4, save_steps=2), say=said.append)
    assert len(said) == 1
    assert re.match(r"--save-steps 2: .*\b2 checkpoints .*\b0\.0 GB,", said[0])


def test_evaluations_that_cost_more_than_a_tenth_of_the_run_are_rarer_unless_asked_for(
    asked: Asked,
) -> None:
    from xlir_bench.train import loop

    # A step of 8 questions and answers costs about what 48 texts cost to be represented.
    many = asked(eval_texts=4_800)
    assert loop.intervals(asked(eval_texts=48), falling, 200) == (20, 20)
    assert loop.intervals(many, falling, 2_000) == (1_000, 1_000)
    assert loop.intervals(many, falling, 200) == (200, 200)
    assert loop.intervals(replace(many, eval_steps=5), falling, 200) == (5, 5)


def test_the_seconds_of_a_resumed_run_are_those_of_all_legs(asked: Asked) -> None:
    looks = []

    def interrupting(model: Any) -> dict[str, float]:
        looks.append(1)
        if len(looks) == 3:
            time.sleep(1.5)
            raise KeyboardInterrupt
        return falling(model)

    options = asked(steps=12, eval_steps=4)
    with pytest.raises(KeyboardInterrupt):
        train(options, evaluate=interrupting)
    first = json.loads((options.output / "checkpoints" / "seconds.json").read_text())
    assert first > 1.5
    done = train(replace(options, resume=True), evaluate=falling)
    assert done.record["outcome"]["seconds"] > first


def test_a_loss_of_nothing_is_logged(tmp_path: Path) -> None:
    from transformers import TrainerControl, TrainerState

    from xlir_bench.records import Silent
    from xlir_bench.train.watching import TrainingLog, Watcher

    log = TrainingLog(tmp_path / "log.jsonl")
    watcher = Watcher(Silent(), log, tmp_path / "seconds.json", evaluates=False, spares=True)
    logs = {"loss": 0.0, "learning_rate": 0.0, "grad_norm": 0.0}
    watcher.on_log(None, TrainerState(global_step=3), TrainerControl(), logs)
    (line,) = log_of(tmp_path)
    assert line | {"steps_per_second": 0} == {"step": 3, "epoch": 0, "steps_per_second": 0} | logs


@pytest.mark.usefixtures("drawn")
def test_a_figure_where_less_is_better_can_choose_the_step(asked: Asked) -> None:
    distances = iter([9.0, 5.0, 1.0, 3.0])

    def look(model: Any) -> dict[str, float]:
        return {"t.rank_distance": next(distances, 9.0)}

    options = asked(steps=12, eval_steps=4, select_by="t.rank_distance")
    assert train(options, evaluate=look).record["outcome"]["chosen_step"] == 8


def test_a_figure_that_is_none_is_refused_before_training(asked: Asked) -> None:
    looks = []

    def looking(model: Any) -> dict[str, float]:
        looks.append(model)
        return falling(model)

    with pytest.raises(UnknownNameError, match=r"'pair\.mono\.map'"):
        train(asked(select_by="pair.mono.map", eval_steps=1), evaluate=looking)
    assert len(looks) == 1


def test_the_last_step_is_logged_however_short_the_run(asked: Asked) -> None:
    done = train(asked(steps=3, log_steps=10))
    assert [line["step"] for line in log_of(done.folder)] == [3]


@pytest.mark.usefixtures("drawn")
def test_the_record_and_the_card_say_what_was_done(asked: Asked) -> None:
    done = train(asked(), evaluate=falling, tasks=catalogue().get(["mini"]), command="the command")
    record = json.loads((done.folder / "training.json").read_text())
    assert record == done.record
    assert record["data"]["sources"][0]["digest"].startswith("sha256:")
    assert record["data"]["texts_by_language"] == {"de": 80, "en": 94, "es": 80}
    assert record["leakage"]["checked"]["mini"]
    assert record["options"]["batches"]["strategy"] == "hybrid"
    assert record["command"] == "the command"
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    for said in ("rows.jsonl", "hybrid", "| temperature | 0.05 |", "pair.rank_distance", "torch"):
        assert said in card
    assert str(done.folder.parent) not in card


@pytest.mark.parametrize(("select_by", "tasks"), [("t.rank_distance", ("t",)), ("last", ())])
def test_a_model_whose_step_a_task_chose_says_so(
    asked: Asked, select_by: str, tasks: tuple[str, ...]
) -> None:
    def look(model: Any) -> dict[str, float]:
        return {"t.monolingual.map": 0.5, "t.rank_distance": 1.0}

    done = train(asked(steps=4, eval_steps=2, select_by=select_by), evaluate=look)
    assert describe(load_encoder(str(done.folder))).chosen_on == tasks


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": 3}', "[" * 100_000, "\0"])
def test_a_record_of_another_program_beside_a_model_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    assert chosen_on(tmp_path / "training.json") == ()


@pytest.mark.usefixtures("drawn")
def test_names_from_outside_cannot_break_out_of_the_card(asked: Asked, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a|b<c>.jsonl", [row(n, "de en <b>|") for n in range(20)])
    train(asked(steps=2, sources=(TrainingSource(str(path)),), query_prompt="[x](y) <i>"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert r"| a\|b&lt;c&gt;.jsonl |" in card
    assert r"| &lt;b&gt;\| |" in card
    assert r"\[x\](y) &lt;i&gt;" in card
    assert "<b>" not in card.partition("# A retrieval model")[2]


def test_evaluation_text_is_dropped_refused_or_allowed(asked: Asked, tmp_path: Path) -> None:
    mini = json.loads((tasks_folder() / "mini" / "de.json").read_text(encoding="utf-8"))
    text = mini["data"][0]["paragraphs"][0]["context"]
    leak = write_rows(
        tmp_path / "leak.jsonl", [*(row(n) for n in range(20)), row(99, answer={"de": text})]
    )
    tasks = catalogue().get(["mini"])

    def options(action: str) -> TrainOptions:
        return asked(leakage=action, output=tmp_path / action, sources=(TrainingSource(str(leak)),))

    dropped = train(options("drop"), tasks=tasks)
    assert dropped.record["data"]["sources"][0]["dropped"] == 1
    assert train(options("allow"), tasks=tasks).record["data"]["rows"] == 21
    with pytest.raises(LeakageFoundError, match=r"^1 of 21 .*evaluation") as error:
        train(options("fail"), tasks=tasks)
    assert error.value.exit_code == 1


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    asked: Asked, tiny_transformer: Path
) -> None:
    options = asked(tiny_transformer, lr=1e38, warmup=0.0, steps=10, save_steps=1, temperature=1e-3)
    with pytest.raises(XlirError, match=r"\b(nan|inf)\b.*step \d+ \(8 rows, .*checkpoint"):
        train(options)
    for checkpoint in options.output.glob("checkpoints/checkpoint-*"):
        assert all(np.isfinite(x).all() for x in weights(checkpoint).values())


def test_a_full_memory_says_which_batch_and_what_to_do(asked: Asked) -> None:
    from xlir_bench.train.folder import RunFolder
    from xlir_bench.train.loop import explained

    options = asked()
    with (
        pytest.raises(XlirError, match=r"step 7 \(8 rows\).*--loss cached.*--batch-size .*\b4\b"),
        explained(options, RunFolder(options.output), lambda: (7, "8 rows")),
    ):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")


def test_a_folder_in_use_or_not_empty_is_refused(asked: Asked) -> None:
    from xlir_bench.train.folder import RunFolder

    options = asked()
    with (
        RunFolder(options.output).held(),
        pytest.raises(InUseError, match=f"{options.output.name} .*{os.getpid()}"),
    ):
        train(options)
    (options.output / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match=r"not empty: name .*--output"):
        train(options)
    with pytest.raises(InputError, match="holds no checkpoints"):
        train(replace(options, resume=True))


def test_a_lock_that_a_dead_process_left_is_no_hindrance(asked: Asked) -> None:
    """In a container that was restarted its number is alive: it is our own."""
    from xlir_bench.train.folder import LOCK, RunFolder

    folder = RunFolder(asked().output)
    folder.path.mkdir(parents=True)
    left = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    (folder.path / LOCK).write_text(left)
    with folder.held():
        folder.require_fresh(resume=False)
    assert not list(folder.path.iterdir())


def test_a_finished_run_is_not_begun_again_by_resuming(asked: Asked) -> None:
    done = train(asked())
    before = (done.folder / "model.safetensors").stat().st_mtime_ns
    assert train(asked(resume=True)).record == done.record
    assert (done.folder / "model.safetensors").stat().st_mtime_ns == before


def test_arguments_of_the_trainer_can_be_said_unless_they_have_an_option(asked: Asked) -> None:
    arguments = {"gradient_accumulation_steps": 2, "adam_beta2": 0.98}
    done = train(asked(arguments=arguments))
    assert sum(done.record["batches"]["batches"].values()) == 12
    with pytest.raises(InputError, match=r"--training-args .*max_steps"):
        train(asked(arguments={"max_steps": 3}, output=done.folder / "x"))
    with pytest.raises(InputError, match=r"trainer .*no_such"):
        train(asked(arguments={"no_such": 3}, output=done.folder / "y"))


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ({"steps": 5, "epochs": 1.0}, "exclude each other"),
        ({"temperature": 0.0}, "--temperature 0.0 .*above 0"),
        ({"model": "builtin:ngram"}, "cannot be trained"),
        ({"model": "builtin:static:16", "precision": "fp16"}, "needs a GPU"),
        ({"loss": "tripplet"}, "unknown --loss"),
        ({"warmup": 1.0}, "--warmup"),
        ({"loss": "cached"}, "--loss cached .*transformers"),
        ({"eval_steps": 4, "save_steps": 6}, "multiple of --eval-steps"),
        ({"eval_steps": 0, "patience": 2}, "--patience 2 counts evaluations"),
        ({"arguments": {"gradient_accumulation_steps": "two"}}, "wants a whole number"),
        ({"device": "cuda:3"}, "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_cannot_run_is_refused_and_leaves_nothing(
    asked: Asked, stated: dict[str, Any], what: str
) -> None:
    options = asked(**stated)
    with pytest.raises(InputError, match=what):
        train(options, evaluate=falling)
    assert not list(options.output.glob("*"))
