"""`xlir-bench diagnose`: why answers were missed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cli.conftest import tells
from stored import copy_results

FOLDER = Path("results/builtin-ngram/mini")


def test_it_says_which_part_of_the_loss_is_matching_and_which_is_ranking(xlir):
    copy_results(Path("results"))
    said = xlir("diagnose", FOLDER)
    assert said.code == 0, said.err
    assert re.search(r"\blanguages \d+\.\d%.*\bmatching \d+\.\d%", said.out)
    assert tells(said.out, "10 of 121 pairs")
    assert said.out.count("instead ") >= 4
    record = json.loads(xlir("diagnose", FOLDER, "--rank", "5", "--json").out)
    assert record["limits"]["rank"] == 5
    assert sum(record["classes"].values()) == sum(record["parts"].values()) == record["misses"] > 0
    by_pair = sum(pair[name] for pair in record["pairs"] for name in record["classes"])
    assert by_pair == record["misses"]


def test_a_folder_of_one_result_will_do_and_several_are_refused(xlir):
    copy_results(Path("results"))
    assert xlir("diagnose", FOLDER.parent).out == xlir("diagnose", FOLDER).out
    said = xlir("diagnose", "results")
    assert (said.code, said.out) == (2, "")
    assert re.search(r"\bresults\b.* 2 .*\bresults/builtin-\w+/mini\b", said.err)


def test_without_the_data_it_says_what_is_not_judged(xlir):
    copy_results(Path("results"))
    file = FOLDER / "result.json"
    record = json.loads(file.read_text())
    record["task"]["name"] = "gone"
    file.write_text(json.dumps(record))
    said = xlir("diagnose", FOLDER, "--markdown")
    assert said.code == 0, said.err
    assert said.out.count("'gone'") == 1
    assert tells(said.out, "near duplicate, lexical neighbour", "not judged", "'gone'")


def test_texts_of_data_of_ones_own_come_from_what_was_run(xlir, tmp_path):
    folder = tmp_path / "bells"
    folder.mkdir()
    langs = {"de": "Glocke {0} hängt im Turm {0} der Kirche.", "en": "Bell {0} hangs in tower {0}."}
    rows = {
        "queries": [{"_id": f"{x}_{n}", "text": f"{n * 7}?", "lang": x} for x in langs for n in range(9)],
        "corpus": [{f"{x}-{n}": {"text": t.format(n * 7), "lang": x}} for x, t in langs.items() for n in range(9)],
        "qrels": [{f"{x}_{n}": {f"{y}-{n}": 1 for y in langs}} for x in langs for n in range(9)],
    }  # fmt: skip
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert xlir("run", "builtin:random", "--task", f"mlir:{folder}", "--quiet").code == 0
    result = "results/builtin-random/bells"
    unread = json.loads(xlir("diagnose", result, "--rank", "2", "--json").out)
    assert "--task" in unread["not_judged"]["near duplicate"]
    asked = ("diagnose", result, "--rank", "2", "--json", "--task")
    read = json.loads(xlir(*asked, f"mlir:{folder}").out)
    assert not {"near duplicate", "lexical neighbour"} & {*read["not_judged"]}
    assert any(
        "Turm" in text for of in read["examples"].values() for x in of for text in x["texts"]
    )
    other = xlir(*asked, "mini")
    assert (other.code, other.out) == (2, "")


def test_a_result_that_is_not_there_is_told(xlir):
    said = xlir("diagnose", "results/none")
    assert (said.code, said.out) == (2, "")
    assert "results/none" in said.err
