from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from evaluation.plain import Signs, plain_measures, settings_of
from sources.serving import serving

from xlir_bench import RunOptions, evaluate
from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import Task, catalogue

LINES: list[Any] = [
    {"image/key": "a", "image/locale": "en", "de": {"caption": ["Ein Hund", "Der Hund"]}, "en": {"caption": ["A dog"]}},
    {"image/key": "b", "de": {"caption": ["Ein Haus"]}, "en": {"caption": ["A house", " ", "Home"]}},
    {"image/key": "c", "en": {"caption": ["The sea"], "caption/tokenized": ["the sea"]}},
]  # fmt: skip


def written(root: Path, lines: list[Any]) -> Path:
    (root / "xm3600").mkdir(parents=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (root / "xm3600" / "captions.jsonl").write_text("\n".join(text), "utf-8")
    return root


def read(root: Path, langs: tuple[str, ...] = ("de", "en"), **request: Any) -> Collection:
    (task,) = catalogue().get(["xm3600"])
    found = RunOptions(data=root, cache=root / "none", langs=langs, **request)
    return load_collection(task, found, Silent())


def relevant(found: Collection, asked: str, sought: str) -> dict[str, list[str]]:
    rows = found.relevance[asked, sought]
    pairs: dict[str, list[str]] = {}
    for query, passage in zip(rows.query, rows.passage, strict=True):
        name = found.queries[asked].ids[query]
        pairs.setdefault(name, []).append(found.passages[sought].ids[passage])
    return pairs


def test_a_caption_finds_the_captions_of_its_image_but_not_itself(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINES))
    assert found.queries["de"].ids == found.passages["de"].ids == ("de:a:0", "de:a:1", "de:b:0")
    assert found.passages["en"].texts == ("A dog", "A house", "Home", "The sea")
    assert relevant(found, "de", "en") == {
        "de:a:0": ["en:a:0"], "de:a:1": ["en:a:0"], "de:b:0": ["en:b:0", "en:b:1"],
    }  # fmt: skip
    assert relevant(found, "de", "de") == {"de:a:0": ["de:a:1"], "de:a:1": ["de:a:0"]}
    assert {lang: rows.tolist() for lang, rows in found.own.items()} == {
        "de": [0, 1, 2], "en": [0, 1, 2, 3],
    }  # fmt: skip
    assert found.queries["en"].clusters == ("a", "b", "b", "c")


def test_a_limit_leaves_all_candidates(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINES), limit=1)
    assert found.queries["de"].ids == ("de:a:0",)
    assert found.own["de"].tolist() == [0]
    assert len(found.passages["de"].ids) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 4: is not JSON"),
        ({"image/key": "d", "en": {"caption": ["\ud800"]}}, "line 4: holds half a character"),
        ({"en": {"caption": []}}, "line 4: 'image/key' is missing"),
        ({"image/key": "a"}, "line 4: 'a' is the image of an earlier line"),
        ({"image/key": "d", "en": {"caption": "A"}}, "line 4: 'en' is no object with a list"),
        ({"image/key": "d", "en": ["A"]}, "line 4: 'en' is no object with a list"),
    ],
)
def test_a_bad_line_is_one_message_with_its_place(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, [*LINES, line]))


def test_a_language_without_captions_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"captions\.jsonl: \$: .*\bquestion\b.*'fr'"):
        read(written(tmp_path, LINES), ("de", "fr"))


def test_all_settings_of_36_languages_are_listed() -> None:
    (task,) = catalogue().get(["xm3600"])
    kinds = [setting.kind for setting in task.settings()]
    assert [kinds.count(kind) for kind in Kind] == [36, 1260, 36]


XTD = {"jp": "ja"}
"""Where XTD10's file names differ from language codes."""


@pytest.fixture
def xtd10(xlir_data: Path, tmp_path: Path) -> Task:
    """XTD10's captions in the layout of Crossmodal-3600, English ones doubled for a monolingual setting."""
    folder = xlir_data / "xtd10"
    images = (folder / "test_image_names.txt").read_text("utf-8").split()
    captions = {
        XTD.get(code := path.stem.rsplit("_", 1)[1], code): path.read_text("utf-8").split("\n")
        for path in sorted(folder.glob("test_1kcaptions_*.txt"))
    }
    lines = [
        {"image/key": image}
        | {lang: {"caption": [rows[n]] * (1 + (lang == "en"))} for lang, rows in captions.items()}
        for n, image in enumerate(images)
    ]
    written(tmp_path, lines)
    (task,) = catalogue().get(["xm3600"])
    files = {lang: next(iter(task.files.values())) for lang in captions}
    stated = {"name": "xtd10", "languages": sorted(captions), "files": files}
    return task.model_copy(update=stated)


def test_all_pairs_of_xtd10_equal_a_plain_computation(xtd10: Task, tmp_path: Path) -> None:
    options = RunOptions(
        cache=None, data=tmp_path, limit=60, measures=("map", "ndcg@10", "recall@1")
    )
    result = evaluate(xtd10, Signs(), options)
    found = settings_of(result)
    assert len(xtd10.languages) == 11
    assert len(found) == 11 + 110 + 11
    collection = load_collection(xtd10, RunOptions(data=tmp_path, cache=tmp_path), Silent())
    vectors = {x: Signs().encode(collection.passages[x].texts, "query") for x in xtd10.languages}
    images = {x: np.array(collection.queries[x].clusters) for x in xtd10.languages}
    for (asked, sought), setting in found.items():
        langs = sorted(xtd10.languages) if sought == "*" else [sought]
        pool = np.concatenate([vectors[x] for x in langs])
        shown = np.concatenate([images[x] for x in langs])
        start = sum(len(vectors[x]) for x in langs if x < asked)
        own = np.full(60, -1) if asked not in langs else start + np.arange(60)
        scores = vectors[asked][:60] @ pool.T
        wanted = []
        for row, (line, image) in enumerate(zip(scores, images[asked], strict=False)):
            order = np.argsort(-line, kind="stable")
            order = order[order != own[row]]
            wanted.append([int(rank) for rank in 1 + np.flatnonzero(shown[order] == image)])
        assert setting.candidates == len(pool) - (asked in langs)
        scored = [ranks for ranks in wanted if ranks]
        assert setting.queries == len(scored)
        if scored:
            plain = plain_measures(np.array(scored))
            for measure, value in setting.measures.items():
                assert value == pytest.approx(plain[measure], abs=1e-6), (asked, sought, measure)
    assert found["en", "en"].queries == 60
    assert found["de", "de"].queries == 0


def test_ndcg_of_captions_equals_that_of_pytrec_eval(tmp_path: Path) -> None:
    written(tmp_path, LINES)
    (task,) = catalogue().get(["xm3600"])
    options = RunOptions(langs=("de", "en"), cache=None, data=tmp_path, save_run=10)
    result = evaluate(task, Signs(), options)
    run, judged = result.tables["run"].to_pandas(), result.tables["ranks"].to_pandas()
    values = result.table("queries").to_pandas()
    pool = run[(run.kind == "multilingual") & (run.query_lang == "de")]
    assert not (pool.query_id == pool.passage_id).any()
    mine = judged[(judged.kind == "multilingual") & (judged.query_lang == "de")]
    relevant = {
        q: dict.fromkeys(rows.passage_id, 1) for q, rows in mine.groupby("query_id", observed=True)
    }
    ranked = {
        q: {p: -float(r) for p, r in zip(rows.passage_id, rows["rank"], strict=True)}
        for q, rows in pool.groupby("query_id", observed=True)
    }
    theirs = pytrec_eval.RelevanceEvaluator(relevant, {"ndcg_cut"}).evaluate(ranked)
    ours = values[
        (values.kind == "multilingual")
        & (values.query_lang == "de")
        & (values.measure == "ndcg@10")
    ]
    for name, value in zip(ours.query_id, ours.value, strict=True):
        assert value == pytest.approx(theirs[name]["ndcg_cut_10"], abs=1e-6)


def test_an_approximate_index_leaves_the_query_out_too(tmp_path: Path) -> None:
    written(tmp_path, LINES)
    (task,) = catalogue().get(["xm3600"])
    exact, found = (
        evaluate(
            task, Signs(), RunOptions(langs=("de", "en"), cache=None, data=tmp_path, index=index)
        )
        for index in ("Flat", "HNSW32")
    )
    assert found.record.settings == exact.record.settings


def test_the_packed_file_is_fetched_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("captions.jsonl", '{"image/key": "1", "en": {"caption": ["a", "b"]}}\n')
    with serving({"/captions.zip": body.getvalue(), "/empty.zip": b"not a zip"}) as server:
        task = _packed_at(f"{server.url}/captions.zip")
        request = RunOptions(data=None, cache=tmp_path / "cache", langs=("en",))
        found = load_collection(task, request, Silent())
        assert found.passages["en"].texts == ("a", "b")
        (here,) = (tmp_path / "cache/data/xm3600").iterdir()
        assert here.name == "captions.jsonl"
        damaged = RunOptions(data=None, cache=tmp_path / "other", langs=("en",))
        with pytest.raises(
            OutOfReachError, match=r"/empty\.zip.*\bwhole\b.*captions\.jsonl.*--data"
        ):
            load_collection(_packed_at(f"{server.url}/empty.zip"), damaged, Silent())


def _packed_at(url: str) -> Task:
    (task,) = catalogue().get(["xm3600"])
    files = {name: f.model_copy(update={"url": url}) for name, f in task.files.items()}
    return task.model_copy(update={"files": files})
