"""Every place where files from outside are read, each with valid files to begin with."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from fuzz.running import Border, command
from recipes import with_lines
from train.rowfiles import row

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
ROOT = Path(__file__).parents[2]
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
LOOK_AND_CLAIM = """
[look]
task = "mini"
every = 5

[[claims]]
text = "Half of the batches cross languages"
better = {strategy = "hybrid", alpha = 0.5}
than = {strategy = "hybrid", alpha = 0.3}
task = "mini"
margin = 0.1
"""
RECIPE = (
    with_lines("alphas = [0.3, 0.5]", 'losses = ["infonce"]').replace(
        'better = "hybrid"', 'better = {strategy = "hybrid", alpha = 0.3}'
    )
    + LOOK_AND_CLAIM
)


def put(folder: Path, files: Mapping[str, Any]) -> None:
    """Write files by name: bytes and text as they are, a list as JSON Lines or parquet, else JSON; .gz is packed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(content), path)
            continue
        if isinstance(content, list):
            content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in content)
        elif isinstance(content, dict):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@cache
def valid(lay: Callable[[Path], None], name: str) -> bytes:
    """What a file is before it is spoilt, so that a reader of several knows which one to read."""
    with tempfile.TemporaryDirectory() as folder:
        lay(Path(folder))
        return (Path(folder) / name).read_bytes() if (Path(folder) / name).is_file() else b""


def task_folder(
    form: str,
    files: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    kinds: tuple[str, ...] = tuple(kind.value for kind in Kind),
    more: str = "",
) -> Callable[[Path], None]:
    """Lays a task of this format with its data; `names`: the task's names of its files, else a file a language."""
    names = names or {
        lang: name for lang in LANGS for name in files if name[:3] in (f"{lang}.", "all")
    }
    text = TASK.format(
        format=form,
        languages=json.dumps(LANGS)[1:-1],
        kinds=json.dumps(kinds)[1:-1],
        more=more,
        files="\n".join(f'[files."{n}"]\npath = "small/{path}"\n' for n, path in names.items()),
    )
    return lambda folder: put(
        folder, {"small.toml": text} | {f"small/{name}": content for name, content in files.items()}
    )


def read_collection(folder: Path) -> None:
    """The collection of the task in a folder, as `run` loads it."""
    task = read_task(folder / "small.toml")
    corpora = folder / "cache"
    shutil.rmtree(corpora, ignore_errors=True)
    load_collection(task, RunOptions(data=None, cache=corpora, offline=True), Silent())
    shutil.rmtree(corpora, ignore_errors=True)


def squad_like(lang: str, sentences: bool) -> dict[str, Any]:
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


def xor_passages() -> str:
    """Passages as tab-separated values."""
    sink = io.StringIO()
    rows = [("id", "text", "title"), *((str(n), f'text "w{n}"', "t") for n in range(4))]
    csv.writer(sink, delimiter="\t", lineterminator="\n").writerows(rows)
    return sink.getvalue()


LAREQA, SQUAD = (
    {f"{lang}.json": squad_like(lang, sentences) for lang in LANGS} for sentences in (True, False)
)
PARALLEL = [
    {"id": str(n), "doc": f"d{n // 2}", "text": {x: f"{x} {n}." for x in LANGS}} for n in range(6)
]
CAPTIONS = [
    {"image/key": f"i{n}", **{x: {"caption": [f"{x} {n}", f"{x} again {n}"]} for x in LANGS}}
    for n in range(4)
]
BELEBELE = {
    f"{lang}.jsonl": [
        {
            "link": f"l{n // 2}", "question_number": n % 2, "flores_passage": f"{lang} {n // 2}",
            "question": f"ask {n}",
        }
        for n in range(6)
    ]
    for lang in LANGS
}  # fmt: skip
BEIR = {
    "corpus.jsonl": [
        {"_id": f"d{n}", "title": "t", "text": f"text {n}", "language": LANGS[n % 2]}
        for n in range(6)
    ],
    "queries.jsonl": [
        {"_id": f"q{n}", "text": f"query {n}", "language": LANGS[n % 2]} for n in range(4)
    ],
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\n"
    + "".join(f"q{n}\td{n}\t{n % 3}\n" for n in range(4)),
}
MLIR = {
    "queries.jsonl": [
        {"_id": f"{x}_q_{n}", "text": f"query {n}", "lang": x} for x in LANGS for n in range(3)
    ],
    "corpus.jsonl": [
        {f"doc_{x}_{n}": {"text": f"{x} text {n}", "lang": x}} for x in LANGS for n in range(4)
    ],
    "qrels.jsonl": [
        {f"{x}_q_{n}": {f"doc_{y}_{n}": n + 1 for y in LANGS}} for x in LANGS for n in range(3)
    ],
}
MTEB: dict[str, Any] = {
    f"{subset}-{part}/test-00000-of-00001.{kind}": rows
    for subset, kind in (("de-en", "parquet"), ("en-en", "jsonl"))
    for part, rows in (
        ("corpus", [{"id": f"c{n}", "title": "t", "text": f"text {n}"} for n in range(5)]),
        ("queries", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(3)]),
        ("qrels", [{"query-id": f"q{n}", "corpus-id": f"c{n}", "score": n} for n in range(3)]),
    )
}
LINES = {f"{lang}.txt": "".join(f"{lang} {n}\n" for n in range(6)) for lang in LANGS} | {
    "documents.tsv": "URL\tdomain\n" + "".join(f"d{n // 2}\tnews\n" for n in range(6))
}
JUDGED = {
    "de.topics.tsv": "q1\tfirst\nq2\tsecond\n",
    "de.qrels.tsv": "q1 Q0 d1 1\nq2 Q0 d2 3\nq2 Q0 d3 0\n",
    "de.docs.jsonl.gz": [{"docid": f"d{n}", "title": "t", "text": f"text {n}"} for n in range(6)],
    "en.topics.parquet": [{"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"}],
    "en.qrels.parquet": [{"query-id": f"q{n}", "corpus-id": f"d{n}", "score": n} for n in (1, 2)],
    "en.docs.parquet": [{"_id": f"d{n}", "title": "t", "text": f"text {n}"} for n in range(4)],
}
JUDGED_NAMES = {".".join(name.split(".")[:2]): name for name in JUDGED}
XOR = {
    "questions.jsonl": [
        {"id": f"q{n}", "question": f"ask {n}", "answers": [f"w{n}", "yes"], "lang": LANGS[n % 2]}
        for n in range(4)
    ],
    "passages.tsv": xor_passages(),
}
XOR_NAMES = {f"{lang}.questions": "questions.jsonl" for lang in LANGS} | {"en.docs": "passages.tsv"}


def read_own(kind: str) -> Callable[[Path], None]:
    """Reads the collection of ``KIND:FOLDER``."""

    def read(folder: Path) -> None:
        task = own_task(f"{kind}:{folder}")
        assert task is not None
        task.settings()
        load_collection(task, RunOptions(data=None, cache=folder / "none", offline=True), Silent())

    return read


def lay_tasks(folder: Path) -> None:
    """A small task, and one of many languages."""
    task_folder("lareqa", LAREQA)(folder)
    large = (ROOT / "tasks" / "miracl.toml").read_text("utf-8")
    (folder / "large.toml").write_text(large.replace('name = "miracl"', 'name = "large"'), "utf-8")


def read_tasks(folder: Path) -> None:
    """The tasks of a folder; of some inputs, what the command says of them."""
    for path in sorted(folder.glob("*.toml")):
        task = read_task(path)
        task.settings()
        _ = task.digest, [task.counts("queries").get(lang) for lang in task.languages]
    if zlib.crc32((folder / "small.toml").read_bytes()) % 20 == 0:
        command("tasks", "small", "--tasks-dir", folder)


def lay_policy(folder: Path) -> None:
    """A policy and two results to judge by it."""
    floor = (
        '\n[[floor]]\nmeasure = "map"\nkinds = ["cross-lingual"]\nlangs = ["de"]\nleast = 0.01\n'
    )
    (folder / "policy.toml").write_text(DEFAULT_POLICY + floor, "utf-8")
    shutil.copytree(results() / "one", folder / "baseline")
    shutil.copytree(results() / "two", folder / "candidate")


def gate_by_policy(folder: Path) -> None:
    """A gate by a policy."""
    read_policy(folder / "policy.toml")
    args = ("--baseline", folder / "baseline", "--candidate", folder / "candidate")
    command("gate", *args, "--policy", folder / "policy.toml")


def lay_config(folder: Path) -> None:
    """A `--config` of each command that takes one."""
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
    """The command of each config that was spoilt; nothing is evaluated but two questions of mini."""
    spoilt = [p.name for p in folder.iterdir() if p.read_bytes() != valid(lay_config, p.name)]
    with contextlib.chdir(folder):
        for name, *args in (
            ("run.toml", "run", "--data", folder),
            ("train.toml", "train-hybrid"),
        ):
            if name in spoilt or not spoilt:
                try:
                    command(*args, "--config", folder / name, "--output", folder / "out")
                finally:
                    shutil.rmtree(folder / "out", ignore_errors=True)


@cache
def results() -> Path:
    """Two small stored results, with tables."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="xlir-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = xb.RunOptions(langs=LANGS, limit=4, cache=None, save_run=5, alignment=True)
    for name, spec in (("one", "builtin:ngram"), ("two", "builtin:random")):
        xb.evaluate("mini", spec, options).save(folder / name)
    stored = ROOT / "leaderboards" / "results"
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
    from xlir_bench.rendering.document import render
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.export import model_card, mteb_record, tidy_frame

    one = xb.Result.load(folder / "one")
    for form in ("terminal", "markdown", "latex"):
        render(report(one.record), form, 40)
        if one.record.profile.cost is not None:
            render(cost_blocks(one.record.profile.cost), form, 40)
    one.to_frame()
    one.to_json().encode()
    tidy_frame([one.record])
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


def lay_vectors(folder: Path) -> None:
    """Vectors of queries and passages."""
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

    modules = [
        {"idx": n, "name": f"{n}", "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(
            (("", "Transformer"), ("1_Pooling", "Pooling"), ("router", "Router"))
        )
    ]
    files: dict[str, Any] = {
        "modules.json": json.dumps(modules),
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
    put(folder, files)
    save_file({"a": np.zeros((3, 4), np.float32)}, folder / "model.safetensors")
    (folder / "README.md").write_text("---\nbase_model:\n- a/b\n- c\n---\n# card\n", "utf-8")


def read_model(folder: Path) -> None:
    """A model's folder, as far as it is read without torch."""
    encoder = load_encoder(str(folder), EncoderOptions(device="cpu"))
    _ = encoder.card, repr(encoder)


def lay_answers(folder: Path) -> None:
    """What a server answers with, and refuses with."""
    from xlir_bench.encoders.digest import PROBES

    rows = [{"index": n, "embedding": [float(n), 1.0, 0.5]} for n in range(len(PROBES))]
    good = json.dumps({"data": rows, "model": "m", "usage": {"total_tokens": 3}})
    head = json.dumps({"status": 200, "headers": {"retry_after": "1"}})
    (folder / "answer.http").write_text(f"{head}\n{good}", "utf-8")
    (folder / "body.json").write_text(good, "utf-8")
    refusal = json.dumps({"status": 429, "headers": {"retry_after": "1"}})
    (folder / "refusal.http").write_text(f'{refusal}\n{{"error": "no \\u001b[2J"}}', "utf-8")


def read_http(folder: Path) -> None:
    """What a server answers: a line of status and headers as JSON, then the body."""
    import httpx

    from xlir_bench.encoders import http

    def answer(_: httpx.Request) -> httpx.Response:
        head, _, body = path.read_bytes().partition(b"\n")
        try:
            stated = json.loads(head)
            status = int(stated["status"])
            headers = [
                (name.replace("_", "-").encode("ascii"), f"{value}"[:200].encode())
                for name, value in stated["headers"].items()
            ]
            return httpx.Response(
                status if 200 <= status < 600 else 500, headers=headers, content=body
            )
        except Exception:  # no server can say that: the first line is the body
            return httpx.Response(200, content=head)

    few = {"TRIES": 2, "FIRST_TRIES": 2, "sleep": lambda _seconds: None}
    client = partial(httpx.Client, transport=httpx.MockTransport(answer))
    for path in sorted(folder.iterdir()):
        if path.read_bytes() != valid(lay_answers, path.name):
            with mock.patch("httpx.Client", client), mock.patch.multiple(http, **few):
                encoder = http.HttpEncoder("http://127.0.0.1/v1", "m")
                _ = encoder.card, encoder.dimension


def lay_rows(folder: Path) -> None:
    """Training rows in every format."""
    rows = [row(n, "de en", origin="made", negative={"en": f"wrong {n}"}) for n in range(4)]
    put(folder, {"rows.jsonl": rows, "packed.jsonl.gz": rows, "rows.parquet": rows})
    header = ("id", "lang_question", "lang_answer", "question", "answer")
    long = [header, *((f"r{n}", "de", "en", f"q {n}", f"a {n}") for n in range(4))]
    for name, mark in (("rows.csv", ","), ("rows.tsv", "\t")):
        (folder / name).write_text("".join(mark.join(cells) + "\n" for cells in long), "utf-8")


def read_rows(folder: Path) -> None:
    """Training rows, looked through and stored as a training stores them."""
    from xlir_bench.train.row_store import store_rows

    sources = [parse_source(str(path)) for path in sorted(folder.iterdir()) if path.is_file()]
    found = check_training([source.name for source in sources], Silent(), offline=True)
    json.dumps(found.as_json()).encode()
    store_rows(sources, folder / "store", Silent(), offline=True)
    shutil.rmtree(folder / "store")


AUGMENT = {
    "lexicon/en-de.tsv": "house\tHaus\ngo up\tsteigen\n",
    "pairs.tsv": "en\tde\thouse\tHaus\nen\tes\thouse\tcasa\n",
    "lines.jsonl": PARALLEL,
}


def read_augment(folder: Path) -> None:
    """Word lists and parallel text."""
    from xlir_bench.augment.parallel import ParallelOptions, parallel_rows, read_parallel_lines
    from xlir_bench.augment.switching import read_lexicon

    read_lexicon(folder / "lexicon", both_ways=True)
    for name in ("pairs.tsv", "lines.jsonl"):
        for make in ("translations", "passages", "next", "context"):
            lines = read_parallel_lines(folder / name)
            for made in parallel_rows(lines, "d", ParallelOptions(make)):
                json.dumps(made.question, ensure_ascii=False).encode()


def lay_training(folder: Path) -> None:
    """A training that has ended, and one that was stopped."""
    from xlir_bench.options.training import BatchOptions, TrainingSource, TrainOptions
    from xlir_bench.train.folder import RunFolder, write_json
    from xlir_bench.train.row_store import store_rows
    from xlir_bench.train.trainer import train

    put(folder, {"rows.jsonl": [row(n, "de en") for n in range(20)]})
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
    put(begun.path, {"log.jsonl": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.1}]})


def read_training(folder: Path) -> None:
    """What trainings leave: a finished one's record, a stopped one's state."""
    from xlir_bench.train.folder import RunFolder
    from xlir_bench.train.row_store import open_rows
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


STATED = {"model": "x", "to": ["de"]}


def lay_journal(folder: Path) -> None:
    """The journal of a translation that was stopped."""
    from xlir_bench.augment.translating import SourceText, Translation, opened_journal

    with contextlib.suppress(KeyError), opened_journal(folder / "out.jsonl", STATED) as journal:
        for number in range(3):
            journal.note([SourceText("en", "de", str(number))], [Translation("a", False, False)])
        raise KeyError  # so that the journal stays


def read_journal(folder: Path) -> None:
    """The journal of a stopped translation."""
    from xlir_bench.augment.translating import SourceText, opened_journal

    with contextlib.suppress(KeyError), opened_journal(folder / "out.jsonl", STATED) as journal:
        for number in range(3):
            for made in journal.next_batch([SourceText("en", "de", str(number))]) or ():
                made.text.encode()
        raise KeyError


SMALL_RECIPE = with_lines("seeds = [0]", 'measures = ["map"]').partition("[[claims]]")[0]


def lay_experiment(folder: Path) -> None:
    """A recipe and the records of its cells."""
    from xlir_bench.results.cells import CellRecord, cell_folder, write_cell

    recipe = parse_recipe(SMALL_RECIPE, "recipe.toml")
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
    (folder / "recipe.toml").write_text(SMALL_RECIPE, "utf-8")


def lay_questions(folder: Path) -> None:
    """The means of questions that an experiment keeps."""
    from xlir_bench.results.cells import Questions

    options = xb.RunOptions(langs=LANGS, limit=3, measures=("map",), cache=None)
    Questions.of(xb.evaluate("mini", "builtin:ngram", options)).save(folder)


def read_questions(folder: Path) -> None:
    """Those means."""
    from xlir_bench.results.cells import Questions

    for means in Questions.load(folder).means.values():
        _ = np.bincount(means.cluster, means.weight * means.mean), np.bincount(means.question)


def read_cells(folder: Path) -> None:
    """The pages of an experiment from its records."""
    command("experiment", folder / "recipe.toml", "--output", folder / "out", "--check")
    command("experiment", folder / "recipe.toml", "--output", folder / "out", "--dry-run")


def lay_history(folder: Path) -> None:
    """Both results, one a baseline that was replaced twice."""
    lay_results(folder)
    side = {
        "encoder": "x", "fingerprint": "sha256:0", "created": "2026", "rank_distance": 1.0,
        "task": xb.Result.load(folder / "one").record.task.digest,
        "scores": {"monolingual": {"map": 0.5}, "cross-lingual": {"map": 0.9}},
    }  # fmt: skip
    line = {"when": "2026", "reason": "because", "verdict": "pass", "old": side, "new": side}
    put(folder, {"one/history.jsonl": [line, line]})


def gate_by_history(folder: Path) -> None:
    """A gate against a baseline that has a history."""
    command("gate", "--baseline", folder / "one", "--candidate", folder / "two")


def evaluate_cached(folder: Path) -> None:
    """An evaluation that fills the cache, or reads it."""
    options = xb.RunOptions(
        langs=LANGS, limit=3, kinds=(Kind.MONOLINGUAL,), measures=("map",), cache=folder / "cache"
    )
    xb.evaluate("mini", "builtin:random", options)


def read_cache(folder: Path) -> None:
    """Vectors of the cache: what is damaged is encoded again."""
    evaluate_cached(folder)
    with mock.patch.dict(os.environ, XLIR_CACHE=str(folder / "cache")):
        command("cache")


def lay_corpus(folder: Path) -> None:
    """A task whose corpus is in the cache."""
    task_folder("judged", JUDGED, JUDGED_NAMES)(folder)
    read_corpus(folder)


def read_corpus(folder: Path) -> None:
    """Texts of the cache: what is damaged is read from the data again."""
    task = read_task(folder / "small.toml")
    request = RunOptions(data=None, cache=folder / "cache", offline=True)
    found = load_collection(task, request, Silent())
    for lang in found.passages:
        assert len(list(found.passages[lang].texts)) == len(found.passages[lang].ids)


BORDERS = (
    Border("task (TOML)", lay_tasks, read_tasks, "*.toml"),
    Border(
        "recipe (TOML)",
        lambda folder: put(folder, {"recipe.toml": RECIPE}),
        lambda folder: parse_recipe(
            (folder / "recipe.toml").read_bytes().decode("utf-8", "surrogateescape"), "recipe.toml"
        ).cells(),
    ),
    Border("policy (TOML)", lay_policy, gate_by_policy, "*.toml", share=2),
    Border("LAReQA (JSON)", task_folder("lareqa", LAREQA), read_collection, "*.json"),
    Border("SQuAD (JSON)", task_folder("squad", SQUAD), read_collection, "*.json"),
    Border(
        "parallel text (JSON Lines)",
        task_folder("parallel", {"all.jsonl": PARALLEL}, kinds=("cross-lingual",)),
        read_collection,
        "*.jsonl",
    ),
    Border(
        "captions (JSON Lines)",
        task_folder("captions", {"all.jsonl": CAPTIONS}),
        read_collection,
        "*.jsonl",
    ),
    Border("Belebele (JSON Lines)", task_folder("belebele", BELEBELE), read_collection, "*.jsonl"),
    Border("BEIR (JSON Lines, TSV)", lambda folder: put(folder, BEIR), read_own("beir")),
    Border("MIMO's layout (JSON Lines)", lambda folder: put(folder, MLIR), read_own("mlir")),
    Border("mteb (parquet, JSON Lines)", lambda folder: put(folder, MTEB), read_own("mteb")),
    Border(
        "parallel text (lines)",
        task_folder(
            "lines",
            LINES,
            names={f"{x}.text": f"{x}.txt" for x in LANGS}
            | {f"{x}.documents": "documents.tsv" for x in LANGS},
            kinds=("cross-lingual",),
        ),
        read_collection,
        "small/*",
    ),
    Border(
        "judged (JSON Lines, TSV, parquet)",
        task_folder("judged", JUDGED, JUDGED_NAMES, kinds=("monolingual",)),
        read_collection,
        "small/*",
        share=10,
    ),
    Border(
        "XOR (JSON Lines, TSV)",
        task_folder("xor", XOR, XOR_NAMES, more='passage_languages = ["en"]'),
        read_collection,
        "small/*",
        share=20,
    ),
    Border("training rows (all formats)", lay_rows, read_rows, writes=True, share=10),
    Border("word lists, parallel text", lambda folder: put(folder, AUGMENT), read_augment),
    Border("vectors (npy)", lay_vectors, read_vectors),
    Border("model folder (JSON, safetensors)", lay_model, read_model, share=20),
    Border("server (HTTP)", lay_answers, read_http, share=3),
    Border("result.json", lay_results, read_result, "one/result.json", share=8),
    Border("tables (parquet)", lay_results_of_before, read_tables, "one/*.parquet", share=10),
    # Which command it is follows from the files; one wants more results than there are.
    Border("results by commands", lay_results, read_by_commands, "one/*", share=2, fails=True),
    Border("history of a baseline", lay_history, gate_by_history, "history.jsonl", share=1),
    Border("training (own state)", lay_training, read_training, "*.json*", writes=True, share=2),
    Border("translation (own state)", lay_journal, read_journal, ".*.journal", writes=True),
    Border("experiment (own state)", lay_experiment, read_cells, "cell.json", share=1),
    Border(
        "question means (parquet)", lay_questions, read_questions, "questions.parquet", share=10
    ),
    Border("vector cache (own state)", evaluate_cached, read_cache, writes=True, share=2),
    Border(
        "corpus (own state)", lay_corpus, read_corpus, "cache/corpora/*/*", writes=True, share=2
    ),
    Border("config (TOML)", lay_config, read_config, "*.toml", writes=True, fails=True, share=1),
)
