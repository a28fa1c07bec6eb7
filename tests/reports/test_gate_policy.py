"""The policy of the gate: a small TOML file, and what is wrong with one."""

from __future__ import annotations

import pytest

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.reports.policy import DEFAULT_POLICY, default_policy, read_policy


def read(tmp_path, text):
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    return read_policy(tmp_path / "gate.toml")


def test_the_default_is_what_is_printed(tmp_path):
    assert read(tmp_path, DEFAULT_POLICY) == default_policy()


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("alhpa = 0.1\n[[drop]]\nabsolute = 1", "'alhpa'.*'alpha'"),
        ("[[drops]]\nabsolute = 1", "'drops'.*'drop'"),
        ("[[drop]]\nabsolut = 1", "'absolut'.*'absolute'"),
        ("[[rise]]\nrelativ = 1", "'relativ'.*'relative'"),
        ("[[floor]]\nlast = 1", "'last'.*'least'"),
    ],
)
def test_an_unknown_key_gets_a_near_miss(tmp_path, text, near):
    with pytest.raises(UnknownNameError, match=near):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no rule"),
        ("[[drop]]\nmeasure = 'map'", "either absolute or relative"),
        ("[[drop]]\nabsolute = 0.1\nrelative = 0.1", "either absolute or relative"),
        ("[[drop]]\nabsolute = -0.1", "greater than or equal to 0"),
        ("[[drop]]\nabsolute = nan", "finite"),
        ("[[drop]]\nabsolute = '0.1'", "valid number"),
        ("[[drop]]\nabsolute = 1\nkinds = ['mono']", "'monolingual'"),
        ("[[drop]]\nabsolute = 1\nper = 'lang'", "'query-language'"),
        ("[[drop]]\nmeasure = 'rank_distance'\nabsolute = 1", r"write \[\[rise\]\]"),
        ("[[rise]]\nmeasure = 'map'\nabsolute = 1", "rank_distance"),
        ("alpha = 1.5\n[[drop]]\nabsolute = 1", "less than 1"),
        ("drift = 'ignore'\n[[drop]]\nabsolute = 1", "'warn' or 'fail'"),
        ("undecided = 'warn'\n[[drop]]\nabsolute = 1", "'pass' or 'fail'"),
        ("[[drop]]\nabsolute = 1\ndecides = 'yes'", "valid boolean"),
        ("drop = 3", "list"),
        ("[[drop]", "not TOML"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path, text, told):
    with pytest.raises(InputError, match=told) as refused:
        read(tmp_path, text)
    assert "gate.toml" in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(tmp_path / "none.toml")


@pytest.mark.parametrize(("drift", "undecided"), [("warn", "pass"), ("fail", "fail")])
def test_a_policy_of_before_is_read(tmp_path, drift, undecided):
    rules = read(tmp_path, f"drift = '{drift}'\n[[drop]]\nabsolute = 1")
    assert rules.undecided == undecided
