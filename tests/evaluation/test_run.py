from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

import xlir_bench as xb
from xlir_bench import Kind, Result, RunOptions, evaluate
from xlir_bench.errors import BadVectorsError, InputError, UnknownNameError, XlirError
from xlir_bench.records import POOL
from xlir_bench.tasks import Task, catalogue, tasks_folder

MEASURES = ("map", "mrr", "ndcg@10", "recall@1", "recall@10", "recall@100")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at this machine's cache."""
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))


class Signs:
    """A fixed random encoder: the sign of the sum of a vector for each piece of the text.

    All components are 1/16 or -1/16: every score is exact, whoever computes it, and most are ties.
    """

    name, fingerprint, dimension = "signs", "sha256:" + "5" * 64, 256

    def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
        return np.stack([_signs(text) for text in texts])


@cache
def _signs(text: str) -> np.ndarray:
    words = text.casefold().split()
    pieces = [w[i : i + 3] for w in words for i in range(max(1, len(w) - 2))]
    rows = [zlib.crc32(piece.encode()) % 4096 for piece in pieces]
    return np.where(_table()[rows].sum(axis=0) >= 0, 1, -1).astype(np.float32)


@cache
def _table() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4096, 256)).astype(np.float32)


class Plain:
    """A LAReQA file and its scores, read and computed in the plainest way: the other opinion."""

    def __init__(self, paths: Mapping[str, Path], encoder: Any) -> None:
        self.ids: dict[str, list[str]] = {}
        self.relevant: dict[str, dict[str, int]] = {}
        """By language: the row of the sentence that answers each question."""
        self.queries, self.passages = {}, {}
        for lang, path in sorted(paths.items()):
            questions: dict[str, str] = {}
            answer: dict[str, int] = {}
            sentences: list[str] = []
            for article in json.loads(path.read_text("utf-8"))["data"]:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        start = question["answers"][0]["answer_start"]
                        inside = [a <= start < b for a, b in paragraph["sentence_breaks"]]
                        answer[question["id"]] = len(sentences) + inside.index(True)
                        questions[question["id"]] = question["question"]
                    sentences += paragraph["sentences"]
            self.ids[lang], self.relevant[lang] = list(questions), answer
            self.queries[lang] = self._unit(encoder.encode(list(questions.values()), "query"))
            self.passages[lang] = self._unit(encoder.encode(sentences, "passage"))

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        vectors = vectors.astype(float)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    def _scores(self, query_lang: str, passage_langs: Sequence[str]) -> np.ndarray:
        return (
            self.queries[query_lang]
            @ np.concatenate([self.passages[lang] for lang in passage_langs]).T
        )

    def _answers(self, query_lang: str, passage_langs: Sequence[str]) -> np.ndarray:
        """Positions in the pool: a row a question, a column a language; -1 where there is none."""
        starts = np.cumsum([0, *(len(self.passages[lang]) for lang in passage_langs)])
        found = np.full((len(self.ids[query_lang]), len(passage_langs)), -1)
        for row, name in enumerate(self.ids[query_lang]):
            for column, lang in enumerate(passage_langs):
                if name in self.relevant[lang]:
                    found[row, column] = starts[column] + self.relevant[lang][name]
        return found

    def ranks(self, query_lang: str, passage_langs: Sequence[str]) -> np.ndarray:
        """Of every answer of every question by a full stable sort; 0 where there is none.

        For scores that are whole multiples of 1/256: sixteen bits hold them, and sort fast.
        """
        keys = (self._scores(query_lang, passage_langs) * -256).astype(np.int16)
        order = np.argsort(keys, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, keys.shape[1] + 1)[None], axis=1)
        answers = self._answers(query_lang, passage_langs)
        return np.where(answers < 0, 0, np.take_along_axis(rank, answers, axis=1))

    def bounds(
        self, query_lang: str, passage_langs: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best and the worst rank that rounding leaves open for every answer of every question."""
        scores = self._scores(query_lang, passage_langs)
        answers = self._answers(query_lang, passage_langs)
        best, worst = np.zeros_like(answers), np.zeros_like(answers)
        for row, column in np.argwhere(answers >= 0):
            apart = scores[row] - scores[row, answers[row, column]]
            best[row, column] = 1 + (apart > 2e-7).sum()
            worst[row, column] = (apart > -2e-7).sum()
        return best, worst


def plain_measures(ranks: np.ndarray) -> dict[str, float]:
    """Means over questions with an answer; 0 stands for an answer that there is not."""
    ranks = ranks[ranks.max(axis=1) > 0]
    found = np.sort(np.where(ranks > 0, ranks, np.inf), axis=1)
    count = (ranks > 0).sum(axis=1)
    gains = np.where(found <= 10, 1 / np.log2(found + 1), 0).sum(axis=1)
    ideal = np.cumsum(1 / np.log2(np.arange(10) + 2))[np.minimum(count, 10) - 1]
    values = {
        "map": (np.arange(1, found.shape[1] + 1) / found).sum(axis=1) / count,
        "mrr": 1 / found[:, 0],
        "ndcg@10": gains / ideal,
    }
    values |= {f"recall@{k}": (found <= k).sum(axis=1) / count for k in (1, 10, 100)}
    return {measure: float(np.mean(v)) for measure, v in values.items()}


def assert_equals_plain(result: Result, plain: Plain) -> None:
    """Every measure of every setting, and the rank distance, to 1e-6."""
    spans = {}
    for setting in result.record.settings:
        ranks = plain.ranks(setting.query_lang, setting.passage_langs)
        wanted = plain_measures(ranks)
        assert setting.measures == pytest.approx(wanted, abs=1e-6), (setting, wanted)
        assert setting.queries == (ranks.max(axis=1) > 0).sum()
        if setting.kind == Kind.MULTILINGUAL:
            several = [r[r > 0] for r in ranks if (r > 0).sum() > 1]
            spans[setting.query_lang] = float(np.mean([np.ptp(r) for r in several]))
    distance = result.record.bias["rank_distance"]
    assert distance.by_query_lang == pytest.approx(spans, abs=1e-6)
    assert distance.mean == pytest.approx(np.mean(list(spans.values())), abs=1e-6)
    for kind, measures in result.summary.items():
        mine = [s.measures for s in result.record.settings if s.kind == kind]
        for measure, found in measures.items():
            assert found.mean == pytest.approx(np.mean([m[measure] for m in mine]), abs=1e-9)
            if found.low is not None and found.high is not None:
                assert found.low <= found.mean <= found.high


def mini_files() -> dict[str, Path]:
    (task,) = catalogue().get(["mini"])
    return {lang: tasks_folder() / file.path for lang, file in task.files.items()}


@pytest.fixture(scope="module")
def mini() -> Result:
    return evaluate("mini", "builtin:ngram", RunOptions(cache=None, data=None))


def test_all_132_settings_of_mini_equal_a_plain_computation(mini: Result) -> None:
    assert len(mini.record.settings) == 132
    plain = Plain(mini_files(), xb.load_encoder("builtin:ngram"))
    certain = 0
    for setting in mini.record.settings:
        best, worst = plain.bounds(setting.query_lang, setting.passage_langs)
        highest, lowest = plain_measures(best), plain_measures(worst)
        certain += highest == pytest.approx(lowest, abs=1e-6)
        assert highest["map"] - lowest["map"] < 0.005
        for measure, value in setting.measures.items():
            assert lowest[measure] - 1e-6 <= value <= highest[measure] + 1e-6
        if setting.kind == Kind.MULTILINGUAL:
            span = mini.record.bias["rank_distance"].by_query_lang[setting.query_lang]
            assert (best.max(axis=1) - worst.min(axis=1)).mean() - 1e-6 <= span
            assert span <= (worst.max(axis=1) - best.min(axis=1)).mean() + 1e-6
    assert certain > 66


def test_all_132_settings_with_ties_everywhere_equal_a_plain_computation() -> None:
    result = evaluate("mini", Signs(), RunOptions(cache=None, data=None))
    assert_equals_plain(result, Plain(mini_files(), Signs()))


def test_a_result_says_what_was_evaluated_and_how(mini: Result) -> None:
    record = mini.record
    assert (record.task.name, record.task.cluster, record.task.clusters) == ("mini", "article", 24)
    assert len(record.task.files) == 11
    assert (record.encoder.name, record.encoder.kind) == ("builtin:ngram", "builtin")
    assert record.encoder.dimension == 1024
    assert set(record.bias) == {
        "rank_distance", "top10_language_share", "same_language_preference",
        "map_without_same_language", "parallel_query_agreement",
    }  # fmt: skip
    assert set(record.profile.seconds) == {"read", "encode", "search", "measure"}
    assert record.profile.peak_memory_bytes > 10**7
    assert record.profile.index is None
    assert record.environment.versions["numpy"] == np.__version__
    assert all(0 < s.chance_map < 0.1 for s in record.settings)
    assert set(mini.tables) == {"ranks", "queries"}


def test_an_encoder_that_knows_nothing_is_at_the_chance_level() -> None:
    options = RunOptions(langs=("ar", "de", "en", "zh"), cache=None, data=None)
    record = evaluate("mini", "builtin:random", options).record
    for setting in record.settings:
        assert setting.measures["map"] == pytest.approx(setting.chance_map, abs=0.05)
    distance = record.bias["rank_distance"]
    assert isinstance(distance.mean, float)
    assert isinstance(distance.chance, float)
    assert distance.mean == pytest.approx(distance.chance, rel=0.05)


def small(**options: Any) -> RunOptions:
    return RunOptions(**{"langs": ("de", "en"), "cache": None, "data": None} | options)


@cache
def full_small() -> Result:
    return evaluate("mini", "builtin:ngram", small())


def settings_of(result: Result) -> dict[tuple[str, str], Any]:
    return {
        (s.query_lang, POOL if len(s.passage_langs) > 1 else s.passage_langs[0]): s
        for s in result.record.settings
    }


def test_some_languages_give_the_settings_among_them(mini: Result) -> None:
    found = settings_of(full_small())
    assert list(found) == [
        ("de", "de"), ("en", "en"), ("de", "en"), ("en", "de"), ("de", "*"), ("en", "*"),
    ]  # fmt: skip
    for key in list(found)[:4]:
        assert found[key].measures == pytest.approx(settings_of(mini)[key].measures)
    assert full_small().record.options.langs == ["de", "en"]


def test_languages_asked_for_twice_or_in_another_order_are_the_same_run() -> None:
    again = evaluate("mini", "builtin:ngram", small(langs=("en", "de", "en")))
    assert again.record.settings == full_small().record.settings
    (task,) = catalogue().get(["mini"])
    assert small(langs=("en", "de", "en")).part(task) == small().part(task)


def test_one_language_has_one_setting_and_no_bias() -> None:
    record = evaluate("mini", "builtin:ngram", small(langs=("th",))).record
    assert [(s.kind, s.query_lang) for s in record.settings] == [("monolingual", "th")]
    assert record.bias == {}


@pytest.mark.parametrize("kind", list(Kind))
def test_one_kind_has_the_figures_it_has_in_a_full_run(kind: Kind) -> None:
    found = evaluate("mini", "builtin:ngram", small(kinds=(kind,)))
    wanted = full_small()
    assert found.record.settings == [s for s in wanted.record.settings if s.kind == kind]
    assert found.summary == {kind: wanted.summary[kind]}
    assert found.record.bias == (wanted.record.bias if kind == Kind.MULTILINGUAL else {})


def test_kinds_may_be_named_as_words() -> None:
    found = evaluate("mini", "builtin:ngram", small(kinds=("monolingual",)))
    assert [s.kind for s in found.record.settings] == ["monolingual"] * 2


def test_a_limit_takes_the_first_queries_and_all_candidates() -> None:
    found = settings_of(evaluate("mini", "builtin:ngram", small(limit=5)))
    for key, setting in settings_of(full_small()).items():
        assert found[key].queries == 5
        assert found[key].candidates == setting.candidates


def test_a_limit_gives_the_same_ranks_for_those_queries() -> None:
    part = evaluate("mini", "builtin:ngram", small(limit=5)).tables["ranks"].to_pandas()
    whole = full_small().tables["ranks"].to_pandas()
    keys = ["kind", "query_lang", "query_id", "passage_id"]
    both = part.astype(dict.fromkeys(keys, str)).merge(
        whole.astype(dict.fromkeys(keys, str)), on=keys
    )
    assert len(both) == len(part) == 5 * 2 * 4
    assert (both.rank_x == both.rank_y).all()


def test_sentence_and_context_is_another_text_of_the_same_candidates() -> None:
    found = evaluate("mini", "builtin:ngram", small(candidate="sentence+context"))
    assert found.record.options.candidate == "sentence+context"
    assert found.record.texts["en"].passages == full_small().record.texts["en"].passages
    assert found.score("monolingual") != full_small().score("monolingual")


def test_measures_are_those_that_were_asked_for() -> None:
    found = evaluate("mini", "builtin:ngram", small(measures=("f1@10", "r-precision", "map")))
    for setting in found.record.settings:
        assert list(setting.measures) == ["f1@10", "r-precision", "map"]
    assert found.score("monolingual") == full_small().score("monolingual")
    assert found.record.options.measures == ["f1@10", "r-precision", "map"]


def test_the_seed_moves_intervals_and_no_mean() -> None:
    found = evaluate("mini", "builtin:ngram", small(seed=7))
    assert found.record.settings == full_small().record.settings
    ours, theirs = (r.summary[Kind.MONOLINGUAL]["map"] for r in (found, full_small()))
    assert ours.mean == theirs.mean
    assert (ours.low, ours.high) != (theirs.low, theirs.high)


def test_only_a_run_of_everything_is_a_full_run() -> None:
    (task,) = catalogue().get(["mini"])
    full = RunOptions(cache=None, data=None)
    assert full.part(task) == {}
    assert replace(full, langs=tuple(reversed(task.languages))).part(task) == {}
    assert replace(full, kinds=tuple(Kind), candidate="sentence").part(task) == {}
    assert replace(full, measures=tuple(reversed(MEASURES))).part(task) == {}
    parts = [
        {"langs": ("de",)}, {"kinds": (Kind.MONOLINGUAL,)}, {"limit": 10}, {"index": "HNSW32"},
        {"candidate": "sentence+context"}, {"measures": ("map",)}, {"seed": 1},
    ]  # fmt: skip
    for part in parts:
        assert set(replace(full, **part).part(task)) == set(part)


def test_save_run_keeps_the_best_passages_of_every_query() -> None:
    result = evaluate("mini", "builtin:ngram", small(save_run=7, limit=3))
    run = result.tables["run"].to_pandas()
    groups = run.groupby(["kind", "query_lang", "passage_lang", "query_id"], observed=True)
    assert len(groups) == 3 * 6
    assert (groups["rank"].agg(list).map(tuple) == tuple(range(1, 8))).all()
    ranks = result.tables["ranks"].to_pandas()
    seen = ranks[(ranks["rank"] <= 7) & (ranks.kind == "monolingual")]
    both = seen.merge(run[run.kind == "monolingual"], on=["query_lang", "query_id", "passage_id"])
    assert len(both) == len(seen) > 0
    assert (both.rank_x == both.rank_y).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"langs": ("de", "xx", "engl")}, UnknownNameError, "'engl'.*'xx'.*there are: ar, de"),
        ({"langs": ()}, InputError, "no setting"),
        ({"kinds": ("monolingal", "all")}, UnknownNameError, "did you mean 'monolingual'.*'all'"),
        ({"langs": ("de",), "kinds": (Kind.MULTILINGUAL,)}, InputError, "two languages or more"),
        ({"limit": 0}, InputError, "--limit 0"),
        ({"limit": -3}, InputError, "--limit -3"),
        ({"candidate": "paragraph"}, UnknownNameError, "'paragraph'.*sentence"),
        ({"measures": ("map", "recal@10")}, UnknownNameError, "did you mean 'recall@10'"),
        ({"index": "NSHW"}, InputError, "'NSHW' is not a FAISS factory string"),
        ({"index": "PQ16"}, InputError, r"cannot be built from the \d+ candidates of"),
    ],
)
def test_what_is_asked_wrongly_is_one_message(
    options: dict[str, Any], error: type[XlirError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        evaluate("mini", "builtin:ngram", small(**options))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_an_unknown_task_gets_a_near_miss() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mini'"):
        evaluate("minni", "builtin:ngram", small())


def test_a_function_is_an_encoder() -> None:
    def lengths(texts: list[str], role: str) -> np.ndarray:
        return np.array([[len(text), 1] for text in texts])

    assert evaluate("mini", lengths, small()).record.encoder.dimension == 2


def test_an_encoder_whose_roles_have_vectors_of_different_length_is_one_message() -> None:
    def encode(texts: list[str], role: str) -> np.ndarray:
        return np.ones((len(texts), 3 if role == "query" else 4))

    with pytest.raises(BadVectorsError, match="vectors of 4 numbers"):
        evaluate("mini", encode, small())


def test_an_encoder_of_one_vector_for_everything_does_not_look_good() -> None:
    result = evaluate("mini", lambda texts, role: np.ones((len(texts), 8)), small())
    for setting in result.record.settings:
        assert setting.measures["map"] < 2 * setting.chance_map
        assert setting.measures["recall@1"] < 0.05


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder of vectors for German and English `mini`."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    plain = Plain({lang: mini_files()[lang] for lang in ("de", "en")}, Signs())
    for role, by_lang in (("query", plain.queries), ("passage", plain.passages)):
        for lang, vectors in by_lang.items():
            np.save(folder / f"{role}.{lang}.npy", vectors.astype(np.float16))
    return folder


def test_vectors_that_exist_are_ranked_like_their_encoder(stored: Path) -> None:
    found = evaluate("mini", f"npy:{stored}", small())
    assert found.record.settings == evaluate("mini", Signs(), small()).record.settings


def test_stored_vectors_that_are_no_numbers_are_one_message(stored: Path) -> None:
    """A NaN is lower than nothing: it would be ranked first."""
    vectors = np.load(stored / "query.de.npy")
    vectors[3, 2] = np.nan
    np.save(stored / "query.de.npy", vectors)
    with pytest.raises(BadVectorsError, match="NaN"):
        evaluate("mini", f"npy:{stored}", small())


def test_an_approximate_index_says_how_far_it_is_from_exact() -> None:
    found = evaluate("mini", "builtin:ngram", small(index="IVF8,Flat"))
    part = found.record.profile.index
    assert part is not None
    assert (part.factory, part.depth) == ("IVF8,Flat", 1000)
    for kind in Kind:
        assert 0 < part.recall_of_exact_top100[kind.value] < 1
        lost = found.score(kind) - full_small().score(kind)
        assert part.map_difference[kind.value] == pytest.approx(lost)
    assert (found.tables["ranks"].column("rank").to_numpy() == 0).any()
    assert found.record.options.index == "IVF8,Flat"


def test_an_index_that_loses_nothing_changes_nothing() -> None:
    found = evaluate("mini", "builtin:ngram", small(index="IVF1,Flat"))
    part = found.record.profile.index
    assert part is not None
    assert set(part.recall_of_exact_top100.values()) == {1}
    assert set(part.map_difference.values()) == {0}
    assert found.record.settings == full_small().record.settings
    assert found.record.bias == full_small().record.bias


@pytest.fixture
def apart(tmp_path: Path) -> Task:
    """`mini` in German and English, where the first German questions are asked of nobody else."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (task,) = catalogue().get(["mini"])
    files = {}
    for lang in ("de", "en"):
        stated = json.loads(mini_files()[lang].read_text("utf-8"))
        for article in stated["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    question["id"] += f"-{lang}" if article is not stated["data"][-1] else ""
        (folder / f"{lang}.json").write_text(json.dumps(stated), "utf-8")
        files[lang] = task.files[lang].model_copy(update={"path": f"{lang}.json", "sha256": None})
    return task.model_copy(
        update={"name": "apart", "languages": ["de", "en"], "files": files, "folder": folder}
    )


@pytest.mark.parametrize("index", ["Flat", "HNSW32"])
def test_settings_without_any_answer_are_counted_and_left_out_of_means(
    apart: Task, index: str
) -> None:
    result = evaluate(apart, "builtin:ngram", small(limit=4, index=index, save_run=3))
    found = settings_of(result)
    assert {key: s.queries for key, s in found.items()} == {
        ("de", "de"): 4, ("en", "en"): 4, ("de", "en"): 0, ("en", "de"): 0, ("de", "*"): 4,
        ("en", "*"): 4,
    }  # fmt: skip
    assert found["de", "en"].measures == {}
    assert Kind.CROSS_LINGUAL not in result.summary
    assert any("8 queries in 2 settings have no relevant passage" in n for n in result.record.notes)
    assert "rank_distance" not in result.record.bias
    assert Result(result.record, result.tables).save(Path(str(apart.folder)) / "out")


def test_questions_that_some_languages_lack_are_scored_where_they_have_answers(
    apart: Task,
) -> None:
    result = evaluate(apart, Signs(), small())
    files = {lang: Path(str(apart.folder)) / f"{lang}.json" for lang in ("de", "en")}
    assert_equals_plain(result, Plain(files, Signs()))
    assert settings_of(result)["de", "en"].queries < settings_of(result)["de", "de"].queries


WARM = """
import sys
import xlir_bench as xb
result = xb.evaluate("mini", sys.argv[1], xb.RunOptions(langs=("de", "en"), data=None))
assert result.record.profile.encoded_texts == 0, result.record.profile
heavy = {"torch", "sentence_transformers", "transformers", "faiss", "datasets"} & set(sys.modules)
assert not heavy, heavy
print(result.to_json())
"""


def test_a_run_whose_vectors_are_cached_loads_no_model(tiny_transformer: Path) -> None:
    options = RunOptions(langs=("de", "en"), data=None)
    cold = evaluate("mini", str(tiny_transformer), options)
    assert cold.record.profile.encoded_texts > 300
    done = subprocess.run(
        [sys.executable, "-c", WARM, str(tiny_transformer)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warm = json.loads(done.stdout)
    stated = json.loads(cold.to_json())
    for part in ("task", "encoder", "settings", "summary", "bias", "texts", "notes"):
        assert warm[part] == stated[part]


def test_texts_say_how_the_tokenizer_sees_each_language(tiny_transformer: Path) -> None:
    encoder = xb.load_encoder(str(tiny_transformer))
    texts = evaluate("mini", encoder, small(langs=("th", "zh"))).record.texts
    for lang in ("th", "zh"):
        data = json.loads(mini_files()[lang].read_text("utf-8"))["data"]
        paragraphs = [p for article in data for p in article["paragraphs"]]
        sentences = [s for p in paragraphs for s in p["sentences"]]
        questions = [q["question"] for p in paragraphs for q in p["qas"]]
        asked = encoder.count_tokens(questions, "query")
        given = encoder.count_tokens(sentences, "passage")
        tokens = np.concatenate([asked.tokens, given.tokens])
        found = texts[lang]
        assert (found.queries, found.passages) == (len(questions), len(sentences))
        assert found.tokens_mean == pytest.approx(tokens.mean())
        assert found.query_tokens_mean == pytest.approx(asked.tokens.mean())
        assert found.passage_tokens_mean == pytest.approx(given.tokens.mean())
        assert found.truncated_share == pytest.approx((tokens > 128).mean())
        unknown = asked.unknown.sum() + given.unknown.sum()
        assert found.unknown_share == pytest.approx(unknown / tokens.sum())
    assert texts["zh"].unknown_share > texts["th"].unknown_share


def test_an_encoder_without_a_tokenizer_says_nothing_of_tokens() -> None:
    found = full_small().record.texts["en"]
    assert (found.queries, found.passages) == (72, 145)
    assert (found.tokens_mean, found.truncated_share, found.unknown_share) == (None, None, None)


def test_xquad_r_equals_a_plain_computation_in_all_132_settings(xlir_data: Path) -> None:
    options = RunOptions(cache=None, data=xlir_data)
    result = evaluate("xquad-r", Signs(), options)
    assert len(result.record.settings) == 132
    assert {s.queries for s in result.record.settings} == {1190}
    (task,) = catalogue().get(["xquad-r"])
    plain = Plain({x: xlir_data / file.path for x, file in task.files.items()}, Signs())
    assert_equals_plain(result, plain)
    distance = result.record.bias["rank_distance"]
    assert distance.chance == pytest.approx(10_845.83, abs=0.01)
    assert_equals_pytrec_eval(result, queries=40)


def assert_equals_pytrec_eval(result: Result, queries: int) -> None:
    """Its values for some queries of some settings, fed with the ranks that were found."""
    ranks = result.tables["ranks"].to_pandas()
    values = result.tables["queries"].to_pandas()
    names = {
        "map": "map",
        "mrr": "recip_rank",
        "ndcg@10": "ndcg_cut_10",
        "recall@100": "recall_100",
    }
    for kind, query_lang in (("monolingual", "th"), ("multilingual", "en")):
        mine = ranks[(ranks.kind == kind) & (ranks.query_lang == query_lang)]
        chosen = mine.query_id.unique()[:queries]
        run: dict[str, dict[str, float]] = {}
        relevant: dict[str, dict[str, int]] = {}
        for name, rows in mine[mine.query_id.isin(chosen)].groupby("query_id", observed=True):
            at = dict(zip(rows["rank"], rows["passage_id"], strict=True))
            depth = max(at)
            run[name] = {at.get(r, f"other {r}"): float(depth - r) for r in range(1, depth + 1)}
            relevant[name] = dict.fromkeys(rows["passage_id"], 1)
        judged = pytrec_eval.RelevanceEvaluator(
            relevant, set(names.values()) | {"ndcg_cut", "recall"}
        )
        theirs = judged.evaluate(run)
        ours = values[(values.kind == kind) & (values.query_lang == query_lang)]
        for measure, name in names.items():
            found = ours[ours.measure == measure].set_index("query_id")["value"]
            for query in chosen:
                assert found[query] == pytest.approx(theirs[query][name], abs=1e-6)


def test_mlqa_r_runs_all_56_settings(xlir_data: Path) -> None:
    options = RunOptions(cache=None, data=xlir_data, measures=("mrr", "recall@100"))
    result = evaluate("mlqa-r", "builtin:ngram", options)
    settings = settings_of(result)
    assert len(settings) == 56
    assert settings["en", "en"].queries == 1148
    assert settings["en", "*"].candidates == sum(
        settings[x, x].candidates for x in ("ar", "de", "en", "es", "hi", "vi", "zh")
    )
    assert all(s.measures["recall@100"] > 100 / s.candidates for s in settings.values())
    cross = [s.queries for s in settings.values() if s.kind == Kind.CROSS_LINGUAL]
    assert 0 < min(cross) < max(cross) < 1148
    assert any("are left out of them" in note for note in result.record.notes)


def test_a_real_encoder_gives_its_known_figures_on_xquad_r(xlir_data: Path, minilm: Path) -> None:
    options = RunOptions(langs=("en", "es"), data=xlir_data)
    found = settings_of(evaluate("xquad-r", str(minilm), options))
    for key, known in {("en", "en"): 0.7941, ("es", "es"): 0.4940, ("en", "es"): 0.4408}.items():
        assert found[key].measures["map"] == pytest.approx(known, abs=0.0002)
