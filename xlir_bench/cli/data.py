"""`xlir-bench data`: download the data of tasks, and check training rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from xlir_bench.cli.command import (
    JSON,
    OFFLINE,
    CommandGroup,
    argument,
    command,
)
from xlir_bench.cli.terminal import Bars, say, say_report, warn_of_faults
from xlir_bench.errors import WARNING, plural
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import DATA, OUTPUT, option, same_option
from xlir_bench.options.training import parse_source
from xlir_bench.rendering.document import Block, Lines, Listing, Table

if TYPE_CHECKING:
    from xlir_bench.train.checking import TrainingCheck
    from xlir_bench.train.leakage import LeakageReport

SHOWN_TEXT = 70
TABLED = 100
"""The most languages whose pairs are printed as a table."""

data = CommandGroup("data", help="Download the data of tasks, and check training rows.")


@command(inside=data, config=Path)
def fetch(
    *,
    names: tuple[str, ...] = argument("[TASK]...", ()),
    data: Annotated[DataOptions, ("tasks_dirs",)],
    langs: tuple[str, ...] | None = option("Only these languages: en,de.", None, group=DATA),
    max_download: int = same_option(RunOptions, "max_download"),
    quiet: bool = option("No progress, and no output if all goes well.", False, group=OUTPUT),
) -> None:
    """Download the files of tasks (all tasks, if none is named) and check their digests.

    An interrupted download continues where it stopped. Files go to the folder `data` under
    XLIR_CACHE (by default the platform's cache folder), in the layout of a data root. `run`
    finds them there, and downloads missing files itself.

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
        downloaded = f"{len(fetched.new)} of {plural(total, 'file')} downloaded, all"
        if not quiet:
            state = "comes with its TOML file," if task.source.bundled else downloaded
            say(f"{task.name}: {state} in {fetched.folder}")


@command(inside=data)
def check_training(
    *, files: tuple[str, ...] = argument("FILE..."), as_json: bool = JSON, offline: bool = OFFLINE
) -> int:
    """Count training rows, their languages and lengths, and list faults (exit 1 if there is a fault,
    or no row).

    FILE is JSON Lines (.gz too), parquet, CSV in the long form (id, lang_question, lang_answer,
    question, answer), a folder, or a name of the `datasets` library such as owner/name:split.

    \b
    Examples:
      xlir-bench data check-training train.jsonl.gz
      xlir-bench data check-training a.parquet b.csv --json
    """
    from xlir_bench.train.checking import check_training as check

    with Bars(as_json) as bars:
        checked = check([parse_source(file).name for file in files], bars, offline)
    say_report(as_json, checked.as_json(), _check_blocks(checked))
    return 1 if checked.fault_count or not checked.rows else 0


@command(inside=data)
def leakage(
    *,
    files: tuple[str, ...] = argument("FILE..."),
    names: tuple[str, ...] = option(
        "Only this task; may be given again.  [default: all tasks whose data is on disk]",
        (), group=DATA, flag="task", metavar="NAME", many=True,
    ),
    data: DataOptions,
    as_json: bool = JSON,
    offline: bool = OFFLINE,
) -> int:  # fmt: skip
    """Look for evaluation texts among training rows (exit 1 if there are any).

    The queries and passages of tasks are compared with every text of every row. Only letters and digits
    count, not case, width, accents, spaces and punctuation. A match is exact (6 letters or more) or near:
    70 % of an evaluation text (90 % of a text of 20 letters) is in the training text, in runs of 8 letters
    (3 of Han or Hangul, 4 of kana). One sentence of a paragraph is too little for a match. Texts too short
    to be compared are counted. Nothing is downloaded.

    \b
    Examples:
      xlir-bench data leakage train.jsonl --task xquad-r --data ~/data
      xlir-bench data leakage train.parquet --json
    """
    from xlir_bench.train.leakage import find_leaks

    known = data.catalogue()
    tasks = known.get(names) if names else list(known.tasks.values())
    if not names:
        warn_of_faults(known)
    sources = [parse_source(file).name for file in files]
    with Bars(as_json) as bars:
        report = find_leaks(sources, tasks, data.root, bars, offline)
    say_report(as_json, report.as_json(), _leakage_blocks(report))
    return 1 if report.leaking else 0


def _check_blocks(check: TrainingCheck) -> list[Block]:
    """Rows, languages, pairs, lengths, repetitions and faults."""
    from xlir_bench.train.rows import no_codes

    lines = [f"{plural(count, 'row')} in {name}" for name, count in check.by_source.items()]
    blocks: list[Block] = []
    if check.rows:
        lines += origin_lines(check.origins, check.rows)
        blocks += [_languages(check), Lines("characters at the percentiles 5 / 50 / 95 / 100")]
        langs = list(check.pairs)
        if len(langs) > TABLED:
            blocks.append(
                Lines(f"rows by pairs of {len(langs):,} languages: only --json shows them")
            )
        elif len(langs) > 1:
            rows = [[q, *(f"{check.pairs[q][a]:,}" for a in langs)] for q in langs]
            blocks.append(Lines("rows by question language (down) and answer language (across)"))
            blocks.append(Table(["", *langs], rows))
        repeated = (
            f"{check.duplicates:,} repeat an earlier row, {check.repeated_ids:,} have an earlier row's id"
            " (rows of one id never share a batch)"
        )
        blocks.append(Lines(repeated))
    if check.same_text:
        counts = ", ".join(f"{lang} {count:,}" for lang, count in check.same_text.items())
        blocks.append(
            Lines(
                f"question and answer are the same text (not used in monolingual batches): {counts}"
            )
        )
    if check.nulls:
        blocks.append(Lines(f"{plural(check.nulls, 'text')} null, read as absent"))
    if check.unknown_languages:
        blocks.append(Lines(WARNING + no_codes(check.unknown_languages)))
    if check.fault_count:
        shown = len(check.faults)
        more = f", the first {shown}:" if check.fault_count > shown else ":"
        title = plural(check.fault_count, "fault") + more
        blocks.append(Listing(title, tuple(str(fault) for fault in check.faults)))
    elif check.rows:
        blocks.append(Lines("no faults"))
    return [Lines(*lines), *blocks]


def _languages(check: TrainingCheck) -> Table:
    """Texts by side, each with the percentiles of their lengths; negatives only where there are any."""
    from xlir_bench.train.rows import SIDES

    negatives = any(sides["negative"] for sides in check.languages.values())
    sides = SIDES if negatives else SIDES[:2]
    headers = [x for side in sides for x in (f"{side}s", "characters")]
    rows = []
    for lang, counts in check.languages.items():
        cells = [lang]
        for side in sides:
            lengths = " / ".join(map(str, check.lengths[side].get(lang, ())))
            cells += [f"{counts[side]:,}", lengths]
        rows.append(cells)
    return Table(["", *headers], rows)


def origin_lines(origins: Mapping[str, int], rows: int) -> list[str]:
    """A line that says how many rows a machine made, if any."""
    from xlir_bench.train.rows import ORIGINAL

    if set(origins) <= {ORIGINAL}:
        return []
    shares = [f"{name} {count:,} ({count / rows:.1%})" for name, count in origins.items()]
    return ["origin of the rows: " + ", ".join(shares)]


def _leakage_blocks(report: LeakageReport) -> list[Block]:
    """The tasks that were compared, and the leaks by task and language."""
    from xlir_bench.train.card import leaks_table
    from xlir_bench.train.leakage import short_texts

    counted = [f"{task} ({len(x)} languages)" for task, x in report.evaluation.checked.items()]
    nothing = "nothing: no task's data is on disk (name a root with --data, or set XLIR_DATA)"
    record = report.as_json()
    lines = [
        f"{plural(report.rows, 'row')} compared with {', '.join(counted) or nothing}",
        *(f"not checked: {task} ({why})" for task, why in report.evaluation.unchecked.items()),
        *short_texts(record["texts"]),
        record["rule"],
    ]
    if not report.leaking:
        return [Lines(*lines, "no evaluation text found")]
    examples = tuple(
        f"row {leak['row']}: {leak['match']}, {leak['task']} {leak['lang']}: {leak['text'][:SHOWN_TEXT]}"
        for leak in report.examples
    )
    return [
        Lines(*lines),
        Lines(f"{plural(report.leaking, 'row')} with evaluation text"),
        leaks_table(report.by_task),
        Listing("for example", examples),
    ]
