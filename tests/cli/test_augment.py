from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from augment.lists import write_lists
from cli.conftest import Command, tells
from models import save_tiny_m2m100
from processes import begin
from train.rowfiles import row, write_rows

from xlir_bench.cli import exit_code

LISTS = {"en-de": ["question Frage", "answer Antwort"], "en-th": ["question คำถาม"]}


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    return write_lists(tmp_path / "lexicon", LISTS)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", [row(n) for n in range(20)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_code_switch_writes_copies_and_reports_coverage(
    xlir: Command, rows: Path, lexicon: Path
) -> None:
    switch = ["augment", "code-switch", rows, "--lexicon", lexicon, "--p", "1", "--to", "de"]
    said = xlir(*switch, "--output", "out.jsonl")
    assert (said.code, said.out) == (0, "")
    assert tells(said.err, "20 rows", "out.jsonl")
    table = [line.split() for line in said.err.splitlines()]
    assert ["en", "40", "120", "33.3%", "33.3%", "0.0%", "de", "40"] in table
    (first, *_) = lines(Path("out.jsonl"))
    assert first == {
        "id": "row-0",
        "dataset": "made",
        "origin": "code-switched",
        "question": {"en": "Frage 0 in en"},
        "answer": {"en": "Antwort 0 in en"},
    }


def test_code_switch_says_the_same_as_json(xlir: Command, rows: Path, lexicon: Path) -> None:
    said = xlir(
        "augment", "code-switch", rows, "--lexicon", lexicon, "--p", "1", "--side", "question",
        "--into", "one", "--output", "out.jsonl", "--json",
    )  # fmt: skip
    stated = json.loads(said.out)
    assert (stated["rows"], stated["unchanged"], stated["output"]) == (20, 0, "out.jsonl")
    assert stated["coverage"]["en"]["known"] == 20
    assert sum(stated["coverage"]["en"]["into"].values()) == 20
    assert stated["lexicon"]["words"] == {"en": {"de": 2, "th": 1}}
    assert all(set(line["answer"]) == {"de", "en", "es"} for line in lines(Path("out.jsonl")))


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(
    xlir: Command, rows: Path, lexicon: Path
) -> None:
    def bytes_of(*more: str) -> bytes:
        switch = ["augment", "code-switch", rows, "--lexicon", lexicon, "--output", "o.jsonl.gz"]
        assert xlir(*switch, *more, "--quiet").code == 0
        return Path("o.jsonl.gz").read_bytes()

    assert bytes_of() == bytes_of()
    assert bytes_of() != bytes_of("--seed", "1")


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        (["--p", "2"], ["--p 2.0", "above 0", "up to 1"]),
        (["--to", "zz"], ["unknown", "--to", "'zz'", "de, th"]),
        (["--output", "rows.txt"], ["--output rows.txt", ".jsonl", ".jsonl.gz"]),
        (["--lexicon", "nowhere"], ["--lexicon nowhere", "no folder"]),
    ],
)
def test_what_cannot_be_done_is_a_line_and_exit_code_2(
    xlir: Command, rows: Path, lexicon: Path, more: list[str], facts: list[str]
) -> None:
    said = xlir("augment", "code-switch", rows, "--lexicon", lexicon, "--output", "o.jsonl", *more)
    assert said.code == 2
    assert tells(said.err, *facts)
    assert not Path("o.jsonl").exists()


def test_faulty_rows_leave_no_output(xlir: Command, tmp_path: Path, lexicon: Path) -> None:
    rows = write_rows(tmp_path / "bad.jsonl", [row(1), {"id": "x"}])
    said = xlir("augment", "code-switch", rows, "--lexicon", lexicon, "--output", "o.jsonl")
    assert said.code == 2
    assert tells(said.err, f"{rows}, line 2: no question")
    assert not Path("o.jsonl").exists()


def test_training_and_its_check_show_the_shares(xlir: Command, rows: Path, lexicon: Path) -> None:
    xlir("augment", "code-switch", rows, "--lexicon", lexicon, "--p", "1", "--output", "s.jsonl")
    shares = ("original 20 (50.0%)", "code-switched 20 (50.0%)")
    said = xlir("data", "check-training", rows, "s.jsonl")
    assert tells(said.out, *shares)
    assert re.search(r"\b0 repeat\b.*\b20\b[^,]*\bid\b", said.out)
    said = xlir(
        "train-hybrid", "--model", "builtin:static:8", "--train", rows, "--train", "s.jsonl",
        "--steps", "3", "--batch-size", "8", "--no-eval", "--output", "out",
    )  # fmt: skip
    assert said.code == 0
    assert tells(said.out, *shares)
    record = json.loads(Path("out/training.json").read_text(encoding="utf-8"))
    assert record["data"]["origins"] == {"original": 20, "code-switched": 20}
    assert record["data"]["sources"][1]["origins"] == {"code-switched": 20}
    assert "| `code-switched` | 20 | 50.0% |" in Path("out/README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translate") / "tiny"
    return save_tiny_m2m100(folder, "eng_Latn", "deu_Latn", "tha_Thai")


def test_translate_adds_languages_and_says_how_many(
    xlir: Command, tmp_path: Path, model: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n, "en") for n in range(5)])
    translate = ["augment", "translate", rows, "--model", model, "--to", "de,th", "--device", "cpu"]
    said = xlir(*translate, "--max-length", "16", "--output", "out.jsonl")
    assert (said.code, said.out) == (0, "")
    assert "translations: de 10, th 10" in said.err
    assert tells(said.err, "5 rows", "out.jsonl", "5 with translations")
    assert set(lines(Path("out.jsonl"))[0]["answer"]) == {"de", "en", "th"}
    said = xlir(*translate, "--max-length", "16", "--output", "again.jsonl", "--json")
    assert json.loads(said.out)["texts"] == {"de": 10, "th": 10}
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    said = xlir("data", "check-training", "out.jsonl")
    assert tells(said.out, "translated by tiny", "5 (100.0%)")


def test_translate_refuses_a_language_that_the_model_lacks(
    xlir: Command, rows: Path, model: Path
) -> None:
    translate = ["augment", "translate", rows, "--model", model, "--max-length", "32"]
    said = xlir(*translate, "--to", "fr", "--output", "o.jsonl")
    assert said.code == 2
    assert tells(said.err, "unknown", "tiny", "'fr'")


def test_a_killed_translation_goes_on_to_the_bytes_of_one_that_was_not(
    xlir: Command, tmp_path: Path, model: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n, "en") for n in range(30)])

    def arguments(output: str) -> list[str]:
        stated = ["augment", "translate", str(rows), "--model", str(model), "--to", "de,th"]
        sizes = ["--batch-tokens", "64", "--max-length", "16", "--device", "cpu", "--quiet"]
        return [*stated, *sizes, "--output", output]

    killed = begin(partial(exit_code, arguments("killed.jsonl")), tmp_path / "said")
    journal = Path(".killed.jsonl.journal")
    deadline = time.monotonic() + 300
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 5:
        assert killed.exitcode is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert not Path("killed.jsonl").exists()
    assert xlir(*arguments("killed.jsonl")).code == 0
    assert xlir(*arguments("whole.jsonl")).code == 0
    assert Path("killed.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert not journal.exists()


@pytest.mark.parametrize("command", ["code-switch", "translate"])
def test_help_shows_examples_and_loads_nothing_heavy(command: str) -> None:
    program = (
        "import sys; from xlir_bench.cli import exit_code;"
        f"exit_code(['augment', '{command}', '--help']);"
        "print('heavy:', *sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Examples:" in said.stdout
    assert said.stdout.splitlines()[-1].strip() == "heavy:"


def test_parallel_text_becomes_rows_that_train_hybrid_takes(xlir: Command, tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    stated = [
        {"id": n, "doc": "story", "text": {"en": f"This is sentence {n}.", "de": f"Das ist Satz {n}."}}
        for n in range(9)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(x) + "\n" for x in stated))
    said = xlir("augment", "parallel", path, "--output", "rows.jsonl")
    assert (said.code, said.out) == (0, "")
    assert tells(said.err, "9 rows", "rows.jsonl")
    made = ["--make", "passages", "--sizes", "2,3", "--langs", "de,en"]
    said = xlir("augment", "parallel", path, *made, "--output", "joined.jsonl", "--json")
    assert json.loads(said.out) == {"rows": 7, "output": "joined.jsonl"}
    assert (
        lines(Path("joined.jsonl"))[0]["answer"]["en"] == "This is sentence 0. This is sentence 1."
    )
    said = xlir(
        "train-hybrid", "--train", "rows.jsonl:cross-lingual", "--train", "joined.jsonl", "--output",
        "out", "--model", "builtin:static:8", "--vocabulary", "40", "--steps", "2", "--no-eval",
        "--strategy", "cross-lingual", "--int8", "--quiet",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert (
        len(json.loads(Path("out/tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
        == 40
    )
    assert xlir("augment", "parallel", path, "--output", "x.jsonl", "--sizes", "two").code == 2
    assert xlir("augment", "parallel", path, "--output", "x.txt").code == 2


def test_without_a_row_nothing_is_written_and_what_is_replaced_is_told(
    xlir: Command, rows: Path, lexicon: Path
) -> None:
    switch = ["augment", "code-switch", "--lexicon", lexicon, "--to", "de"]
    output = Path("out.jsonl")
    output.write_text("kept", "utf-8")
    others = write_rows(rows.with_name("others.jsonl"), [row(1, "es zh")])
    said = xlir(*switch, others, "--output", output)
    assert said.code == 1
    assert tells(said.err, "warning:", "no row", "out.jsonl")
    assert output.read_text("utf-8") == "kept"
    said = xlir(*switch, rows, "--p", "1", "--output", output, "--quiet")
    assert said.code == 0
    assert re.fullmatch(r"warning: out\.jsonl\b.*\breplaced\b.*\n", said.err)


def test_a_faulty_row_is_refused_or_left_out_and_told(
    xlir: Command, rows: Path, lexicon: Path
) -> None:
    with rows.open("a", encoding="utf-8") as file:
        file.write("{")
    switch = ["augment", "code-switch", rows, "--lexicon", lexicon, "--output", "out.jsonl"]
    said = xlir(*switch)
    assert said.code == 2
    assert "--skip-faults" in said.err
    said = xlir(*switch, "--p", "1", "--skip-faults")
    assert said.code == 0
    assert tells(said.err, "1 faulty", f"{rows}, line 21")
    assert len(lines(Path("out.jsonl"))) == 20


def test_a_language_that_no_line_has_is_told_and_nothing_is_written(xlir: Command) -> None:
    Path("lines.tsv").write_text("de\ten\thallo\thello\n", encoding="utf-8")
    asked = ("augment", "parallel", "lines.tsv", "--output", "out.jsonl", "--langs")
    said = xlir(*asked, "de,en,xx")
    assert (said.code, said.out) == (2, "")
    assert tells(said.err, "--langs xx", "no line")
    assert not Path("out.jsonl").exists()
    assert xlir(*asked, "de,en").code == 0
