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
from xlir_bench.errors import NotComparableError
from xlir_bench.recipe import Cell, Recipe, parse_recipe
from xlir_bench.records import Kind
from xlir_bench.reports.experiment import (
    CellRecord,
    cell_folder,
    comparable,
    experiment_texts,
    read_experiment,
    report_files,
    write_cell,
)
from xlir_bench.reports.experiment.judging import Column, Contrasts, against_baselines, judge

ACROSS = Column(Kind.CROSS_LINGUAL, "map")
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
    xb.evaluate("mini", encode, options).save(cell_folder(folder, cell) / "mini")
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
    rows = [r for r in against_baselines(Contrasts(experiment), "mini") if r.column == ACROSS]
    assert [r.baseline.strategy for r in rows] == ["monolingual"]
    by_seed = [macro(found["hybrid", s] - found["monolingual", s]) for s in (0, 1)]
    assert list(rows[0].tested.by_seed.values()) == pytest.approx(by_seed)
    assert rows[0].tested.test.difference == pytest.approx(np.mean(by_seed))
    # One value a question, whatever the number of seeds: no seed makes the sample larger.
    assert rows[0].tested.test.queries == len(found["hybrid", 0])
    page = experiment_texts(experiment, REDUCED).texts["README.md"]
    means = [macro(found["hybrid", s]) for s in (0, 1)]
    shown = f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}".replace("0.", ".")
    assert shown in page


def test_p_is_of_differences_averaged_over_seeds_and_flipped_by_article(folder: Path) -> None:
    recipe = parse_recipe(REDUCED, "it")
    cells = {(c.variant.strategy, c.seed): c for c in recipe.cells()}
    change = sum(
        values(folder, cells["hybrid", s], "cross-lingual", "map")
        - values(folder, cells["monolingual", s], "cross-lingual", "map")
        for s in (0, 1)
    ) / 2  # fmt: skip
    ranks = Result.load(cell_folder(folder, cells["hybrid", 0]) / "mini").table("ranks").to_pandas()
    article = ranks.astype(str).drop_duplicates("query_id").set_index("query_id")["cluster"]
    sizes = change.groupby(level=[0, 1]).transform("size")
    parts = (change / sizes / 2).groupby(article[change.index.get_level_values(2)].to_numpy()).sum()
    flips = np.random.default_rng(5).choice([-1, 1], (20_000, len(parts)))
    p = np.mean(np.abs(flips @ parts.to_numpy()) >= abs(parts.sum()) - 1e-12)
    contrasts = Contrasts(read_experiment(recipe, folder))
    variants = {v.strategy: v for v in recipe.variants()}
    tested = contrasts.difference(variants["monolingual"], variants["hybrid"], "mini", ACROSS)
    assert tested.test.p == pytest.approx(p, abs=0.01)


def test_a_claim_holds_if_it_is_significant_and_every_seed_agrees(folder: Path) -> None:
    found = judge(Contrasts(read_experiment(parse_recipe(REDUCED, "it"), folder)))
    helps = found[1]
    assert helps.outcome == "holds"
    assert helps.why == "all 2 seeds agree"
    assert helps.against is not None
    assert helps.against.strategy == "monolingual"  # the better of the two it was set against
    turned = with_lines().replace('better = "hybrid"\nthan = ["untrained", "monolingual"]',
                                  'better = "monolingual"\nthan = "hybrid"')  # fmt: skip
    judged = judge(Contrasts(read_experiment(parse_recipe(turned, "it"), folder)))[1]
    assert judged.outcome == "does not hold"
    assert "the other way" in judged.why
    assert "0 of 2 seeds agree" in judged.why


def test_a_seed_that_disagrees_is_enough_for_a_claim_not_to_hold(
    folder: Path, tmp_path: Path
) -> None:
    recipe = parse_recipe(with_lines("seeds = [0, 1, 2]"), "it")
    shutil.copytree(folder, tmp_path / "x")
    for cell in recipe.cells():
        if cell.seed == 2:
            quality = {"hybrid": 0.0, "monolingual": 0.6}[cell.variant.strategy]
            store(recipe, tmp_path / "x", cell, quality, ["de", "en"])
    judged = judge(Contrasts(read_experiment(recipe, tmp_path / "x")))[1]
    assert judged.outcome == "does not hold"
    assert "2 of 3 seeds agree" in judged.why


def test_a_margin_lets_a_small_loss_pass_and_is_not_in_what_is_shown(folder: Path) -> None:
    text = REDUCED.replace('better = "hybrid"\nthan = ["untrained", "monolingual"]',
                           'better = "monolingual"\nthan = "hybrid"\nmargin = 0.5')  # fmt: skip
    experiment = read_experiment(parse_recipe(text, "it"), folder)
    judged = judge(Contrasts(experiment))[1]
    assert judged.outcome == "holds"
    row = next(x for x in _page(experiment, text).splitlines() if x.startswith("| Training helps"))
    assert "a loss of .500 allowed" in row
    assert "| -." in row


def test_what_is_missing_is_not_shown_and_the_page_says_so(folder: Path) -> None:
    recipe = parse_recipe(with_lines("seeds = [0, 1, 7]"), "it")
    experiment = read_experiment(recipe, folder)
    assert [c.seed for c in experiment.missing] == [7, 7]
    found = judge(Contrasts(experiment))
    assert {j.outcome for j in found} == {"not shown"}
    page = _page(experiment, REDUCED)
    assert "5 of 7 trainings and bases are here" in page
    assert "It is not finished" in page
    one = parse_recipe(with_lines("seeds = [0]"), "it")
    assert judge(Contrasts(read_experiment(one, folder)))[0].why.startswith(
        "one seed shows nothing"
    )


def test_claims_are_corrected_together(folder: Path) -> None:
    contrasts = Contrasts(read_experiment(parse_recipe(REDUCED, "it"), folder))
    tested = [j.tested for j in judge(contrasts)]
    plain = sorted(t.test.p for t in tested if t)
    assert sorted(t.p_holm for t in tested if t) == pytest.approx(
        [min(1, 2 * plain[0]), max(min(1, 2 * plain[0]), plain[1])]
    )


def test_results_that_measure_other_things_are_refused(folder: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(REDUCED, "it")
    shutil.copytree(folder, tmp_path / "x")
    store(recipe, tmp_path / "x", recipe.cells()[-1], 1.0, ["de", "en", "es"])
    with pytest.raises(NotComparableError, match="languages"):
        read_experiment(recipe, tmp_path / "x")


def test_pages_are_the_same_bytes_again_and_names_from_outside_stay_text(folder: Path) -> None:
    text = REDUCED + '\n[look]\ntask = "mini"\nevery = 5\n'
    experiment = read_experiment(parse_recipe(text, "it"), folder)
    first, second = (experiment_texts(experiment, text).texts for _ in range(2))
    assert first == second
    assert set(first) == {
        "README.md", "recipe.toml", "figures/mini-strategies.svg", "figures/mini-steps.svg",
    }  # fmt: skip
    page = first["README.md"]
    assert "<b>" not in page
    assert "ones \\| across" in page
    assert str(folder) not in page


def test_alphas_and_batch_sizes_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    text = with_lines("alphas = [0.2, 0.8]", "batch-sizes = [8, 16]", "seeds = [0]")
    text = text.partition("[[claims]]")[0]
    recipe = parse_recipe(text, "it")
    for n, cell in enumerate(recipe.cells()):
        store(recipe, tmp_path, cell, n / 4, ["de", "en"])
    names = set(experiment_texts(read_experiment(recipe, tmp_path), text).texts)
    assert {f"figures/mini-{x}.svg" for x in ("strategies", "alpha", "batch-size")} <= names


def test_a_check_finds_a_changed_byte_and_a_plot_too_many(folder: Path, tmp_path: Path) -> None:
    made = experiment_texts(read_experiment(parse_recipe(REDUCED, "it"), folder), REDUCED)
    report_files(tmp_path, made, check=False)
    assert not report_files(tmp_path, made, check=True)
    page = tmp_path / "README.md"
    page.write_text(page.read_text() + " ")
    figure = tmp_path / "figures/mini-strategies.svg"
    (tmp_path / "figures/mini-alpha.svg").write_bytes(figure.read_bytes())
    found = report_files(tmp_path, made, check=True)
    assert found.changed == ("README.md",)
    assert found.extra == ("figures/mini-alpha.svg",)
    assert comparable(tmp_path, made) is made


def test_plots_of_another_release_of_matplotlib_are_not_compared(
    folder: Path, tmp_path: Path
) -> None:
    made = experiment_texts(read_experiment(parse_recipe(REDUCED, "it"), folder), REDUCED)
    report_files(tmp_path, made, check=False)
    figure = tmp_path / "figures/mini-strategies.svg"
    figure.write_text(re.sub(r"Matplotlib v[\d.]+", "Matplotlib v1.2.3", figure.read_text()))
    assert report_files(tmp_path, made, check=True)
    assert not report_files(tmp_path, comparable(tmp_path, made), check=True)


def test_published_rows_of_the_method_stand_beside(folder: Path) -> None:
    from xlir_bench.reports.experiment.pages import _published

    shown = [Column(Kind.CROSS_LINGUAL, "map"), Column(Kind.MULTILINGUAL, "rank_distance")]
    recipe = parse_recipe(with_lines('published = ["LaBSE"]'), "it")
    rows = _published(recipe, "xquad-r", shown)
    assert len(rows) == 3
    assert rows[-1] == ["hybrid, LaBSE", "*reported*", "-", "*.7672*", "*221*"]
    assert not _published(recipe, "mini", shown)


def _page(experiment, text: str) -> str:  # type: ignore[no-untyped-def]
    return experiment_texts(experiment, text).texts["README.md"]
