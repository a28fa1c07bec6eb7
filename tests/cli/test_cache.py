"""`xlir-bench cache`: what is kept, and how to be rid of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from places import read_only

from xlir_bench import files

QUICK = ("--langs", "de,en", "--limit", "8", "--quiet")


@pytest.fixture
def filled(xlir):
    assert xlir("run", "--model", "builtin:ngram", "builtin:random", *QUICK).code == 0
    return xlir


def encoders(xlir) -> set[str]:
    return {row["encoder"] for row in json.loads(xlir("cache", "--json").out)}


def test_it_lists_size_and_blocks_by_encoder(filled):
    said = filled("cache")
    assert "builtin:ngram" in said.out
    assert "builtin:random" in said.out
    assert "MB in" in said.out or "kB in" in said.out


def test_an_empty_cache_is_no_error(xlir):
    assert xlir("cache").code == 0


def test_prune_by_encoder(filled):
    assert filled("cache", "prune", "--encoder", "builtin:random").code == 0
    assert encoders(filled) == {"builtin:ngram"}


def test_prune_by_size_removes_the_longest_unused_first(filled):
    import os

    old = next(Path("cache/vectors").glob("builtin-ngram*"))
    for path in old.rglob("*"):
        os.utime(path, (1, 1))
    assert filled("cache", "prune", "--max-size", "500k").code == 0
    assert encoders(filled) == {"builtin:random"}


def test_prune_by_age(filled):
    assert filled("cache", "prune", "--older-than", "1h").code == 0
    assert len(encoders(filled)) == 2
    assert filled("cache", "prune", "--older-than", "0m").code == 0
    assert encoders(filled) == set()


def test_all_goes_and_a_dry_run_says_what_would_go(filled):
    said = filled("cache", "prune", "--all", "--dry-run")
    assert said.code == 0
    assert re.search(r"\bwould be removed\b.*\bvectors\b.*\b2 encoder", said.out)
    assert "builtin:random" in said.out
    assert len(encoders(filled)) == 2
    assert filled("cache", "prune", "--all").code == 0
    assert encoders(filled) == set()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "--max-size"),
        (["--max-size", "lots"], "500M"),
        (["--older-than", "5y"], "30d"),
        (["--encoder", "builtin:radnom"], "'builtin:random'"),
    ],
)
def test_what_is_asked_wrongly_is_told(filled, args, words):
    said = filled("cache", "prune", *args)
    assert said.code == 2
    assert words in said.err


def test_what_cannot_be_removed_is_told(filled):
    with read_only(Path("cache")):
        said = filled("cache", "prune", "--max-size", "0")
        assert said.code == 2
        assert "nothing was removed" in said.err
        assert filled("run", "--model", "builtin:ngram", *QUICK).code == 0, "what it holds is used"
    assert len(encoders(filled)) == 2


def test_what_a_run_is_reading_stays_and_that_is_said(filled):
    lease = files.leased(next(Path("cache/vectors").glob("builtin-ngram*")))
    said = filled("cache", "prune", "--max-size", "0")
    assert said.code == 0
    assert "builtin:ngram" in said.err
    assert encoders(filled) == {"builtin:ngram"}
    del lease


def test_a_run_with_an_unwritable_cache_says_so_and_gives_the_same(filled):
    with read_only(Path("cache")):
        said = filled("run", "--model", "builtin:ngram", "--langs", "de,en", "--limit", "9")
        assert said.code == 0
        assert "not kept" in said.out
