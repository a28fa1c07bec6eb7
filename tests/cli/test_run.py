"""`xlir-bench run`, the main job, and every way it can be asked wrongly."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli.conftest import tells

from xlir_bench.cli.run import in_order
from xlir_bench.results import Result
from xlir_bench.retrieval import kernels

QUICK = ("--langs", "de,en", "--limit", "8")


def test_without_options_it_runs_the_built_in_encoder_on_mini_and_prints_every_table(xlir):
    said = xlir("run")
    assert said.code == 0
    for words in ("monolingual", "cross-lingual", "multilingual", "chance map", "rank distance"):
        assert words in said.out
    assert "query \\ passage" in said.out
    result = Result.load("results/builtin-multilingual/mini")
    assert result.record.encoder.name == "builtin:multilingual"
    assert len(result.record.settings) == 132
    assert result.record.command.startswith("xlir-bench")
    assert {p.name for p in Path("results/builtin-multilingual/mini").iterdir()} == {
        "result.json", *result.record.tables.values(),
    }  # fmt: skip
    assert set(result.record.tables) == {"ranks", "best", "scores"}


def test_json_prints_the_result_and_nothing_else(xlir):
    said = xlir("run", *QUICK, "--json", "--quiet")
    assert json.loads(said.out)["schema"] == 1
    assert said.err == ""


def test_quiet_prints_nothing(xlir):
    said = xlir("run", *QUICK, "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_several_models_and_tasks_give_one_table_in_order(xlir, tmp_path):
    for step in (200, 1000):
        code = f"import numpy as np\ndef encode(texts, role):\n    return np.ones(({len('x')} * len(texts), 2 + {step}))\n"
        (tmp_path / f"checkpoint{step}.py").write_text(code)
    said = xlir("run", "--model", "builtin:random", "builtin:ngram", *QUICK)
    assert said.code == 0
    table = said.out[said.out.rindex("encoder ") :]
    assert table.index("builtin:random") < table.index("builtin:ngram")


def test_checkpoints_stand_in_the_order_of_their_numbers():
    assert in_order(["out/checkpoint-1000", "out/checkpoint-200"]) == [
        "out/checkpoint-200",
        "out/checkpoint-1000",
    ]
    assert in_order(["b", "a", "b"]) == ["b", "a"]


def test_a_part_of_a_task_never_takes_the_place_of_a_full_run(xlir):
    assert xlir("run", *QUICK, "--quiet").code == 0
    assert xlir("run", "--kinds", "monolingual", "--quiet").code == 0
    folders = sorted(p.name for p in Path("results/builtin-multilingual").iterdir())
    assert len(folders) == 2
    assert all(name.startswith("mini~") for name in folders)


def test_options_may_stand_in_a_file_and_the_command_line_wins(xlir, tmp_path):
    (tmp_path / "run.toml").write_text('langs = ["de", "en"]\nlimit = 4\nkinds = "monolingual"\n')
    said = xlir("run", "--config", "run.toml", "--limit", "6", "--json", "--quiet")
    settings = json.loads(said.out)["settings"]
    assert [(s["query_lang"], s["queries"]) for s in settings] == [("de", 6), ("en", 6)]


def test_an_entry_of_the_file_has_the_name_of_its_flag_and_one_value_needs_no_list(xlir, tmp_path):
    stated = 'model = "builtin:random"\ntask = ["mini"]\nlangs = ["de", "en"]\nlimit = 2\n'
    (tmp_path / "run.toml").write_text(stated)
    said = xlir("run", "--config", "run.toml", "--json", "--quiet")
    assert json.loads(said.out)["encoder"]["name"] == "builtin:random"


def test_a_list_in_the_file_may_hold_fractions(xlir, tmp_path):
    stated = 'model = "builtin:random"\nfuse = "builtin:bm25"\nfuse-weights = [1, 0.5, 2.0]\n'
    (tmp_path / "run.toml").write_text(stated)
    said = xlir("run", "--config", "run.toml")
    assert said.code == 2
    assert tells(said.err, "--fuse-weights", "3")


def test_a_reranker_that_cannot_be_had_is_told_before_any_work(xlir, tmp_path):
    for asked, facts in (
        (("--rerank", "builtin:bm25"), ["--rerank: 'builtin:bm25'", "cross encoder"]),
        (("--rerank", "./nothing"), ["no model folder", "'./nothing'"]),
        (("--rerank-depth", "5"), ["--rerank-depth", "--rerank"]),
    ):
        said = xlir("run", *asked)
        assert (said.code, said.out) == (2, "")
        assert tells(said.err, *facts)
        assert len(said.err.splitlines()) == 1


def test_an_unknown_entry_of_the_file_is_named_with_its_near_miss(xlir, tmp_path):
    (tmp_path / "run.toml").write_text("limt = 4\n")
    said = xlir("run", "--config", "run.toml")
    assert said.code == 2
    assert "'limt'" in said.err
    assert "'limit'" in said.err


def test_save_run_keeps_passages_and_trec_files(xlir):
    said = xlir("run", *QUICK, "--save-run", "5", "--trec", "--quiet")
    assert said.code == 0
    folder = next(Path("results/builtin-multilingual").iterdir())
    run = (folder / "trec/cross-lingual/de-en.run").read_text().splitlines()
    assert len(run) == 8 * 5
    assert run[0].split()[3] == "1"
    assert (folder / "trec/multilingual/en-all.qrels").is_file()


def test_an_approximate_index_says_how_far_it_is_from_exact(xlir):
    said = xlir("run", "--langs", "de,en", "--index", "HNSW8")
    assert said.code == 0
    assert tells(said.out, "recall", "exact", "top 100")


def test_a_second_run_takes_every_vector_from_the_cache(xlir):
    xlir("run", *QUICK, "--quiet")
    said = xlir("run", *QUICK, "--json", "--quiet")
    assert json.loads(said.out)["profile"]["encoded_texts"] == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--model", "./no-such-model"], 2, ["no-such-model"]),
        (["--model", "builtin:ngrm"], 2, ["'ngrm'", "'ngram'"]),
        (["--task", "xquadr"], 2, ["'xquadr'", "'xquad-r'"]),
        (["--task", "nope", "--task", "mni"], 2, ["'nope'", "'mni'", "'mini'"]),
        (["--measures", "mpa,recal@10"], 2, ["'mpa'", "'recal@10'", "'recall@10'"]),
        (["--measures", "recall"], 2, ["recall@10"]),
        (["--langs", "en,xx"], 2, ["'xx'", "en"]),
        (["--kinds", "crosslinguist"], 2, ["'crosslinguist'", "'cross-lingual'"]),
        (["--limit", "0"], 2, ["--limit 0"]),
        (["--langs", "en", "--kinds", "multilingual"], 2, ["no setting"]),
        (["--candidate", "sentences"], 2, ["'sentences'", "'sentence'"]),
        (["--index", "Nonsense"], 2, ["Nonsense", "factory"]),
        (["--index", "IVF4096,Flat"], 2, ["IVF4096,Flat", "candidates"]),
        (["--fuse", ""], 2, ["--fuse is empty"]),
        (["--fuse", "builtin:bm25", "--fuse-weights", "0,0"], 2, ["--fuse-weights 0,0", "above 0"]),
        (["--fuse", "builtin:bm25", "--fuse-weights", "1e308,1e308"], 2, ["1e+308,1e+308"]),
        (["--search-device", "gpu"], 2, ["no device 'gpu'", "cuda"]),
        (["--model", "builtin:bm25", "--search-device", "cuda"], 2, ["builtin:bm25", "vectors"]),
        (["--batch-tokens", "many"], 2, ["--batch-tokens"]),
        (["--trec"], 2, ["--save-run"]),
        (["--data", "no-such-root", "--task", "xquad-r"], 2, ["no-such-root"]),
        (["--task", "xquad-r", "--offline"], 3, ["--data"]),
        (["--config", "no-such.toml"], 2, ["no-such.toml"]),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_line_or_two(xlir, args, code, words):
    said = xlir("run", *args, *([] if "--langs" in args else ["--langs", "de,en"]))
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    message = said.err[said.err.index("error: ") :]
    assert len(message.strip().splitlines()) <= 2
    for word in words:
        assert word in message


def test_a_hub_id_without_network_says_what_to_do(xlir, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    said = xlir("run", "--model", "nobody/nothing-at-all", "--offline", *QUICK)
    assert said.code == 3
    assert "nobody/nothing-at-all" in said.err


def test_verbose_shows_where_an_error_came_from(xlir):
    said = xlir("run", "--task", "nope", "-v")
    assert said.code == 2
    assert "Traceback" in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_told_before_any_work(xlir, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    said = xlir("run", "--output", "locked", *QUICK)
    assert said.code == 2
    assert "--output" in said.err


def test_an_output_that_is_a_file_is_told_before_any_work(xlir, tmp_path):
    (tmp_path / "taken").write_text("")
    said = xlir("run", "--output", "taken", *QUICK)
    assert said.code == 2
    assert "--output" in said.err
    assert not (tmp_path / "cache").exists()


def test_changed_data_is_refused_unless_allowed_and_then_recorded(xlir, tmp_path, monkeypatch):
    from xlir_bench.tasks import tasks_folder

    text = (tasks_folder() / "mini.toml").read_text().replace('name = "mini"', 'name = "mine"')
    text = text.replace("bundled = true", 'url = "http://127.0.0.1:9/{lang}.json"')
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/mine.toml").write_text(text)
    (tmp_path / "root/mini").mkdir(parents=True)
    for path in (tasks_folder() / "mini").glob("*.json"):
        (tmp_path / "root/mini" / path.name).write_bytes(path.read_bytes())
    changed = tmp_path / "root/mini/de.json"
    changed.write_text(changed.read_text() + "\n")
    asked = ("run", "--tasks-dir", "tasks", "--task", "mine", "--data", "root", *QUICK)
    said = xlir(*asked)
    assert said.code == 2
    assert "mini/de.json" in said.err
    assert "--allow-changed-data" in said.err
    said = xlir(*asked, "--allow-changed-data", "--json", "--quiet")
    assert json.loads(said.out)["options"]["changed_data"] == ["mini/de.json"]


def test_ctrl_c_keeps_what_was_encoded_and_says_how_to_go_on(tmp_path):
    slow = (
        "import time, numpy as np\n"
        "def encode(texts, role):\n"
        "    open('batches', 'a').write('x')\n"
        "    time.sleep(0.2)\n"
        "    return np.ones((len(texts), 3))\n"
    )
    (tmp_path / "slow.py").write_text(slow)
    env = {**os.environ, "XLIR_CACHE": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-m",
        "xlir_bench",
        "run",
        "--model",
        "py:slow.py:encode",
        "--batch-tokens",
        "200",
    ]
    child = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True,
        # A shell's background job ignores Ctrl-C, and so would the tests' children in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    batches = tmp_path / "batches"
    while not (batches.exists() and batches.stat().st_size > 3) and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert tells(err, "kept", "same command")
    assert "Traceback" not in err
    assert list((tmp_path / "cache").rglob("*.safetensors"))


def beir(folder, word):
    """One text that answers one question."""
    (folder / "qrels").mkdir(parents=True)
    row = json.dumps({"_id": "d1", "text": word})
    (folder / "corpus.jsonl").write_text(row + "\n")
    (folder / "queries.jsonl").write_text(row.replace("d1", "q1") + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return f"beir:{folder}"


def test_unlike_data_of_one_name_never_overwrites_nor_stands_in_one_table(xlir, tmp_path):
    one, other = beir(tmp_path / "x" / "faq", "bees"), beir(tmp_path / "y" / "faq", "ants")
    model = ("--model", "builtin:ngram", "--quiet")
    for task, *more in ((one,), (other,), (one, "--langs", "de"), (one,)):
        said = xlir("run", *model, "--task", task, *more)
        assert said.code == 0, said.err
    folders = sorted(Path("results/builtin-ngram").iterdir())
    assert [folder.name for folder in folders[:1]] == ["faq"]
    assert len(folders) == 3
    records = [Result.load(folder).record for folder in folders]
    assert len({(r.task.digest, r.task.data) for r in records}) == 3
    assert len({r.task.data for r in records}) == 2
    assert xlir("compare", *folders[:2]).code == 3
    said = xlir("leaderboard", "--results", "results", "--output", "board")
    assert said.code == 0, said.err
    pages = [path.name for path in Path("board").rglob("faq*.md")]
    assert len(set(pages)) == 3


def test_a_language_that_there_is_not_is_refused(xlir, tmp_path):
    task = beir(tmp_path / "faq", "bees")
    for lang in ("qq", "klingon", "D E"):
        said = xlir("run", "--model", "builtin:ngram", "--task", task, "--langs", lang)
        assert said.code == 2
        assert tells(said.err, f"--langs {lang}", "ISO 639")


def test_all_models_are_resolved_before_the_first_runs(xlir):
    said = xlir(
        "run", *QUICK, "--model", "builtin:ngram", "--model", "no/such/folder", "builtin:nrgam"
    )
    assert said.code == 2
    assert "no/such/folder" in said.err
    assert "nrgam" in said.err
    assert not Path("results").exists()


def test_one_that_fails_later_does_not_take_the_others_with_it(xlir):
    Path("bad.py").write_text(
        "import numpy as np\n"
        "def encode(texts, role):\n"
        "    return np.full((len(texts), 3), np.nan, np.float32)\n",
        encoding="utf-8",
    )
    said = xlir("run", *QUICK, "--model", "builtin:random", "py:bad.py:encode", "builtin:ngram")
    assert said.code == 4
    assert re.search(r"error: \S*encode\S* on mini: ", said.err), said.err
    table = said.out.splitlines()[-6:]
    assert {"builtin:random", "builtin:ngram"} <= {
        line.split()[0] for line in table if line.strip()
    }
    assert len(list(Path("results").rglob("result.json"))) == 2


def test_an_output_whose_name_is_no_text_is_refused_before_any_work(xlir):
    said = xlir("run", *QUICK, "--output", os.fsdecode(b"out\xff"))
    assert said.code == 2
    assert "is no UTF-8" in said.err
    assert "on mini" not in said.err


def test_a_result_says_how_its_encoder_was_loaded_and_by_which_commit(xlir):
    assert xlir("run", *QUICK, "--query-prompt", "q: ", "--quiet").code == 0
    (file,) = Path("results").rglob("result.json")
    record = Result.load(file).record
    assert record.encoder.options.query_prompt == "q: "
    assert record.encoder.options.revision is None
    commit = subprocess.run(
        ["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    if commit:
        assert record.environment.git.commit == commit


def test_a_body_is_read_from_the_command_line(xlir):
    asked = ("run", "--langs", "de,en", "--limit", "2", "--http-body")
    said = xlir(*asked, 'query={"a": 1}', "--model", "builtin:random")
    assert said.code == 0
    assert tells(said.out, "--http-body", "no effect", "ignored")
    assert xlir(*asked, "query=", "--model", "http:http://127.0.0.1:1/v1#m").code == 2


@pytest.mark.parametrize(
    ("args", "facts"),
    [
        (("--langs", "en", "de"), ["'de'", "language", "--langs en,de", "--model de"]),
        (("mini",), ["'mini'", "task", "--task mini"]),
        (("builtin:ngram", "monolingual"), ["'monolingual'", "kind", "--kinds monolingual"]),
        (("builtin:ngram", "--name", "a", "--name", "b"), ["--name", "2 times", "1 model"]),
    ],
)
def test_a_word_that_is_no_model_is_told_as_what_it_is(xlir, args, facts):
    said = xlir("run", *args)
    assert said.code == 2
    assert tells(said.err, *facts)


def test_a_name_stands_in_tables_and_the_folder_stays(xlir):
    said = xlir("run", "builtin:random", "--name", "the floor", "--limit", "2", "--langs", "de")
    assert said.code == 0
    assert "mini: the floor (" in said.out
    (file,) = Path("results/builtin-random").glob("*/result.json")
    assert json.loads(file.read_text("utf-8"))["encoder"]["name"] == "the floor"


def test_where_numbers_mislead_it_is_said_even_quietly_and_a_failure_leaves_no_folder(
    xlir, tmp_path
):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def same(texts, role):\n    return np.ones((len(texts), 4), np.float32)\n"
        "def broken(texts, role):\n    raise ValueError('no')\n"
    )
    said = xlir("run", "--model", "py:mine.py:same", "--quiet", "--langs", "de,en")
    assert said.code == 0
    assert re.search(r"warning: .*\btexts\b.*\bvector\b.*: de query \d+%", said.err)
    assert "98 % of the cosines" in said.err
    assert said.err.count("warning: ") == 2
    assert xlir("run", "--model", "py:mine.py:broken", "--output", "other").code == 4
    assert not Path("other").exists()
    assert xlir("run", "--model", "builtin:ngram", "--quiet").err == ""


def test_several_repairs_are_candidates_of_one_run_and_nothing_is_encoded_again(xlir):
    repairs = ("--transform", "centroids", "--transform", "offsets", "--transform", "centroids")
    args = ("builtin:ngram", "--langs", "de,en", "--limit", "5", "--json")
    said = xlir("run", *args, *repairs)
    assert said.code == 0
    first, second = json.loads(said.out)
    assert [x["encoder"]["transform"].split(",")[0] for x in (first, second)] == [
        "centroids",
        "offsets",
    ]
    assert [x["profile"]["encoded_texts"] > 0 for x in (first, second)] == [True, False]
    assert first["encoder"]["slug"] != second["encoder"]["slug"]
    alone = json.loads(xlir("run", *args, "--transform", "offsets").out)
    assert alone["settings"] == second["settings"]
    assert alone["encoder"] == second["encoder"]
    named = xlir("run", *args, *repairs, "--name", "mine").out
    assert [x["encoder"]["name"] for x in json.loads(named)] == [
        "mine | centroids",
        "mine | offsets",
    ]


def test_the_first_run_on_a_machine_says_that_it_compiles(xlir, tmp_path, monkeypatch):
    kept = SimpleNamespace(cache_path=str(tmp_path))
    monkeypatch.setattr(kernels, "count_above", SimpleNamespace(_cache=kept))
    run = ("run", "--model", "builtin:bm25", "--langs", "de,en", "--limit", "2")
    assert "compiles its loops" in xlir(*run).err
    compiled = tmp_path / "kernels.sparse_scores-1.py311.nbi"
    compiled.touch()
    assert "compiles" not in xlir(*run).err
    os.utime(compiled, (1, 1))  # of an older version of the kernels
    assert not kernels.are_compiled()
    monkeypatch.setattr(kernels, "count_above", len)  # as where numba compiles nothing
    assert kernels.are_compiled()
