"""The README and the pages of docs/: every command and snippet runs, or says what it needs; every link leads somewhere.

A block of code runs, in the order of its page, unless ``<!-- needs: … -->`` stands before it. Its commands are parsed all
the same: they, their options and the tasks they name exist. ``title="FILE"`` writes a block into a file that later ones
read, and ``<!-- prints -->`` stands before a block that the command above it prints. ``# exits with 1`` behind a command says so.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import click
import pytest
import yaml

from xlir_bench.cli import exit_code, group
from xlir_bench.tasks import catalogue

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import lay_out  # noqa: E402

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
LINKED = [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>needs: [^>]+|prints) -->\n+)?(?P<indent> *)```(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    title: str
    mark: str
    line: int


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(m["kind"], m["text"], m["title"] or "", m["mark"] or "", text[: m.start()].count("\n") + 1)
        for m in BLOCK.finditer(text)
    ]  # fmt: skip


@dataclass(frozen=True)
class Line:
    words: list[str]
    exits: int
    output: str


def commands(text: str) -> Iterator[Line]:
    """The commands of a block of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        typed, _, comment = re.sub(r"^#|\s#\s", "\0", line).partition("\0")
        typed = re.sub(r"^\w+=\$\((.*)\)$", r"\1", typed)
        code = re.search(r"exits with (\d)", comment)
        words = shlex.split(re.sub(r"<(\w+)>", r"\1", typed))
        output = words[words.index(">") + 1] if ">" in words else ""
        words = words[: words.index(">")] if output else words
        if words:
            yield Line(words, int(code[1]) if code else 0, output)


def ours(words: list[str]) -> list[str] | None:
    """What a line gives to xlir-bench; None for another program."""
    while "=" in words[0]:
        words = words[1:]
    if words[0] == "ray":
        words = words[words.index("--") + 1 :]
    return words[1:] if words[0] == "xlir-bench" else None


def parse(args: list[str]) -> dict[str, object]:
    """What click makes of these words; an error where it takes them not."""
    command: click.Command = group
    ctx = click.Context(group, info_name="xlir-bench", obj=())
    while isinstance(command, click.Group) and args and not args[0].startswith("-"):
        name, found, args = command.resolve_command(ctx, args)
        assert found is not None
        command, ctx = found, found.make_context(name, list(args), parent=ctx)
        args = [*ctx._protected_args, *ctx.args]
    return ctx.params


@cache
def task_names() -> frozenset[str]:
    return frozenset(catalogue().tasks)


def check(line: Line) -> None:
    """Whether a command could be run: click takes it, its tasks, extras and rules of make are there."""
    args = ours(line.words)
    if args is not None:
        try:
            given = parse(args)
        except Exception as error:
            pytest.fail(f"xlir-bench {shlex.join(args)}: {error}")
        named = [given[name] for name in ("tasks", "eval_tasks", "task") if given.get(name)]
        names = [n for some in named for n in ([some] if isinstance(some, str) else some)]
        known = all(":" in name or name in task_names() for name in names)
        assert known or given.get("tasks_dirs"), args
    elif line.words[0] == "pip":
        for extras in re.findall(r"xlir-bench\[(.*?)\]", " ".join(line.words)):
            assert {*extras.split(",")} <= PROJECT["optional-dependencies"].keys(), line.words
    elif line.words[0] == "make":
        rules = (ROOT / "Makefile").read_text("utf-8")
        assert re.search(rf"^{line.words[1]}:", rules, re.MULTILINE), line.words
    elif line.words[:2] == ["python", "-m"]:
        assert (ROOT / line.words[2].replace(".", "/")).exists(), line.words
    else:
        assert line.words[0] in ("export", "sbatch"), line.words
        for inside in [word for word in line.words if "xlir-bench" in word]:
            for inner in commands(inside):
                check(inner)


def test_the_commands_of_the_contributing_guide_are_those_of_the_program():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.findall(r"^    (xlir-bench .*)$", text, re.MULTILINE)
    assert found
    for line in commands("\n".join(found)):
        check(line)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("page", PAGES)
def test_its_blocks_run_and_print_what_it_shows(page, tmp_path, own_cache, monkeypatch):
    monkeypatch.setenv("XLIR_CACHE", str(own_cache))
    monkeypatch.delenv("XLIR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("leaderboards").mkdir()
    for name in ("results", "baselines"):
        Path("leaderboards", name).symlink_to(ROOT / "leaderboards" / name)
    printed, names = "", {}
    for block in blocks(page):
        where = f"{page}, line {block.line}"
        if block.kind in READ:
            READ[block.kind](block.text)
        if block.mark == "prints":
            assert block.text.strip("\n") in printed, f"{where}: what is printed is\n{printed}"
        elif block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, "utf-8")
        elif block.mark and block.kind == "sh":
            for line in commands(block.text):
                check(line)
        elif not block.mark and block.kind in ("sh", "python"):
            out = StringIO()
            with redirect_stdout(out):
                if block.kind == "python":
                    exec(block.text, names)
                else:
                    run(block.text, where)
            printed = out.getvalue()


def run(text: str, where: str) -> None:
    for line in commands(text):
        args = ours(line.words)
        assert args is not None, f"{where}: {shlex.join(line.words)}: <!-- needs: … --> is missing"
        if not line.exits:
            check(line)
        args = [
            part
            for word in args
            for part in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        out = StringIO()
        with redirect_stdout(out if line.output else sys.stdout):
            assert exit_code(args) == line.exits, f"{where}: xlir-bench {shlex.join(args)}"
        if line.output:
            Path(line.output).write_text(out.getvalue(), "utf-8")


READ = {
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "json": lambda text: [json.loads(line) for line in text.splitlines()],
    "python": lambda text: compile(text, "a page", "exec"),
}
"""How what no command runs is read."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = lay_out.CODE.sub(
        lambda code: code[0] if code[0].count("\n") == 0 else "", page.read_text("utf-8")
    )
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", LINKED)
def test_its_links_lead_to_files_and_headings(page):
    path = ROOT / page
    for link in lay_out.links(path.read_text("utf-8")):
        target = (path.parent / link[1]).resolve() if link[1] else path
        assert target.exists(), f"{page}: {link[0]}"
        # cli.md and python.md get more headings when the site is built, which checks those.
        if link[2] and target.suffix == ".md" and target.name not in ("cli.md", "python.md"):
            assert link[2][1:] in anchors(target), f"{page}: {link[0]}"


@pytest.mark.parametrize("page", LINKED)
def test_the_rows_of_its_tables_have_a_cell_for_each_heading(page):
    text = BLOCK.sub("", (ROOT / page).read_text("utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        assert [row for row, n in zip(rows, cells, strict=True) if n != cells[0]] == []


def test_every_page_is_in_the_navigation():
    config = tomllib.loads((ROOT / "docs/zensical.toml").read_text("utf-8"))["project"]
    assert {*re.findall(r"[\w-]+\.md", str(config["nav"]))} == {Path(p).name for p in PAGES[1:]}


def test_the_references_are_made_of_every_command_and_every_public_name():
    import xlir_bench
    from xlir_bench.cli import COMMANDS

    commands, python = lay_out.command_line(), lay_out.python()
    assert {*COMMANDS} <= {*re.findall(r"^## (.*)$", commands, re.MULTILINE)}
    assert re.findall(r"^## (.*)$", python, re.MULTILINE) == xlir_bench.__all__
    for page, marker in (("cli", "commands"), ("python", "python")):
        assert f"<!-- generated: {marker} -->" in (ROOT / f"docs/{page}.md").read_text("utf-8")


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_every_command_has_its_exit_codes():
    from xlir_bench.cli import COMMANDS

    page = (ROOT / "docs/exit-codes.md").read_text("utf-8").partition("## `--json`")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == [*COMMANDS]


def test_every_extra_is_explained():
    rows = re.findall(
        r"^\| `([\w-]+)` \|", (ROOT / "docs/install.md").read_text("utf-8"), re.MULTILINE
    )
    assert {*PROJECT["optional-dependencies"]} - {"dev", "docs", "test"} == {*rows}


@pytest.mark.parametrize(
    ("page", "command", "option"),
    [
        ("training.md", "train-hybrid", "loss"),
        ("training.md", "train-hybrid", "strategy"),
        ("pipelines.md", "run", "transform"),
        ("measures.md", "run", "query_form"),
        ("results.md", "plot", "kind"),
    ],
)
def test_every_choice_of_an_option_is_explained(page, command, option):
    found = group.get_command(click.Context(group), command)
    (choices,) = [param.type.choices for param in found.params if param.name == option]
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [word for word in choices if word not in text] == []


def test_every_recipe_that_ships_has_a_row():
    from xlir_bench.experiment import bundled_recipes

    rows = re.findall(
        r"^\| (`.*?`) \|", (ROOT / "docs/experiments.md").read_text("utf-8"), re.MULTILINE
    )
    assert {*bundled_recipes()} == {*re.findall(r"`([\w-]+)`", " ".join(rows))}
