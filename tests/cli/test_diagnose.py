"""`xlir-bench diagnose`: why answers were missed."""

from __future__ import annotations

import json
from pathlib import Path

from stored import copy_results

FOLDER = Path("results/builtin-ngram/mini")


def test_it_says_which_part_of_the_loss_is_matching_and_which_is_ranking(xlir):
    copy_results(Path("results"))
    said = xlir("diagnose", FOLDER)
    assert said.code == 0, said.err
    assert "matching" in said.out.split("of what is missed:")[1].splitlines()[0]
    assert "the 10 of 121 pairs that miss most" in said.out
    assert said.out.count("instead ") >= 4
    record = json.loads(xlir("diagnose", FOLDER, "--rank", "5", "--json").out)
    assert record["limits"]["rank"] == 5
    assert sum(record["classes"].values()) == sum(record["parts"].values()) == record["misses"] > 0
    by_pair = sum(pair[name] for pair in record["pairs"] for name in record["classes"])
    assert by_pair == record["misses"]


def test_without_the_data_it_says_what_is_not_judged(xlir):
    copy_results(Path("results"))
    file = FOLDER / "result.json"
    record = json.loads(file.read_text())
    record["task"]["name"] = "gone"
    file.write_text(json.dumps(record))
    said = xlir("diagnose", FOLDER, "--markdown")
    assert said.code == 0, said.err
    assert said.out.count("texts are not at hand: ") == 1
    assert "near duplicate, lexical neighbour: not judged" in said.out


def test_a_result_that_is_not_there_is_told(xlir):
    said = xlir("diagnose", "results/none")
    assert (said.code, said.out) == (2, "")
    assert "results/none" in said.err
