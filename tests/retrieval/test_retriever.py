"""A retriever of one's own is a class: nothing that evaluates has to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import small

from xlir_bench import EncoderOptions, RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.encoders import EncoderCard
from xlir_bench.errors import BadVectorsError, InputError, XlirError
from xlir_bench.evaluation import as_retriever, encode_shard
from xlir_bench.options.running import Shard
from xlir_bench.options.stating import changed
from xlir_bench.records import Collection, Progress, Silent
from xlir_bench.retrieval import FusedRetriever, Index, Partial, Represented, Retriever, Want
from xlir_bench.retrieval.pool import Best
from xlir_bench.tasks import catalogue


class LastFirst(Index):
    """Whatever is asked, the last passage is the best."""

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        for want in wants:
            found = Partial.of(want)
            for setting in want.settings:
                items = want.items(setting)
                last = want.pool.rows(setting).stop - 1
                found.before[setting.pooled][items] = last - want.relevant.position[items]
                if (best := found.best.get(setting)) is not None:
                    place = np.arange(best.scores.shape[1])
                    best.scores[:], best.positions[:] = -place, last - place
            yield found


class OnlyCounts(LastFirst):
    """It lists no best passages."""

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        for found in super().search(wants, progress):
            yield replace(
                found, best={setting: Best.of(*b.scores.shape) for setting, b in found.best.items()}
            )


@dataclass(frozen=True)
class Backwards(Retriever):
    index: Index = field(default_factory=LastFirst)
    parts = ()
    card = EncoderCard("backwards", "mine", "backwards", "sha256:" + "0" * 64)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        return Represented(self.index, dimension=1)


@dataclass(frozen=True)
class Named(Retriever):
    """Another one under a name of one's own."""

    of: Retriever

    @property
    def card(self) -> EncoderCard:
        return replace(self.of.card, name="mine")

    @property
    def parts(self) -> Sequence[Retriever]:
        return (self.of,)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        return self.of.represent(collection, progress)


def test_an_index_of_another_kind_ranks() -> None:
    result = evaluate("mini", Backwards(), small(langs=("de",), alignment=True, save_run=3))
    ranks = result.table("ranks").to_pandas()
    rank = {p: -n for n, p in enumerate(sorted(ranks["passage_id"], key=_place))}
    order = ranks.sort_values("rank")["passage_id"].map(rank)
    assert order.is_monotonic_increasing
    assert result.table("run").num_rows > 0
    assert (result.record.profile.search_device, result.record.encoder.device) == ("cpu", None)
    assert any("alignment" in note for note in result.record.notes)


def test_what_an_index_does_not_list_is_not_measured() -> None:
    options = small(langs=("de", "en"), alignment=True, save_run=3)
    listed, counted = (
        evaluate("mini", Backwards(index), options) for index in (LastFirst(), OnlyCounts())
    )
    assert counted.record.settings == listed.record.settings
    assert {*listed.record.bias} - {*counted.record.bias} == {
        "parallel_query_agreement",
        "top10_language_share",
    }
    for name, figure in counted.record.bias.items():
        assert figure == listed.record.bias[name]
    assert counted.record.alignment.hubness is None
    assert (counted.table("best").num_rows, counted.table("run").num_rows) == (0, 0)


class ListsGerman(LastFirst):
    """It lists the best passages of German questions alone."""

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        for want in wants:
            index = LastFirst() if want.query_lang == "de" else OnlyCounts()
            yield from index.search([want], progress)


def test_only_questions_whose_best_passages_are_listed_count_in_their_shares() -> None:
    result = evaluate("mini", Backwards(ListsGerman()), small(langs=("de", "en")))
    figure = result.record.bias["top10_language_share"]
    (german,) = (
        s for s in result.record.settings if len(s.passage_langs) > 1 and s.query_lang == "de"
    )
    assert figure.queries == german.queries


def _place(passage: str) -> tuple[int, int]:
    paragraph, sentence = passage.split(":")[1:]
    return int(paragraph), int(sentence)


@pytest.mark.parametrize(
    "late",
    [{"transform": "centroids"}, {"vectors": "int8"}, {"dtype": "float16"}, {"batch_tokens": 9}],
)
def test_options_that_would_come_too_late_are_refused(late: dict[str, Any]) -> None:
    told = f"^--{next(iter(late)).replace('_', '-')}: backwards is an existing retriever"
    with pytest.raises(InputError, match=told):
        evaluate("mini", Backwards(), small(langs=("de",)), **late)
    options, how = changed(small(langs=("de",)), late), changed(EncoderOptions(), late)
    with pytest.raises(InputError, match=told):
        evaluate("mini", Backwards(), options, encoder_options=how)


def test_what_changes_nothing_comes_never_too_late() -> None:
    result = evaluate("mini", Backwards(), small(langs=("de",)), vectors="float32", device="cpu")
    assert result.record.encoder.name == "backwards"


def test_a_retriever_is_reranked_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(
        "def scores(pairs): return [float(len(b)) for _, b in pairs]\n"
    )
    rerank = f"py:{tmp_path / 'first.py'}:scores"
    result = evaluate("mini", Backwards(), small(langs=("de",)), rerank=rerank, rerank_depth=5)
    assert result.record.encoder.name == "backwards > first.scores"


MINE = """\
from xlir_bench.cli import exit_code
from xlir_bench.encoders import EncoderCard
from xlir_bench.retrieval import Index, Partial, Represented, Retriever

class Pool(Index):
    def search(self, wants, progress):
        for want in wants:
            found = Partial.of(want)
            for s in want.settings:
                items = want.items(s)
                found.before[s.pooled][items] = want.relevant.position[items] - want.pool.rows(s).start
            yield found

class Mine(Retriever):
    parts = ()
    card = EncoderCard("mine", "own", "mine", "sha256:1")
    def represent(self, collection, progress):
        return Represented(Pool(), dimension=1)

mine = Mine()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_spec_may_name_a_retriever(mine: Path) -> None:
    of_class, of_instance = (
        evaluate("mini", f"py:{mine}:{name}", small(langs=("de", "en")))
        for name in ("Mine", "mine")
    )
    assert of_class.record.settings == of_instance.record.settings
    ranks = of_class.table("ranks").to_pandas().query("passage_lang == 'de'")
    alone = ranks[ranks["kind"] == "monolingual"].sort_values("rank")
    assert [*alone["passage_id"]] == sorted(alone["passage_id"], key=_place)
    encoder = of_class.record.encoder
    assert (encoder.name, encoder.kind) == ("mine", "own")
    assert encoder.slug.startswith("py-mine.Mine-")
    known = {r.record.encoder.fingerprint for r in (of_class, of_instance)}
    mine.write_text(MINE + "\n# another file\n", encoding="utf-8")
    changed_file = evaluate("mini", f"py:{mine}:Mine", small(langs=("de",), limit=2))
    mine.write_text(MINE.replace("sha256:1", "sha256:2"), encoding="utf-8")
    other_state = evaluate("mini", f"py:{mine}:Mine", small(langs=("de",), limit=2))
    known |= {r.record.encoder.fingerprint for r in (changed_file, other_state)}
    assert len(known) == 4
    fused = as_retriever("builtin:ngram", EncoderOptions(fuse=(f"py:{mine}:Mine",)), small())
    assert [part.card.name for part in fused.parts] == ["builtin:ngram", "mine"]


def test_commands_take_a_retriever(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ("--model", f"py:{mine}:Mine", "--langs", "de,en")
    assert exit_code(["run", *spec, "--quiet", "--output", "results"]) == 0
    (result,) = Path("results").glob("py-mine.Mine-*/mini~*/result.json")
    capsys.readouterr()
    assert exit_code(["run", *spec, "--shard", "1/2"]) == 0
    assert "mine on mini: 0 texts were encoded, part 1 of 2" in capsys.readouterr().err
    candidate = ("--candidate", f"py:{mine}:mine")
    assert exit_code(["gate", "--baseline", str(result.parent), *candidate]) == 0
    assert "PASS" in capsys.readouterr().out
    for late in (["--vectors", "int8"], ["--no-keep-vectors"], ["--query-prompt", "Q: "]):
        assert exit_code(["run", *spec, *late]) == 2
        assert f"{late[0]}: mine is an existing retriever" in capsys.readouterr().err
    assert exit_code(["profile", "--model", f"py:{mine}:Mine"]) == 2
    assert "no method encode" in capsys.readouterr().err
    mine.write_text(MINE.replace("    def search", "    def seek"), encoding="utf-8")
    assert exit_code(["run", *spec]) == 4


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return Represented(Pool(), dimension=1)", 'raise KeyError("de")', r"mine\.Mine: represent failed: KeyError: 'de' \(line"),
        ("return Represented(Pool(), dimension=1)", "return 1, 2", r"mine\.Mine: represent gave a tuple, no Represented"),
        ('card = EncoderCard("mine", "own", "mine", "sha256:1")', 'card = "mine"', r"mine\.Mine: card is a str"),
        (
            'card = EncoderCard("mine", "own", "mine", "sha256:1")',
            'card = property(lambda self: {}["name"])',
            r"mine\.Mine: card failed: KeyError: 'name' \(line",
        ),
    ],
)  # fmt: skip
def test_a_fault_of_ones_own_code_is_told_by_its_line(
    mine: Path, old: str, new: str, told: str
) -> None:
    mine.write_text(MINE.replace(old, new), encoding="utf-8")
    with pytest.raises(XlirError, match=told):
        evaluate("mini", f"py:{mine}:Mine", small(langs=("de",)))


def test_a_fault_of_a_search_is_told_by_its_line(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(MINE.replace("for want in wants:", "for want in wants.all:"), encoding="utf-8")
    assert exit_code(["run", "--model", f"py:{mine}:Mine", "--langs", "de"]) == 4
    assert "(line 7 of mine.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        "found.before[s.pooled][items] -= 100_000",
        "found.before[s.pooled][items] += 100_000",
        "found.best[s].positions[:] = 100_000",
        "found.best[s].positions[:], found.best[s].scores[:] = 0, float('nan')",
    ],
)
def test_what_cannot_be_a_ranking_is_refused(mine: Path, wrong: str) -> None:
    line = " " * 16 + f"if not s.pooled: continue\n{' ' * 16}{wrong}\n"
    mine.write_text(MINE.replace("            yield", line + "            yield"), encoding="utf-8")
    with pytest.raises(BadVectorsError, match=r"^setting "):
        evaluate("mini", f"py:{mine}:Mine", small(langs=("de", "en")))


SCORING = """
import numpy as np
from xlir_bench.retrieval.retriever import ScoringIndex

class NoNumbers(ScoringIndex):
    def __init__(self, collection):
        self.queries = {lang: len(of.ids) for lang, of in collection.queries.items()}
        self.passages = {lang: len(of.ids) for lang, of in collection.passages.items()}
    search = Pool.search
    def scores(self, setting, query, positions):
        return np.full(len(query), np.nan)
    def tables(self, setting, size):
        count = self.queries[setting.query_lang]
        for start in range(0, count, size):
            candidates = sum(self.passages[lang] for lang in setting.passage_langs)
            yield np.full((min(size, count - start), candidates), np.nan)

class NoNumber(Mine):
    def represent(self, collection, progress):
        return Represented(NoNumbers(collection), dimension=1)
"""


def test_scores_that_are_no_numbers_are_not_fused(mine: Path) -> None:
    mine.write_text(MINE + SCORING, encoding="utf-8")
    with pytest.raises(BadVectorsError, match="retriever 2 of those that are fused"):
        evaluate("mini", "builtin:ngram", small(langs=("de",)), fuse=[f"py:{mine}:NoNumber"])


def test_what_lists_no_passages_cannot_be_reranked(mine: Path) -> None:
    mine.write_text(MINE + "def scores(pairs): return [1.0 for _ in pairs]\n", encoding="utf-8")
    with pytest.raises(InputError, match="lists no best passages"):
        evaluate("mini", f"py:{mine}:Mine", small(langs=("de",)), rerank=f"py:{mine}:scores")


def test_a_retriever_that_cannot_be_made_is_told(mine: Path) -> None:
    mine.write_text(
        MINE.replace("    def represent", "    def encode_all").replace("mine = Mine()", ""),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"mine\.Mine\(\) cannot be made: TypeError: .*represent"):
        evaluate("mini", f"py:{mine}:Mine", small(langs=("de",)))


def test_what_an_index_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--index 'HNSW8' .*backwards"):
        evaluate("mini", Backwards(), small(langs=("de",), index="HNSW8"))
    ngram = as_retriever("builtin:ngram", EncoderOptions(), small())
    with pytest.raises(InputError, match="by itself"):
        evaluate("mini", FusedRetriever((ngram, Backwards()), 10), small(langs=("de",)))


def test_a_wrapper_does_what_its_part_does(tmp_path: Path) -> None:
    options = RunOptions(langs=("de", "en"), limit=5, cache=tmp_path, index="Flat")
    mine = Named(as_retriever("builtin:ngram", EncoderOptions(), options))
    (task,) = catalogue().get(["mini"])
    count = encode_shard(task, mine, options, Shard(1, 1), Silent())
    result = evaluate(task, mine, options)
    assert (result.record.profile.encoded_texts, result.record.profile.cached_texts) == (0, count)
    assert result.record.settings == evaluate(task, "builtin:ngram", options).record.settings
    assert encode_shard(task, Backwards(), options, Shard(1, 1), Silent()) == 0
