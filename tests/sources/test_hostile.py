"""What was made to be costly: a message soon and in little memory, or work that is worth its price.

Each input is small. A command is ended after 20 seconds of the processor (`launcher`), so that one that would
take minutes has another exit code than the one that is asked for.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sources.measured import Cost, launcher
from sources.serving import SMALL, write_task

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no limits of processes here")
MEGABYTES = 500


def held(found: Cost, code: int, said: str) -> None:
    """The limits, the exit code and something that the message says."""
    assert "Traceback" not in found.said
    assert (found.code, said in found.said) == (code, True), found.said[-2000:]
    assert found.megabytes < MEGABYTES


Ask = Callable[..., Cost]


@pytest.fixture(scope="module")
def cost() -> Iterator[Ask]:
    with launcher() as cost:
        yield cost


@pytest.fixture
def run(cost: Ask) -> Ask:
    """`xlir-bench run` with the cheapest encoder; it fails before it writes anything."""
    return partial(cost, "run", "--model", "builtin:random", "--offline", "--quiet")


@pytest.fixture
def check(cost: Ask) -> Ask:
    return partial(cost, "data", "check-training")


def task(folder: Path, langs: list[str], body: str, **stated: str) -> Path:
    """A folder of one task, `small`, over files that the body names."""
    file = write_task(folder, {"en": {}})
    text = file.read_text().partition("[source]")[0].replace('["en"]', json.dumps(langs))
    for name, value in stated.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} ="))
        text = text.replace(line, f"{name} = {value}")
    file.write_text(f"{text}[source]\n{body}")
    return folder


def lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


MANY = [f"l{number}" for number in range(8000)]


def test_a_million_parts_of_a_file(cost: Ask, tmp_path: Path) -> None:
    folder = task(tmp_path, ["de"], '[every.docs]\npath = "{part}"\nparts = {de = 1000002}')
    held(cost("tasks", "--tasks-dir", str(folder)), 2, "parts.de")


def test_a_thousand_parts_in_a_thousand_languages(cost: Ask, tmp_path: Path) -> None:
    parts = ", ".join(f"{lang} = 1000" for lang in MANY[:1000])
    folder = task(tmp_path, MANY[:1000], f'[every.docs]\npath = "{{part}}"\nparts = {{{parts}}}')
    held(cost("tasks", "--tasks-dir", str(folder)), 2, "1,000,000 files")


def test_thousands_of_languages_in_a_task(cost: Ask, run: Ask, tmp_path: Path) -> None:
    folder = task(tmp_path, MANY, '[every.x]\npath = "{lang}.json"')
    listed = cost("tasks", "small", "--tasks-dir", str(folder))
    held(listed, 0, "8000/63992000/8000")
    held(run("--task", "small", "--tasks-dir", folder), 2, "choose languages with --langs")


@pytest.mark.parametrize(
    ("count", "code", "said"), [(8000, 2, "choose languages with --langs"), (200, 0, "")]
)
def test_thousands_of_languages_one_by_one_are_no_square(
    run: Ask, count: int, code: int, said: str, tmp_path: Path
) -> None:
    langs = MANY[:count]
    shared = "".join(f'[files.{lang}]\npath = "c.jsonl"\n' for lang in langs)
    task(
        tmp_path, langs,
        f'[every.queries]\npath = "q.jsonl"\n[every.qrels]\npath = "r.tsv"\n{shared}',
        format='"beir"', kinds='["monolingual"]', candidate='"passage"', candidates='["passage"]',
    )  # fmt: skip
    rows = [{"_id": f"{lang}", "text": "a text", "language": lang} for lang in langs]
    lines(tmp_path / "c.jsonl", *rows)
    lines(tmp_path / "q.jsonl", *rows)
    (tmp_path / "r.tsv").write_text("".join(f"{lang}\t{lang}\t1\n" for lang in langs))
    stated = ("--task", "small", "--tasks-dir", tmp_path, "--data", tmp_path)
    held(run(*stated, "--output", tmp_path / "out"), code, said)


def test_thousands_of_language_codes_on_the_command_line(run: Ask) -> None:
    found = run("--task", "mini", "--langs", ",".join(MANY))
    held(found, 2, "7,990 more")
    assert len(found.said) < 2000


def test_a_parallel_file_of_thousands_of_languages(run: Ask, tmp_path: Path) -> None:
    texts = dict.fromkeys(MANY[:6000], "a text")
    file = lines(tmp_path / "all.jsonl", {"id": "1", "text": texts}, {"id": "2", "text": texts})
    held(run("--task", f"parallel:{file}"), 2, "36,000,000 pairs")


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One line of a gigabyte in one megabyte."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.jsonl.gz"
    block = gzip.compress(b" " * (1 << 20), 6)
    path.write_bytes(gzip.compress(b'{"id": "1", "text": {"de": "') + block * 1024)
    return path


def test_a_line_that_unpacks_to_a_gigabyte(
    run: Ask, check: Ask, bomb: Path, tmp_path: Path
) -> None:
    held(run("--task", f"parallel:{bomb}"), 2, "a line has more than 16 MiB")
    held(check(bomb), 2, "a line has more than 16 MiB")
    (table := tmp_path / "rows.csv.gz").write_bytes(bomb.read_bytes())
    held(check(table), 2, "a line has more than 16 MiB")


def test_short_lines_that_unpack_to_a_gigabyte(check: Ask, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    block = gzip.compress((b" " * 65535 + b"\n") * 16, 6)
    path.write_bytes(block * 200)
    held(check(path), 2, "unpacks to more than 100 times its size")


def test_twenty_thousand_lines_of_one_row(check: Ask, tmp_path: Path) -> None:
    rows = "".join(f"1,q{n},a{n},question,answer\n" for n in range(20_000))
    path = tmp_path / "rows.csv"
    path.write_text("id,lang_question,lang_answer,question,answer\n" + rows)
    held(check(path), 1, "over 1,000 languages")
    path.write_text(
        "id,lang_question,lang_answer,question,answer\n" + "1,en,de,question,answer\n" * 20_000
    )
    held(check(path), 0, "1 row")


def test_rows_of_thousands_of_languages(check: Ask, tmp_path: Path) -> None:
    rows = [{"id": "1", "question": {f"q{n}": "x"}, "answer": {f"a{n}": "y"}} for n in range(2_000)]
    held(check(lines(tmp_path / "rows.jsonl", *rows)), 1, "over 1,000 languages")


def test_thousands_of_captions_of_one_image(run: Ask, tmp_path: Path) -> None:
    captions = {"caption": [f"caption {n}" for n in range(20_000)]}
    lines(
        tmp_path / "xm3600" / "captions.jsonl", {"image/key": "a", "en": captions, "de": captions}
    )
    found = run("--task", "xm3600", "--langs", "en,de", "--data", tmp_path)
    held(found, 2, "20,000 captions of one image")


def test_a_paragraph_of_hundreds_of_thousands_of_sentences(run: Ask, tmp_path: Path) -> None:
    sentences = ["S."] * 300_000
    breaks = [[3 * n, 3 * n + 2] for n in range(len(sentences))]
    paragraph = {"context": " ".join(sentences), "sentences": sentences, "sentence_breaks": breaks}
    paragraph["qas"] = []
    root = tmp_path / "root" / "lareqa" / "small"
    lines(root / "en.json", {"data": [{"title": "t", "paragraphs": [paragraph]}]})
    write_task(tmp_path, {"en": SMALL["en"]}, pinned=False, sized=False)
    stated = ("--task", "small", "--tasks-dir", tmp_path, "--data", tmp_path / "root")
    held(run(*stated, "--candidate", "sentence+context"), 2, "--candidate sentence")


def test_a_word_with_thousands_of_translations(cost: Ask, tmp_path: Path) -> None:
    (tmp_path / "en-de.tsv").write_text("".join(f"word\tWort {n}\n" for n in range(20_000)))
    rows = lines(tmp_path / "rows.jsonl", {"id": "1", "question": "a", "answer": "b"})
    made = cost(
        "augment", "code-switch", rows, "--lexicon", tmp_path, "--output", tmp_path / "o.jsonl"
    )
    held(made, 2, "over 1,000 translations")


def test_sentences_that_share_a_translation_into_thousands_of_languages(
    cost: Ask, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.tsv"
    pairs = [("de", f"Satz {n}") for n in range(10_000)] + [(f"l{n}", "x") for n in range(10_000)]
    path.write_text("".join(f"en\t{lang}\tone\t{text}\n" for lang, text in pairs))
    made = cost("augment", "parallel", str(path), "--output", str(tmp_path / "o.jsonl"))
    held(made, 2, "would make")


def test_a_parquet_file_of_twenty_million_equal_rows(check: Ask, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    batch = pa.record_batch({"id": pa.array(["1"] * 1_000_000)})
    with pq.ParquetWriter(path, batch.schema) as writer:
        for _ in range(20):
            writer.write_batch(batch)
    held(check(path), 2, "it is no data")


def test_an_id_of_megabytes_is_quoted_in_part(run: Ask, tmp_path: Path) -> None:
    row = {"image/key": "a" * 4_000_000, "en": {"caption": ["x"]}}
    lines(tmp_path / "xm3600" / "captions.jsonl", row, row)
    found = run("--task", "xm3600", "--langs", "en", "--data", tmp_path)
    held(found, 2, "aaa…")
    assert len(found.said) < 2000


def test_a_number_of_thousands_of_digits_is_a_fault(run: Ask, tmp_path: Path) -> None:
    file = tmp_path / "root" / "lareqa" / "small" / "en.json"
    file.parent.mkdir(parents=True)
    file.write_text("1" * 5000)
    write_task(tmp_path, {"en": SMALL["en"]}, pinned=False, sized=False)
    stated = ("--task", "small", "--tasks-dir", tmp_path, "--data", tmp_path / "root")
    held(run(*stated), 2, "is not JSON")
