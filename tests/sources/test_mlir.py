from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import Signs, plain_measures, settings_of

from xlir_bench import RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

QUERIES: list[Any] = [
    {"_id": "de_q_1a", "text": "Wer tanzt?", "lang": "de"},
    {"_id": "de_q_2b", "text": "Was ist weiß?", "lang": "de"},
    {"_id": "en_q_1a", "text": "Who dances?", "lang": "en"},
    {"_id": "en_q_3c", "text": "Who sings?", "lang": "en"},
]
CORPUS: list[Any] = [
    {"doc_en_0": {"text": "Bees dance.", "lang": "en"}},
    {
        "doc_de_1": {"text": "Bienen tanzen.", "lang": "de"},
        "doc_de_2": {"text": "Salz ist weiß.", "lang": "de"},
    },
]
QRELS: list[Any] = [
    {"de_q_1a": {"doc_en_0": 1, "doc_de_1": 2}},
    {"de_q_2b": {"doc_de_2": 1, "doc_en_0": 0}},
    {"en_q_1a": {"doc_en_0": 1, "doc_de_1": 1}},
]


def write(folder: Path, queries: Any = QUERIES, corpus: Any = CORPUS, qrels: Any = QRELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in (("queries", queries), ("corpus", corpus), ("qrels", qrels)):
        lines = [e if isinstance(e, str) else json.dumps(e, ensure_ascii=False) for e in entries]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder


def read(folder: Path, **options: Any) -> Collection:
    (task,) = catalogue().get([f"mlir:{folder}"])
    return load_collection(task, RunOptions(cache=None, data=None, **options), Silent())


def relevant(found: Collection, asked: str, sought: str) -> dict[str, dict[str, int]]:
    """By question, the relevant passages and their grades."""
    answers: dict[str, dict[str, int]] = {}
    rows = found.relevance[asked, sought]
    for q, p, grade in zip(rows.query, rows.passage, rows.grade, strict=True):
        name = found.passages[sought].ids[p]
        answers.setdefault(found.queries[asked].ids[q], {})[name] = int(grade)
    return answers


def test_translations_share_the_part_of_their_ids_behind_the_language(tmp_path: Path) -> None:
    found = read(write(tmp_path / "Bees_test"))
    assert found.queries["de"].ids == ("1a", "2b")
    assert found.queries["en"].ids == ("1a",)  # nothing answers 3c
    assert found.passages["de"].ids == ("de:doc_de_1", "de:doc_de_2")
    assert relevant(found, "de", "de") == {"1a": {"de:doc_de_1": 2}, "2b": {"de:doc_de_2": 1}}
    assert relevant(found, "de", "en") == {"1a": {"en:doc_en_0": 1}}
    assert relevant(found, "en", "de") == {"1a": {"de:doc_de_1": 1}}
    assert found.queries["de"].clusters == ("doc_de_1", "doc_de_2")
    assert found.queries["en"].clusters == ("doc_de_1",)
    assert (found.parallel, found.cluster) == (True, "document")


def test_ids_without_the_q_are_read_alike(tmp_path: Path) -> None:
    queries = [row | {"_id": row["_id"].replace("_q_", "_")} for row in QUERIES]
    qrels = [{k.replace("_q_", "_"): v for k, v in row.items()} for row in QRELS]
    found = read(write(tmp_path / "x", queries, CORPUS, qrels))
    assert found.queries["de"].ids == ("1a", "2b")


def test_a_folder_has_its_settings_and_some_languages_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "Bees_test")
    (task,) = catalogue().get([f"mlir:{tmp_path / 'Bees_test'}"])
    assert task.name == "bees-test"
    assert [str(s) for s in task.settings()] == ["de-de", "en-en", "de-en", "en-de", "de-*", "en-*"]
    found = read(tmp_path / "Bees_test", langs=("en",))
    assert (list(found.queries), list(found.passages)) == (["en"], ["en"])
    assert relevant(found, "en", "en") == {"1a": {"en:doc_en_0": 1}}


def test_questions_may_be_in_other_languages_than_the_passages(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", QUERIES[2:], CORPUS, QRELS[2:])
    (task,) = catalogue().get([f"mlir:{folder}"])
    assert (task.languages, task.passage_languages) == (["en"], ["de", "en"])
    assert [str(s) for s in task.settings()] == ["en-en", "en-de", "en-*"]
    found = read(folder)
    assert (list(found.queries), list(found.passages)) == (["en"], ["de", "en"])
    options = RunOptions(cache=None, data=None, alignment=True)
    assert len(evaluate(task, Signs(), options).record.settings) == 3


def test_queries_of_a_language_that_is_sought_alone_are_not_asked(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"doc_fr_3": {"text": "Sel.", "lang": "fr"}}]
    found = read(write(tmp_path / "x", QUERIES, corpus), langs=("en",))
    assert (list(found.queries), list(found.passages)) == (["en"], ["de", "en", "fr"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": [*QUERIES, QUERIES[0]]}, "queries.jsonl: line 5: 'de_q_1a' is the id of an"),
        ({"queries": [*QUERIES, "{"]}, "queries.jsonl: line 5: is not JSON"),
        ({"queries": [*QUERIES, "[]"]}, "line 5: is no JSON object"),
        ({"queries": [*QUERIES, {"_id": "en_9", "lang": "en", "text": " "}]}, "'text' is missing"),
        ({"queries": [*QUERIES, {"_id": "en_9", "text": "Why?"}]}, "line 5: 'lang' is missing"),
        ({"queries": [*QUERIES, {"lang": "en", "text": "Why?"}]}, "line 5: '_id' is missing"),
        (
            {
                "queries": [*QUERIES, {"_id": "en_1a", "lang": "en", "text": "Why?"}],
                "qrels": [*QRELS, {"en_1a": {"doc_en_0": 1}}],
            },
            "'1a' is the id of another question of 'en'",
        ),
        ({"corpus": [*CORPUS, CORPUS[0]]}, "corpus.jsonl: line 3: 'doc_en_0' is the id of an"),
        ({"corpus": [*CORPUS, {"d": "text"}]}, "line 3: 'd' is no object with 'text' and 'lang'"),
        ({"corpus": [*CORPUS, {"d": {"text": "", "lang": "en"}}]}, "line 3: 'text' is missing"),
        ({"corpus": [*CORPUS, {"d": {"text": "x"}}]}, "line 3: 'lang' is missing"),
        ({"corpus": [*CORPUS, '{"d": {"text": "x", "lang"']}, "corpus.jsonl: line 3: is not JSON"),
        ({"qrels": [*QRELS, {"xx": {"doc_en_0": 1}}]}, "line 4: query 'xx' is not among the queries"),
        ({"qrels": [*QRELS, {"en_q_3c": {"d": 1}}]}, "line 4: passage 'd' is not in the corpus"),
        ({"qrels": [*QRELS, {"en_q_3c": {"doc_en_0": 0.5}}]}, "line 4: grade '0.5' is no whole"),
        ({"qrels": [*QRELS, {"en_q_3c": ["doc_en_0"]}]}, "'en_q_3c' has no object of passages"),
        ({"qrels": [*QRELS, QRELS[0]]}, "line 4: query 'de_q_1a' was judged in an earlier line"),
        ({"qrels": QRELS[:2]}, "qrels.jsonl: $: no query of 'en' has a relevant passage"),
        ({"corpus": [*CORPUS, {"d": {"text": "x", "lang": ""}}]}, "line 3: 'lang' is missing"),
    ],
)  # fmt: skip
def test_a_fault_is_one_message_with_its_place(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    good = {"queries": QUERIES, "corpus": CORPUS, "qrels": QRELS}
    with pytest.raises(InputError, match=r"^1 fault\b.*'x'") as caught:
        read(write(tmp_path / "x", **good | changed))
    assert message in str(caught.value)


def test_a_language_that_a_task_does_not_name_is_no_silent_loss(tmp_path: Path) -> None:
    """What lies at `main` may change: a pool that grew must not be cut to the languages that were known."""
    rows = [{"_id": f"{x}_1", "text": "?", "lang": x} for x in ("de", "en", "nl")]
    folder = tmp_path / "mlir" / "MultiEup_test"
    write(folder, rows, CORPUS, [{row["_id"]: {"doc_en_0": 1}} for row in rows])
    (task,) = catalogue().get(["mlir-multieup"])
    with pytest.raises(InputError, match=r"line 3: 'nl_1' .*'nl'"):
        load_collection(task, RunOptions(data=tmp_path, cache=None, langs=("de", "en")), Silent())


@pytest.mark.parametrize("lacking", ["queries", "corpus", "qrels"])
def test_a_folder_without_a_file_is_one_line(tmp_path: Path, lacking: str, capsys: Any) -> None:
    (write(tmp_path / "x") / f"{lacking}.jsonl").unlink()
    assert exit_code(["run", "--task", f"mlir:{tmp_path / 'x'}", "--model", "builtin:random"]) == 2
    assert re.search(rf"mlir:.*\bwants {lacking}\.jsonl\b", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("queries", "corpus", "message"),
    [
        ([{"_id": "q_1", "text": "?"}], CORPUS, "no query in queries.jsonl names its 'lang'"),
        (["not an object"], CORPUS, "queries.jsonl: line 1: is not JSON"),
        (QUERIES, [{"d": {"text": "x"}}], "no passage in corpus.jsonl names its 'lang'"),
    ],
)
def test_a_folder_that_names_no_language_is_told(
    tmp_path: Path, queries: Any, corpus: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "x", queries, corpus))


def test_the_tasks_on_the_hub_have_the_settings_of_their_languages() -> None:
    names = ["mlir-belebele", "mlir-xquad", "mlir-mlqa", "mlir-multieup"]
    tasks = catalogue().get(names)
    counts = [[task.setting_counts()[kind] for kind in Kind] for task in tasks]
    assert counts == [[14, 182, 14], [8, 56, 8], [7, 42, 7], [6, 30, 6]]
    for task, folder in zip(tasks, ("Belebele", "XQuAD", "MLQA", "MultiEup"), strict=True):
        assert task.measures[0] == "ndcg@20"
        for file in task.files.values():
            assert f"/datasets/yjoonjang/mlir-benchmarks/resolve/main/MMLIR/{folder}_" in file.url


def test_xquad_in_this_layout_equals_a_plain_computation(xlir_data: Path, tmp_path: Path) -> None:
    """As the script of the benchmark's makers writes it, from the same files: ids sorted as text."""
    langs = ("ar", "en", "zh")
    queries, corpus, answers = {}, {}, {}
    for lang in langs:
        content = json.loads((xlir_data / f"lareqa/xquad-r/{lang}.json").read_text("utf-8"))
        for a, piece in enumerate(content["data"]):
            for p, part in enumerate(piece["paragraphs"]):
                corpus[f"{lang}_{a}_{p}"] = {"text": part["context"], "lang": lang}
                for qa in part["qas"]:
                    queries[f"{lang}_{qa['id']}"] = {"text": qa["question"], "lang": lang}
                    answers.setdefault(qa["id"], {})[f"{lang}_{a}_{p}"] = 1
    folder = write(
        tmp_path / "XQuAD_test",
        [{"_id": name, **queries[name]} for name in sorted(queries)],
        [{name: corpus[name]} for name in sorted(corpus)],
        [{name: answers[name[3:]]} for name in sorted(queries)],
    )
    (task,) = catalogue().get([f"mlir:{folder}"])
    assert task.measures[0] == "ndcg@20"
    result = evaluate(task, Signs(), RunOptions(cache=None, data=None, measures=MEASURES))
    assert len(result.record.settings) == 12
    for (asked, sought), setting in settings_of(result).items():
        pool = langs if sought == "*" else (sought,)
        names = [name for lang in pool for name in sorted(corpus) if name.startswith(f"{lang}_")]
        wanted = plain(
            [queries[name]["text"] for name in sorted(queries) if name.startswith(f"{asked}_")],
            [corpus[name]["text"] for name in names],
            [answers[name[3:]] for name in sorted(queries) if name.startswith(f"{asked}_")],
            names,
        )
        assert (setting.queries, setting.candidates) == (1190, 240 * len(pool))
        assert {m: setting.measures[m] for m in wanted} == pytest.approx(wanted, abs=1e-6)


MEASURES = ("map", "ndcg@10", "ndcg@20", "recall@100")


def plain(
    queries: list[str], passages: list[str], answers: list[Iterable[str]], names: list[str]
) -> dict[str, float]:
    """Measures by a full stable sort of all scores."""
    scores = Signs().encode(queries, "query") @ Signs().encode(passages, "passage").T
    place = {name: row for row, name in enumerate(names)}
    order = np.argsort(-scores, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
    ranks = np.array(
        [rank[q, [place[n] for n in own if n in place]] for q, own in enumerate(answers)]
    )
    ideal = sum(1 / np.log2(place + 2) for place in range(ranks.shape[1]))
    gains = np.where(ranks <= 20, 1 / np.log2(ranks + 1), 0).sum(axis=1)
    found = plain_measures(ranks)
    return {m: found[m] for m in ("map", "ndcg@10", "recall@100")} | {
        "ndcg@20": float(np.mean(gains / ideal))
    }
