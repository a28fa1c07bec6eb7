from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import Signs, plain_measures, settings_of
from sources.layouts import belebele_row, write_belebele

from xlir_bench import RunOptions, evaluate
from xlir_bench.encoders import EncoderOptions, load_encoder
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

BEES, SALT = "https://en.wikinews.org/wiki/Bees", "https://en.wikivoyage.org/wiki/Salt"
ROWS: dict[str, list[Any]] = {
    "eng_Latn": [
        belebele_row("eng_Latn", BEES, 1, "Bees dance.", "What do bees do?"),
        belebele_row("eng_Latn", BEES, 2, " Bees dance.\n", "Who dances?"),
        belebele_row("eng_Latn", SALT, 2, "Salt is white.", "Which colour has salt?"),
    ],
    # In another order; one that was not translated.
    "zho_Hans": [
        belebele_row("zho_Hans", SALT, 2, "盐是白色的。", "盐是什么颜色？"),
        belebele_row("zho_Hans", BEES, 2, "蜜蜂跳舞。", "谁跳舞？"),
    ],
}


def read(root: Path, langs: tuple[str, ...] = ("eng_Latn", "zho_Hans"), **more: Any) -> Collection:
    (task,) = catalogue().get(["belebele"])
    return load_collection(
        task, RunOptions(data=root, cache=root / "none", langs=langs, **more), Silent()
    )


def test_the_task_has_all_settings_of_122_languages_and_states_their_sizes() -> None:
    (task,) = catalogue().get(["belebele"])
    assert [task.setting_counts()[kind] for kind in Kind] == [122, 14_762, 122]
    assert len(set(task.settings())) == 15_006
    assert set(task.counts("queries").values()) == {900}
    assert set(task.counts("candidates").values()) == {488}
    assert len(task.counts("candidates")) == 122
    urls = {file.path: file.url for file in task.files.values()}
    assert str(urls["belebele/zho_Hans.jsonl"]).endswith(
        f"/{task.source.hub}/resolve/{task.source.revision}/data/zho_Hans.jsonl"
    )


def test_a_question_finds_the_passage_of_its_link_in_every_language(tmp_path: Path) -> None:
    found = read(write_belebele(tmp_path, ROWS))
    english, chinese = found.queries["eng_Latn"], found.queries["zho_Hans"]
    assert english.ids == (f"{BEES}#1", f"{BEES}#2", f"{SALT}#2")
    assert chinese.ids == (f"{SALT}#2", f"{BEES}#2")
    assert english.clusters == (BEES, BEES, SALT)
    assert found.passages["eng_Latn"].texts == ("Bees dance.", "Salt is white.")
    assert found.passages["zho_Hans"].ids == (f"zho_Hans:{SALT}", f"zho_Hans:{BEES}")
    wanted = {
        ("eng_Latn", "eng_Latn"): [0, 0, 1],
        ("eng_Latn", "zho_Hans"): [1, 1, 0],
        ("zho_Hans", "zho_Hans"): [0, 1],
        ("zho_Hans", "eng_Latn"): [1, 0],
    }
    for pair, passages in wanted.items():
        assert found.relevance[pair].passage.tolist() == passages
        assert found.relevance[pair].query.tolist() == list(range(len(passages)))
    assert found.parallel
    assert found.cluster == "document"
    assert any("digest not checked" in note for note in found.notes)


def test_a_question_without_its_passage_in_a_language_is_not_asked_there(tmp_path: Path) -> None:
    rows = ROWS | {"zho_Hans": ROWS["zho_Hans"][:1]}
    found = read(write_belebele(tmp_path, rows)).relevance["eng_Latn", "zho_Hans"]
    assert (found.query.tolist(), found.passage.tolist()) == ([2], [0])


def test_a_limit_leaves_all_passages(tmp_path: Path) -> None:
    found = read(write_belebele(tmp_path, ROWS), limit=1)
    assert found.queries["eng_Latn"].ids == (f"{BEES}#1",)
    assert len(found.passages["eng_Latn"].ids) == 2
    assert found.relevance["eng_Latn", "zho_Hans"].query.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"link": None}, "line 4: 'link' is missing or no text"),
        ({"question_number": None}, "line 4: 'question_number' is missing"),
        ({"question_number": True}, "line 4: 'question_number' is missing"),
        ({"flores_passage": " "}, "line 4: 'flores_passage' is missing or no text"),
        ({"question": "\n"}, "line 4: 'question' is missing or no text"),
        ({"question": ["?"]}, "line 4: 'question' is missing or no text"),
        ({"question_number": 2}, f"line 4: '{BEES}#2' is the id of an earlier question"),
        ({"flores_passage": "Bees sing."}, f"line 4: '{BEES}' has another passage in an earlier"),
    ],
)
def test_a_bad_row_is_one_message_with_its_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    row = belebele_row("eng_Latn", BEES, 3, "Bees dance.", "Why?") | change
    stated = {key: value for key, value in row.items() if value is not None}
    with pytest.raises(InputError) as caught:
        read(write_belebele(tmp_path, ROWS | {"eng_Latn": [*ROWS["eng_Latn"], stated]}))
    assert message in str(caught.value)
    assert "eng_Latn.jsonl" in str(caught.value)


def test_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    rows = {"eng_Latn": [*ROWS["eng_Latn"], {}], "zho_Hans": [{"link": BEES}]}
    with pytest.raises(InputError, match="2 faults"):
        read(write_belebele(tmp_path, rows))


def test_a_language_without_a_row_or_a_file_is_told(tmp_path: Path) -> None:
    write_belebele(tmp_path, ROWS | {"zho_Hans": []})
    with pytest.raises(InputError, match=r"zho_Hans\.jsonl: \$: .*no line"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"zul_Latn\.jsonl.*\bzul_Latn\b.*--langs"):
        read(tmp_path, ("eng_Latn", "zul_Latn"))
    with pytest.raises(UnknownNameError, match="zho_Hans"):
        read(tmp_path, ("zho_hans",))


def test_of_many_languages_without_a_file_those_that_have_one_are_told(tmp_path: Path) -> None:
    write_belebele(tmp_path, ROWS)
    asked = (*ROWS, "afr_Latn", "amh_Ethi", "arb_Arab", "deu_Latn")
    with pytest.raises(InputError, match=f"--langs {','.join(sorted(ROWS))}"):
        read(tmp_path, asked)
    with pytest.raises(InputError) as caught:
        read(tmp_path, ("afr_Latn",))
    assert "--langs" not in str(caught.value)


LANGS = ("afr_Latn", "amh_Ethi", "deu_Latn", "eng_Latn", "zul_Latn")


@pytest.mark.parametrize("name", ["builtin:ngram", "signs"])
def test_thirty_settings_of_real_files_equal_a_plain_computation(
    xlir_data: Path, name: str
) -> None:
    encoder = Signs() if name == "signs" else load_encoder(name, EncoderOptions())
    result = evaluate("belebele", encoder, RunOptions(langs=LANGS, cache=None, data=xlir_data))
    found = settings_of(result)
    assert Counter(s.kind for s in found.values()) == {
        Kind.MONOLINGUAL: 5, Kind.CROSS_LINGUAL: 20, Kind.MULTILINGUAL: 5,
    }  # fmt: skip
    assert result.record.task.clusters == 488
    questions, passages = {}, {}
    for lang in LANGS:
        lines = (xlir_data / "belebele" / f"{lang}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        texts = {row["link"]: row["flores_passage"].strip() for row in rows}
        asked = unit(encoder.encode([row["question"].strip() for row in rows], "query"))
        questions[lang] = [row["link"] for row in rows], asked
        passages[lang] = list(texts), unit(encoder.encode(list(texts.values()), "passage"))
    number = {link: n for n, link in enumerate(passages[LANGS[0]][0])}
    # Rounding differs from one product to another.
    scores = {
        (asked, lang): (questions[asked][1] @ passages[lang][1].T).round(9)
        for asked in LANGS
        for lang in LANGS
    }
    for (asked, sought), setting in found.items():
        langs = LANGS if sought == "*" else (sought,)
        links = np.array([number[link] for lang in langs for link in passages[lang][0]])
        pool = np.concatenate([scores[asked, lang] for lang in langs], axis=1)
        wanted = questions[asked][0]
        ranks = []
        # Equal scores in the order of the pool.
        for link, order in zip(wanted, np.argsort(-pool, axis=1, kind="stable"), strict=True):
            ranks.append(np.flatnonzero(links[order] == number[link]) + 1)
        assert setting.queries == len(wanted) == 900
        assert setting.candidates == 488 * len(langs)
        plain = plain_measures(np.array(ranks), cuts=(10, 20))
        assert setting.measures == pytest.approx(plain, abs=1e-6), (asked, sought)


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
