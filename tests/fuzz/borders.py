"""Every place where files from outside are read, each with valid files to begin with."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.running import Border, command

import xlir_bench as xb
from xlir_bench.encoders import EncoderOptions, StoredVectors, load_encoder
from xlir_bench.options.running import RunOptions
from xlir_bench.options.training import parse_source
from xlir_bench.recipe import parse_recipe
from xlir_bench.records import Kind, Silent
from xlir_bench.reports.policy import DEFAULT_POLICY, read_policy
from xlir_bench.reports.tables import report
from xlir_bench.results.values import RANK_DISTANCE
from xlir_bench.sources import load_collection
from xlir_bench.tasks import own_task, read_task
from xlir_bench.train.checking import check_training

LANGS = ("de", "en")
TASK = """
name = "small"
version = 1
title = "small"
format = "{format}"
description = "For fuzzing."
domain = "general"
languages = [{languages}]
kinds = [{kinds}]
measures = ["map", "recall@10"]
{more}
licence = "CC0 1.0"
homepage = "here"
citation = "none"

[source]
bundled = true

{files}
"""
RECIPE = """
name = "reduced"
title = "Reduced form"
description = "Two strategies, two seeds, ten steps."
models = ["builtin:static:16"]
strategies = ["monolingual", "hybrid"]
alphas = [0.3, 0.5]
batch-sizes = [16]
losses = ["infonce"]
seeds = [0, 1]
steps = 10
tasks = ["mini"]
measures = ["map", "recall@10"]
baselines = ["monolingual"]

[data]
bundled = ["mini-train"]

[training]
lr = 0.05
max-length = 16

[look]
task = "mini"
every = 5

[[claims]]
text = "Hybrid batches beat monolingual ones"
better = {strategy = "hybrid", alpha = 0.5}
than = "monolingual"
task = "mini"
kind = "cross-lingual"

[[claims]]
text = "Training helps"
better = {strategy = "hybrid", alpha = 0.3}
than = ["untrained", "monolingual"]
task = "mini"
margin = 0.1
"""


def task_text(form: str, files: Mapping[str, str], kinds: str = "all", more: str = "") -> str:
    """The TOML of a task."""
    names = [k.value for k in Kind] if kinds == "all" else [kinds]
    return TASK.format(
        format=form,
        languages=", ".join(f'"{lang}"' for lang in LANGS),
        kinds=", ".join(f'"{name}"' for name in names),
        more=more,
        files="\n".join(f'[files."{n}"]\npath = "{path}"\n' for n, path in files.items()),
    )


def lines(rows: list[Any]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def task_folder(
    form: str, content: Callable[[Path], Mapping[str, str]], **stated: str
) -> Callable[[Path], None]:
    """Lays a task of this format with its data."""

    def prepare(folder: Path) -> None:
        (folder / "small").mkdir()
        files = content(folder / "small")
        named = {name: f"small/{path}" for name, path in files.items()}
        (folder / "small.toml").write_text(task_text(form, named, **stated), "utf-8")

    return prepare


def read_collection(folder: Path) -> None:
    """The collection of the task in a folder, as `run` loads it."""
    task = read_task(folder / "small.toml")
    corpora = folder / "cache"
    shutil.rmtree(corpora, ignore_errors=True)
    load_collection(task, RunOptions(data=None, cache=corpora, offline=True), Silent())
    shutil.rmtree(corpora, ignore_errors=True)


def squad_like(lang: str, sentences: bool) -> Any:
    """Three articles with two questions each."""
    data = []
    for number in range(3):
        context = f"The first in {lang} {number}. The second one."
        cut = context.index(".") + 1
        paragraph: dict[str, Any] = {
            "context": context,
            "qas": [
                {
                    "id": f"{'english-' if lang == 'en' else ''}{number}-{q}",
                    "question": f"Which {q} in {lang}?",
                    "answers": [{"text": "The", "answer_start": cut + 1 if q else 0}],
                }
                for q in range(2)
            ],
        }
        if sentences:
            paragraph["sentences"] = [context[:cut], context[cut + 1 :]]
            paragraph["sentence_breaks"] = [[0, cut], [cut + 1, len(context)]]
        data.append({"title": f"Article {number}", "paragraphs": [paragraph]})
    return {"data": data}


def _squad(sentences: bool) -> Callable[[Path], Mapping[str, str]]:
    def content(folder: Path) -> Mapping[str, str]:
        for lang in LANGS:
            (folder / f"{lang}.json").write_text(json.dumps(squad_like(lang, sentences)), "utf-8")
        return {lang: f"{lang}.json" for lang in LANGS}

    return content


def _parallel(folder: Path) -> Mapping[str, str]:
    rows = [
        {"id": str(n), "doc": f"d{n // 2}", "text": {x: f"{x} {n}" for x in LANGS}}
        for n in range(6)
    ]
    (folder / "lines.jsonl").write_text(lines(rows), "utf-8")
    return dict.fromkeys(LANGS, "lines.jsonl")


def _captions(folder: Path) -> Mapping[str, str]:
    rows = [
        {"image/key": f"i{n}", **{x: {"caption": [f"{x} {n}", f"{x} again {n}"]} for x in LANGS}}
        for n in range(4)
    ]
    (folder / "captions.jsonl").write_text(lines(rows), "utf-8")
    return dict.fromkeys(LANGS, "captions.jsonl")


def _belebele(folder: Path) -> Mapping[str, str]:
    for lang in LANGS:
        rows = [
            {
                "link": f"l{n // 2}",
                "question_number": n % 2,
                "flores_passage": f"{lang} {n // 2}",
                "question": f"ask {n}",
            }
            for n in range(6)
        ]
        (folder / f"{lang}.jsonl").write_text(lines(rows), "utf-8")
    return {lang: f"{lang}.jsonl" for lang in LANGS}


def lay_beir(folder: Path) -> None:
    """A folder in BEIR's layout."""
    (folder / "qrels").mkdir(parents=True)
    docs = [
        {"_id": f"d{n}", "title": "t", "text": f"text {n}", "language": LANGS[n % 2]}
        for n in range(6)
    ]
    asked = [{"_id": f"q{n}", "text": f"query {n}", "language": LANGS[n % 2]} for n in range(4)]
    (folder / "corpus.jsonl").write_text(lines(docs), "utf-8")
    (folder / "queries.jsonl").write_text(lines(asked), "utf-8")
    judged = "".join(f"q{n}\td{n}\t{n % 3}\n" for n in range(4))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, "utf-8")


def read_beir(folder: Path) -> None:
    """The collection of ``beir:FOLDER``."""
    task = own_task(f"beir:{folder}")
    assert task is not None
    load_collection(task, RunOptions(data=None, cache=folder / "none", offline=True), Silent())


def _judged(folder: Path) -> Mapping[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    docs = [{"docid": f"d{n}", "title": "t", "text": f"text {n}"} for n in range(6)]
    (folder / "de.docs.jsonl.gz").write_bytes(gzip.compress(lines(docs).encode()))
    (folder / "de.topics.tsv").write_text("q1\tfirst\nq2\tsecond\n", "utf-8")
    (folder / "de.qrels.tsv").write_text("q1 Q0 d1 1\nq2 Q0 d2 3\nq2 Q0 d3 0\n", "utf-8")
    tables = {
        "topics": {"_id": ["q1", "q2"], "text": ["first", "second"]},
        "qrels": {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"], "score": [1, 2]},
        "docs": {
            "_id": [f"d{n}" for n in range(4)],
            "title": ["t"] * 4,
            "text": [f"text {n}" for n in range(4)],
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"en.{name}.parquet")
    files = {f"de.{name}": f"de.{name}.tsv" for name in ("topics", "qrels")}
    files |= {f"en.{name}": f"en.{name}.parquet" for name in tables}
    return files | {"de.docs": "de.docs.jsonl.gz"}


def _xor(folder: Path) -> Mapping[str, str]:
    asked = [
        {"id": f"q{n}", "question": f"ask {n}", "answers": [f"w{n}", "yes"], "lang": LANGS[n % 2]}
        for n in range(4)
    ]
    (folder / "questions.jsonl").write_text(lines(asked), "utf-8")
    sink = io.StringIO()
    rows = [("id", "text", "title"), *((str(n), f'text "w{n}"', "t") for n in range(4))]
    csv.writer(sink, delimiter="\t", lineterminator="\n").writerows(rows)
    (folder / "passages.tsv").write_text(sink.getvalue(), "utf-8")
    return {**{f"{lang}.questions": "questions.jsonl" for lang in LANGS}, "en.docs": "passages.tsv"}


def _task_toml(folder: Path) -> None:
    task_folder("lareqa", _squad(True))(folder)
    large = (Path(__file__).parents[2] / "tasks" / "miracl.toml").read_text("utf-8")
    (folder / "large.toml").write_text(large.replace('name = "miracl"', 'name = "large"'), "utf-8")


def read_tasks(folder: Path) -> None:
    """The tasks of a folder; of some inputs, what the command says of them."""
    for path in sorted(folder.glob("*.toml")):
        task = read_task(path)
        task.settings()
        _ = task.digest, [task.counts("queries").get(lang) for lang in task.languages]
    if zlib.crc32((folder / "small.toml").read_bytes()) % 20 == 0:
        command("tasks", "small", "--tasks-dir", folder)


def _policy(folder: Path) -> None:
    floor = (
        '\n[[floor]]\nmeasure = "map"\nkinds = ["cross-lingual"]\nlangs = ["de"]\nleast = 0.01\n'
    )
    (folder / "policy.toml").write_text(DEFAULT_POLICY + floor, "utf-8")
    shutil.copytree(results() / "one", folder / "baseline")
    shutil.copytree(results() / "two", folder / "candidate")


def gate_by(folder: Path) -> None:
    """A gate by a policy."""
    read_policy(folder / "policy.toml")
    args = ("--baseline", folder / "baseline", "--candidate", folder / "candidate")
    command("gate", *args, "--policy", folder / "policy.toml")


def _config(folder: Path) -> None:
    (folder / "run.toml").write_text(
        'model = ["builtin:random"]\ntask = ["mini"]\nlangs = ["de", "en"]\nkinds = ["monolingual"]\nlimit = 2\n'
        'measures = ["map"]\nindex = "Flat"\nquery-prompt = "q "\nmax-length = 16\noffline = true\nquiet = true\n'
        'batch-tokens = "auto"\nseed = 1\nsave-run = 3\nalignment = false\ndtype = "float32"\n',
        "utf-8",
    )
    (folder / "train.toml").write_text(
        'model = "builtin:static:8"\ntrain = ["no-such-file.jsonl@2:monolingual"]\nstrategy = "hybrid"\nalpha = 0.5\n'
        'steps = 2\nbatch-size = 4\nlr = 0.1\ntemperature = 0.05\nseed = 1\nlangs = ["de", "en"]\nno-eval = true\n',
        "utf-8",
    )


def read_config(folder: Path) -> None:
    """Both commands that take a `--config`; nothing is evaluated but two questions of mini."""
    names = [p.name for p in folder.iterdir() if p.read_bytes() != _valid_config(p.name)]
    if "run.toml" in names or not names:
        _in(
            folder,
            "run",
            "--config",
            folder / "run.toml",
            "--output",
            folder / "out",
            "--data",
            folder,
        )
    if "train.toml" in names or not names:
        _in(folder, "train-hybrid", "--config", folder / "train.toml", "--output", folder / "out")


@cache
def _valid_config(name: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _config(Path(folder))
        return (Path(folder) / name).read_bytes() if (Path(folder) / name).is_file() else b""


def _in(folder: Path, *args: Any) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        command(*args)
    finally:
        os.chdir(before)
        shutil.rmtree(folder / "out", ignore_errors=True)


@cache
def results() -> Path:
    """Two small stored results, with tables."""
    import atexit
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="xlir-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = xb.RunOptions(langs=LANGS, limit=4, cache=None, save_run=5, alignment=True)
    for name, spec in (("one", "builtin:ngram"), ("two", "builtin:random")):
        xb.evaluate("mini", spec, options).save(folder / name)
    stored = Path(__file__).parents[2] / "leaderboards" / "results"
    records = (
        json.loads(path.read_text("utf-8")) for path in sorted(stored.glob("*/mini/result.json"))
    )
    cost = next(cost for record in records if (cost := record["profile"].get("cost")))
    file = folder / "one" / "result.json"
    stated = json.loads(file.read_text("utf-8"))
    stated["profile"]["cost"] = cost
    file.write_text(json.dumps(stated), "utf-8")
    return folder


def lay_results(folder: Path) -> None:
    """Both results."""
    shutil.copytree(results(), folder, dirs_exist_ok=True)


def read_result(folder: Path) -> None:
    """A stored result, and what is made of its record."""
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.document import render
    from xlir_bench.reports.export import model_card, mteb_record, tidy_frame

    one = xb.Result.load(folder / "one")
    for form in ("terminal", "markdown", "latex"):
        render(report(one.record), form, 40)
        if one.record.profile.cost is not None:
            render(cost_blocks(one.record.profile.cost), form, 40)
    one.to_frame()
    one.to_json().encode()
    tidy_frame([one])
    json.dumps(mteb_record(one))
    model_card([one])


def lay_results_of_before(folder: Path) -> None:
    """Tables whose names carry no digest, so that what is spoilt is read and not refused at once."""
    lay_results(folder)
    for path in folder.glob("*/*-*.parquet"):
        path.rename(path.with_name(f"{path.stem.partition('-')[0]}.parquet"))
    for path in folder.glob("*/result.json"):
        stated = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(stated | {"tables": None}), "utf-8")


def read_tables(folder: Path) -> None:
    """The tables beside a stored result."""
    one = xb.Result.load(folder / "one")
    for measure in ("map", "recall@10", RANK_DISTANCE):
        one.values(measure)
    for name in one.tables:
        _ = one.tables[name]


def read_by_commands(folder: Path) -> None:
    """Stored results by the commands that read them."""
    one, two, out = folder / "one", folder / "two", folder / "out"
    turns = len((one / "result.json").read_bytes()) + sum(p.stat().st_size for p in one.iterdir())
    calls: list[tuple[Any, ...]] = [
        ("show", one),
        ("show", one, "--markdown"),
        ("show", one, two),
        ("show", one, "--query", "honey-bees-1"),
        ("show", one, "--json"),
        ("compare", one, two),
        ("compare", one, two, "--json"),
        ("compare", one, two, "--show-queries", "2"),
        ("gate", "--baseline", one, "--candidate", two),
        ("gate", "--baseline", two, "--candidate", one, "--json", "--junit", out / "junit.xml"),
        ("robustness", one, two),
        ("leaderboard", "--results", folder, "--output", out, "--html"),
        *(
            ("export", form, one, "--output", out / "x")
            for form in ("csv", "mteb", "hf", "trec", "parquet")
        ),
    ]
    try:
        command(*calls[turns % len(calls)])
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _vectors(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for role in ("query", "passage"):
        for lang in LANGS:
            np.save(folder / f"{role}.{lang}.npy", rng.standard_normal((5, 4)).astype(np.float32))


def read_vectors(folder: Path) -> None:
    """Stored vectors."""
    from xlir_bench.encoders.check import checked

    encoder = StoredVectors(folder)
    _ = encoder.card, encoder.dimension
    for lang in LANGS:
        checked(encoder.vectors("query", lang, 5), [str(n) for n in range(5)])
        encoder.vectors("passage", lang, 5)


def lay_model(folder: Path) -> None:
    """What a saved model has, but for a tokenizer that works."""
    from safetensors.numpy import save_file

    (folder / "1_Pooling").mkdir()
    (folder / "router").mkdir()
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "router", "type": "sentence_transformers.models.Router"},
        ],
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": {"query": "query: ", "document": "passage: "},
            "default_prompt_name": "query",
        },
        "config.json": {
            "model_type": "xlm-roberta", "pad_token_id": 1, "max_position_embeddings": 514, "_name_or_path": "a/b",
            "text_config": {"max_position_embeddings": 128, "model_type": "bert"},
        },
        "sentence_bert_config.json": {
            "max_seq_length": 128, "do_lower_case": False, "processing_kwargs": {"text": {"max_length": 64}},
            "tokenizer_args": {"model_max_length": 100},
        },
        "tokenizer_config.json": {"model_max_length": 512},
        "tokenizer.json": {"truncation": {"max_length": 32}},
        "router/router_config.json": {"types": {"query_0": "sentence_transformers.models.StaticEmbedding"}},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "model.safetensors.index.json": {"weight_map": {"a": "model.safetensors"}},
    }  # fmt: skip
    for name, stated in files.items():
        (folder / name).write_text(json.dumps(stated), "utf-8")
    save_file({"a": np.zeros((3, 4), np.float32)}, folder / "model.safetensors")
    (folder / "README.md").write_text("---\nbase_model:\n- a/b\n- c\n---\n# card\n", "utf-8")


def read_model(folder: Path) -> None:
    """A model's folder, as far as it is read without torch."""
    encoder = load_encoder(str(folder), EncoderOptions(device="cpu"))
    _ = encoder.card, repr(encoder)


class _Server:
    """Answers every request with what lies in a file: a line of status and headers as JSON, then the body."""

    def __init__(self) -> None:
        self.path = Path()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                head, _, body = outer.path.read_bytes().partition(b"\n")
                try:
                    stated = json.loads(head)
                    status, headers = int(stated["status"]), dict(stated["headers"])
                except Exception:
                    status, headers, body = 200, {}, head
                if not 200 <= status < 600:
                    status = 500
                self.send_response(status)
                for name, value in headers.items():
                    clean = "".join(c for c in f"{value}"[:200] if c.isprintable() and ord(c) < 256)
                    self.send_header(
                        "X" if not name.isidentifier() else name.replace("_", "-"), clean
                    )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()


server = cache(_Server)


def _answers(folder: Path) -> None:
    from xlir_bench.encoders.probes import PROBES

    rows = [{"index": n, "embedding": [float(n), 1.0, 0.5]} for n in range(len(PROBES))]
    good = json.dumps({"data": rows, "model": "m", "usage": {"total_tokens": 3}})
    head = json.dumps({"status": 200, "headers": {"retry_after": "1"}})
    (folder / "answer.http").write_text(f"{head}\n{good}", "utf-8")
    (folder / "body.json").write_text(good, "utf-8")
    refusal = json.dumps({"status": 429, "headers": {"retry_after": "1"}})
    (folder / "refusal.http").write_text(f'{refusal}\n{{"error": "no \\u001b[2J"}}', "utf-8")


def read_http(folder: Path) -> None:
    """What a server answers."""
    from xlir_bench.encoders.http import HttpEncoder, Patience

    patience = Patience(tries=2, first_tries=2, sleep=lambda _seconds: None)
    for path in sorted(folder.iterdir()):
        if path.read_bytes() != _valid_answer(path.name):
            server().path = path
            encoder = HttpEncoder(server().url, "m", EncoderOptions(), patience)
            _ = encoder.card, encoder.dimension
            encoder._client.close()


@cache
def _valid_answer(name: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _answers(Path(folder))
        return (Path(folder) / name).read_bytes()


def lay_rows(folder: Path) -> None:
    """Training rows in every format."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "id": f"r{n}", "dataset": "d", "origin": "made", "question": {x: f"q {n} {x}" for x in LANGS},
            "answer": {x: f"a {n} {x}" for x in LANGS}, "negative": {"en": f"wrong {n}"},
        }
        for n in range(4)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text(lines(rows), "utf-8")
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    long = [(f"r{n}", "de", "en", f"q {n}", f"a {n}") for n in range(4)]
    header = ("id", "lang_question", "lang_answer", "question", "answer")
    for name, mark in (("rows.csv", ","), ("rows.tsv", "\t")):
        text = "\n".join(mark.join(row) for row in [header, *long])
        (folder / name).write_text(text + "\n", "utf-8")


def read_rows(folder: Path) -> None:
    """Training rows, looked through and stored as a training stores them."""
    from xlir_bench.train.store import store_rows

    sources = [parse_source(str(path)) for path in sorted(folder.iterdir()) if path.is_file()]
    found = check_training(sources, Silent(), offline=True)
    json.dumps(found.as_json()).encode()
    store_rows(sources, folder / "store", Silent(), offline=True)
    shutil.rmtree(folder / "store")


def _augment(folder: Path) -> None:
    (folder / "lexicon").mkdir()
    (folder / "lexicon" / "en-de.tsv").write_text("house\tHaus\ngo up\tsteigen\n", "utf-8")
    (folder / "pairs.tsv").write_text("en\tde\thouse\tHaus\nen\tes\thouse\tcasa\n", "utf-8")
    rows = [{"id": str(n), "doc": "d", "text": {x: f"{x} {n}." for x in LANGS}} for n in range(4)]
    (folder / "lines.jsonl").write_text(lines(rows), "utf-8")


def read_augment(folder: Path) -> None:
    """Word lists and parallel text."""
    from xlir_bench.augment.lexicon import read_lexicon
    from xlir_bench.augment.parallel import ParallelOptions, parallel_rows, read_parallel_lines

    read_lexicon(folder / "lexicon", both_ways=True)
    for name in ("pairs.tsv", "lines.jsonl"):
        for make in ("translations", "passages", "next", "context"):
            rows = parallel_rows(read_parallel_lines(folder / name), "d", ParallelOptions(make))
            for row in rows:
                json.dumps(row.question, ensure_ascii=False).encode()


def _training(folder: Path) -> None:
    from xlir_bench.train import BatchOptions, TrainingSource, TrainOptions, train
    from xlir_bench.train.folder import RunFolder, write_json
    from xlir_bench.train.store import store_rows

    rows = [
        {"id": str(n), "question": {"en": f"q {n}", "de": f"f {n}"}, "answer": {"en": f"a {n}"}}
        for n in range(20)
    ]
    (folder / "rows.jsonl").write_text(lines(rows), "utf-8")
    source = TrainingSource(str(folder / "rows.jsonl"))
    train(
        TrainOptions(
            "builtin:static:8", sources=(source,), output=folder / "out", steps=2, device="cpu",
            batches=BatchOptions(batch_size=4),
        )
    )  # fmt: skip
    begun = RunFolder(folder / "begun")
    begun.data.mkdir(parents=True)
    begun.remember({"model": "x", "steps": 3})
    store_rows([source], begun.data, Silent())
    (begun.checkpoints / "checkpoint-1").mkdir()
    write_json(begun.checkpoints / "checkpoint-1" / "trainer_state.json", {"global_step": 1})
    (begun.path / "log.jsonl").write_text(
        '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.1}\n', "utf-8"
    )


def read_training(folder: Path) -> None:
    """What trainings leave: a finished one's record, a stopped one's state."""
    from xlir_bench.train.folder import RunFolder
    from xlir_bench.train.store import open_rows
    from xlir_bench.train.watching import TrainingLog

    begun = RunFolder(folder / "begun")
    begun.remember({"model": "x", "steps": 3})
    begun.last_checkpoint()
    TrainingLog(begun.path / "log.jsonl").cut(1)
    store = open_rows(begun.data)
    if store is not None:
        _ = store.keys, store.ids, store.starts, list(store.sample(5))
    args = ("--train", folder / "rows.jsonl", "--steps", "2", "--model", "builtin:static:8")
    command("train-hybrid", *args, "--output", folder / "out", "--resume", "--no-eval")


def _journal(folder: Path) -> None:
    from xlir_bench.augment.journal import Journal

    journal = Journal(folder / "out.jsonl", {"model": "x", "to": ["de"]})
    with journal.held():
        journal.close_window(['{"id": "1"}\n'], {"rows": 1, "texts": {"de": 1}})
        journal.note(0, [{"text": "a"}, None])


def read_journal(folder: Path) -> None:
    """The journal of a stopped translation."""
    from xlir_bench.augment.journal import Journal
    from xlir_bench.augment.translating import Report

    journal = Journal(folder / "out.jsonl", {"model": "x", "to": ["de"]})
    with journal.held():
        report = Report.of(journal.report) if journal.report else Report()
        _ = report.rows + 1, report.texts.total(), journal.batches.get(0, [])
        journal.note(1, ["b"])


def _experiment(folder: Path) -> None:
    from xlir_bench.reports.experiment import CellRecord, cell_folder, write_cell

    recipe = parse_recipe(_SMALL_RECIPE, "recipe.toml")
    options = xb.RunOptions(langs=LANGS, limit=3, measures=recipe.measures, cache=None)
    for number, cell in enumerate(recipe.cells()):
        spec = ("builtin:ngram", "builtin:random")[number % 2]
        xb.evaluate("mini", spec, options).save(cell_folder(folder / "out", cell) / "mini")
        record = CellRecord(
            cell={}, digest=cell.digest, leaking=0, train_seconds=1.0, evaluate_seconds=1.0,
            training={
                "evaluations": [{"step": 5, "figures": {"mini.cross-lingual.map": 0.5}}],
                "data": {"sources": [{"name": "mini-train", "digest": "sha256:0", "rows": 3}]},
                "environment": {"versions": {"torch": "1"}}, "created": "2026-01-01T00:00:00+00:00",
            },
        )  # fmt: skip
        write_cell(folder / "out", record, cell.name)
    (folder / "recipe.toml").write_text(_SMALL_RECIPE, "utf-8")


def _questions(folder: Path) -> None:
    from xlir_bench.reports.experiment.questions import Questions

    options = xb.RunOptions(langs=LANGS, limit=3, measures=("map",), cache=None)
    Questions.of(xb.evaluate("mini", "builtin:ngram", options)).save(folder)


def read_questions(folder: Path) -> None:
    """The means of questions that an experiment keeps."""
    from xlir_bench.reports.experiment.questions import Questions

    for means in Questions.load(folder).means.values():
        _ = np.bincount(means.cluster, means.weight * means.mean), np.bincount(means.question)


_SMALL_RECIPE = """
name = "reduced"
title = "Reduced"
description = "d"
models = ["builtin:static:16"]
strategies = ["monolingual", "hybrid"]
batch-sizes = [16]
seeds = [0]
steps = 10
tasks = ["mini"]
measures = ["map"]
baselines = ["monolingual"]
[data]
bundled = ["mini-train"]
"""


def read_cells(folder: Path) -> None:
    """The pages of an experiment from its records."""
    command("experiment", folder / "recipe.toml", "--output", folder / "out", "--check")
    command("experiment", folder / "recipe.toml", "--output", folder / "out", "--dry-run")


def _history(folder: Path) -> None:
    lay_results(folder)
    side = {
        "encoder": "x", "fingerprint": "sha256:0", "created": "2026", "rank_distance": 1.0,
        "task": xb.Result.load(folder / "one").record.task.digest,
        "scores": {"monolingual": {"map": 0.5}, "cross-lingual": {"map": 0.9}},
    }  # fmt: skip
    line = {"when": "2026", "reason": "because", "verdict": "pass", "old": side, "new": side}
    (folder / "one" / "history.jsonl").write_text(lines([line, line]), "utf-8")


def gate_by_history(folder: Path) -> None:
    """A gate against a baseline that has a history."""
    command("gate", "--baseline", folder / "one", "--candidate", folder / "two")


def _cache(folder: Path) -> None:
    _evaluate_cached(folder)


def _evaluate_cached(folder: Path) -> None:
    options = xb.RunOptions(
        langs=LANGS, limit=3, kinds=(Kind.MONOLINGUAL,), measures=("map",), cache=folder / "cache"
    )
    xb.evaluate("mini", "builtin:random", options)


def read_cache(folder: Path) -> None:
    """Vectors of the cache: what is damaged is encoded again."""
    _evaluate_cached(folder)
    before = os.environ.get("XLIR_CACHE")
    os.environ["XLIR_CACHE"] = str(folder / "cache")
    try:
        command("cache")
    finally:
        os.environ.pop("XLIR_CACHE") if before is None else os.environ.update(XLIR_CACHE=before)


def _corpus(folder: Path) -> None:
    task_folder("judged", _judged)(folder)
    _read_corpus(folder)


def _read_corpus(folder: Path) -> None:
    task = read_task(folder / "small.toml")
    request = RunOptions(data=None, cache=folder / "cache", offline=True)
    found = load_collection(task, request, Silent())
    for lang in found.passages:
        assert len(list(found.passages[lang].texts)) == len(found.passages[lang].ids)


BORDERS = (
    Border("task (TOML)", _task_toml, read_tasks, "*.toml"),
    Border(
        "recipe (TOML)",
        lambda f: (f / "recipe.toml").write_text(RECIPE, "utf-8") and None,
        lambda f: parse_recipe(
            (f / "recipe.toml").read_bytes().decode("utf-8", "surrogateescape"), "recipe.toml"
        ).cells(),
    ),
    Border("policy (TOML)", _policy, gate_by, "*.toml", share=2),
    Border("LAReQA (JSON)", task_folder("lareqa", _squad(True)), read_collection, "*.json"),
    Border("SQuAD (JSON)", task_folder("squad", _squad(False)), read_collection, "*.json"),
    Border(
        "parallel text (JSON Lines)",
        task_folder("parallel", _parallel, kinds="cross-lingual"),
        read_collection,
        "*.jsonl",
    ),
    Border("captions (JSON Lines)", task_folder("captions", _captions), read_collection, "*.jsonl"),
    Border("Belebele (JSON Lines)", task_folder("belebele", _belebele), read_collection, "*.jsonl"),
    Border("BEIR (JSON Lines, TSV)", lay_beir, read_beir),
    Border(
        "judged (JSON Lines, TSV, parquet)",
        task_folder("judged", _judged, kinds="monolingual"),
        read_collection,
        "*.*[vlzt]",
        share=10,
    ),
    Border(
        "XOR (JSON Lines, TSV)",
        task_folder("xor", _xor, more='passage_languages = ["en"]'),
        read_collection,
        "*.*v",
        share=20,
    ),
    Border("training rows (all formats)", lay_rows, read_rows, writes=True, share=10),
    Border("word lists, parallel text", _augment, read_augment),
    Border("vectors (npy)", _vectors, read_vectors),
    Border("model folder (JSON, safetensors)", lay_model, read_model, share=20),
    Border("server (HTTP)", _answers, read_http, share=3),
    Border("result.json", lay_results, read_result, "one/result.json", share=8),
    Border("tables (parquet)", lay_results_of_before, read_tables, "one/*.parquet", share=10),
    # Which command it is follows from the files; one wants more results than there are.
    Border("results by commands", lay_results, read_by_commands, "one/*", share=2, fails=True),
    Border("history of a baseline", _history, gate_by_history, "history.jsonl", share=1),
    Border("training (own state)", _training, read_training, "*.json*", writes=True, share=2),
    Border("translation (own state)", _journal, read_journal, ".*.journal", writes=True),
    Border("experiment (own state)", _experiment, read_cells, "cell.json", share=1),
    Border("question means (parquet)", _questions, read_questions, "questions.parquet", share=10),
    Border("vector cache (own state)", _cache, read_cache, writes=True, share=2),
    Border("corpus (own state)", _corpus, _read_corpus, "cache/corpora/*/*", writes=True, share=2),
    Border("config (TOML)", _config, read_config, "*.toml", writes=True, fails=True, share=1),
)
