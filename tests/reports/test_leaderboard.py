"""Leaderboards: what is ranked, what stands on the pages, and that nothing from outside breaks them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest
from sources.layouts import write_xor
from stored import another, change, copy_results

from xlir_bench.encoders import EncoderOptions
from xlir_bench.errors import InputError
from xlir_bench.evaluation import CostOptions, RunOptions, evaluate, load_models, measure_cost
from xlir_bench.records import Kind, Silent
from xlir_bench.rendering.numbers import milliseconds, rate, size
from xlir_bench.reports.generated import file_names, update
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.pages import leaderboard_texts, without_paths
from xlir_bench.reports.scores import DISTANCE, Score
from xlir_bench.reports.tables import CHOSEN_ON_IT
from xlir_bench.results import Result
from xlir_bench.results.schema import CostPart
from xlir_bench.tasks import catalogue

HOSTILE = "<script>alert(1)</script>|[x](http://evil.example)`*"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return copy_results(tmp_path / "results")


def pages(results: Path, **options: bool) -> dict[str, str]:
    return leaderboard_texts(read_board([results], **options))


def test_there_is_an_index_a_page_a_task_a_page_an_encoder_and_what_papers_report(results):
    assert sorted(pages(results)) == [
        "README.md",
        "mini.md",
        "mini/builtin-ngram.md",
        "mini/builtin-random.md",
        "published.md",
    ]


def test_it_tells_how_far_it_is(results):
    class Told(Silent):
        def __init__(self):
            self.stages, self.done = [], []

        def start(self, stage, total, unit):
            self.stages.append((stage, total, unit))
            self.done.append(0)

        def advance(self, count):
            self.done[-1] += count

    told = Told()
    board = read_board([results], progress=told)
    leaderboard_texts(board, html=True, progress=told)
    assert told.stages == [("rank", 1, "tasks"), ("page", 2, "encoders")]
    assert told.done == [1, 2]


def test_encoders_are_in_the_order_of_their_multilingual_map(results):
    (task,) = read_board([results]).tasks
    assert [row.name for row in task.rows] == ["builtin:ngram", "builtin:random"]
    maps = [row.score(Kind.MULTILINGUAL).mean for row in task.rows]
    assert maps == sorted(maps, reverse=True)


def test_the_best_of_a_column_is_bold_and_has_its_interval(results):
    record = Result.load(results / "builtin-ngram" / "mini").record
    part = record.summary[Kind.MONOLINGUAL]["map"]
    line = next(x for x in pages(results)["mini.md"].splitlines() if "builtin:ngram" in x)
    assert f"**{part.mean:.4f}**".replace("0.", ".") in line
    assert f"({part.low:.3f} to {part.high:.3f})".replace("0.", ".") in line


def test_each_encoder_has_the_ranks_it_may_have_and_twins_cannot_be_told_apart(results):
    another(results, "twin", "twin")
    (task,) = read_board([results]).tasks
    twins = {"twin", "builtin:ngram"}
    assert {row.name for row in task.rows[:2]} == twins
    for row in task.rows:
        for column in task.columns[:3]:
            standing = row.standings[column]
            assert (standing.first, standing.last) == ((1, 2) if row.name in twins else (3, 3))
            assert standing.letters == (("a",) if row.name in twins else ("b",))
    text = pages(results)["mini.md"]
    table = text.partition("## Who can be told apart")[2]
    assert "| [twin](mini/twin.md) | 1 to 2 · a | 1 to 2 · a | 1 to 2 · a |" in table
    assert "the number tested (3)" in table
    assert re.search(r"\bnot say\b.*\bequal\b", table)
    assert "over the 3 pairs" in table


def test_of_rank_distance_the_lower_is_the_better(results):
    rows = {row.name: row for row in read_board([results]).tasks[0].rows}
    means = {name: DISTANCE.value(row.record) for name, row in rows.items()}
    assert means["builtin:random"] < means["builtin:ngram"]
    assert rows["builtin:random"].standings[DISTANCE].first == 1
    assert rows["builtin:ngram"].standings[DISTANCE].last == 2


def test_a_result_without_ranks_stands_in_the_table_its_ranks_blank_and_the_page_says_why(results):
    folder = another(results, "twin", "twin")
    for file in folder.rglob("*.parquet"):
        file.unlink()
    text = pages(results)["mini.md"]
    assert len(re.findall(r"^\| \d \| \[twin\]", text, re.MULTILINE)) == 1
    table = text.partition("## Who can be told apart")[2]
    assert "| [twin](mini/twin.md) |  |  |  |  |" in table
    assert re.search(r"Not tested.*\bno ranks\b.*: twin\.", table)
    assert "the number tested (2)" in table
    assert "the 1 pair " in table


def test_without_any_ranks_nobody_is_tested_and_the_page_says_so(results):
    for file in results.rglob("*.parquet"):
        file.unlink()
    (task,) = read_board([results]).tasks
    assert not any(row.standings for row in task.rows)
    table = pages(results)["mini.md"].partition("## Who can be told apart")[2]
    assert re.search(r"Not tested.*\bno ranks\b.*: builtin:ngram, builtin:random\.", table)
    assert "may have" not in table


def test_without_significance_nothing_is_said_of_it(results):
    assert "told apart" not in pages(results, significance=False)["mini.md"]


def test_ranks_of_other_queries_are_not_tested_against_these(results):
    folder = another(results, "fewer", "fewer", source="builtin-random")
    result = Result.load(folder)
    tables = {
        name: table.filter(pc.not_equal(table["query_id"], "honey-bees-1"))
        for name, table in result.tables.items()
    }
    Result(result.record, tables).save(folder)
    (task,) = read_board([results]).tasks
    (row,) = [row for row in task.rows if row.untested]
    assert row.name == "fewer"
    assert re.search(r"\bqueries\b.* not \bthose\b", row.untested)


def test_an_encoder_whose_settings_were_chosen_on_the_task_is_marked_on_every_page(results):
    change(results / "builtin-ngram" / "mini", encoder={"chosen_on": ["mini"]})
    change(results / "builtin-random" / "mini", encoder={"chosen_on": ["xquad-r"]})
    texts = leaderboard_texts(read_board([results]), html=True)
    for page in ("README.md", "mini.md"):
        assert "[builtin:ngram](mini/builtin-ngram.md) † |" in texts[page]
        assert "random.md) †" not in texts[page]
        assert f"†: {CHOSEN_ON_IT}." in texts[page]
    assert CHOSEN_ON_IT in texts["mini/builtin-ngram.md"]
    assert CHOSEN_ON_IT not in texts["mini/builtin-random.md"]
    assert re.findall('"note":"([^"]*)"', texts["index.html"]) == [CHOSEN_ON_IT, ""]


def test_the_leaderboards_of_this_repository_test_their_encoders_and_fit_git():
    published = Path(__file__).parents[2] / "leaderboards"
    for file in published.glob("results/*/*/result.json"):
        assert Result.load(file).has_values, file
        assert sum(f.stat().st_size for f in file.parent.iterdir()) < 3_000_000
    for task in ("mini", "xquad-r", "mlqa-r"):
        page = (published / f"{task}.md").read_text(encoding="utf-8")
        assert re.search("^## .*told apart$", page, re.MULTILINE)
        assert "Not tested" not in page
    assert "builtin-multilingual.md) † |" in (published / "mini.md").read_text(encoding="utf-8")


def test_a_part_is_left_out_and_said(results):
    part = results / "builtin-ngram" / "mini~12345678"
    shutil.copytree(results / "builtin-random" / "mini", part)
    change(part, options={"langs": ["de", "en"], "limit": 5})
    board = read_board([results])
    assert len(board.tasks[0].rows) == 2
    (left,) = board.left_out
    assert "languages de en" in left.why
    assert "first 5 queries" in pages(results)["README.md"]


def test_of_two_runs_of_one_encoder_the_newer_is_ranked(results):
    newer = results / "again" / "mini"
    shutil.copytree(results / "builtin-ngram" / "mini", newer)
    change(newer, created="2999-01-01T00:00:00+00:00", encoder={"dimension": 77})
    board = read_board([results])
    assert [r.record.encoder.dimension for r in board.tasks[0].rows if "ngram" in r.name] == [77]
    assert "older run" in board.left_out[0].why


def test_results_of_other_data_are_a_board_of_their_own(results):
    folder = another(results, "other", "other")
    change(folder, task={"digest": "sha256:" + "0" * 64})
    names = [task.file for task in read_board([results]).tasks]
    assert sorted(names) == ["mini", "mini~00000000"]


def test_two_encoders_of_one_name_are_told_apart_by_their_slugs(results):
    another(results, "checkpoint-1000", "checkpoint-1000-aaaaaaaa")
    another(results, "checkpoint-1000", "checkpoint-1000-bbbbbbbb")
    text = pages(results)["mini.md"]
    assert "checkpoint-1000 (checkpoint-1000-aaaaaaaa)" in text
    assert "checkpoint-1000 (checkpoint-1000-bbbbbbbb)" in text


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", b"\xff\xfe", b'{"schema": 1}', b'{"schema": 99}', b"[" * 100_000]
)
def test_a_damaged_or_foreign_file_is_named_and_the_rest_is_ranked(results, damage):
    broken = results / "broken" / "mini"
    broken.mkdir(parents=True)
    (broken / "result.json").write_bytes(damage)
    board = read_board([results])
    assert len(board.tasks[0].rows) == 2
    (line,) = board.unreadable
    assert str(broken / "result.json") in line
    with pytest.raises(InputError, match="broken"):
        read_board([results], strict=True)


def test_a_newer_schema_says_which_one_can_be_read(results):
    (results / "builtin-random" / "mini" / "result.json").write_text('{"schema": 99}')
    (line,) = read_board([results]).unreadable
    assert re.search(r"schema 99\b.* reads 1\b", line)


def test_the_same_results_give_the_same_bytes_wherever_they_lie(results, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(results, moved)
    assert leaderboard_texts(read_board([results]), html=True) == leaderboard_texts(
        read_board([moved, results]), html=True
    )


def test_no_page_holds_a_path_of_this_machine(results):
    change(
        results / "builtin-ngram" / "mini",
        command=f"xlir-bench run --model {results}/models/mine --data={results} --task mini",
    )
    texts = leaderboard_texts(read_board([results]), html=True)
    assert not any(str(results.parent) in text for text in texts.values())
    assert "--model mine" in texts["mini/builtin-ngram.md"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("xlir-bench run --model intfloat/e5 --task mini", "run --model intfloat/e5 "),
        ("xlir-bench run --model /home/me/out/checkpoint-1", "run --model checkpoint-1"),
        ("xlir-bench run --model ~/out/checkpoint-1/", "run --model checkpoint-1/"),
        ("xlir-bench run --model ../a/b", "run --model b"),
        ("xlir-bench run --model py:/home/me/enc.py:encode", "run --model py:enc.py:encode"),
        ("xlir-bench run --model npy:/data/vectors", "run --model npy:vectors"),
        ("xlir-bench run --model http:http://me:pw@h:80/v1#m", "http:http://h:80/v1#m"),
        (r"xlir-bench run --model 'C:\Users\me\model'", "run --model model"),
    ],
)
def test_folders_and_passwords_are_cut_from_a_stored_command(command, told):
    assert told in without_paths(command)


def test_names_from_outside_stay_text_in_markdown(results):
    change(results / "builtin-ngram" / "mini", encoder={"name": HOSTILE, "slug": "../../up|<b>"})
    texts = pages(results)
    assert all(re.fullmatch(r"[\w.~-]+(/_2e[\w.~-]+|/[\w~-][\w.~-]*)?", name) for name in texts)
    for text in texts.values():
        assert "<script>" not in text
        assert "](http://evil" not in text
    tables = re.findall(r"(?:^\|.*\n)+", texts["mini.md"], re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        assert len({x.replace("\\|", "").count("|") for x in table.splitlines()}) == 1


def test_a_measure_with_a_hostile_name_stays_text_in_markdown(results):
    """Names of measures come from result.json too."""
    for folder in results.glob("*/mini"):
        file = folder / "result.json"
        text = file.read_text().replace('"map"', json.dumps(HOSTILE))
        file.write_text(text)
    texts = pages(results)
    assert "evil" in texts["mini.md"]
    for text in texts.values():
        assert "<script>" not in text
        assert "](http://evil" not in text


def test_file_names_are_safe_and_never_meet():
    names = ["a/b", "A", "a", "con", "..", "", "x" * 300, "模型", "README"]
    files = file_names(names, beside_index=True)
    assert len({name.casefold() for name in files}) == len(names)
    assert all(name and not name.startswith(".") and "/" not in name for name in files)
    assert max(map(len, files)) <= 120
    assert "README" not in files


def test_the_language_table_holds_means_over_passage_languages(results):
    record = Result.load(results / "builtin-ngram" / "mini").record
    mine = [
        s.measures["map"]
        for s in record.settings
        if s.kind == Kind.CROSS_LINGUAL and s.query_lang == "de"
    ]
    found = Score(Kind.CROSS_LINGUAL, "map").by_query_language(record)["de"]
    assert found == pytest.approx(sum(mine) / 10)


def test_writing_again_changes_nothing_and_a_gone_encoder_takes_its_page_along(results, tmp_path):
    output = tmp_path / "boards"
    update(output, pages(results))
    assert not update(output, pages(results))
    shutil.rmtree(results / "builtin-random")
    found = update(output, pages(results))
    assert found.extra == ("mini/builtin-random.md",)
    assert not (output / "mini" / "builtin-random.md").exists()


def test_only_our_own_files_are_removed(results, tmp_path):
    output = tmp_path / "boards"
    texts = pages(results)
    update(output, texts)
    kept = ["notes.md", "mini/notes.md", "results/x/mini.md", "experiments/run.md"]
    for name in kept:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("mine\n")
    # A file of ours in a folder that belongs to others is theirs.
    (output / "experiments" / "copy.md").write_text(texts["mini.md"])
    assert not update(output, texts)
    assert all((output / name).exists() for name in [*kept, "experiments/copy.md"])


def test_a_file_in_the_way_that_is_not_ours_is_never_overwritten(results, tmp_path):
    output = tmp_path / "boards"
    output.mkdir()
    (output / "README.md").write_text("# My project\n")
    with pytest.raises(InputError, match=r"README\.md"):
        update(output, pages(results))
    assert (output / "README.md").read_text() == "# My project\n"
    assert [p.name for p in output.iterdir()] == ["README.md"]


def test_differences_tell_what_is_changed_missing_and_extra(results, tmp_path):
    output = tmp_path / "boards"
    texts = pages(results)
    update(output, texts)
    page = output / "mini.md"
    page.write_text(page.read_text() + "edited\n")
    (output / "published.md").unlink()
    (output / "old.md").write_text(texts["mini.md"])
    found = update(output, texts, check=True)
    assert (output / "old.md").is_file()
    assert (found.changed, found.missing, found.extra) == (
        ("mini.md",),
        ("published.md",),
        ("old.md",),
    )


def test_no_result_at_all_is_an_empty_board(tmp_path):
    (tmp_path / "results").mkdir()
    texts = leaderboard_texts(read_board([tmp_path / "results"]), html=True)
    assert sorted(texts) == ["README.md", "index.html", "published.md"]


def test_a_task_without_a_pool_is_ranked_by_what_it_has(results):
    for folder in results.glob("*/mini"):
        file = folder / "result.json"
        record = json.loads(file.read_text())
        record["settings"] = [s for s in record["settings"] if s["kind"] == "monolingual"]
        record["summary"] = {"monolingual": record["summary"]["monolingual"]}
        record["bias"] = {}
        file.write_text(json.dumps(record))
    board = read_board([results])
    # The tables still hold the other settings: nothing is tested with them, and that is told.
    assert all(re.search(r"not belong.*result\.json", line) for line in board.unreadable)
    assert len(board.unreadable) >= 1
    texts = leaderboard_texts(board, html=True)
    assert re.search(r"first by map\b.*\bmonolingual\b", texts["mini.md"])
    assert "multilingual" not in texts["mini.md"]


def profiled(folder: Path) -> CostPart:
    """A real profile of an encoder, put into its stored result."""
    (mini,) = catalogue().get(["mini"])
    asked = CostOptions(dims=(256,), queries=3, batch=2, repeats=1)
    there = RunOptions(langs=("de", "en"), cache=None)
    models = load_models(mini, "builtin:ngram", asked, there, EncoderOptions())
    cost = measure_cost(mini, models, asked, there, command="xlir-bench profile --data /home/me/x")
    Result.load(folder).with_cost(cost).save(folder)
    return cost


def test_costs_stand_on_the_pages_of_what_was_profiled_and_are_blank_elsewhere(results):
    before = pages(results)
    assert not any("What it costs" in text for text in before.values())
    cost = profiled(results / "builtin-ngram" / "mini")
    after = pages(results)
    board = after["mini.md"].partition("## What it costs")[2].splitlines()
    mine, other = (
        next(x for x in board if f"[{n}]" in x) for n in ("builtin:ngram", "builtin:random")
    )
    first = cost.variants[0]
    for figure in (first.query.p50, first.query.p99):
        assert f"| {milliseconds(figure)} |" in mine
    assert f"| {first.bytes_per_vector:,.0f} | {size(first.index_bytes)} |" in mine
    assert f"| {rate(cost.models[0].passages_per_second)} |" in mine
    assert set(other.split("|")[3:]) == {"", "  ", " - "}
    own = after["mini/builtin-ngram.md"]
    assert "| float32 256 Flat" in own
    assert "`xlir-bench profile --data x`" in own
    assert "What it costs" not in after["mini/builtin-random.md"]
    html = leaderboard_texts(read_board([results]), html=True)["index.html"]
    assert re.findall(r'"bytesPerVector":([^,}]+)', html) == [
        str(round(first.bytes_per_vector, 2)), "null",
    ]  # fmt: skip
    unchanged = {name for name in before if before[name] == after[name]}
    assert unchanged == {"README.md", "published.md", "mini/builtin-random.md"}


def test_a_processor_with_a_hostile_name_breaks_no_page(results):
    folder = results / "builtin-ngram" / "mini"
    cost = profiled(folder)
    machine = cost.machine.model_copy(update={"processor": HOSTILE})
    Result.load(folder).with_cost(cost.model_copy(update={"machine": machine})).save(folder)
    for text in pages(results).values():
        assert "<script>" not in text
        assert "](http://evil" not in text


def test_a_task_without_map_is_ranked_by_its_first_measure(tmp_path):
    """XOR-Retrieve is scored by answers: there is no map, and no chance level."""
    questions = [
        {"id": str(n), "question": f"kuka {n}", "answers": [f"answer {n}"], "lang": lang}
        for lang in ("fi", "ja")
        for n in range(4)
    ]
    passages = [(str(n), f"kuka {n} answer {n}", "t") for n in range(4)]
    root = write_xor(tmp_path / "data", questions, passages)
    (task,) = catalogue().get(["xor-retrieve"])
    task = task.model_copy(update={"languages": ["fi", "ja"]})
    for name in ("ngram", "random"):
        options = RunOptions(data=root, cache=tmp_path / "cache")
        result = evaluate(task, f"builtin:{name}", options)
        result.save(tmp_path / "results" / f"builtin-{name}" / "xor-retrieve")
    found = pages(tmp_path / "results")
    board = found["xor-retrieve.md"]
    assert "cross-lingual recall@2kt" in board
    assert "first by recall@2kt" in board
    assert "*chance*" not in board
    assert "map" not in board.partition("<!--")[0]
    page = found["xor-retrieve/builtin-ngram.md"]
    assert re.search("^## .*pair.*: recall@2kt$", page, re.MULTILINE)
