from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import Signs, plain_measures, settings_of

from xlir_bench import RunOptions, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

LINES: list[Any] = [
    {"id": 1, "doc": "bees", "text": {"en": "Bees dance.", "de": "Bienen tanzen. ", "fr": " "}},
    {"id": "2", "doc": "bees", "text": {"en": "They make honey.", "fr": "Elles font du miel."}},
    {"id": "3", "doc": "salt", "text": {"en": "Salt is white.", "de": "Salz ist weiß.\r"}},
]


def written(folder: Path, lines: list[Any], name: str = "ours.jsonl") -> Path:
    path = folder / name
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", "utf-8")
    return path


def read(path: Path, **request: Any) -> Collection:
    (task,) = catalogue().get([f"parallel:{path}"])
    return load_collection(
        task, RunOptions(data=None, cache=path.parent / "none", **request), Silent()
    )


def test_a_text_finds_the_text_of_its_line_in_every_other_language(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINES))
    assert found.queries["de"].ids == ("1", "3")
    assert found.queries["de"].texts == ("Bienen tanzen.", "Salz ist weiß.")
    assert found.passages["en"].ids == ("en:1", "en:2", "en:3")
    rows = found.relevance["de", "en"]
    assert (rows.query.tolist(), rows.passage.tolist()) == ([0, 1], [0, 2])
    assert ("de", "fr") not in found.relevance
    assert ("en", "en") not in found.relevance
    assert found.parallel


def test_lines_of_a_document_are_one_cluster_where_all_have_one(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINES))
    assert found.cluster == "document"
    assert found.queries["en"].clusters == ("bees", "bees", "salt")
    found = read(written(tmp_path, [*LINES, {"id": "4", "text": {"en": "Alone."}}]))
    assert found.cluster == "question"
    assert found.queries["en"].clusters == ("1", "2", "3", "4")


def test_a_limit_leaves_all_candidates(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINES), limit=1)
    assert found.queries["en"].ids == ("1",)
    assert len(found.passages["en"].ids) == 3


def test_the_task_is_named_by_the_file_and_has_its_languages(tmp_path: Path) -> None:
    path = written(tmp_path, LINES, "Our Texts.v2.jsonl")
    (task,) = catalogue().get([f"parallel:{path}"])
    assert (task.name, task.languages, task.kinds) == (
        "our-texts", ["de", "en", "fr"], [Kind.CROSS_LINGUAL],
    )  # fmt: skip
    assert [str(s) for s in task.settings(["de", "en"])] == ["de-en", "en-de"]


def test_a_file_is_not_taken_for_a_task_that_there_is(tmp_path: Path) -> None:
    path = written(tmp_path, LINES, "mini.jsonl")
    with pytest.raises(InputError, match=r"parallel:.*mini\.jsonl.*'mini'.*\brename\b"):
        catalogue().get([f"parallel:{path}"])
    with pytest.raises(UnknownNameError, match="paralel:x"):
        catalogue().get(["paralel:x"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 4: is not JSON"),
        ({"id": "\ud800", "text": {"de": "x"}}, "line 4: holds half a character"),
        ({"id": "9", "text": {"\udcff": "x"}}, "line 4: holds half a character"),
        ({"id": "9", "text": {"de": "\udc00"}}, "line 4: holds half a character"),
        ("[1]", "line 4: is no JSON object"),
        ({"text": {"en": "a"}}, "line 4: 'id' is missing"),
        ({"id": "9"}, "line 4: 'text' is missing"),
        ({"id": "9", "text": {"en": 3}}, "line 4: 'text' is missing, or is not an object"),
        ({"id": "1", "text": {"en": "a"}}, "line 4: '1' is the id of an earlier line"),
        ({"id": "9", "doc": [], "text": {"en": "a"}}, "line 4: 'doc' is missing or no text"),
    ],
)
def test_a_bad_line_is_one_message_with_its_place(
    tmp_path: Path, line: Any, message: str, capsys: pytest.CaptureFixture
) -> None:
    path = written(tmp_path, [*LINES, line])
    assert exit_code(["run", "--task", f"parallel:{path}", "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "ours.jsonl" in said


@pytest.mark.parametrize("lines", [[], ["{"], [{"id": 1, "text": {"en": "alone"}}]])
def test_a_file_without_two_languages_is_told_what_is_wanted(
    tmp_path: Path, lines: list[Any]
) -> None:
    with pytest.raises(InputError, match=r'"text": .*two languages.*\.tsv\b'):
        catalogue().get([f"parallel:{written(tmp_path, lines)}"])


def test_a_file_that_is_not_there_or_no_text_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl .*not there"):
        catalogue().get([f"parallel:{tmp_path / 'none.jsonl'}"])


def test_ntrex_in_110_directions_equals_a_plain_computation(xlir_data: Path) -> None:
    path = xlir_data / "parallel" / "ntrex.jsonl"
    (task,) = catalogue().get([f"parallel:{path}"])
    assert len(task.settings()) == 110
    result = evaluate(task, Signs(), RunOptions(cache=None, limit=150))
    rows = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    vectors = {x: Signs().encode([row[x].strip() for row in rows], "query") for x in rows[0]}
    for (asked, sought), setting in settings_of(result).items():
        scores = vectors[asked][:150] @ vectors[sought].T
        own = np.diagonal(scores)[:, None]
        earlier = np.arange(len(rows)) < np.arange(150)[:, None]
        ranks = 1 + (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
        plain = plain_measures(ranks[:, None])
        assert (setting.queries, setting.candidates) == (150, 1997)
        for measure in ("map", "recall@1", "recall@10"):
            assert setting.measures[measure] == pytest.approx(plain[measure], abs=1e-6)


TATOEBA = "de\ten\tHallo!\tHello!\nen\tfr\tHello!\tSalut !\nde\ten\tGuten Tag!\tHello!\nde\ten\tJa.\tYes.\n"
TICO = "sourceLang\ttargetLang\tsourceString\ttargetString\tstringID\turl\tlicense\ttranslator_ID\n"
"""The header of its files, one a language: `test.en-fr.tsv`."""


def tico(folder: Path, lang: str, texts: list[str]) -> None:
    lines = [
        f"en\t{lang}\tSentence {n % 2}.\t{text}\twiki_{n // 2}:{n}\thttps://example.org\tCC-BY\t"
        for n, text in enumerate(texts)
    ]
    (folder / f"test.en-{lang}.tsv").write_text(TICO + "\n".join(lines) + "\n", "utf-8")


def relevant(collection: Collection, asked: str, there: str) -> set[tuple[str, str]]:
    rows = collection.relevance[asked, there]
    queries, passages = collection.queries[asked].texts, collection.passages[there].texts
    return {(queries[q], passages[p]) for q, p in zip(rows.query, rows.passage, strict=True)}


@pytest.mark.parametrize("name", ["tatoeba.tsv", "tatoeba.tsv.gz"])
def test_pairs_of_tatoeba_find_each_other_directly_and_through_others(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(TATOEBA.encode()) if name.endswith(".gz") else TATOEBA.encode())
    found = read(path)
    assert {lang: len(p.texts) for lang, p in found.passages.items()} == {"de": 3, "en": 2, "fr": 1}
    assert relevant(found, "en", "de") == {
        ("Hello!", "Hallo!"), ("Hello!", "Guten Tag!"), ("Yes.", "Ja."),
    }  # fmt: skip
    assert relevant(found, "de", "fr") == {("Hallo!", "Salut !"), ("Guten Tag!", "Salut !")}
    assert ("de", "de") not in found.relevance
    assert found.cluster == "question"


def test_the_files_of_tico_19_are_one_task(tmp_path: Path) -> None:
    folder = tmp_path / "tico-19"
    folder.mkdir()
    tico(folder, "fr", ["un", "deux", "trois"])
    tico(folder, "es-LA", ["uno", "dos", "tres", "cuatro"])
    found = read(folder)
    # Equal sentences of other ids stay apart; translations of one id meet though no line has both.
    assert {x: len(p.texts) for x, p in found.passages.items()} == {"en": 4, "es-LA": 4, "fr": 3}
    assert relevant(found, "fr", "es-LA") == {("un", "uno"), ("deux", "dos"), ("trois", "tres")}
    assert found.cluster == "document"
    assert found.queries["fr"].clusters == ("wiki_0", "wiki_0", "wiki_1")
    (task,) = catalogue().get([f"parallel:{folder}"])
    assert (task.name, task.languages) == ("tico-19", ["en", "es-LA", "fr"])


def test_a_bad_pair_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(f"{TATOEBA}de\ten\tNein.\nde\ten\tNein.\t\n", "utf-8")
    with pytest.raises(InputError, match=r"line 5: .*\bfour cells\b.* 3\n") as raised:
        read(path)
    assert re.search("line 6: .*empty cell", str(raised.value))
    tico(tmp_path, "fr", ["un"])
    again = "en\tfr\tOther.\tautre\twiki_0:0\t-\t-\t-\n"
    with (tmp_path / "test.en-fr.tsv").open("a") as file:
        file.write(again)
    with pytest.raises(InputError, match=r"line 3: 'wiki_0:0' .*\btwo\b.*'en'"):
        read(tmp_path / "test.en-fr.tsv")


def test_the_real_pairs_are_read(xlir_data: Path, tmp_path: Path) -> None:
    with gzip.open(xlir_data / "parallel" / "tatoeba.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [line for _, line in zip(range(3000), file, strict=False)]
    path = tmp_path / "some.tsv"
    path.write_text("".join(lines), "utf-8")
    found = read(path)
    pairs = {tuple(line.rstrip("\n").split("\t")) for line in lines}
    known = {pair: relevant(found, *pair) for pair in {pair[:2] for pair in pairs}}
    for asked, there, text, other in pairs:
        assert (" ".join(text.split()), " ".join(other.split())) in known[asked, there]
