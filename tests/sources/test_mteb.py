from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.conftest import Said
from evaluation.plain import Signs, settings_of
from sources.serving import FileServer, serving
from sources.test_mlir import MEASURES, plain, relevant

from xlir_bench import RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Silent, TextsOnDisk
from xlir_bench.rendering.document import render
from xlir_bench.reports.tables import report
from xlir_bench.sources import load_collection
from xlir_bench.sources.mteb import BLANK, PUT_TOGETHER
from xlir_bench.tasks import Task, catalogue

REPO, COMMIT = "mteb/BeesRetrieval", "c" * 40
Rows = Sequence[dict[str, Any]]


def put(folder: Path, subset: str, split: str = "test", **parts: Rows) -> Path:
    """Parts of a subset as parquet, named as mteb uploads them; of a corpus two files."""
    for part, found in parts.items():
        config = f"{subset}-{part}" if subset else part
        count = 2 if part == "corpus" else 1
        for number in range(count):
            path = folder / config / f"{split}-{number:05d}-of-{count:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(list(found[number::count])), path)
    return folder


def passages(*texts: str, prefix: str = "c") -> Rows:
    return [{"id": f"{prefix}{n}", "title": "", "text": text} for n, text in enumerate(texts)]


def queries(*texts: str) -> Rows:
    return [{"id": f"q{n}", "text": text} for n, text in enumerate(texts)]


def qrels(*pairs: tuple[str, str, Any]) -> Rows:
    return [{"query-id": q, "corpus-id": p, "score": score} for q, p, score in pairs]


ONE = qrels(("q0", "c0", 1), ("q1", "c1", 2), ("q1", "c0", 0))


def translated(folder: Path) -> Path:
    """Two languages whose judgements are the same."""
    put(folder, "de", corpus=passages("Bienen tanzen.", "Salz."), queries=queries("Wer?", "Was?"))
    put(folder, "en", corpus=passages("Bees dance.", "Salt."), queries=queries("Who?", "What?"))
    return put(put(folder, "de", qrels=ONE), "en", qrels=ONE)


def paired(folder: Path) -> Path:
    """As XPQA: of each subset the language of the corpus first; the English corpora differ."""
    put(folder, "ara-ara", corpus=passages("نحل", "ملح"), queries=queries("من؟", "ما؟"), qrels=ONE)
    put(
        folder,
        "ara-eng",
        corpus=passages("نحل", "ملح"),
        queries=queries("Who?", "What?"),
        qrels=ONE,
    )
    put(
        folder, "eng-ara", corpus=passages("Bees", "Salt"), queries=queries("من؟", "ما؟"), qrels=ONE
    )
    other = {"corpus": passages("Tea", "Bees", "Oil"), "queries": queries("Wer?", "Wo?")}
    return put(folder, "eng-deu", qrels=qrels(("q0", "c1", 1), ("q1", "c2", 1)), **other)


def task_of(folder: Path, langs: Sequence[str] | None = None) -> Task:
    return catalogue().get([f"mteb:{folder}"], langs)[0]


def read(folder: Path, **options: Any) -> Collection:
    asked = RunOptions(cache=None, data=None, **options)
    return load_collection(task_of(folder, options.get("langs")), asked, Silent())


def test_queries_of_all_languages_that_are_judged_alike_are_translations(tmp_path: Path) -> None:
    task = task_of(translated(tmp_path / "Bees"))
    assert [str(s) for s in task.settings()] == ["de-de", "en-en", "de-en", "en-de", "de-*", "en-*"]
    found = read(tmp_path / "Bees")
    assert found.parallel
    assert found.queries["de"].ids == found.queries["en"].ids == ("q0", "q1")
    assert found.queries["de"].clusters == ("q0", "q1")
    assert relevant(found, "de", "en") == {"q0": {"en:c0": 1}, "q1": {"en:c1": 2}}
    assert relevant(found, "en", "en") == {"q0": {"en:c0": 1}, "q1": {"en:c1": 2}}


def test_languages_that_are_judged_apart_have_no_pool(tmp_path: Path) -> None:
    folder = put(translated(tmp_path / "Bees"), "en", qrels=ONE[:2])
    task = task_of(folder)
    assert [str(s) for s in task.settings()] == ["de-de", "en-en"]
    found = read(folder)
    assert set(found.relevance) == {("de", "de"), ("en", "en")}
    assert not found.parallel


def test_of_a_pair_the_language_of_the_corpus_comes_first(tmp_path: Path) -> None:
    task = task_of(paired(tmp_path / "Pairs"))
    assert task.languages == ["ara", "deu", "eng"]
    assert task.passage_languages == ["ara", "eng"]
    names = ["ara-ara", "ara-eng", "deu-eng", "eng-ara", "ara-*"]
    assert [str(s) for s in task.settings()] == names
    assert [task.setting_counts()[kind] for kind in Kind] == [1, 3, 1]


def test_what_subsets_have_alike_is_there_once(tmp_path: Path) -> None:
    found = read(paired(tmp_path / "Pairs"))
    assert found.passages["ara"].texts == ("نحل", "ملح")
    assert found.passages["eng"].ids == ("eng:c0", "eng:c1", "eng:eng-deu/c0", "eng:c2")
    assert found.passages["eng"].texts == ("Bees", "Salt", "Tea", "Oil")
    assert found.queries["ara"].texts == ("من؟", "ما؟")
    assert relevant(found, "ara", "ara") == {"q0": {"ara:c0": 1}, "q1": {"ara:c1": 2}}
    assert relevant(found, "ara", "eng") == {"q0": {"eng:c0": 1}, "q1": {"eng:c1": 2}}
    assert relevant(found, "deu", "eng") == {"q0": {"eng:c0": 1}, "q1": {"eng:c2": 1}}
    assert found.notes.count(f"{PUT_TOGETHER}: 4 (eng 4)") == 1


def test_some_languages_are_asked_of_the_same_candidates(tmp_path: Path) -> None:
    folder = paired(tmp_path / "Pairs")
    assert [str(s) for s in task_of(folder).settings(["ara"])] == ["ara-ara", "ara-eng", "ara-*"]
    whole, part = read(folder), read(folder, langs=("deu",))
    assert list(part.queries) == ["deu"]
    assert part.passages == whole.passages
    assert part.relevance["deu", "eng"].passage.tolist() == [0, 3]
    record = evaluate(task_of(folder), Signs(), RunOptions(langs=("ara",), cache=None)).record
    assert [s.candidates for s in record.settings] == [2, 4, 6]


def test_a_large_corpus_lies_on_disk_and_ranks_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(paired(tmp_path / "Pairs"))
    options = RunOptions(cache=tmp_path / "cache", data=None, save_run=2)
    whole = evaluate(task, Signs(), options)
    monkeypatch.setattr("xlir_bench.sources.mteb.LARGE", 0)
    found = load_collection(task, options, Silent())
    assert isinstance(found.passages["ara"].texts, TextsOnDisk)
    assert not isinstance(found.passages["eng"].texts, TextsOnDisk)  # two that differ
    again = evaluate(task, Signs(), options)
    assert again.record.settings == whole.record.settings
    assert again.tables["ranks"].to_pylist() == whole.tables["ranks"].to_pylist()
    put(tmp_path / "Pairs", "ara-ara", qrels=[*ONE, *qrels(("q0", "c7", 1))])
    with pytest.raises(InputError, match=r"'c7'.*'q0'.*\bcorpus\b"):
        load_collection(task_of(tmp_path / "Pairs"), options, Silent())


def test_a_text_that_one_file_repeats_stays_twice(tmp_path: Path) -> None:
    twice = {"corpus": passages("Bees", "Bees"), "queries": queries("Who?", "What?"), "qrels": ONE}
    put(tmp_path / "x", "eng-deu", **twice)
    put(tmp_path / "x", "eng-eng", **twice)
    assert read(tmp_path / "x").passages["eng"].ids == ("eng:c0", "eng:c1")


@pytest.mark.parametrize("judged", ["data", "default", "qrels"])
def test_a_data_set_without_subsets_is_in_the_language_that_is_named(
    tmp_path: Path, judged: str
) -> None:
    parts = {"corpus": passages("Bees dance.", "Salt."), "queries": queries("Who?", "What?")}
    folder = put(tmp_path / "x", "", **parts, **{judged: ONE})
    assert [str(s) for s in task_of(folder).settings()] == ["und-und"]
    found = read(folder, langs=("en",))
    assert relevant(found, "en", "en") == {"q0": {"en:c0": 1}, "q1": {"en:c1": 2}}


def test_the_judgements_that_are_taken_are_those_of_the_test(tmp_path: Path) -> None:
    folder = translated(tmp_path / "Bees")
    for lang in ("de", "en"):
        put(folder, lang, "train", qrels=qrels(("q0", "c1", 1)), queries=queries("Old?"))
    assert relevant(read(folder), "de", "de") == {"q0": {"de:c0": 1}, "q1": {"de:c1": 2}}
    put(folder, "fi", "train", corpus=passages("Suola"), queries=queries("Mikä?"))
    put(folder, "fi", "train", qrels=qrels(("q0", "c0", 1)))
    assert task_of(folder).languages == ["de", "en", "fi"]


def test_json_lines_and_tsv_are_read_in_folders_of_languages(tmp_path: Path) -> None:
    for lang in ("de", "en"):
        folder = tmp_path / "x" / lang
        (folder / "qrels").mkdir(parents=True)
        texts = {"corpus": passages(f"{lang} Bees", "Salt"), "queries": queries("Who?", "What?")}
        for name, found in texts.items():
            lines = "".join(json.dumps({"_id": row["id"]} | row) + "\n" for row in found)
            (folder / f"{name}.jsonl").write_text(lines, "utf-8")
        lines = "".join("\t".join(map(str, row.values())) + "\n" for row in ONE)
        (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines, "utf-8")
    found = read(tmp_path / "x")
    assert found.parallel
    assert relevant(found, "de", "en") == {"q0": {"en:c0": 1}, "q1": {"en:c1": 2}}


def test_scores_may_be_floats_and_titles_come_first(tmp_path: Path) -> None:
    corpus = [{"_id": "c0", "title": "Bees", "text": "dance."}, {"_id": "c1", "text": ""}]
    floats = [row | {"score": float(row["score"])} for row in ONE]
    folder = put(tmp_path / "x", "en", corpus=corpus, queries=queries("?", "??"), qrels=floats)
    found = read(folder)
    assert found.passages["en"].texts == ("Bees dance.", "")
    assert f"{BLANK}: 1 (en 1)" in found.notes
    assert relevant(found, "en", "en")["q1"] == {"en:c1": 2}


def test_judgements_of_queries_that_are_not_there_are_counted(tmp_path: Path) -> None:
    folder = put(translated(tmp_path / "x"), "en", qrels=[*ONE, *qrels(("train7", "c0", 1))])
    (note,) = (note for note in read(folder).notes if "not among the queries" in note)
    assert note.endswith(": 1 (en 1)")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": [*queries("?", "?"), queries("?")[0]]}, "row 3: 'q0' is the id of an earlier"),
        ({"queries": [*queries("?"), {"id": "q1", "text": " "}]}, "row 2: 'text' is missing or no"),
        ({"queries": [{"text": "?"}]}, "row 1: 'id' is missing or no text"),
        ({"corpus": [*passages("Bees", "Salt"), *passages("Bees")]}, "'c0' is the id of an earlier"),
        ({"corpus": [{"id": "c0", "title": "Bees"}, {"id": "c1", "title": "x"}]}, "'text' is missing"),
        ({"corpus": [{"id": "c0", "text": ["a"]}, {"id": "c1", "text": ["x"]}]}, "'text' is missing"),
        ({"qrels": [*ONE, *qrels(("q0", "c9", 1))]}, "passage 'c9', relevant to query 'q0', is not"),
        ({"qrels": [*ONE, *qrels(("q0", "c0", 2))]}, "row 4: 'q0' and 'c0' have two scores"),
        ({"qrels": qrels(("q0", "c0", 0.5))}, "row 1: grade '0.5' is no whole number"),
        ({"qrels": qrels(("q0", "c0", 0))}, "$: no query of 'en' has a relevant passage"),
        ({"qrels": [{"query-id": "q0", "score": 1}]}, "row 1: 'corpus-id' is missing or no text"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(
    tmp_path: Path, changed: dict[str, Rows], message: str
) -> None:
    parts = {"corpus": passages("Bees", "Salt"), "queries": queries("?", "?"), "qrels": ONE}
    with pytest.raises(InputError, match=r"^[12] faults?\b.*'x'") as caught:
        read(put(tmp_path / "x", "en", **parts | changed))
    assert message in str(caught.value)
    assert ".parquet: " in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: put(folder, "en", corpus=passages("x")), "has no subset with corpus, queries"),
        (lambda folder: put(translated(folder), "en", instruction=queries("?")), "has instructions"),
        (lambda folder: folder.mkdir(), "has no subset with corpus"),
    ],
)  # fmt: skip
def test_a_folder_without_the_layout_is_one_line(
    tmp_path: Path, make: Any, message: str, capsys: Any
) -> None:
    make(tmp_path / "x")
    assert exit_code(["run", "--task", f"mteb:{tmp_path / 'x'}", "--model", "builtin:random"]) == 2
    assert message in capsys.readouterr().err


def test_a_place_that_is_neither_folder_nor_data_set_is_told(capsys: Any) -> None:
    assert exit_code(["run", "--task", "mteb:no/such/folder"]) == 2
    assert re.search("mteb:no/such/folder: .*owner/name@revision", capsys.readouterr().err)


def hub(folder: Path) -> dict[str, bytes]:
    """What the hub answers that has the files of this folder as a data set."""
    bodies = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.parquet"))
    }
    tree = [{"type": "file", "path": "README.md", "size": 5, "oid": "0" * 40}] + [
        {
            "type": "file",
            "path": name,
            "size": len(body),
            "oid": "0" * 40,
            "lfs": {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134},
        }
        for name, body in bodies.items()
    ]
    files = {f"/datasets/{REPO}/resolve/{COMMIT}/{name}": body for name, body in bodies.items()}
    listed = f"/api/datasets/{REPO}/tree/{COMMIT}?recursive=true&expand=false"
    stated = {"id": REPO, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0}
    return files | {
        listed: json.dumps(tree).encode(),
        f"/api/datasets/{REPO}": json.dumps(stated).encode(),
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(hub(paired(tmp_path / "made"))) as found:
        yield found


def test_a_data_set_of_the_hub_is_pinned_when_it_is_first_listed(
    tmp_path: Path, server: FileServer, xlir: Callable[..., Said]
) -> None:
    asked = ("run", "--task", f"mteb:{REPO}", "--model", "builtin:ngram", "--json")
    first = xlir(server.url, *asked, "--output", str(tmp_path / "results"))
    assert first.code == 0, first.err
    record = json.loads(first.out)
    assert record["task"]["name"] == "mteb-beesretrieval"
    assert record["task"]["title"] == REPO
    assert len(record["settings"]) == 5
    # What is the same in two subsets comes once.
    fetched = [path for path, _ in server.asked if path.endswith(".parquet")]
    assert len(fetched) == len(set(fetched))
    assert sum("ara-ara-corpus" in path or "ara-eng-corpus" in path for path in fetched) == 2
    server.content.clear()
    again = xlir(server.url, *asked, "--offline", "--output", str(tmp_path / "again"))
    assert again.code == 0, again.err
    assert json.loads(again.out)["task"] == record["task"]


def test_what_was_never_listed_cannot_be_read_offline(
    tmp_path: Path, server: FileServer, xlir: Callable[..., Said]
) -> None:
    said = xlir(server.url, "run", "--task", f"mteb:{REPO}", "--offline")
    assert said.code == 3
    assert f"data fetch mteb:{REPO}`" in said.err
    assert not server.asked
    fetched = xlir(server.url, "data", "fetch", f"mteb:{REPO}@{COMMIT}")
    assert fetched.code == 0, fetched.err
    assert f"/api/datasets/{REPO}" not in [path for path, _ in server.asked]


def test_a_data_set_that_is_not_there_is_one_line(
    tmp_path: Path, server: FileServer, xlir: Callable[..., Said]
) -> None:
    said = xlir(server.url, "run", "--task", "mteb:mteb/NoSuchRetrieval")
    assert said.code == 3
    for fact in (" mteb/NoSuchRetrieval ", "hf auth login", " mteb:FOLDER"):
        assert fact in said.err
    assert "Traceback" not in said.err


def topic(number: str, title: str) -> dict[str, Any]:
    """A topic of NeuCLIR as TREC publishes it."""
    other = {"lang": "rus", "source": "google translation", "topic_title": "Пчёлы"}
    own = {"lang": "eng", "source": "original", "topic_title": title, "topic_narrative": "Long."}
    return {"topic_id": number, "topics": [other, own | {"topic_description": f"About {title}"}]}


def test_neuclir_asks_in_english_of_the_pool_of_both_languages(tmp_path: Path) -> None:
    home = tmp_path / "neuclir-2022"
    (home).mkdir()
    lines = "".join(json.dumps(topic(str(n), x)) + "\n" for n, x in enumerate(("bees", "salt")))
    # The size that the task states is that of the original.
    (home / "topics.jsonl").write_text(lines, "utf-8")
    put(home, "rus", corpus=passages("Пчёлы", "Соль"), qrels=qrels(("0", "c0", 3)))
    put(home, "zho", corpus=passages("蜜蜂", "盐"), qrels=qrels(("0", "c0", 1), ("1", "c1", 1)))
    (task,) = catalogue().get(["neuclir-2022"])
    assert [str(s) for s in task.settings()] == ["eng-rus", "eng-zho", "eng-*"]
    options = RunOptions(data=tmp_path, cache=None, allow_changed_data=True)
    found = load_collection(task, options, Silent())
    assert found.queries["eng"].texts == ("bees About bees", "salt About salt")
    assert list(found.passages) == ["rus", "zho"]
    assert relevant(found, "eng", "rus") == {"0": {"rus:c0": 3}}
    assert relevant(found, "eng", "zho") == {"0": {"zho:c0": 1}, "1": {"zho:c1": 1}}
    result = evaluate(task, Signs(), replace(options, alignment=True))
    assert [(s.queries, s.candidates) for s in result.record.settings] == [(1, 2), (2, 2), (2, 4)]
    assert render(report(result.record))


def test_a_topic_without_its_english_original_is_told(tmp_path: Path) -> None:
    home = tmp_path / "neuclir-2023"
    put(home, "rus", corpus=passages("Соль", "x"), qrels=qrels(("0", "c0", 3)))
    put(home, "zho", corpus=passages("盐", "x"), qrels=qrels(("0", "c0", 1)))
    (home / "topics.jsonl").write_text('{"topic_id": "0", "topics": [{"lang": "eng"}]}\n')
    (task,) = catalogue().get(["neuclir-2023"])
    assert len(task.settings()) == 3
    with pytest.raises(InputError, match=r"line 1: .*'lang'.*'eng'.*'original'"):
        load_collection(
            task, RunOptions(data=tmp_path, cache=None, allow_changed_data=True), Silent()
        )


def test_belebele_in_this_layout_equals_a_plain_computation(
    xlir_data: Path, tmp_path: Path
) -> None:
    langs = ("deu_Latn", "eng_Latn", "zul_Latn")
    texts: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    judged: dict[str, str] = {}
    for lang in langs:
        lines = (xlir_data / "belebele" / f"{lang}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines][:300]
        asked = {f"{row['link']}#{row['question_number']}": row["question"] for row in rows}
        texts[lang] = (
            dict(sorted(asked.items())),
            {row["link"]: row["flores_passage"] for row in rows},
        )
        judged |= {name: name.rpartition("#")[0] for name in asked}
    shared = [q for q in texts["eng_Latn"][0] if all(q in texts[lang][0] for lang in langs)]
    for lang in langs:
        asked, found = texts[lang]
        put(
            tmp_path / "Three", lang,
            corpus=[{"_id": name, "title": "", "text": text} for name, text in found.items()],
            queries=[{"_id": q, "text": asked[q]} for q in shared],
            qrels=qrels(*((q, judged[q], 1) for q in shared)),
        )  # fmt: skip
    result = evaluate(
        task_of(tmp_path / "Three"), Signs(), RunOptions(cache=None, data=None, measures=MEASURES)
    )
    assert len(result.record.settings) == 12
    for (asked_in, sought_in), setting in settings_of(result).items():
        pool = langs if sought_in == "*" else (sought_in,)
        # The two files of a corpus hold every other row.
        order = [(x, name) for x in pool for n in (0, 1) for name in [*texts[x][1]][n::2]]
        wanted = plain(
            [texts[asked_in][0][q].strip() for q in shared],
            [texts[x][1][name].strip() for x, name in order],
            [[(x, judged[q]) for x in pool] for q in shared],
            order,
        )
        assert setting.candidates == len(order)
        found = {m: setting.measures[m] for m in wanted}
        assert found == pytest.approx(wanted, abs=1e-6), (asked_in, sought_in)
    assert np.isfinite([s.measures["ndcg@20"] for s in result.record.settings]).all()
