"""The gate: what it lets through, what it stops, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from changed import (
    a_little_worse,
    changed,
    drop,
    evaluated,
    policy,
    queries,
    ranks,
    stated,
    times,
    with_tables,
)

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.reports.gate import Outcome, gate
from xlir_bench.reports.policy import Policy, default_policy
from xlir_bench.results import Result


class TestTheVerdict:
    def test_the_same_result_passes(self):
        verdict = gate(evaluated(), evaluated(), default_policy())
        assert verdict.outcome == Outcome.PASS
        assert verdict.exit_code == 0
        assert all(f.p == 1 and f.change == 0 for f in verdict.findings)

    def test_a_better_result_passes(self):
        assert gate(evaluated("builtin:random"), evaluated(), drop()).outcome == Outcome.PASS

    def test_a_worse_result_fails(self):
        verdict = gate(evaluated(), changed(evaluated(), times(0.5)), default_policy())
        assert verdict.outcome == Outcome.FAIL
        assert verdict.exit_code == 1
        worst = verdict.findings[0]
        assert worst.outcome == Outcome.FAIL
        assert worst.candidate == pytest.approx(worst.baseline / 2)
        assert worst.low < worst.change < worst.high < 0
        assert worst.p_holm < 0.05

    def test_a_drop_that_is_allowed_passes_however_sure_it_is(self):
        candidate = changed(evaluated(), lambda frame: frame["value"] - 0.004)
        verdict = gate(evaluated(), candidate, drop(absolute=0.005))
        assert verdict.outcome == Outcome.PASS
        assert verdict.findings[0].p < 0.001

    def test_a_loss_that_is_not_shown_is_undecided(self):
        candidate = changed(evaluated(), a_little_worse)
        verdict = gate(evaluated(), candidate, drop(kinds=["monolingual"]))
        assert verdict.outcome == Outcome.UNDECIDED
        found = verdict.findings[0]
        assert found.p_holm > 0.05
        assert found.visible > -found.change > 0
        assert (verdict.passed, verdict.exit_code) == (True, 0)

    def test_an_undecided_gate_fails_where_the_policy_says_so(self):
        rules = drop(kinds=["monolingual"]).model_copy(update={"undecided": "fail"})
        verdict = gate(evaluated(), changed(evaluated(), a_little_worse), rules)
        assert verdict.outcome == Outcome.UNDECIDED
        assert (verdict.passed, verdict.exit_code) == (False, 1)

    def test_a_gain_that_is_not_sure_is_no_pass(self):
        """ "Not shown to be worse" is not "as good": the bound decides, not the mean."""
        candidate = changed(evaluated(), lambda f: 2 * f["value"] - a_little_worse(f) - 0.01)
        (found,) = gate(evaluated(), candidate, drop(kinds=["monolingual"])).findings
        assert found.change > 0
        assert (found.outcome, found.most > 0) == (Outcome.UNDECIDED, True)
        wider = drop(kinds=["monolingual"], absolute=found.most + 0.001)
        assert gate(evaluated(), candidate, wider).outcome == Outcome.PASS

    def test_rules_that_do_not_decide_can_fail_the_gate_and_not_hold_it_up(self):
        rules = policy(
            drop=[
                {"absolute": 0.005, "kinds": ["cross-lingual"], "decides": True},
                {"absolute": 0.0, "kinds": ["monolingual"]},
            ]
        )

        def only_monolingual(frame):
            mine = frame["kind"] == "monolingual"
            return frame["value"].where(~mine, a_little_worse(frame))

        verdict = gate(evaluated(), changed(evaluated(), only_monolingual), rules)
        assert verdict.outcome == Outcome.PASS
        assert [f.rule for f in verdict.of(Outcome.UNDECIDED)] == ["drop 2"]
        worse = changed(evaluated(), times(0.3, kind="monolingual"))
        assert gate(evaluated(), worse, rules).outcome == Outcome.FAIL

    def test_where_no_rule_is_marked_all_decide(self):
        rules = policy(drop=[{"absolute": 0.0}, {"absolute": 0.0, "per": "setting"}])
        verdict = gate(evaluated(), evaluated(), rules)
        assert all(f.decides for f in verdict.findings)
        by_default = gate(evaluated(), evaluated(), default_policy()).findings
        assert {f.rule for f in by_default if f.decides} == {"drop 1", "rise 1"}

    def test_a_visible_loss_grows_with_the_spread_and_shrinks_with_articles(self):
        close = gate(evaluated(), changed(evaluated(), times(0.99)), drop(absolute=0.01))
        far = gate(evaluated(), changed(evaluated(), times(0.5)), drop(absolute=0.01))
        for near, wide in zip(close.findings, far.findings, strict=True):
            assert near.visible < wide.visible
            assert near.needed < wide.needed

    def test_a_gain_in_the_mean_does_not_hide_a_loss_in_one_language(self):
        def traded(frame):
            thai = frame["query_lang"] == "th"
            return frame["value"] * np.where(thai, 0.6, 1.5)

        candidate = changed(evaluated(), traded)
        assert candidate.score("monolingual") > evaluated().score("monolingual")
        verdict = gate(evaluated(), candidate, default_policy())
        failed = {f.subject for f in verdict.of(Outcome.FAIL)}
        assert any(re.fullmatch(r"monolingual,.*\bquery.* th", subject) for subject in failed)
        assert "monolingual" not in failed

    def test_a_loss_in_the_passages_of_one_language_is_found(self):
        candidate = changed(evaluated(), times(0.2, passage_lang="th", kind="cross-lingual"))
        verdict = gate(evaluated(), candidate, drop(per="passage-language"))
        worst = verdict.findings[0]
        assert re.fullmatch(r"cross-lingual,.*\bpassage.* th", worst.subject)

    def test_a_relative_drop_is_of_the_baselines_value(self):
        candidate = changed(evaluated(), times(0.9))
        assert gate(evaluated(), candidate, _relative(0.2)).outcome == Outcome.PASS
        assert gate(evaluated(), candidate, _relative(0.09)).outcome == Outcome.FAIL

    def test_a_rise_of_the_rank_distance_fails(self):
        frame = ranks(evaluated())
        pooled = (frame["kind"] == "multilingual") & (frame["passage_lang"] == "th")
        further = np.minimum(frame["rank"] * 3, 400).astype("int32")
        frame["rank"] = np.where(pooled, further, frame["rank"]).astype("int32")
        candidate = with_tables(
            evaluated(),
            ranks=pa.Table.from_pandas(frame, preserve_index=False),
            queries=evaluated().table("queries"),
        )
        verdict = gate(evaluated(), candidate, default_policy())
        assert [f.measure for f in verdict.of(Outcome.FAIL)] == ["rank_distance"]
        assert verdict.findings[0].change > 0
        back = gate(candidate, evaluated(), default_policy())
        assert back.outcome == Outcome.PASS

    def test_a_floor_holds_whatever_the_baseline_was(self):
        rules = policy(floor=[{"kinds": ["monolingual"], "least": 0.9}])
        verdict = gate(evaluated(), evaluated(), rules)
        assert verdict.outcome == Outcome.FAIL
        assert verdict.findings[0].p is None
        assert verdict.tests == 0

    def test_holm_counts_every_test_of_every_rule_and_no_floor(self):
        rules = policy(
            drop=[{"absolute": 0.0}, {"absolute": 0.0, "per": "setting"}],
            rise=[{"relative": 0.0}],
            floor=[{"least": 0.0}],
        )
        verdict = gate(evaluated(), changed(evaluated(), times(0.5)), rules)
        assert verdict.tests == 3 + 12 + 1
        smallest = min(f.p for f in verdict.findings if f.p is not None)
        assert min(f.p_holm for f in verdict.findings if f.p is not None) == pytest.approx(
            16 * smallest
        )

    def test_a_rule_may_speak_of_some_languages_and_kinds_alone(self):
        rules = drop(kinds=["monolingual"], per="query-language", langs=["th"])
        verdict = gate(evaluated(), evaluated(), rules)
        (finding,) = verdict.findings
        assert re.fullmatch(r"monolingual,.*\bquery.* th", finding.subject)

    def test_findings_come_worst_first(self):
        candidate = changed(evaluated(), times(0.5, query_lang="de"))
        verdict = gate(evaluated(), candidate, default_policy())
        order = [list(Outcome).index(f.outcome) for f in verdict.findings]
        assert order == sorted(order, reverse=True)


def _relative(share: float) -> Policy:
    return policy(drop=[{"relative": share}])


class TestWhatItRefuses:
    def test_results_of_other_options(self):
        with pytest.raises(NotComparableError, match="limit"):
            gate(evaluated(), stated(evaluated(), limit=9), default_policy())

    def test_a_candidate_that_lost_queries(self):
        frame = queries(evaluated())
        frame = frame[frame["query_id"] != frame["query_id"].iloc[0]]
        fewer = with_tables(evaluated(), queries=pa.Table.from_pandas(frame, preserve_index=False))
        for sides in ((evaluated(), fewer), (fewer, evaluated())):
            with pytest.raises(NotComparableError, match="12 values of map"):
                gate(*sides, default_policy())

    def test_a_measure_that_was_not_taken(self):
        with pytest.raises(UnknownNameError, match=r"'recal@10'.*'recall@10'"):
            gate(evaluated(), evaluated(), drop(measure="recal@10"))

    def test_a_language_that_is_not_there(self):
        with pytest.raises(UnknownNameError, match=r"language.*policy 'xx'"):
            gate(evaluated(), evaluated(), drop(langs=["xx"]))

    def test_a_policy_that_tests_nothing_here(self):
        record = evaluated().record
        kinds = [s for s in record.settings if s.kind == Kind.MONOLINGUAL]
        only = Result(record.model_copy(update={"settings": kinds}), _monolingual_tables())
        rules = drop(kinds=["cross-lingual"])
        with pytest.raises(InputError, match=r"no rule.*test"):
            gate(only, only, rules)
        notes = gate(only, only, default_policy()).notes
        told = {note[: note.index(")") + 1]: note for note in notes if "tests nothing" in note}
        assert "no cross-lingual setting" in told["drop 3 (map)"]
        assert "no multilingual setting" in told["rise 1 (rank_distance)"]

    def test_it_says_so_where_it_cannot_fail(self):
        few = _clusters(3)
        verdict = gate(few, few, default_policy())
        assert "can hardly fail" in verdict.notes[0]
        assert gate(evaluated(), evaluated(), default_policy()).notes == ()


def _monolingual_tables():
    frames = {name: evaluated().table(name).to_pandas() for name in ("ranks", "queries")}
    return {
        name: pa.Table.from_pandas(f[f["kind"] == "monolingual"], preserve_index=False)
        for name, f in frames.items()
    }


def _clusters(count: int) -> Result:
    frame = ranks(evaluated())
    names = {c: f"c{i % count}" for i, c in enumerate(frame["cluster"].unique())}
    frame["cluster"] = frame["cluster"].map(names)
    record = evaluated().record
    record = record.model_copy(update={"task": record.task.model_copy(update={"clusters": count})})
    tables = {**evaluated().tables, "ranks": pa.Table.from_pandas(frame, preserve_index=False)}
    return Result(record, tables)
