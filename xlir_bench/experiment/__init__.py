"""Experiments: the trainings of a recipe, each evaluated and stored, however often they are interrupted.

This file finds recipes, of the package and of users; it imports nothing that is needed for training.
"""

from __future__ import annotations

from pathlib import Path

from xlir_bench.errors import UnknownNameError
from xlir_bench.recipe import Recipe, parse_recipe
from xlir_bench.untrusted import content_of

RECIPES = Path(__file__).with_name("recipes")


def bundled_recipes() -> dict[str, tuple[Recipe, str]]:
    """Every recipe of the package and its text, by name."""
    texts = {path.stem: path.read_text("utf-8") for path in sorted(RECIPES.glob("*.toml"))}
    return {name: (parse_recipe(text, name), text) for name, text in texts.items()}


def recipe_tasks() -> Path:
    """The folder of tasks that only the package's recipes use: parts of public data sets, made as the recipes say."""
    return RECIPES / "tasks"


def find_recipe(name: str) -> tuple[Recipe, str]:
    """The recipe in a file, or the package's recipe of this name, with its text."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        content = content_of(path)
        return parse_recipe(content, name), content.decode("utf-8-sig")
    recipes = bundled_recipes()
    if name not in recipes:
        raise UnknownNameError("recipe", [name], recipes)
    return recipes[name]
