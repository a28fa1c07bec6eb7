"""The recipes that come with the package, and those of a user."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from xlir_bench.errors import UnknownNameError
from xlir_bench.recipe import Recipe, parse_recipe
from xlir_bench.untrusted import content_of


def shipped_recipes() -> dict[str, tuple[Recipe, str]]:
    """Every shipped recipe and its text, by name."""
    folder = files("xlir_bench.experiment") / "recipes"
    texts = {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }
    return {name: (parse_recipe(text, name), text) for name, text in texts.items()}


def find_recipe(name: str) -> tuple[Recipe, str]:
    """The recipe of a file, or a shipped one, with its text."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        content = content_of(path)
        return parse_recipe(content, name), content.decode("utf-8-sig")
    shipped = shipped_recipes()
    if name not in shipped:
        raise UnknownNameError("recipe", [name], shipped)
    return shipped[name]
