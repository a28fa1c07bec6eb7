from __future__ import annotations

import re

import pytest
from recipes import REDUCED, with_lines

from xlir_bench.errors import InputError
from xlir_bench.experiment import bundled_recipes, find_recipe, recipe_tasks
from xlir_bench.recipe import Choice, Variant, parse_recipe
from xlir_bench.tasks import catalogue


def test_a_grid_has_every_combination_and_every_random_base_once_a_seed() -> None:
    text = with_lines("alphas = [0.2, 0.8]", "losses = ['infonce', 'symmetric']")
    recipe = parse_recipe(text.partition("[[claims]]")[0], "it")
    trained = [v for v in recipe.variants() if v.trained]
    assert len(trained) == (1 + 2) * 2  # monolingual batches have no alpha
    assert len(recipe.cells()) == 2 + 2 * len(trained)  # each seed has its own random base
    assert len({cell.name for cell in recipe.cells()}) == len(recipe.cells())
    assert recipe.label(trained[-1]) == "hybrid, alpha 0.8, symmetric"


def test_a_cell_keeps_its_name_when_seeds_are_added_and_changes_it_with_what_trains_it() -> None:
    before = {c.name for c in parse_recipe(REDUCED, "it").cells()}
    assert before < {c.name for c in parse_recipe(with_lines("seeds = [0, 1, 2]"), "it").cells()}
    longer = {c.name for c in parse_recipe(with_lines("steps = 20"), "it").cells()}
    assert len(before & longer) == 2  # the untrained bases
    data = parse_recipe(REDUCED.replace('"mini-train"', '"other.jsonl"'), "it")
    assert not before & {c.name for c in data.cells()}  # its vocabulary too is of those rows


def test_a_base_that_no_seed_changes_is_measured_once() -> None:
    recipe = parse_recipe(with_lines('models = ["xlm-roberta-base"]'), "it")
    assert [c.seed for c in recipe.cells() if not c.variant.trained] == [0]


def test_a_claim_that_cannot_fail_is_refused() -> None:
    with pytest.raises(InputError, match="claim 2 cannot fail"):
        parse_recipe(REDUCED + "margin = 1.0\n", "it")
    parse_recipe(REDUCED + 'measure = "rank_distance"\nmargin = 1.0\n', "it")


def test_every_fault_is_named_at_once() -> None:
    text = with_lines("steps = 0", "strategy = 'hybrid'", "seeds = []", "losses = ['infonse']")
    with pytest.raises(InputError) as caught:
        parse_recipe(text, "mine.toml")
    for word in ("mine.toml", "steps", "strategy", "seeds", "losses"):
        assert word in str(caught.value)
    text = with_lines("seeds = [0, 0]", 'tasks = ["xquad-r"]', "baselines = ['mixed']")
    with pytest.raises(InputError) as caught:
        parse_recipe(text, "mine.toml")
    for fault in ("seeds .*twice", "claim 1: .*mini", "claim 2: .*mixed"):
        assert re.search(fault, str(caught.value))
    with pytest.raises(InputError, match=r"rerank-depth .*\brerank\b"):
        parse_recipe(with_lines("rerank-depth = 50"), "mine.toml")
    with pytest.raises(InputError, match="not TOML"):
        parse_recipe("name = ", "mine.toml")


def test_a_claim_has_to_name_one_training() -> None:
    with pytest.raises(InputError, match=r"claim 1: 2 .*strategy hybrid"):
        parse_recipe(with_lines("alphas = [0.2, 0.8]"), "it")


def test_what_a_choice_leaves_open_is_as_in_what_it_is_set_against() -> None:
    hybrid = Variant("m", "d", "hybrid", 0.5, 32, "infonce")
    others = [
        Variant("m", "d", "monolingual", None, 32, "infonce"),
        Variant("m", "d", "monolingual", None, 64, "infonce"),
        Variant("m", "d", "hybrid", 0.5, 64, "infonce"),
        Variant("m", "d", "hybrid", 0.8, 32, "infonce"),
        Variant("m", "d", "untrained"),
        Variant("n", "d", "monolingual", None, 32, "infonce"),
    ]

    def against(**said: object) -> list[Variant]:
        return hybrid.opponents([Choice.model_validate(said)], [hybrid, *others])

    assert against(strategy="monolingual") == [others[0]]
    assert against(batch_size=64) == [others[2]]
    assert against(alpha=0.8) == [others[3]]
    assert against(strategy="untrained") == [others[4]]


def test_encodings_are_compared_and_share_their_training_and_its_digest() -> None:
    before = parse_recipe(REDUCED, "it")
    encodings = """
[encodings]
whole = {}
half = { truncate-dim = 8, vectors = "int8" }
"""
    recipe = parse_recipe(REDUCED.partition("[[claims]]")[0] + encodings, "it")
    assert {c.digest for c in recipe.cells()} == {c.digest for c in before.cells()}
    assert {c.training for c in recipe.cells()} == {c.name for c in before.cells()}
    assert len({c.name for c in recipe.cells()}) == 2 * len(before.cells())
    half = next(v for v in recipe.variants() if v.strategy == "hybrid" and v.encoding == "half")
    assert recipe.label(half) == "hybrid, half"
    assert recipe.evaluation("half")["truncate_dim"] == 8
    whole = Choice.model_validate({"encoding": "whole"})
    others = half.opponents([whole], recipe.variants())
    assert [(v.strategy, v.encoding) for v in others] == [("hybrid", "whole")]
    others = half.opponents([Choice.model_validate("untrained")], recipe.variants())
    assert [v.encoding for v in others] == ["half"]
    with pytest.raises(InputError, match=r"encodings: 'Half length' .*lower-case"):
        parse_recipe(REDUCED + encodings.replace("half", '"Half length"'), "it")


def test_some_of_a_grid_may_be_all_that_is_trained() -> None:
    text = with_lines("losses = ['infonce', 'symmetric']").partition("[[claims]]")[0]
    some = 'only = [{ strategy = "hybrid" }, { strategy = "monolingual", loss = "symmetric" }]\n'
    recipe = parse_recipe(some + text, "it")
    found = [(v.strategy, v.loss) for v in recipe.variants()]
    assert found == [("monolingual", "symmetric"), ("hybrid", "infonce"), ("hybrid", "symmetric")]
    kept = {c.name for c in recipe.cells()}
    assert kept < {c.name for c in parse_recipe(text, "it").cells()}
    with pytest.raises(InputError, match=r"only: .*grid .*strategy mixed"):
        parse_recipe('only = ["mixed"]\n' + text, "it")


def test_an_option_of_a_loss_that_is_not_there_is_refused() -> None:
    text = with_lines('losses = ["infonce"]').replace(
        "[training]", "[training]\nlakda-weight = 0.3"
    )
    with pytest.raises(InputError, match=r"lakda-weight .*loss lakda\b"):
        parse_recipe(text, "it")


def test_shipped_recipes_name_known_tasks_and_can_be_planned() -> None:
    shipped = bundled_recipes()
    assert {
        "mini", "paper-xlmr", "paper-labse", "alpha-sweep", "batch-size", "loss-comparison",
        "synthetic-data", "hybrid-pretrained", "domain-shift", "synthetic-tydiqa", "objectives-captions",
        "alignment", "inference-cost", "inference-pruned", "more-objectives-captions",
    } == set(shipped)  # fmt: skip
    for name, (recipe, text) in shipped.items():
        assert recipe.name == name
        assert find_recipe(name) == (recipe, text)
        catalogue(recipe_tasks()).get(list(recipe.tasks))
        assert len(recipe.seeds) >= 3
        assert recipe.claims
        for cell in recipe.cells():
            assert recipe.label(cell.variant)


def test_an_unknown_recipe_gets_a_near_miss(tmp_path) -> None:
    with pytest.raises(InputError, match=r"'paper-xlm'.*'paper-xlmr'"):
        find_recipe("paper-xlm")
    with pytest.raises(InputError, match="cannot be read"):
        find_recipe(str(tmp_path / "none.toml"))


def test_each_strategy_may_have_its_own_rate_which_is_all_that_its_cells_depend_on() -> None:
    def cells(rates: str) -> dict[str, str]:
        found = parse_recipe(REDUCED.replace("lr = 0.05", f"lr = {rates}"), "it")
        return {c.variant.strategy: c.digest for c in found.cells()}

    one = cells("{ monolingual = 0.01, hybrid = 0.02 }")
    other = cells("{ monolingual = 0.01, hybrid = 0.05 }")
    assert one["monolingual"] == other["monolingual"] != cells("0.02")["monolingual"]
    assert one["hybrid"] == cells("0.02")["hybrid"] != other["hybrid"]
    with pytest.raises(InputError, match=r"training\.lr .*rate .*hybrid"):
        cells("{ monolingual = 0.01 }")


def test_some_trainings_may_be_evaluated_on_a_part_of_a_task() -> None:
    text = with_lines('tasks = ["mini", "belebele"]')
    part = """
[parts.belebele]
langs = ["eng_Latn", "deu_Latn"]
of = ["untrained", "hybrid"]
seeds = [1]
"""
    recipe = parse_recipe(text + part, "it")
    asked = {(c.variant.strategy, c.seed): recipe.tasks_of(c) for c in recipe.cells()}
    assert asked["hybrid", 1] == ["mini", "belebele"]
    assert asked["hybrid", 0] == asked["monolingual", 1] == ["mini"]
    for spoilt, told in (
        (part.replace("hybrid", "mixed"), "no .*strategy mixed"),
        (part.replace("[1]", "[7]"), "7 is no seed"),
        (part.replace("belebele", "xquad-r"), "xquad-r.*not among"),
        (part.replace("belebele", "mini"), "mini.*claim .*all"),
    ):
        with pytest.raises(InputError, match=told):
            parse_recipe(text + spoilt, "it")


def test_a_recipe_keeps_to_the_bounds_of_the_options() -> None:
    for entry, told in (
        ("warmup = 1.0", "training.warmup: .* less than 1"),
        ("lr = 0", "training.lr: .* greater than 0"),
        ("lr = inf", "training.lr: .* finite number"),
        ("lr = { monolingual = 0.1, hybrid = -1 }", "training.lr.hybrid: .* greater than 0"),
        ("max-length = 0", "training.max-length: .* greater than 0"),
        ("schedule = 'steep'", "'cosine'"),
    ):
        with pytest.raises(InputError, match=told):
            parse_recipe(REDUCED.replace("lr = 0.05", entry), "it")
