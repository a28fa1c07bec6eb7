"""What a shell offers for an option: names of tasks, languages, kinds, recipes, measures and built-in models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Context = click.Context


def complete(word: str, ctx: Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """What may stand for what was begun; of a list of names, for its last."""
    offer = OFFERED[word]
    before, comma, last = begun.rpartition(",") if param.type.name == "a,b,c" else ("", "", begun)
    names = sorted({name for name in offer(ctx) if name.startswith(last)})
    if names:
        return [CompletionItem(before + comma + name) for name in names]
    return [CompletionItem(begun, type="file")] if offer in (_models, _recipes) else []


def _tasks(ctx: Context) -> Iterator[str]:
    from xlir_bench.tasks import tasks_folder

    for folder in (tasks_folder(), *map(Path, ctx.params.get("tasks_dirs") or ())):
        yield from (path.stem for path in folder.glob("*.toml"))


def _languages(ctx: Context) -> Iterator[str]:
    """Those of the tasks that were named, or of all."""
    from xlir_bench.tasks import catalogue

    known = catalogue(*map(Path, ctx.params.get("tasks_dirs") or ())).tasks
    named = [known[name] for name in ctx.params.get("tasks") or () if name in known]
    for task in named or known.values():
        yield from (*task.languages, *(task.passage_languages or ()))


def _kinds(_ctx: Context) -> Iterable[str]:
    from xlir_bench.records import Kind

    return [kind.value for kind in Kind]


def _recipes(_ctx: Context) -> Iterable[str]:
    recipes = Path(str(files("xlir_bench") / "experiment" / "recipes"))
    return [path.stem for path in recipes.glob("*.toml")]


def _measures(_ctx: Context) -> Iterable[str]:
    recall = [f"recall@{k}" for k in (1, 10, 100)]
    return ["map", "mrr", "ndcg@10", "ndcg@20", *recall, "precision@1"]


def _models(_ctx: Context) -> Iterable[str]:
    names = ["multilingual", "bm25", "ngram", "random"]
    return [*(f"builtin:{name}" for name in names), "colbert:", "sparse:", "npy:", "py:", "http:"]


OFFERED: dict[str, Callable[[Context], Iterable[str]]] = {
    **dict.fromkeys(("task", "eval-task", "skip-tasks", "TASK"), _tasks),
    **dict.fromkeys(("langs", "eval-langs"), _languages),
    **dict.fromkeys(("model", "candidate", "fuse", "MODEL"), _models),
    **dict.fromkeys(("measures", "measure"), _measures),
    "kinds": _kinds,
    "RECIPE": _recipes,
}
"""By a flag, or the word that stands for a positional argument."""
