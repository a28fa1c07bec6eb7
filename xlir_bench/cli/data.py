"""`xlir-bench data`: bring the data of tasks here, look training rows through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xlir_bench.cli.options import (
    Names,
    config_option,
    data_option,
    flags_of,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.terminal import say, say_json
from xlir_bench.options.running import RunOptions

if TYPE_CHECKING:
    from xlir_bench.cli.progress import Bars
    from xlir_bench.sources import Fetched
    from xlir_bench.tasks import Task


@click.group()
def data() -> None:
    """Bring the data of tasks here, and look training rows through."""


@data.command("fetch")
@click.argument("names", nargs=-1, metavar="[TASK]...")
@click.option(
    "--tasks-dir",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of task TOML files besides the bundled ones; may be repeated.",
)
@click.option("--langs", type=Names(), help="Only these languages, such as en,de.")
@flags_of(RunOptions, only=("max_download",))
@config_option
@click.option("--quiet", is_flag=True, help="Show no progress and say nothing if all is well.")
def fetch_command(
    names: tuple[str, ...],
    folders: tuple[Path, ...],
    langs: tuple[str, ...] | None,
    max_download: int,
    quiet: bool,
) -> None:
    """Download the files of tasks (all tasks, if none is named) and check their digests.

    A download that broke is taken up where it stopped. Files go to the folder `data` under
    XLIR_CACHE (else the platform's cache folder), in the layout of a data root: `run` finds
    them there by itself, and fetches by itself what is missing.

    \b
    Examples:
      xlir-bench data fetch
      xlir-bench data fetch xquad-r --langs en,de
      XLIR_CACHE=/big/disk xlir-bench data fetch mlqa-r
    """
    from xlir_bench.sources import fetch
    from xlir_bench.tasks import catalogue

    known = catalogue(*folders)
    chosen = known.get(names) if names else list(known.tasks.values())
    options = RunOptions(data=None, langs=langs, max_download=max_download)
    for task in chosen:
        if not names and task.source.url is None and not task.source.bundled:
            say(f"{task.name}: no download address, left out", err=True)
            continue
        with _progress(quiet) as progress:
            fetched = fetch(task, options, progress)
        if not quiet:
            say(_told(task, fetched))


_FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else.")
_OFFLINE = click.option("--offline", is_flag=True, help="Download nothing.")


@data.command("check-training")
@_FILES
@_JSON
@_OFFLINE
@verbose_option
@click.pass_context
def check_training_command(
    ctx: click.Context, files: tuple[str, ...], as_json: bool, offline: bool
) -> None:
    """Count what training rows hold, and list what is wrong with them (exit 1 if anything is, or
    if there are none).

    FILE is JSON Lines (.gz too), parquet, CSV in the long form (id, lang_question, lang_answer,
    question, answer), a folder, or a name of the `datasets` library such as owner/name:split.

    \b
    Examples:
      xlir-bench data check-training train.jsonl.gz
      xlir-bench data check-training a.parquet b.csv --json
    """

    from xlir_bench.cli.training_text import check_text
    from xlir_bench.options.training import parse_source
    from xlir_bench.train.checking import check_training

    sources = [parse_source(file) for file in files]
    with _progress(as_json) as progress:
        found = check_training(sources, progress, offline)
    if as_json:
        say_json(found.as_json())
    else:
        say(check_text(found))
    ctx.exit(1 if found.fault_count or not found.rows else 0)


@data.command("leakage")
@_FILES
@click.option(
    "--task",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this task; may be given again.  [default: all whose data is on disk]",
)
@data_option
@tasks_dir_option
@_JSON
@_OFFLINE
@verbose_option
@click.pass_context
def leakage_command(
    ctx: click.Context,
    files: tuple[str, ...],
    names: tuple[str, ...],
    data: Path | None,
    tasks_dirs: tuple[Path, ...],
    as_json: bool,
    offline: bool,
) -> None:
    """Look for evaluation texts among training rows (exit 1 if there are any).

    Queries and passages of tasks are compared with every text of every row by their letters and digits
    (not by case, width, accents, spaces, punctuation): exactly, from 6 letters on; and nearly, where 70 %
    of an evaluation text (90 % of one of 20 letters) stands in a training text in runs of 8 letters (3 of
    Han or Hangul, 4 of kana). Of a paragraph, one sentence is too little. Texts too short to be compared
    are counted. Nothing is downloaded.

    \b
    Examples:
      xlir-bench data leakage train.jsonl --task xquad-r --data ~/data
      xlir-bench data leakage train.parquet --json
    """

    from xlir_bench.cli.training_text import leakage_text
    from xlir_bench.options.training import parse_source
    from xlir_bench.places import data_root
    from xlir_bench.tasks import catalogue
    from xlir_bench.train.leakage import find_leaks

    known = catalogue(*tasks_dirs)
    tasks = known.get(names) if names else list(known.tasks.values())
    sources = [parse_source(file) for file in files]
    with _progress(as_json) as progress:
        found = find_leaks(sources, tasks, data_root(data), progress, offline)
    if as_json:
        say_json(found.as_json())
    else:
        say(leakage_text(found))
    ctx.exit(1 if found.leaking else 0)


def _progress(quiet: bool) -> Bars:
    from xlir_bench.cli.progress import Bars

    return Bars(quiet)


def _told(task: Task, fetched: Fetched) -> str:
    if task.source.bundled:
        return f"{task.name}: comes with its TOML file, in {fetched.folder}"
    total = len(fetched.new) + len(fetched.present)
    files = "file" if total == 1 else "files"
    return f"{task.name}: {len(fetched.new)} of {total} {files} downloaded, all in {fetched.folder}"
