"""`xlir-bench data`: bring the data of tasks here, look training rows through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from xlir_bench.cli.command import (
    JSON,
    OFFLINE,
    CommandGroup,
    argument,
    command,
)
from xlir_bench.cli.terminal import Bars, say, say_report, warn_of_faults
from xlir_bench.errors import plural
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import DATA, OUTPUT, option, same_option
from xlir_bench.options.training import parse_source

data = CommandGroup("data", help="Bring the data of tasks here, and look training rows through.")


@command(inside=data, config=Path)
def fetch(
    *,
    names: tuple[str, ...] = argument("[TASK]...", ()),
    data: Annotated[DataOptions, ("tasks_dirs",)],
    langs: tuple[str, ...] | None = option("Only these languages: en,de.", None, group=DATA),
    max_download: int = same_option(RunOptions, "max_download"),
    quiet: bool = option("No progress, and nothing said if all is well.", False, group=OUTPUT),
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
    from xlir_bench.sources import fetch as fetch_files

    known = data.catalogue()
    if not names:
        warn_of_faults(known)
    options = RunOptions(data=None, langs=langs, max_download=max_download)
    for task in known.get(names) if names else known.tasks.values():
        if not names and task.source.url is None and not task.source.bundled:
            say(f"{task.name}: no download address, left out", err=True)
            continue
        with Bars(quiet) as bars:
            fetched = fetch_files(task, options, bars)
        total = len(fetched.new) + len(fetched.present)
        what = f"{len(fetched.new)} of {plural(total, 'file')} downloaded, all"
        if not quiet:
            told = "comes with its TOML file," if task.source.bundled else what
            say(f"{task.name}: {told} in {fetched.folder}")


@command(inside=data)
def check_training(
    *, files: tuple[str, ...] = argument("FILE..."), as_json: bool = JSON, offline: bool = OFFLINE
) -> int:
    """Count what training rows hold, and list what is wrong with them (exit 1 if anything is, or
    if there are none).

    FILE is JSON Lines (.gz too), parquet, CSV in the long form (id, lang_question, lang_answer,
    question, answer), a folder, or a name of the `datasets` library such as owner/name:split.

    \b
    Examples:
      xlir-bench data check-training train.jsonl.gz
      xlir-bench data check-training a.parquet b.csv --json
    """
    from xlir_bench.cli.training_report import check_blocks
    from xlir_bench.train.checking import check_training as check

    with Bars(as_json) as bars:
        checked = check([parse_source(file) for file in files], bars, offline)
    say_report(as_json, checked.as_json(), check_blocks(checked))
    return 1 if checked.fault_count or not checked.rows else 0


@command(inside=data)
def leakage(
    *,
    files: tuple[str, ...] = argument("FILE..."),
    names: tuple[str, ...] = option(
        "Only this task; may be given again.  [default: all whose data is on disk]",
        (), group=DATA, flag="task", metavar="NAME", many=True,
    ),
    data: DataOptions,
    as_json: bool = JSON,
    offline: bool = OFFLINE,
) -> int:  # fmt: skip
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
    from xlir_bench.cli.training_report import leakage_blocks
    from xlir_bench.train.leakage import find_leaks

    known = data.catalogue()
    tasks = known.get(names) if names else list(known.tasks.values())
    if not names:
        warn_of_faults(known)
    sources = [parse_source(file) for file in files]
    with Bars(as_json) as bars:
        report = find_leaks(sources, tasks, data.root, bars, offline)
    say_report(as_json, report.as_json(), leakage_blocks(report))
    return 1 if report.leaking else 0
