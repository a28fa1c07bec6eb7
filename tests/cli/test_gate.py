"""`xlir-bench gate`: exit codes, files and messages that scripts rely on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from changed import a_little_worse, changed, evaluated, stated, times
from cli.conftest import tells
from models import save_tiny_transformer

from xlir_bench import EncoderOptions
from xlir_bench.cli.gate import _as_the_baseline

BASE, MINE = Path("baselines/mini"), Path("results/mine/mini")


@pytest.fixture
def gate(xlir, monkeypatch):
    """Runs `xlir-bench gate` on a baseline and a candidate of half its scores, unless told otherwise."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    evaluated().save(BASE)
    changed(evaluated(), times(0.5), "half").save(MINE)

    def command(*args, candidate=MINE):
        return xlir("gate", "--baseline", BASE, "--candidate", candidate, *args)

    return command


def test_a_pass_exits_0(gate):
    said = gate(candidate=BASE)
    assert said.code == 0, said.err
    assert said.out.startswith("PASS")
    assert tells(said.err, "warning:", str(BASE), "with itself")


def test_a_candidate_does_not_take_the_place_of_its_baseline(gate, xlir):
    assert gate(candidate="builtin:ngram").code == 0
    (usual,) = Path("results/builtin-ngram").iterdir()
    before = (usual / "result.json").read_bytes()
    said = xlir("gate", "--baseline", usual, "--candidate", "builtin:ngram")
    assert (said.code, said.out) == (2, "")
    assert tells(said.err, "replace", "baseline", str(usual), "--output")
    assert (usual / "result.json").read_bytes() == before


def test_a_regression_exits_1(gate):
    said = gate()
    assert said.code == 1, said.err
    assert re.match(r"FAIL: half\b.*\bbuiltin:ngram\b.*\bmini\b", said.out)


def test_a_result_json_does_as_well_as_its_folder(gate):
    assert gate(candidate=MINE / "result.json").code == 1


def test_what_cannot_be_compared_exits_3(gate):
    stated(evaluated(), limit=5).save(MINE)
    said = gate()
    assert said.code == 3
    assert "limit" in said.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--policy", "none.toml"), "none.toml"),
        (("--update-baseline",), "--reason"),
        (("--junit", "baselines/mini/result.json/x.xml"), "--junit"),
    ],
)
def test_bad_input_exits_2(gate, args, told):
    said = gate(*args)
    assert said.code == 2
    assert told in said.err


def test_without_a_candidate_it_says_what_it_wants(xlir):
    said = xlir("gate", "--baseline", "x")
    assert said.code == 2
    assert "--candidate" in said.err


def test_a_candidate_that_is_not_there_is_one_message(gate):
    said = gate(candidate="results/none/result.json")
    assert said.code == 2
    assert tells(said.err, "results/none/result.json", "not there")


def test_a_folder_of_results_is_no_candidate(gate):
    said = gate(candidate="results")
    assert said.code == 2
    assert tells(said.err, "error: results", "1", "results/mine/mini")


def test_the_printed_policy_is_a_policy(gate, xlir):
    printed = xlir("gate", "--print-policy")
    assert printed.code == 0
    Path("gate.toml").write_text(printed.out, encoding="utf-8")
    assert gate("--policy", "gate.toml").out == gate().out


def test_json_is_all_there_is_on_stdout(gate):
    record = json.loads(gate("--json").out)
    assert (record["verdict"], record["outcome"], record["passed"]) == ("fail", "fail", False)
    assert record["candidate"] == "half"


def test_undecided_exits_as_the_policy_says(gate):
    changed(evaluated(), a_little_worse, "close").save(MINE)
    assert gate("--json").code == 0
    record = json.loads(gate("--json").out)
    assert (record["verdict"], record["passed"]) == ("undecided", True)
    printed = gate("--print-policy").out
    Path("strict.toml").write_text(
        printed.replace('undecided = "pass"', 'undecided = "fail"'), encoding="utf-8"
    )
    assert gate("--policy", "strict.toml").code == 1


def test_a_plan_says_what_each_rule_sees_and_judges_nobody(xlir, gate):
    plan = ("gate", "--plan", "--baseline", BASE, "--like", MINE)
    said = xlir(*plan)
    assert said.code == 0, said.err
    assert "drop 1: map, cross-lingual" in said.out
    tests = json.loads(xlir(*plan, "--json").out)["tests"]
    assert len(tests) == 16
    for test in tests:
        if test["measure"] == "map":
            assert test["visible"] > test["allowed"]
            assert test["needed"] > 24
    assert xlir("gate", "--plan", "--baseline", BASE).code == 2


def test_junit_is_written(gate):
    assert gate("--junit", "reports/gate.xml").code == 1
    root = ElementTree.parse("reports/gate.xml").getroot()
    assert int(root.get("failures")) > 0


def test_the_summary_of_a_github_job_is_added_to(gate, monkeypatch):
    Path("summary.md").write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    gate()
    text = Path("summary.md").read_text(encoding="utf-8")
    assert re.match(r"before\n### FAIL: half\b.*\bbuiltin:ngram\b.*\bmini\b", text)
    assert "| rule " in text


def test_a_summary_that_cannot_be_written_changes_no_verdict(gate, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "no/such/folder/summary.md")
    said = gate()
    assert said.code == 1
    assert tells(said.err, "summary", "No such file")


def test_a_model_is_evaluated_as_the_baseline_was(gate):
    said = gate(candidate="builtin:ngram")
    assert said.code == 0, said.err
    found = next(Path("results/builtin-ngram").iterdir())
    record = json.loads((found / "result.json").read_text())
    assert record["options"]["langs"] == ["de", "en", "th"]
    assert gate(candidate="builtin:random").code == 1


def test_a_baseline_of_another_version_of_the_task_is_told_before_anything_is_encoded(gate):
    record = json.loads((BASE / "result.json").read_text())
    record["task"]["digest"] = "sha256:" + "0" * 64
    (BASE / "result.json").write_text(json.dumps(record))
    said = gate(candidate="builtin:ngram")
    assert said.code == 3
    assert "make it again" in said.err


def test_a_baseline_of_data_without_a_task_file_says_how_a_model_is_gated(gate):
    record = json.loads((BASE / "result.json").read_text())
    record["task"]["name"] = "support"
    (BASE / "result.json").write_text(json.dumps(record))
    said = gate(candidate="builtin:ngram")
    assert said.code == 2
    assert "xlir-bench run" in said.err
    assert "--tasks-dir" in said.err


def test_a_pass_may_replace_the_baseline(gate):
    changed(evaluated(), times(1.05), "better").save(MINE)
    said = gate("--update-baseline", "--reason", "more data")
    assert said.code == 0, said.err
    assert json.loads((BASE / "result.json").read_text())["encoder"]["name"] == "better"
    assert json.loads((BASE / "history.jsonl").read_text())["reason"] == "more data"


def test_a_regression_replaces_nothing(gate):
    before = (BASE / "result.json").read_bytes()
    said = gate("--update-baseline", "--reason", "please")
    assert said.code == 1
    assert "the baseline stays" in said.err
    assert (BASE / "result.json").read_bytes() == before
    assert not (BASE / "history.jsonl").exists()


def test_the_project_passes_its_own_gate(xlir):
    """What CI does: the built-in encoder on the bundled task, against the baseline in the repository."""
    baseline = Path(__file__).parents[2] / "leaderboards/baselines/builtin-ngram/mini"
    said = xlir("gate", "--baseline", baseline, "--candidate", "builtin:ngram")
    assert said.code == 0, said.err + said.out
    assert said.out.startswith("PASS")


def test_a_candidate_is_run_with_the_options_that_the_baseline_was_run_with(xlir, tmp_path):
    model = save_tiny_transformer(tmp_path / "tiny")
    options = ("--query-prompt", "q: ", "--max-length", "9", "--truncate-dim", "5")
    part = ("--langs", "de", "--limit", "9", "--output", "base")
    said = xlir("run", "--model", model, *options, *part, "--dtype", "bfloat16", "--device", "cpu")
    assert said.code == 0, said.err
    (base,) = Path("base").glob("*/*")
    said = xlir("gate", "--baseline", base, "--candidate", model)
    assert said.code == 0, said.err
    assert "differ in" not in said.err
    (found,) = Path("results").glob("*/*")
    ours, theirs = (json.loads((f / "result.json").read_text())["encoder"] for f in (found, base))
    assert ours == theirs
    assert ours["options"]["truncate_dim"] == 5
    assert (ours["dimension"], ours["max_tokens"], ours["query_prompt"]) == (5, 9, "q: ")


def test_what_the_candidate_does_otherwise_than_the_baseline_is_told(gate):
    record = json.loads((BASE / "result.json").read_text())
    record["encoder"] |= {"query_prompt": "query: ", "dtype": "float16", "options": None}
    (BASE / "result.json").write_text(json.dumps(record))
    said = gate(candidate="builtin:ngram")
    for told in ("query prompt: 'query: ' against ''", "dtype: 'float16'", "not recorded"):
        assert told in said.err


def test_a_revision_and_leave_to_run_code_are_no_other_models(gate):
    record = json.loads((BASE / "result.json").read_text())
    record["encoder"]["options"] = {"revision": "abc", "trust_remote_code": True}
    (BASE / "result.json").write_text(json.dumps(record))
    said = gate(candidate="builtin:random")
    assert tells(said.err, "differ in revision", "'abc'", "baseline's")
    assert "--trust-remote-code" in said.err
    (found,) = Path("results/builtin-random").iterdir()
    options = json.loads((found / "result.json").read_text())["encoder"]["options"]
    assert (options["revision"], options["trust_remote_code"]) == (None, False)


@pytest.mark.parametrize(
    "name", ["org/model", "org/model | offsets > org/cross", "0.5 org/model + 1 builtin:bm25"]
)
def test_the_same_model_has_the_revision_of_the_baseline(name):
    asked = EncoderOptions(revision="abc", fuse_weights=(0.5, 1) if "+" in name else None)
    baseline = evaluated().record.encoder.model_copy(update={"name": name, "options": asked})
    same, other = (
        _as_the_baseline(spec, baseline, EncoderOptions()) for spec in ("org/model", "org/mod")
    )
    assert (same.revision, other.revision) == ("abc", None)


def test_a_baseline_of_ranks_alone_gives_the_same_verdict(gate):
    whole = gate(candidate="builtin:random")
    evaluated().save(BASE, tables=("ranks",))
    assert not list(BASE.glob("queries*"))
    assert gate(candidate="builtin:random").out == whole.out


def test_a_candidate_is_fused_as_its_baseline_was(xlir):
    asked = (
        "--task",
        "mini",
        "--langs",
        "en,de",
        "--fuse",
        "builtin:bm25",
        "--fuse-weights",
        "1,2",
    )
    assert xlir("run", "--model", "builtin:ngram", *asked, "--output", "base", "--quiet").code == 0
    (base,) = Path("base").glob("*/mini*")
    said = xlir("gate", "--baseline", base, "--candidate", "builtin:ngram", "--json")
    assert said.code == 0, said.err
    assert "differ in" not in said.err
    (new,) = Path("results").glob("*/mini*/result.json")
    assert json.loads(new.read_text())["encoder"]["name"] == "1 builtin:ngram + 2 builtin:bm25"
    record = json.loads((base / "result.json").read_text())
    record["encoder"]["fused"][1][1] = "sha256:of-other-weights"
    (base / "result.json").write_text(json.dumps(record))
    told = xlir("gate", "--baseline", base, "--candidate", new.parent)
    assert re.search(r"\bbuiltin:bm25\b.*\bfused\b.* not .*\bbaseline\b", told.out)


def test_a_candidate_is_re_ranked_as_its_baseline_was(xlir):
    Path("mine.py").write_text(
        "def scores(pairs):\n    return [-len(p) for q, p in pairs]\n", encoding="utf-8"
    )
    reranked = ("--rerank", "py:mine.py:scores", "--rerank-depth", "7")
    asked = (
        "--task",
        "mini",
        "--langs",
        "de,en",
        "--limit",
        "6",
        "--fuse",
        "builtin:bm25",
        *reranked,
    )
    assert xlir("run", "--model", "builtin:ngram", *asked, "--output", "base", "--quiet").code == 0
    (base,) = Path("base").glob("*/mini*")
    said = xlir("gate", "--baseline", base, "--candidate", "builtin:ngram", "--json")
    assert said.code == 0, said.err
    assert "differ in" not in said.err
    (new,) = Path("results").glob("*/mini*/result.json")
    records = [json.loads((folder / "result.json").read_text()) for folder in (base, new.parent)]
    assert records[0]["encoder"] == records[1]["encoder"]
    assert records[0]["settings"] == records[1]["settings"]
    assert records[1]["encoder"]["name"] == "builtin:ngram + builtin:bm25 > mine.scores"
    with Path("mine.py").open("a", encoding="utf-8") as file:
        file.write("# of another day\n")
    said = xlir("gate", "--baseline", base, "--candidate", "builtin:ngram", "--json")
    assert tells(said.err, "differ in reranker", "'mine.scores")
    stated = records[1]["encoder"]["options"]
    assert (stated["rerank"], stated["rerank_depth"]) == ("py:mine.py:scores", 7)


def test_held_out_text_that_changed_is_told(xlir):
    def write(factor):
        rows = [
            {"id": str(n), "text": {"de": f"Der Fluss {n * factor}", "en": f"The river {n}"}}
            for n in range(9)
        ]
        Path("text.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    write(1)
    moved = ("--transform", "offsets", "--transform-text", "text.jsonl")
    asked = ("--langs", "de,en", "--limit", "5", *moved, "--output", "base", "--quiet")
    assert xlir("run", "--model", "builtin:ngram", *asked).code == 0
    (base,) = Path("base").glob("*/mini*")
    again = ("gate", "--baseline", base, "--candidate", "builtin:ngram")
    assert "differ in" not in xlir(*again).err
    write(2)
    assert tells(xlir(*again).err, "differ in transform", "'offsets", "held-out text")


def test_questions_are_changed_by_the_word_lists_of_the_baseline(xlir):
    Path("lists").mkdir()
    words = Path("lists/en-de.tsv")
    words.write_text("who\twer\n", encoding="utf-8")
    asked = (
        "--langs",
        "de,en",
        "--limit",
        "5",
        "--query-form",
        "code-switched",
        "--lexicon",
        "lists",
    )
    assert xlir("run", "--model", "builtin:ngram", *asked, "--output", "base", "--quiet").code == 0
    (base,) = Path("base").glob("*/mini*")
    again = ("gate", "--baseline", base, "--candidate", "builtin:ngram", "--lexicon", "lists")
    said = xlir(*again)
    assert said.code == 0, said.err
    words.write_text("who\twann\n", encoding="utf-8")
    said = xlir(*again)
    assert said.code == 3
    assert "other word lists" in said.err


def test_several_tasks_are_gated_at_once_and_the_worst_verdict_counts(gate, xlir):
    for name, factor in {"fine": 1.0, "worse": 0.5}.items():
        evaluated().save(Path("baselines/several", name))
        changed(evaluated(), times(factor), name).save(Path("results/several", name))
    both = ("gate", "--baseline", "baselines/several", "--candidate", "results/several")
    said = xlir(*both, "--json", "--junit", "gate.xml")
    record = json.loads(said.out)
    assert (said.code, record["verdict"], record["passed"]) == (1, "fail", False)
    assert [v["verdict"] for v in record["verdicts"]] == ["pass", "fail"]
    assert len(ElementTree.parse("gate.xml").getroot()) == 2
    assert xlir(*both, "--task", "fine").code == 0
    said = xlir(*both, "--task", "fien")
    assert said.code == 2
    assert tells(said.err, "'fien'", "'fine'")
    assert xlir(*both, "--update-baseline", "--reason", "x").code == 1
    assert not list(Path("baselines").rglob("history.jsonl"))


def test_baselines_of_parts_find_the_results_of_their_runs(xlir):
    for part in (["--langs", "de,en"], ["--limit", "3"]):
        assert xlir("run", "--model", "builtin:ngram", *part, "--quiet").code == 0
    assert xlir("export", "result", *Path("results").glob("*/*"), "--output", "kept").code == 0
    both = ("gate", "--baseline", "kept/builtin-ngram", "--candidate", "results/builtin-ngram")
    said = xlir(*both, "--json")
    assert [v["verdict"] for v in json.loads(said.out)["verdicts"]] == ["pass", "pass"]


def test_a_plan_of_one_article_does_not_say_how_many_would_do(xlir):
    for name in ("ngram", "random"):
        part = ("--langs", "de,en", "--limit", "1", "--output", name, "--quiet")
        assert xlir("run", "--model", f"builtin:{name}", *part).code == 0
    folders = [next(Path(name).glob("*/*")) for name in ("ngram", "random")]
    said = xlir("gate", "--plan", "--baseline", folders[0], "--like", folders[1], "--json")
    tests = json.loads(said.out)["tests"]
    assert {(test["visible"], test["needed"]) for test in tests} == {(None, None)}


def test_the_first_baseline_is_made_by_a_command_and_never_over_another(gate, xlir):
    said = xlir("gate", "--baseline", "none", "--candidate", MINE)
    assert said.code == 2
    assert "gate --first --baseline none" in said.err
    first = ("gate", "--first", "--baseline", "none", "--candidate")
    assert xlir(*first, BASE).code == 0
    assert xlir("gate", "--baseline", "none", "--candidate", BASE).code == 0
    said = xlir(*first, BASE)
    assert said.code == 2
    assert "--update-baseline" in said.err
    said = xlir("gate", "--first", "--baseline", "other", "--candidate", "builtin:random")
    assert said.code == 2
    assert "--task" in said.err
    assert xlir(*first, MINE, "--task", "mini").code == 2
    assert not Path("other").exists()
    said = xlir(
        "gate", "--first", "--baseline", "other", "--candidate", "builtin:random", "--task", "mini"
    )
    assert said.code == 0, said.err
    assert (Path("other") / "result.json").is_file()
