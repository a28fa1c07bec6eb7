"""Files in the layouts of MIRACL and XOR-Retrieve, made of words of our own around real queries or made ones."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = [
    "bandari",
    "mji",
    "ziwa",
    "mlima",
    "ndege",
    "samaki",
    "mti",
    "nyota",
    "bahari",
    "kisiwa",
    "jua",
]


def text_of(number: int) -> str:
    """A text that no other number has, most of whose words many have."""
    return " ".join(WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 7)) + f" {number}"


def write_docs(path: Path, docs: Sequence[Mapping[str, Any] | str]) -> None:
    """JSON Lines, packed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [doc if isinstance(doc, str) else json.dumps(doc, ensure_ascii=False) for doc in docs]
    raw = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def write_miracl(
    root: Path,
    lang: str,
    topics: Sequence[tuple[str, str]],
    qrels: Sequence[tuple[Any, ...]],
    shards: Sequence[Sequence[Mapping[str, Any] | str]],
    suffix: str = ".jsonl.gz",
) -> Path:
    """The files of one language under a data root."""
    folder = root / "miracl"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "topics": ["\t".join(map(str, row)) for row in topics],
        "qrels": ["\t".join(map(str, row)) for row in qrels],
    }
    for name, lines in rows.items():
        path = folder / f"{name}.miracl-v1.0-{lang}-dev.tsv"
        path.write_text("\n".join(lines) + "\n", "utf-8")
    for number, docs in enumerate(shards):
        write_docs(folder / f"miracl-corpus-v1.0-{lang}" / f"docs-{number}{suffix}", docs)
    return root


def write_xor(
    root: Path, questions: Sequence[Mapping[str, Any] | str], passages: Sequence[Sequence[str]]
) -> Path:
    """Questions and the TSV of passages under a data root."""
    folder = root / "xor"
    folder.mkdir(parents=True, exist_ok=True)
    write_docs(folder / "xor_dev_retrieve_eng_span_v1_1.jsonl", questions)
    with (folder / "enwiki_20190201_w100.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
            [("id", "text", "title"), *passages]
        )
    return root


def belebele_row(
    lang: str, link: str, number: int, passage: str, question: str
) -> dict[str, str | int]:
    """A row of Belebele as it is published."""
    return {
        "link": link,
        "question_number": number,
        "flores_passage": passage,
        "question": question,
        **{f"mc_answer{n}": f"answer {n}" for n in range(1, 5)},
        "correct_answer_num": "1",
        "dialect": lang,
        "ds": "2023-05-03",
    }


def write_belebele(root: Path, rows: Mapping[str, Sequence[Any]]) -> Path:
    """Belebele's files of these languages, under a data root."""
    (root / "belebele").mkdir(parents=True, exist_ok=True)
    for lang, its in rows.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in its)
        (root / "belebele" / f"{lang}.jsonl").write_text(text, "utf-8")
    return root
