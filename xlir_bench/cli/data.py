"""`xlir-bench data`: bring the data of tasks here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xlir_bench.records import Progress
    from xlir_bench.sources import Fetched
    from xlir_bench.tasks import Task


@click.group()
def data() -> None:
    """Bring the data of tasks here."""


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
@click.option("--langs", metavar="LANG,LANG", help="Only these languages, such as en,de.")
@click.option("--quiet", is_flag=True, help="Show no progress and say nothing if all is well.")
def fetch_command(
    names: tuple[str, ...], folders: tuple[Path, ...], langs: str | None, quiet: bool
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
    from xlir_bench.places import data_cache
    from xlir_bench.sources import DataRequest, fetch
    from xlir_bench.tasks import catalogue

    known = catalogue(*folders)
    chosen = known.get(names) if names else list(known.tasks.values())
    request = DataRequest(root=None, cache=data_cache(), langs=_split(langs))
    for task in chosen:
        if not names and task.source.url is None and not task.source.bundled:
            click.echo(f"{task.name}: no download address, left out", err=True)
            continue
        fetched = fetch(task, request, _progress(quiet))
        if not quiet:
            click.echo(_told(task, fetched))


def _split(langs: str | None) -> tuple[str, ...] | None:
    """The languages of a comma-separated list."""
    if langs is None:
        return None
    return tuple(lang.strip() for lang in langs.split(",") if lang.strip())


def _progress(quiet: bool) -> Progress:
    from xlir_bench.cli.progress import Bars

    return Bars(quiet)


def _told(task: Task, fetched: Fetched) -> str:
    if task.source.bundled:
        return f"{task.name}: comes with its TOML file, in {fetched.folder}"
    total = len(fetched.new) + len(fetched.present)
    files = "file" if total == 1 else "files"
    return f"{task.name}: {len(fetched.new)} of {total} {files} downloaded, all in {fetched.folder}"
