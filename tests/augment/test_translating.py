from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kills.operations import kills
from models import save_tiny_m2m100, save_tiny_marian
from train.rowfiles import row, write_rows

from xlir_bench.augment import translating
from xlir_bench.augment.translating import Report, SourceText, Translating, opened_journal
from xlir_bench.augment.translator import (
    TranslateOptions,
    Translation,
    Translator,
    load_translator,
)
from xlir_bench.errors import InputError
from xlir_bench.files import InUseError, write
from xlir_bench.records import Silent
from xlir_bench.train.row_files import read_rows
from xlir_bench.train.rows import Row

ROWS = [
    *(row(n, "en", negative={"en": f"wrong {n}"} if n % 2 else {}) for n in range(9)),
    row("there", "de en"),
    row("thai", "th"),
    {"id": "bare", "question": {"en": "what"}, "answer": {"de": "das"}},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translating") / "tiny-nllb"
    return save_tiny_m2m100(folder, "eng_Latn", "deu_Latn", "fra_Latn")


@pytest.fixture(scope="module")
def translator(model: Path) -> Translator:
    return loaded(model)


def loaded(model: Path, **stated: Any) -> Translator:
    defaults = {"to": ("de", "fr"), "max_length": 16, "num_beams": 1, "device": "cpu"}
    return load_translator(
        TranslateOptions(**{"model": model, "batch_tokens": 64} | defaults | stated)
    )


def run(translator: Translator, read: Path, output: Path, side: Any = "both") -> Report:
    return Translating(translator, [str(read)], side).run(output, Silent())


def written(path: Path) -> list[Row]:
    rows = list(read_rows(str(path)))
    assert all(isinstance(found, Row) for found in rows)
    return rows  # type: ignore[return-value]


def test_rows_get_what_they_lack_and_keep_what_they_have(
    translator: Translator, tmp_path: Path
) -> None:
    read = write_rows(tmp_path / "rows.jsonl", ROWS)
    report = run(translator, read, tmp_path / "out.jsonl")
    before, after = written(read), written(tmp_path / "out.jsonl")
    assert [r.id for r in after] == [r.id for r in before]
    for old, new in zip(before, after, strict=True):
        for side in ("question", "answer", "negative"):
            assert old.side(side).items() <= new.side(side).items()
    by_id = {r.id: r for r in after}
    assert set(by_id["row-1"].negative) == {"de", "en", "fr"}
    assert set(by_id["row-there"].question) == {"de", "en", "fr"}
    assert by_id["row-there"].question["de"] == "question there in de"
    assert by_id["row-0"].origin == "translated by tiny-nllb"
    assert by_id["row-thai"].origin == "", "the model reads no Thai"
    assert by_id["bare"].dataset == "rows.jsonl"
    assert set(by_id["bare"].answer) == {"de", "fr"}, "translated from what the model reads"
    assert (report.rows, report.gained, report.blank) == (12, 11, 0)
    assert report.texts == {"de": 23, "fr": 26}


def test_a_text_is_translated_as_it_would_be_alone(translator: Translator, tmp_path: Path) -> None:
    run(translator, write_rows(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl")
    for found in written(tmp_path / "out.jsonl")[:3]:
        (alone,) = translator.translate(translator.tokens([found.question["en"]]), "en", "fr")
        assert found.question["fr"] == alone.text


def test_one_side_alone(translator: Translator, tmp_path: Path) -> None:
    read = write_rows(tmp_path / "rows.jsonl", ROWS[:2])
    run(translator, read, tmp_path / "q.jsonl", "question")
    run(translator, read, tmp_path / "a.jsonl", "answer")
    question, answer = written(tmp_path / "q.jsonl")[1], written(tmp_path / "a.jsonl")[1]
    assert [len(question.side(s)) for s in ("question", "answer", "negative")] == [3, 1, 1]
    assert [len(answer.side(s)) for s in ("question", "answer", "negative")] == [1, 3, 3]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """The target language and the lengths of every batch that is translated."""
    met: list[tuple[str, list[int]]] = []
    translate = Translator.translate

    def noting(self: Translator, texts: Any, source: str, target: str) -> Any:
        met.append((target, [len(t) for t in texts]))
        return translate(self, texts, source, target)

    monkeypatch.setattr(Translator, "translate", noting)
    return met


def test_batches_hold_texts_of_like_length_in_one_pair_and_stay_in_their_room(
    model: Path, tmp_path: Path, batches: list[tuple[str, list[int]]]
) -> None:
    rows = [row(n, "en", question={"en": "x" * (n % 13 + 1) + f" {n}"}) for n in range(40)]
    read = write_rows(tmp_path / "rows.jsonl", rows)
    run(loaded(model, batch_tokens=48), read, tmp_path / "out.jsonl", "question")
    assert {target for target, _ in batches} == {"de", "fr"}
    assert sum(len(lengths) for _, lengths in batches) == 80
    for _, lengths in batches:
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) * min(lengths[0] + 2, 16) <= 48
    assert len(batches) < 2 * 20


def test_texts_that_recur_are_translated_once(
    translator: Translator, tmp_path: Path, batches: list[tuple[str, list[int]]]
) -> None:
    rows = [row(n, "en", answer={"en": "the same"}) for n in range(20)]
    run(translator, write_rows(tmp_path / "r.jsonl", rows), tmp_path / "out.jsonl", "answer")
    assert sum(len(lengths) for _, lengths in batches) == 2


@contextmanager
def stopped_after(left: int) -> Iterator[None]:
    """The run ends as if it were killed in the middle of a batch, after so many."""
    translate = Translator.translate

    def failing(self: Translator, *stated: Any) -> Any:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return translate(self, *stated)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Translator, "translate", failing)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_stopped_run_goes_on_to_the_same_bytes_and_does_nothing_twice(
    translator: Translator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batches: list[tuple[str, list[int]]],
) -> None:
    monkeypatch.setattr(translating, "WINDOW", 4)
    read = write_rows(tmp_path / "rows.jsonl", ROWS)
    whole = run(translator, read, tmp_path / "whole.jsonl.gz")
    output = tmp_path / "stopped.jsonl.gz"
    in_all = len(batches)
    for more in (3, 1, 5):
        with stopped_after(more):
            run(translator, read, output)
        assert not output.exists()
    journal = tmp_path / ".stopped.jsonl.gz.journal"
    with journal.open("ab") as file:
        file.write(b'{"texts": 1, "transl')  # the line that was being written
    assert run(translator, read, output) == whole
    assert len(batches) == 2 * in_all
    assert output.read_bytes() == (tmp_path / "whole.jsonl.gz").read_bytes()
    assert gzip.decompress(output.read_bytes()).count(b"\n") == len(ROWS)
    names = {"rows.jsonl", "whole.jsonl.gz", "stopped.jsonl.gz"}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_a_run_goes_on_with_the_same_rows_model_and_options_alone(
    model: Path, translator: Translator, tmp_path: Path
) -> None:
    read, output = write_rows(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    with stopped_after(1):
        run(translator, read, output)
    with pytest.raises(InputError, match=r"\(num_beams changed\)"):
        run(loaded(model, num_beams=2), read, output)
    with pytest.raises(InputError, match=r"\(side changed\)"):
        run(translator, read, output, "question")
    write_rows(read, ROWS[:3])
    with pytest.raises(InputError, match=r"\(rows changed\).*--output.*remove .*\.journal"):
        run(translator, read, output)
    (tmp_path / ".out.jsonl.journal").unlink()
    assert run(translator, read, output).rows == 3


def test_two_runs_do_not_write_one_output(translator: Translator, tmp_path: Path) -> None:
    read = write_rows(tmp_path / "rows.jsonl", ROWS)
    output = tmp_path / "out.jsonl"
    left = {"pid": os.getpid(), "host": socket.gethostname()}  # by a container that was restarted
    (tmp_path / ".out.jsonl.lock").write_text(json.dumps(left))
    with (
        opened_journal(output, {}),
        pytest.raises(InUseError, match=rf"out\.jsonl .*process {os.getpid()}\b"),
    ):
        run(translator, read, output)


def test_translations_are_used_for_the_texts_they_were_made_of_alone(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    batches = [[SourceText("en", "de", f"{n} {m}") for m in range(2)] for n in range(3)]
    made = [Translation("ja", False, False), Translation("nein", True, True)]
    with suppress(KeyboardInterrupt), opened_journal(output, {"it": [1]}) as journal:
        for batch in batches:
            assert journal.next_batch(batch) is None
            journal.note(batch, made)
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), opened_journal(output, {"it": [1]}) as journal:
        assert journal.next_batch(batches[0]) == made
        assert journal.next_batch(batches[2]) is None
        assert journal.next_batch(batches[1]) is None, "what follows another batch is gone"
        journal.note(batches[1], made)
        raise KeyboardInterrupt
    with opened_journal(output, {"it": [1]}) as journal:
        assert journal.next_batch(batches[0]) == journal.next_batch(batches[1]) == made
        assert journal.next_batch(batches[2]) is None
    assert not list(tmp_path.iterdir())


def test_a_journal_of_an_earlier_version_is_refused_and_kept(tmp_path: Path) -> None:
    journal = tmp_path / ".out.jsonl.journal"
    journal.write_text('{"schema": 1, "stated": {"it": 1}, "window": 0, "size": 0, "report": {}}\n')
    before = journal.read_bytes()
    with (
        pytest.raises(InputError, match=r"\(schema changed\)"),
        opened_journal(tmp_path / "out.jsonl", {"it": 1}),
    ):
        pass
    assert journal.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="wants fork")
def test_an_output_is_finished_wherever_the_run_before_was_killed(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    def work() -> None:
        with opened_journal(output, {"it": 1}) as journal:
            for number in range(3):
                texts = [SourceText("en", "de", str(number))]
                made = journal.next_batch(texts)
                if made is None:
                    journal.note(texts, [Translation(f"{number}", False, False)])
            write(output, "whole")

    for _ in kills(work):
        work()
        assert output.read_text() == "whole"
        assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
        output.unlink()


def test_faulty_rows_are_refused_before_anything_is_translated(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "translate", None)
    read = write_rows(tmp_path / "rows.jsonl", [*ROWS, {}])
    with pytest.raises(InputError, match=r"line 13: no question"):
        run(translator, read, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"], "rows can be mended"


def test_long_texts_and_translations_without_an_end_are_counted(
    translator: Translator, tmp_path: Path
) -> None:
    rows = [row(1, "en", question={"en": "x" * 40})]
    report = run(
        translator, write_rows(tmp_path / "r.jsonl", rows), tmp_path / "o.jsonl", "question"
    )
    assert report.shortened == 2
    assert 0 <= report.unfinished <= 2


def test_marian_translates_what_was_asked_for_alone(tmp_path: Path) -> None:
    model = save_tiny_marian(tmp_path / "opus-mt-en-de")
    read = write_rows(tmp_path / "rows.jsonl", ROWS)
    report = run(loaded(model, to=("de",)), read, tmp_path / "out.jsonl")
    assert set(report.texts) == {"de"}
    by_id = {r.id: r for r in written(tmp_path / "out.jsonl")}
    assert by_id["row-3"].origin == "translated by opus-mt-en-de"
    assert by_id["row-thai"].origin == ""
