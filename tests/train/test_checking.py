from __future__ import annotations

from pathlib import Path

from train.rowfiles import row, write_rows

from xlir_bench.records import Silent
from xlir_bench.train.checking import TrainingCheck, check_training


def checked(*paths: Path) -> TrainingCheck:
    return check_training(map(str, paths), Silent())


def test_texts_pairs_and_lengths_are_counted(tmp_path: Path) -> None:
    rows = [row(1), row(2, "de"), row(3, question={"fr": "x" * 100}, negative={"en": "wrong"})]
    found = checked(write_rows(tmp_path / "rows.jsonl", rows))
    assert found.rows == 3
    assert found.languages["de"] == {"question": 2, "answer": 3, "negative": 0}
    assert found.languages["en"]["negative"] == 1
    assert found.pairs["fr"] == {"de": 1, "en": 1, "es": 1, "fr": 0}
    assert found.pairs["de"]["de"] == 2
    assert found.lengths["question"]["fr"] == [100, 100, 100, 100]
    assert found.lengths["question"]["de"] == [16, 16, 16, 16]


def test_repetitions_of_rows_ids_and_texts_are_counted(tmp_path: Path) -> None:
    same = row(1)
    rows = [same, same, row(1, "en"), row(2, "de", answer={"de": " question 2 in de "})]
    found = checked(write_rows(tmp_path / "rows.jsonl", rows))
    assert (found.duplicates, found.repeated_ids, found.same_text) == (1, 2, {"de": 1})


def test_the_first_ten_faults_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row(1), *([{}] * 12)])
    found = checked(path)
    assert (found.rows, found.fault_count, len(found.faults)) == (1, 12, 10)
    assert str(found.faults[0]).startswith(f"{path}, line 2: no question ")
    assert found.as_json()["faults"][9]["line"] == 11


def test_sources_are_counted_together(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [row(1)])
    two = write_rows(tmp_path / "two.jsonl", [row(1), row(2)])
    found = checked(one, two)
    assert found.by_source == {str(one): 1, str(two): 2}
    assert found.duplicates == 1


def test_rows_are_counted_by_origin(tmp_path: Path) -> None:
    rows = [row(1), row(2, origin="code-switched"), row(3, origin=" code-switched\n")]
    found = checked(write_rows(tmp_path / "rows.jsonl", rows))
    assert found.origins == {"original": 1, "code-switched": 2}
    assert found.as_json()["origins"] == found.origins
    many = [row(n, origin=f"made {n}") for n in range(80)]
    origins = checked(write_rows(tmp_path / "many.jsonl", many)).origins
    assert len(origins) == 51
    assert origins["other"] == 30
