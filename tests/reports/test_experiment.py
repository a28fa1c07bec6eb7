"""Tables, tests and claims of an experiment against plain arithmetic on the stored per-query values."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recipes import REDUCED, with_lines

import xlir_bench as xb
from xlir_bench import Result
from xlir_bench.errors import InputError, NotComparableError
from xlir_bench.measures.significance import seeds_to_show
from xlir_bench.recipe import Cell, Recipe, parse_recipe
from xlir_bench.records import Kind
from xlir_bench.reports.experiment.index import BEGIN, END, index_text, read_experiments
from xlir_bench.reports.experiment.judging import against_baselines, difference, judge
from xlir_bench.reports.experiment.pages import experiment_pages, report_files
from xlir_bench.reports.experiment.stored import read_experiment
from xlir_bench.reports.generated import Differences
from xlir_bench.reports.scores import Score
from xlir_bench.results.cells import (
    QUESTIONS_FILE,
    CellRecord,
    Questions,
    cell_folder,
    write_cell,
)

ACROSS = Score(Kind.CROSS_LINGUAL, "map")
QUALITY = {"untrained": 0.0, "monolingual": 0.2, "hybrid": 2.0}


def store(recipe: Recipe, folder: Path, cell: Cell, signal: float, langs: Sequence[str]) -> None:
    """A finished cell whose model knows as much of the first letters of texts as `signal` says."""

    def encode(texts: Sequence[str], role: str) -> np.ndarray:
        rows = []
        for text in texts:
            seed = hashlib.sha256(f"{cell.name} {text}".encode()).digest()[:4]
            noise = np.random.default_rng(int.from_bytes(seed)).standard_normal(64)
            known = np.zeros(64)
            for word in text.lower().split():
                known[hashlib.sha256(word[:4].encode()).digest()[0] % 64] += signal
            rows.append(noise + known)
        return np.array(rows, np.float32)

    options = xb.RunOptions(langs=tuple(langs), measures=recipe.measures, cache=None)
    found = xb.evaluate("mini", encode, options)
    found.save(cell_folder(folder, cell) / "mini")  # its tables are for the tests alone
    Questions.of(found).save(cell_folder(folder, cell) / "mini")
    figures = {f"mini.{kind.value}.map": signal for kind in Kind}
    record = CellRecord(
        cell={},
        digest=cell.digest,
        training={"evaluations": [{"step": 5, "figures": figures}]} if cell.variant.trained else {},
        leaking=0,
        train_seconds=1.0,
        evaluate_seconds=1.0,
    )
    write_cell(folder, record, cell.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    recipe = parse_recipe(REDUCED, "it")
    for cell in recipe.cells():
        store(recipe, folder, cell, QUALITY[cell.variant.strategy] * 2, ["de", "en"])
    return folder


def test_a_base_that_changed_between_trainings_is_told(tmp_path: Path) -> None:
    text = REDUCED.replace("builtin:static:16", "some/base")
    recipe = parse_recipe(text, "it")
    for cell in recipe.cells():
        store(recipe, tmp_path, cell, 1.0, ["de", "en"])

    def told(*digests: str) -> bool:
        for n, cell in enumerate(recipe.cells()):
            base = {"digest": digests[n % len(digests)]}
            record = read_experiment(recipe, tmp_path).records[cell]
            again = record.model_copy(update={"training": record.training | {"base": base}})
            write_cell(tmp_path, again, cell.name)
        page = experiment_pages(read_experiment(recipe, tmp_path), text).texts["README.md"]
        return "`some/base` changed" in page

    assert told("a", "b")
    assert not told("a")


def values(folder: Path, cell: Cell, kind: str, measure: str) -> pd.Series:
    """A value a setting and query, from the table on disk."""
    frame = (
        Result.load(cell_folder(folder, cell) / "mini")
        .table("queries")
        .to_pandas()
        .astype(
            {"kind": str, "measure": str, "query_lang": str, "passage_lang": str, "query_id": str}
        )
    )
    chosen = frame[(frame.kind == kind) & (frame.measure == measure)]
    return chosen.set_index(["query_lang", "passage_lang", "query_id"])["value"]


def macro(found: pd.Series) -> float:
    return float(found.groupby(level=[0, 1]).mean().mean())


def test_means_deviations_and_differences_are_those_of_plain_arithmetic(folder: Path) -> None:
    recipe = parse_recipe(REDUCED, "it")
    experiment = read_experiment(recipe, folder)
    cells = {(c.variant.strategy, c.seed): c for c in recipe.cells()}
    found = {
        (name, seed): values(folder, cell, "cross-lingual", "map")
        for (name, seed), cell in cells.items()
    }
    rows = [r for r in against_baselines(experiment, "mini") if r.column == ACROSS]
    assert [r.baseline.strategy for r in rows] == ["monolingual"]
    by_seed = [macro(found["hybrid", s] - found["monolingual", s]) for s in (0, 1)]
    assert list(rows[0].tested.by_seed.values()) == pytest.approx(by_seed)
    assert rows[0].tested.test.difference == pytest.approx(np.mean(by_seed))
    page = experiment_pages(experiment, REDUCED).texts["README.md"]
    means = [macro(found["hybrid", s]) for s in (0, 1)]
    shown = f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}".replace("0.", ".")
    assert shown in page


def test_the_test_is_of_seeds_and_articles_by_plain_arithmetic(folder: Path) -> None:
    from scipy import stats

    recipe = parse_recipe(REDUCED, "it")
    cells = {(c.variant.strategy, c.seed): c for c in recipe.cells()}
    ranks = Result.load(cell_folder(folder, cells["hybrid", 0]) / "mini").table("ranks").to_pandas()
    article = ranks.astype(str).drop_duplicates("query_id").set_index("query_id")["cluster"]
    rows = []
    for seed in (0, 1):
        one, two = (
            values(folder, cells[name, seed], "cross-lingual", "map")
            for name in ("monolingual", "hybrid")
        )
        change = two - one
        by = article[change.index.get_level_values(2)].to_numpy()
        # All articles of mini have as many questions in every setting.
        rows.append(change.groupby(by).mean())
    table = pd.concat(rows, axis=1).T.to_numpy()
    s, a = table.shape
    of_articles, of_seeds = table.mean(0).var(ddof=1), table.mean(1).var(ddof=1)
    rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    of_both = (rest**2).sum() / (s - 1) / (a - 1)
    variance = max(of_articles / a, of_articles / a + of_seeds / s - of_both / a / s)
    bound = of_seeds / s / stats.chi2.ppf(0.2, s - 1)
    freedom = (of_articles / a + bound) ** 2 / (
        (of_articles / a) ** 2 / (a - 1) + bound**2 / (s - 1)
    )
    p = 2 * stats.t.sf(abs(table.mean()) / variance**0.5, freedom)
    experiment = read_experiment(recipe, folder)
    variants = {v.strategy: v for v in recipe.variants()}
    tested = difference(experiment, variants["monolingual"], variants["hybrid"], "mini", ACROSS)
    assert tested.test.p == pytest.approx(p, rel=1e-4)


def test_what_is_kept_gives_every_mean_again_and_is_small(folder: Path) -> None:
    for cell in parse_recipe(REDUCED, "it").cells():
        place = cell_folder(folder, cell) / "mini"
        result, found = xb.Result.load(place), Questions.load(place)
        for (kind, measure), means in found.means.items():
            wanted = (
                result.record.bias[measure].mean
                if measure == "rank_distance"
                else result.score(kind, measure)
            )
            assert means.weight @ means.mean == pytest.approx(wanted, rel=1e-6)
        assert {m for _, m in found.means} == {"map", "recall@10", "rank_distance"}
        assert (place / QUESTIONS_FILE).stat().st_size < 8000


def test_tables_of_before_are_read_and_where_nothing_is_left_it_says_what_to_do(
    folder: Path, tmp_path: Path
) -> None:
    recipe = parse_recipe(REDUCED, "it")
    shutil.copytree(folder, tmp_path / "x")
    for path in (tmp_path / "x").rglob(QUESTIONS_FILE):
        path.unlink()
    before = _page(read_experiment(recipe, folder), REDUCED)
    assert _page(read_experiment(recipe, tmp_path / "x"), REDUCED) == before
    for path in (tmp_path / "x").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(InputError, match=rf"{re.escape(QUESTIONS_FILE)}.*result\.json.*--check"):
        experiment_pages(read_experiment(recipe, tmp_path / "x"), REDUCED)
    damaged = next((tmp_path / "x").rglob("result.json")).with_name(QUESTIONS_FILE)
    damaged.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=rf"{re.escape(str(damaged))} cannot be read"):
        Questions.load(damaged.parent)


def test_a_claim_holds_if_it_is_significant_and_every_seed_agrees(folder: Path) -> None:
    found = judge(read_experiment(parse_recipe(REDUCED, "it"), folder))
    helps = found[1]
    assert helps.outcome == "holds"
    assert helps.why == "all 2 seeds agree"
    # Of the two that it was set against, the one that it was shown less surely to be better than.
    experiment = read_experiment(parse_recipe(REDUCED, "it"), folder)
    column = Score(Kind.MONOLINGUAL, "map")
    of = {v.strategy: v for v in experiment.recipe.variants()}
    p = {
        name: difference(experiment, of[name], of["hybrid"], "mini", column).test.greater
        for name in ("untrained", "monolingual")
    }
    assert helps.against is not None
    assert p[helps.against.strategy] == max(p.values())
    turned = with_lines().replace('better = "hybrid"\nthan = ["untrained", "monolingual"]',
                                  'better = "monolingual"\nthan = "hybrid"')  # fmt: skip
    judged = judge(read_experiment(parse_recipe(turned, "it"), folder))[1]
    assert judged.outcome == "fails"
    assert re.search(r"opposite.*\b2 seeds", judged.why)


def test_a_seed_that_disagrees_is_enough_for_a_claim_not_to_hold(
    folder: Path, tmp_path: Path
) -> None:
    recipe = parse_recipe(with_lines("seeds = [0, 1, 2]"), "it")
    shutil.copytree(folder, tmp_path / "x")
    for cell in recipe.cells():
        if cell.seed == 2:
            quality = {"untrained": 0.0, "hybrid": 0.0, "monolingual": 0.6}[cell.variant.strategy]
            store(recipe, tmp_path / "x", cell, quality, ["de", "en"])
    judged = judge(read_experiment(recipe, tmp_path / "x"))[1]
    assert judged.outcome == "not shown"


def test_a_margin_lets_a_small_loss_pass_and_is_not_in_what_is_shown(folder: Path) -> None:
    text = REDUCED.replace('better = "hybrid"\nthan = ["untrained", "monolingual"]',
                           'better = "monolingual"\nthan = "hybrid"\nmargin = 0.5')  # fmt: skip
    experiment = read_experiment(parse_recipe(text, "it"), folder)
    judged = judge(experiment)[1]
    assert judged.outcome == "holds"
    row = next(x for x in _page(experiment, text).splitlines() if x.startswith("| Training helps"))
    assert "a loss of .500 allowed" in row
    assert "| -." in row


def test_what_is_not_shown_says_how_many_seeds_would_show_it(folder: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(REDUCED.replace('than = "monolingual"', 'than = "untrained"'), "it")
    shutil.copytree(folder, tmp_path / "x")
    for cell in recipe.cells():
        if cell.variant.strategy == "hybrid":
            store(recipe, tmp_path / "x", cell, 0.35, ["de", "en"])
    judged = judge(read_experiment(recipe, tmp_path / "x"))[0]
    assert judged.outcome == "not shown"
    assert judged.tested is not None
    wanted = seeds_to_show(judged.tested.test, 0.05 / 2)
    assert ("no number" if wanted is None else f" {wanted} seeds") in judged.why


def test_a_claim_that_no_outcome_could_refute_is_marked(folder: Path, tmp_path: Path) -> None:
    text = (
        with_lines("alphas = [0.2, 0.5, 0.8]", "baselines = []").partition("[[claims]]")[0]
        + """
[[claims]]
text = "Alpha matters little"
better = { alpha = 0.2 }
than = { alpha = 0.5 }
task = "mini"
kind = "monolingual"
margin = 0.9
"""
    )
    recipe = parse_recipe(text, "it")
    for cell in recipe.cells():
        store(recipe, tmp_path, cell, cell.variant.alpha or 0.0, ["de", "en"])
    experiment = read_experiment(recipe, tmp_path)
    assert judge(experiment)[0].outcome == "cannot fail"
    assert re.search(r"\bone claim cannot fail", _page(experiment, text))


def test_a_claim_that_training_costs_little_can_fail_however_alike_trainings_are(
    tmp_path: Path,
) -> None:
    claim = """
[[claims]]
text = "Training costs little"
better = { alpha = 0.2 }
than = "untrained"
task = "mini"
kind = "monolingual"
margin = 0.05
"""
    text = with_lines("alphas = [0.2, 0.8]", "baselines = []").partition("[[claims]]")[0] + claim
    recipe = parse_recipe(text, "it")
    for cell in recipe.cells():
        store(recipe, tmp_path, cell, 0.0 if cell.variant.trained else 4.0, ["de", "en"])
    (judged,) = judge(read_experiment(recipe, tmp_path))
    assert judged.tested is not None
    assert judged.tested.test.difference < 0
    assert judged.outcome != "cannot fail"


def test_each_seed_is_set_against_its_own_random_base(folder: Path) -> None:
    recipe = parse_recipe(REDUCED, "it")
    cells = {(c.variant.strategy, c.seed): c for c in recipe.cells()}
    experiment = read_experiment(recipe, folder)
    of = {v.strategy: v for v in recipe.variants()}
    tested = difference(experiment, of["untrained"], of["hybrid"], "mini", ACROSS)
    wanted = [
        macro(values(folder, cells["hybrid", s], "cross-lingual", "map"))
        - macro(values(folder, cells["untrained", s], "cross-lingual", "map"))
        for s in (0, 1)
    ]
    assert list(tested.by_seed.values()) == pytest.approx(wanted, rel=1e-5)


def test_what_is_missing_is_not_shown_and_the_page_says_so(folder: Path) -> None:
    recipe = parse_recipe(with_lines("seeds = [0, 1, 7]"), "it")
    experiment = read_experiment(recipe, folder)
    assert [c.seed for c in experiment.missing] == [7, 7, 7]
    found = judge(experiment)
    assert {j.outcome for j in found} == {"not shown"}
    page = _page(experiment, REDUCED)
    assert "6 of 9 trainings" in page
    assert "not finished" in page
    one = parse_recipe(with_lines("seeds = [0]"), "it")
    assert judge(read_experiment(one, folder))[0].why.startswith("one seed ")


def test_claims_are_corrected_together(folder: Path) -> None:
    experiment = read_experiment(parse_recipe(REDUCED, "it"), folder)
    tested = [j.tested for j in judge(experiment)]
    plain = sorted(t.test.p for t in tested if t)
    assert sorted(t.p_holm for t in tested if t) == pytest.approx(
        [min(1, 2 * plain[0]), max(min(1, 2 * plain[0]), plain[1])]
    )


def test_a_claim_that_cannot_be_tested_weakens_no_correction(folder: Path) -> None:
    text = (
        REDUCED
        + """
[[claims]]
text = "Of a measure that nobody asked for"
better = "hybrid"
than = "monolingual"
task = "mini"
measure = "mrr"
"""
    )
    *known, unknown = judge(read_experiment(parse_recipe(text, "it"), folder))
    assert unknown.outcome == "not shown"
    assert unknown.why.startswith("no multilingual mrr ")
    tested = [each.tested for each in known]
    plain = sorted(t.test.p for t in tested if t)
    assert sorted(t.p_holm for t in tested if t) == pytest.approx(
        [min(1, 3 * plain[0]), max(min(1, 3 * plain[0]), min(1, 2 * plain[1]))]
    )


def test_results_that_measure_other_things_are_refused(folder: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(REDUCED, "it")
    shutil.copytree(folder, tmp_path / "x")
    store(recipe, tmp_path / "x", recipe.cells()[-1], 1.0, ["de", "en", "es"])
    with pytest.raises(NotComparableError, match="languages"):
        read_experiment(recipe, tmp_path / "x")


def test_pages_are_the_same_bytes_again_and_names_from_outside_stay_text(
    folder: Path, tmp_path: Path
) -> None:
    text = REDUCED + '\n[look]\ntask = "mini"\nevery = 5\n'
    experiment = read_experiment(parse_recipe(text, "it"), folder)
    made = experiment_pages(experiment, text)
    for place in ("first", "second"):
        report_files(tmp_path / place, made, check=False)
    names = "README.md", "recipe.toml", "figures/mini-strategies.svg", "figures/mini-steps.svg"
    for place in ("first", "second"):
        files = [file for file in (tmp_path / place).rglob("*") if file.is_file()]
        assert {file.relative_to(tmp_path / place).as_posix() for file in files} == {*names}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    page = made.texts["README.md"]
    assert "<b>" not in page
    assert "ones \\| across" in page
    assert str(folder) not in page


def test_alphas_and_batch_sizes_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    text = with_lines("alphas = [0.2, 0.8]", "batch-sizes = [8, 16]", "seeds = [0]")
    text = text.partition("[[claims]]")[0]
    recipe = parse_recipe(text, "it")
    for n, cell in enumerate(recipe.cells()):
        store(recipe, tmp_path, cell, n / 4, ["de", "en"])
    names = {plot.file for plot in experiment_pages(read_experiment(recipe, tmp_path), text).plots}
    assert names == {f"figures/mini-{x}.svg" for x in ("strategies", "alpha", "batch-size")}
    for cell in recipe.cells():
        if cell.variant.alpha == 0.8:
            shutil.rmtree(cell_folder(tmp_path, cell))
    names = {plot.file for plot in experiment_pages(read_experiment(recipe, tmp_path), text).plots}
    assert names == {f"figures/mini-{x}.svg" for x in ("strategies", "batch-size")}


def test_a_check_finds_a_changed_byte_and_a_plot_too_many(folder: Path, tmp_path: Path) -> None:
    made = experiment_pages(read_experiment(parse_recipe(REDUCED, "it"), folder), REDUCED)
    report_files(tmp_path, made, check=False)
    assert report_files(tmp_path, made, check=True) == (Differences((), (), ()), True)
    page = tmp_path / "README.md"
    page.write_text(page.read_text() + " ")
    figure = tmp_path / "figures/mini-strategies.svg"
    (tmp_path / "figures/mini-alpha.svg").write_bytes(figure.read_bytes())
    found, _ = report_files(tmp_path, made, check=True)
    assert found == Differences(("README.md",), (), ("figures/mini-alpha.svg",))


def test_a_part_is_marked_on_the_page_and_on_every_plot(folder: Path) -> None:
    made = experiment_pages(read_experiment(parse_recipe(REDUCED, "it"), folder), REDUCED)
    assert re.search(r"no full run: .*\bde en\.", made.texts["README.md"])
    assert made.plots
    for plot in made.plots:
        assert re.search(r"A part: .*\bde en\b", plot.svg())


def test_an_index_tells_what_each_experiment_found_and_keeps_what_people_wrote(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "one")
    made = experiment_pages(read_experiment(parse_recipe(REDUCED, "it"), folder), REDUCED)
    report_files(tmp_path / "one", made, check=False)
    text = index_text(tmp_path, read_experiments(tmp_path))
    assert "[one](one/README.md): Reduced &lt;b&gt;form&lt;/b&gt;" in text
    shown = [j.claim.text for j in made.judged if j.outcome == "holds"]
    assert shown
    found = text.partition("Shown: ")[2]
    assert all(claim.replace("|", "\\|") in found for claim in shown)
    comparisons = re.search(r"(\d+) comparisons\b.*?\bhybrid\b\D*(\d+)", text)
    assert comparisons is not None
    page = made.texts["README.md"]
    assert comparisons[1] == re.findall(r"names \(Holm over (\d+)\)", page)[0]
    assert int(comparisons[2]) == page.count("**better**")
    (tmp_path / "README.md").write_text("Mine.\n" + text + "Mine too.\n")
    assert index_text(tmp_path, read_experiments(tmp_path)) == (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("Mine alone.\n")
    with pytest.raises(InputError, match=rf"README\.md.*\n{BEGIN}\n{END}"):
        index_text(tmp_path, read_experiments(tmp_path))
    with pytest.raises(InputError, match="no folder in"):
        read_experiments(tmp_path / "one" / "results")


def test_published_rows_of_the_method_stand_beside(folder: Path) -> None:
    from xlir_bench.reports.experiment.pages import _published

    shown = [Score(Kind.CROSS_LINGUAL, "map"), Score(Kind.MULTILINGUAL, "rank_distance")]
    recipe = parse_recipe(with_lines('published = ["LaBSE"]'), "it")
    rows = _published(recipe, "xquad-r", shown)
    assert len(rows) == 3
    assert rows[-1] == ["hybrid, LaBSE", "*reported*", "-", "*.7672*", "*221*"]
    assert not _published(recipe, "mini", shown)


def _page(experiment, text: str) -> str:  # type: ignore[no-untyped-def]
    return experiment_pages(experiment, text).texts["README.md"]
